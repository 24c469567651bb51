"""Mixup: images laid over each other, and labels to match."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from resnetlab.training.optim.losses import cross_entropy


@dataclass(frozen=True)
class Mix:
    """Which image of a batch lies under each of its B, (B,) int64, and the share that covers it."""

    partners: Tensor
    share: float  # 0.5..1, of the image itself

    def images(self, images: Tensor) -> Tensor:
        """Return uint8 images (B, C, H, W), each with its partner shining through."""
        mixed = torch.lerp(images[self.partners].float(), images.float(), self.share)
        return mixed.round_().to(torch.uint8)

    def loss(self, logits: Tensor, own: Tensor, others: Tensor, smoothing: float) -> Tensor:
        """Return the loss of each image, (B,), against its label and its partner's, by their shares."""
        return torch.lerp(
            cross_entropy(logits, others, smoothing),
            cross_entropy(logits, own, smoothing),
            self.share,
        )


def draw_mix(alpha: float, count: int, seed: int, device: torch.device | str = "cpu") -> Mix:
    """Draw how `count` images on a device are mixed: a function of the seed and nothing else.

    The share is from Beta(alpha, alpha), the larger of its two parts: who lies on top is a matter of
    names. Source: Zhang et al. 2018, 'mixup: Beyond Empirical Risk Minimization', arXiv:1710.09412.
    """
    generator = np.random.Generator(np.random.Philox(seed))
    share = float(generator.beta(alpha, alpha))
    partners = torch.from_numpy(generator.permutation(count)).to(device)
    return Mix(partners, max(share, 1 - share))
