"""A picture classifier: normalise, backbone, head."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from resnetlab.errors import RecipeError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Backbone(nn.Module):
    """A network that turns pictures into features of a fixed width D, its `feature_dim`."""

    feature_dim: int

    def features(self, images: Tensor) -> Tensor:
        """Turn normalised float pictures (N, 3, H, W) into features (N, D)."""
        raise NotImplementedError(f"{type(self).__name__} must define features(images)")

    def forward(self, images: Tensor) -> Tensor:
        """Give the features: a bare backbone has no classes."""
        return self.features(images)

    def init_head(self, head: nn.Linear) -> None:
        """Set the first weights of a new head. PyTorch's own stay unless a network differs."""


class Classifier(nn.Module):
    """Bytes in, logits out: mean and deviation travel with the weights, so they can't be lost.

    `mean` and `std` are three numbers each, for pixel values in 0 to 1.

    Raises:
        RecipeError: `mean` or `std` can't be those of pixel values in 0 to 1.

    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        dropout: float = 0.0,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        mean, std = [float(value) for value in mean], [float(value) for value in std]
        _check_moments(mean, std)
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(backbone.feature_dim, num_classes)
        backbone.init_head(self.head)

    def normalise(self, images: Tensor) -> Tensor:
        """Turn uint8 pictures (N, 3, H, W) into floats of about mean 0 and deviation 1.

        Raises:
            TypeError: the pictures are not uint8.

        """
        if images.dtype != torch.uint8:
            raise TypeError(
                "Classifier takes pictures as torch.uint8, values 0 to 255. "
                f"Got {images.dtype} instead: leave scaling and normalisation to it."
            )
        # In place on the fresh copy: a channels_last batch stays channels_last.
        mean, std = 255 * self.mean.view(3, 1, 1), 255 * self.std.view(3, 1, 1)
        return images.to(self.mean.dtype).sub_(mean).div_(std)

    def features(self, images: Tensor) -> Tensor:
        """Turn uint8 pictures (N, 3, H, W) into features (N, D)."""
        return self.backbone.features(self.normalise(images))

    def forward(self, images: Tensor) -> Tensor:
        """Turn uint8 pictures (N, 3, H, W), of any memory format, into logits (N, K)."""
        logits: Tensor = self.head(self.dropout(self.features(images)))
        return logits


def _check_moments(mean: list[float], std: list[float]) -> None:
    if len(mean) != 3 or not all(0 <= value <= 1 for value in mean):
        raise RecipeError(
            f"The mean must be three numbers from 0 to 1, one for each channel. Got {mean} instead."
        )
    if len(std) != 3 or not all(0 < value <= 1 for value in std):
        raise RecipeError(
            "The standard deviation must be three numbers above 0 and up to 1, "
            f"one for each channel. Got {std} instead."
        )
