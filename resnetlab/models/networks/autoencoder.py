"""An autoencoder: a convolutional encoder to a short code, and a decoder back to the image."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from resnetlab.models.classifier import Backbone
from resnetlab.models.networks.norm import BatchNorm2d

WIDTHS = (32, 64, 128, 256, 256)  # channels after each halving
SMALLEST_MAP_PX = 4


class Autoencoder(Backbone):
    """Halve the image until 4 to 7 px are left, then a dense layer to the code, its features.

    `decode` makes an image of the code again. Source of the idea: Hinton and Salakhutdinov 2006,
    'Reducing the Dimensionality of Data with Neural Networks'; learned together with the classes as
    by Le et al. 2018, 'Supervised autoencoders'.
    """

    feature_dim = 128
    any_size = False

    def __init__(self, image_size: int) -> None:
        super().__init__()
        sides, widths = [image_size], [3]
        while sides[-1] >= 2 * SMALLEST_MAP_PX and len(sides) <= len(WIDTHS):
            sides.append(-(-sides[-1] // 2))
            widths.append(WIDTHS[len(widths) - 1])
        for number, (before, after) in enumerate(pairwise(widths), 1):
            self.add_module(f"down{number}", _down(before, after))
        self.flatten = nn.Flatten()
        self.code = nn.Linear(widths[-1] * sides[-1] ** 2, self.feature_dim)
        steps = list(zip(pairwise(reversed(widths)), list(reversed(sides))[1:], strict=True))
        self.decoder = nn.Sequential(
            nn.Linear(self.feature_dim, self.code.in_features),
            nn.Unflatten(1, (widths[-1], sides[-1], sides[-1])),
            *(_up(before, after, side) for (before, after), side in steps[:-1]),
            nn.ReLU(),
            nn.Upsample(size=image_size),
            nn.Conv2d(widths[min(1, len(widths) - 1)], 3, 3, padding=1),
            nn.Sigmoid(),
        )

    def stages(self) -> dict[str, nn.Module]:
        """Return the stages that give the features: the decoder is none of them."""
        stages = super().stages()
        stages.pop("decoder", None)
        return stages

    def decode(self, features: Tensor) -> Tensor:
        """Turn features (N, D) into images (N, 3, H, W), values 0 to 1."""
        images: Tensor = self.decoder(features)
        return images


def _down(channels_in: int, channels_out: int) -> nn.Sequential:
    """(N, channels_in, H, W) -> (N, channels_out, H / 2, W / 2), rounded up."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1, bias=False),
        BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


def _up(channels_in: int, channels_out: int, side: int) -> nn.Sequential:
    """(N, channels_in, H, W) -> (N, channels_out, side, side)."""
    return nn.Sequential(
        nn.Upsample(size=side),
        nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
        BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


def reconstruction_errors(restored: Tensor, images: Tensor) -> Tensor:
    """Return the mean squared error of each image (N,), of values in 0 to 1; `images` are uint8."""
    differences = restored.to(torch.float32) - images.to(torch.float32) / 255
    return differences.square().mean(dim=(1, 2, 3))
