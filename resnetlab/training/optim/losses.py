"""Training losses: logits (B, K) and labels (B,) to one value an image (B,)."""

import torch
import torch.nn.functional as F
from torch import Tensor


def cross_entropy(logits: Tensor, labels: Tensor, label_smoothing: float) -> Tensor:
    """Return the cross-entropy of each image, computed in fp32.

    `label_smoothing` in [0, 1) is the share of the target spread evenly over all classes.
    Source: Szegedy et al. 2016, section 7.
    """
    return F.cross_entropy(
        logits.to(torch.float32), labels, reduction="none", label_smoothing=label_smoothing
    )
