"""Mixup and CutMix: images laid over each other or pasted into each other, and labels to match."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from resnetlab.training.optim.losses import Criterion


@dataclass(frozen=True)
class Mix:
    """Which image of a batch lies under each of its B, (B,) int64, and the share that covers it.

    With a `box` (left, top, width, height), each a share of the image's sides, the partner is seen
    there and nowhere else.
    """

    partners: Tensor
    share: float  # 0..1, of the image itself
    box: tuple[float, float, float, float] | None = None

    def images(self, images: Tensor) -> Tensor:
        """Return uint8 images (B, C, H, W), each with its partner shining through, or pasted into it."""
        if self.box is None:
            mixed = torch.lerp(images[self.partners].float(), images.float(), self.share)
            return mixed.round_().to(torch.uint8)
        rows, columns = self.place(images)
        pasted = images.clone()
        pasted[:, :, rows, columns] = images[self.partners][:, :, rows, columns]
        return pasted

    def place(self, images: Tensor) -> tuple[slice, slice]:
        """Return the rows and columns of the box in images (B, C, H, W)."""
        assert self.box is not None
        left, top, width, height = self.box
        tall, wide = images.shape[2:]
        rows = slice(round(top * tall), round((top + height) * tall))
        return rows, slice(round(left * wide), round((left + width) * wide))

    def share_in(self, images: Tensor) -> float:
        """Return the share of the image itself; of a pasted box its whole pixels count."""
        if self.box is None:
            return self.share
        rows, columns = self.place(images)
        pasted = (rows.stop - rows.start) * (columns.stop - columns.start)
        return 1 - float(pasted) / (images.shape[2] * images.shape[3])

    def loss(
        self, logits: Tensor, own: Tensor, others: Tensor, criterion: Criterion, share: float
    ) -> Tensor:
        """Return the loss of each image, (B,), against its label and its partner's, by their shares."""
        return torch.lerp(criterion(logits, others), criterion(logits, own), share)


def draw_mix(
    mixup: float, cutmix: float, count: int, seed: int, device: torch.device | str = "cpu"
) -> Mix:
    """Draw how `count` images on a device are mixed: a function of the seed and nothing else.

    `mixup` and `cutmix` are the alphas of Beta(alpha, alpha); 0 for none. Where both are given, a
    batch gets one or the other. Of mixup's shares the larger counts: who lies on top is a matter of
    names. Sources: Zhang et al. 2018, 'mixup: Beyond Empirical Risk Minimization', arXiv:1710.09412;
    Yun et al. 2019, 'CutMix', arXiv:1905.04899.
    """
    generator = np.random.Generator(np.random.Philox(seed))
    share = float(generator.beta(mixup or cutmix, mixup or cutmix))
    partners = torch.from_numpy(generator.permutation(count)).to(device)
    if not cutmix or (mixup and generator.random() < 0.5):
        return Mix(partners, max(share, 1 - share))
    if mixup:
        share = float(generator.beta(cutmix, cutmix))
    side = (1 - share) ** 0.5  # of the box, which is cut at the image's edges
    centre = generator.random(2)
    low, high = np.clip(centre - side / 2, 0, 1), np.clip(centre + side / 2, 0, 1)
    left, top = low.tolist()
    width, height = (high - low).tolist()
    return Mix(partners, 1 - width * height, (left, top, width, height))
