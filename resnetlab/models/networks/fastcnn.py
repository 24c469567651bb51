"""Small convolutional networks that learn small images in very few epochs.

Source: Jordan 2024, '94% on CIFAR-10 in 3.29 Seconds on a Single GPU', arXiv:2404.00498, for shape,
first weights, whitening and norms; written anew here.
"""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnetlab.models.classifier import Backbone
from resnetlab.models.networks.norm import BatchNorm2d

WHITEN_PX = 2  # side of the patches that the first layer whitens
NOISE = 5e-4  # added to the variances of the patches: directions without contrast are not blown up
NORM_MOMENTUM = 0.4  # in so few steps running statistics must follow quickly
OUTPUT_SCALE = 1 / 9  # of the features: logits start small, as label smoothing wants them


class FastCNN(Backbone):
    """A whitening 2x2 convolution, then three blocks of two 3x3 convolutions: 64, 256, 256 wide.

    2.0 million parameters with 10 classes. The filters of the first layer are not learned: they
    follow from the training images (`init_from`).
    """

    widths: ClassVar[tuple[int, int, int]] = (64, 256, 256)
    init_images = 5000

    def __init__(self, image_size: int) -> None:
        super().__init__()
        patch = 3 * WHITEN_PX**2
        self.whiten = nn.Conv2d(3, 2 * patch, WHITEN_PX)
        self.whiten.weight.requires_grad_(False)
        nn.init.zeros_(self.whiten.bias)  # type: ignore[arg-type]
        self.gelu = nn.GELU()
        first, second, third = self.widths
        self.block1 = _block(2 * patch, first)
        self.block2 = _block(first, second)
        self.block3 = _block(second, third)
        self.feature_dim = third
        self.pool = nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten(), Scale(OUTPUT_SCALE))

    def init_from(self, images: Tensor) -> None:
        """Set the first layer to the whitened directions of 2x2 patches, each with both signs."""
        patches = F.unfold(images.float(), WHITEN_PX).transpose(1, 2).flatten(0, 1)
        covariance = patches.T @ patches / len(patches)
        variances, directions = torch.linalg.eigh(covariance)
        filters = (directions / (variances + NOISE).sqrt()).T.unflatten(
            1, (3, WHITEN_PX, WHITEN_PX)
        )
        with torch.no_grad():
            self.whiten.weight.copy_(torch.cat([filters, -filters]))

    def init_head(self, head: nn.Linear) -> None:
        """Start the logits with a deviation that does not depend on the network's width."""
        nn.init.normal_(head.weight, std=1 / (self.feature_dim * OUTPUT_SCALE))
        nn.init.zeros_(head.bias)


class WideFastCNN(FastCNN):
    """The same, 128, 384 and 384 wide: 4.6 million parameters, 2.6 times the computation."""

    widths = (128, 384, 384)


class Scale(nn.Module):
    """Multiplies by a constant."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """(N, ...) -> (N, ...)."""
        return self.factor * x


def _block(channels_in: int, channels_out: int) -> nn.Sequential:
    """(N, channels_in, H, W) -> (N, channels_out, H / 2, W / 2)."""
    return nn.Sequential(
        _conv(channels_in, channels_out),
        nn.MaxPool2d(2),
        _norm(channels_out),
        nn.GELU(),
        _conv(channels_out, channels_out),
        _norm(channels_out),
        nn.GELU(),
    )


def _conv(channels_in: int, channels_out: int) -> nn.Conv2d:
    """Make a 3x3 convolution that starts by passing its input on: no signal is lost at first."""
    conv = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
    nn.init.dirac_(conv.weight[:channels_in])
    return conv


def _norm(channels: int) -> BatchNorm2d:
    """Make a norm that learns its offset alone; the filters are normalised by their optimiser."""
    norm = BatchNorm2d(channels, eps=1e-12, momentum=NORM_MOMENTUM)
    norm.weight.requires_grad_(False)
    return norm
