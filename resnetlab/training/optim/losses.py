"""Training losses: logits (B, K) and labels (B,) to one value an image (B,)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from resnetlab.recipe import Training

EFFECTIVE_BETA = 0.999  # Cui et al. 2019: about as many images as tell something new


@dataclass(frozen=True)
class Criterion:
    """The loss by which a recipe trains.

    `weights` (K,) is what an image of each class counts, `offsets` (K,) what is added to its logit;
    None for nothing.
    """

    loss: str = "cross_entropy"
    label_smoothing: float = 0.0
    focal_gamma: float = 2.0
    weights: Tensor | None = None
    offsets: Tensor | None = None

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each image, (B,), computed in fp32; it counts its class's weight already."""
        logits = logits.to(torch.float32)
        if self.offsets is not None:
            logits = logits + self.offsets
        if self.loss == "binary":
            return self.weigh(binary_cross_entropy(logits, labels, self.label_smoothing), labels)
        # With smoothing PyTorch weighs each class's share of the target by that class's weight.
        losses = cross_entropy(logits, labels, self.label_smoothing, self.weights)
        if self.loss == "focal":
            right = logits.softmax(dim=1).gather(1, labels[:, None]).squeeze(1)
            losses = losses * (1 - right) ** self.focal_gamma
        return losses

    def weigh(self, losses: Tensor, labels: Tensor) -> Tensor:
        """Return losses (B,) times what each image's class counts."""
        return losses if self.weights is None else losses * self.weights[labels]

    def total(self, labels: Tensor) -> float:
        """Return what images of these labels (on the CPU) count together: a step's losses are divided by it."""
        return len(labels) if self.weights is None else float(self.weights[labels].sum())

    def to(self, device: torch.device) -> "Criterion":
        """Return the same on another device."""
        weights, offsets = (
            None if tensor is None else tensor.to(device) for tensor in (self.weights, self.offsets)
        )
        return replace(self, weights=weights, offsets=offsets)


def make_criterion(training: Training, classes: Sequence[str], labels: np.ndarray) -> Criterion:
    """Return the loss of a recipe for training images of these labels (N,)."""
    counts = np.bincount(labels, minlength=len(classes))
    return Criterion(
        loss=training.loss,
        label_smoothing=float(training.label_smoothing),
        focal_gamma=training.focal_gamma,
        weights=class_weights(training.class_weights, classes, counts),
        offsets=log_frequencies(counts, training.logit_adjustment),
    )


def class_weights(
    kind: str | Mapping[str, float], classes: Sequence[str], counts: np.ndarray
) -> Tensor | None:
    """Return what an image of each class counts, (K,) fp32, for K classes of `counts` images.

    'balanced' is N / (K n); 'effective' is in proportion to (1 - b) / (1 - b^n), with a mean of 1 over
    the images. A mapping gives weights by name, 1 to those that it leaves out. Source: Cui et al.
    2019, 'Class-Balanced Loss Based on Effective Number of Samples', arXiv:1901.05555.
    """
    if kind == "none":
        return None
    there = np.maximum(counts, 1)
    if isinstance(kind, Mapping):
        weights = np.array([kind.get(name, 1.0) for name in classes])
    elif kind == "balanced":
        weights = counts.sum() / (len(classes) * there)
    else:
        weights = (1 - EFFECTIVE_BETA) / (1 - EFFECTIVE_BETA**there)
        weights = weights * counts.sum() / max(float((weights * counts).sum()), 1e-12)
    return torch.tensor(weights, dtype=torch.float32)


def log_frequencies(counts: np.ndarray, tau: float) -> Tensor | None:
    """Return `tau` times the log frequency of each class, (K,) fp32; None for a tau of 0.

    Added to the logits in training they leave to the network what the frequencies don't tell;
    taken off those of a trained one they do the same afterwards. Source: Menon et al. 2021,
    'Long-Tail Learning via Logit Adjustment', arXiv:2007.07314.
    """
    if not tau:
        return None
    shares = np.maximum(counts, 1) / max(counts.sum(), 1)
    return torch.tensor(tau * np.log(shares), dtype=torch.float32)


def cross_entropy(
    logits: Tensor, labels: Tensor, label_smoothing: float, weights: Tensor | None = None
) -> Tensor:
    """Return the cross-entropy of each image, computed in fp32.

    `label_smoothing` in [0, 1) is the share of the target spread evenly over all classes.
    Source: Szegedy et al. 2016, section 7.
    """
    return F.cross_entropy(
        logits.to(torch.float32),
        labels,
        weight=weights,
        reduction="none",
        label_smoothing=label_smoothing,
    )


def binary_cross_entropy(logits: Tensor, labels: Tensor, label_smoothing: float) -> Tensor:
    """Return the cross-entropies of each image's K questions 'is it this class?', summed.

    Source: Wightman et al. 2021, 'ResNet strikes back', arXiv:2110.00476.
    """
    count = logits.shape[1]
    targets = F.one_hot(labels, count) * (1 - label_smoothing) + label_smoothing / count
    each = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return each.sum(dim=1)
