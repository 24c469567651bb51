"""An image classifier: normalise, backbone, perhaps dense layers, head."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from resnetlab.errors import RecipeError
from resnetlab.models.networks.norm import BatchNorm1d
from resnetlab.recipe import did_you_mean

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Backbone(nn.Module):
    """A network that turns images into features of a fixed width D, its `feature_dim`.

    It is a chain: its children are its stages, and run in the order they were given their names. A
    network that is none runs as a whole: its stages only tell where its parameters belong.
    """

    feature_dim: int
    chain = True
    prefix = ""  # before the names of its stages in its state dict
    init_images = 0  # training images from which first weights follow, see `init_from`
    any_size = True  # False where the images must have the size that it was built for
    channels_last = False  # whether its maps are (N, h, w, C)
    prefix_tokens = 0  # tokens of a transformer that stand before those of the image's places

    def stages(self) -> dict[str, nn.Module]:
        """Return the stages by name, in the order they run; an Identity only holds a place."""
        return {
            name: stage
            for name, stage in self.named_children()
            if not isinstance(stage, nn.Identity)
        }

    def features(self, images: Tensor) -> Tensor:
        """Turn normalised float images (N, 3, H, W) into features (N, D)."""
        return run(self.stages().values(), images).flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        """Give the features: a bare backbone has no classes."""
        return self.features(images)

    def init_from(self, images: Tensor) -> None:
        """Set what follows from normalised training images (N, 3, H, W). Nothing unless a network differs."""

    def adapt(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return published weights under this backbone's names, without a classifier (`fc.*`)."""
        return {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}

    def stage_of(self, parameter: str) -> str:
        """Return the stage that a parameter, by its name in the state dict, belongs to.

        One that lies in none, such as a transformer's class token, belongs to the first.
        """
        names = list(self.stages())
        return next((s for s in names if parameter.startswith(f"{self.prefix}{s}.")), names[0])

    def init_head(self, head: nn.Linear) -> None:
        """Set the first weights of a new head. PyTorch's own stay unless a network differs."""


class Classifier(nn.Module):
    """Bytes in, logits out: mean and deviation travel with the weights, so they can't be lost.

    `mean` and `std` are three numbers each, for pixel values in 0 to 1. The first `frozen` stages
    of the backbone don't learn (see `freeze`); they and the rest can run one without the other.
    `hidden` gives the widths of dense layers between backbone and head; `dropout` comes before the
    head, with `hidden` after each of those. `horizontal_flip` is for evaluation alone. `upsample` doubles
    the sides of images so many times before the network sees them, each pixel becoming four.

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
        horizontal_flip: bool = False,
        hidden: Sequence[int] = (),
        upsample: int = 0,
    ) -> None:
        super().__init__()
        mean, std = [float(value) for value in mean], [float(value) for value in std]
        _check_moments(mean, std)
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))
        self.freeze_norms = False
        self.backbone = backbone
        self.frozen = 0
        self.horizontal_flip = horizontal_flip
        self.upsample = upsample
        self.hidden = dense_layers(backbone.feature_dim, hidden, dropout)
        self.dropout = nn.Dropout(0.0 if hidden else dropout)
        self.head = nn.Linear((backbone.feature_dim, *hidden)[-1], num_classes)
        backbone.init_head(self.head)

    def set_moments(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Normalise by this mean and deviation, of pixel values in 0 to 1, from now on."""
        mean, std = [float(value) for value in mean], [float(value) for value in std]
        _check_moments(mean, std)
        self.mean.copy_(torch.tensor(mean))
        self.std.copy_(torch.tensor(std))

    def normalise(self, images: Tensor) -> Tensor:
        """Turn uint8 images (N, 3, H, W) into floats of about mean 0 and deviation 1.

        Raises:
            TypeError: the images are not uint8.

        """
        if images.dtype != torch.uint8:
            raise TypeError(
                "Classifier takes images as torch.uint8, values 0 to 255. "
                f"Got {images.dtype} instead: leave scaling and normalisation to it."
            )
        # One pass along whole rows of pixels: along three channels it takes three times as long.
        width = images.shape[3]
        scale, shift = (1 / (255 * self.std)).repeat(width), (-self.mean / self.std).repeat(width)
        rows = images.permute(0, 2, 3, 1).flatten(2).to(self.mean.dtype)
        floats = torch.addcmul(shift, rows, scale)
        return floats.reshape(*floats.shape[:2], width, 3).permute(0, 3, 1, 2)

    def prepare(self, images: Tensor) -> Tensor:
        """Turn uint8 images (N, 3, H, W) into what the network sees: normalised, and enlarged if asked."""
        images = self.normalise(images)
        if self.upsample:
            images = F.interpolate(images, scale_factor=2.0**self.upsample, mode="nearest")
        return images

    def features(self, images: Tensor) -> Tensor:
        """Turn uint8 images (N, 3, H, W) into features (N, D).

        In evaluation with `horizontal_flip` they are the mean over each image and its horizontal flip; so are
        the logits then, for the head is linear.
        """
        features = self.embed(images)
        if self.horizontal_flip and not self.training:
            features = (features + self.embed(images.flip(3))) / 2
        return features

    def embed(self, images: Tensor) -> Tensor:
        """Turn uint8 images (N, 3, H, W) into features (N, D), each by what it shows alone."""
        features: Tensor = self.hidden(self.backbone.features(self.prepare(images)))
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Turn uint8 images (N, 3, H, W), of any memory format, into logits (N, K)."""
        logits: Tensor = self.head(self.dropout(self.features(images)))
        return logits

    @property
    def divisible(self) -> bool:
        """Whether what is frozen can run without the rest: the first stages of a chain, or all."""
        return self.backbone.chain or self.frozen == len(self._stages())

    def prefix(self, images: Tensor) -> Tensor:
        """Turn uint8 images (N, 3, H, W) into what the frozen stages make of them, (N, ...)."""
        assert self.divisible
        images = self.prepare(images)
        if self.frozen == len(self._stages()):
            return self.backbone.features(images)
        return run(self._stages()[: self.frozen], images)

    def rest(self, maps: Tensor) -> Tensor:
        """Turn what `prefix` gives into logits (N, K); the two together are `forward`."""
        features = self.hidden(run(self._stages()[self.frozen :], maps).flatten(1))
        logits: Tensor = self.head(self.dropout(features))
        return logits

    def frozen_names(self) -> set[str]:
        """Return the names, in the state dict, of what the frozen stages hold."""
        backbone = self.backbone
        frozen = set(list(backbone.stages())[: self.frozen])
        names = backbone.state_dict() if frozen else ()
        return {f"backbone.{name}" for name in names if backbone.stage_of(name) in frozen}

    def train(self, mode: bool = True) -> Self:
        """Switch to training or evaluation; frozen stages, or all norms, stay in evaluation.

        Their batch norms use the statistics they came with and their dropout is off, so what they
        make of an image depends on nothing else.
        """
        super().train(mode)
        for stage in self._stages()[: self.frozen]:
            stage.eval()
        if self.freeze_norms:
            for module in self.backbone.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def _stages(self) -> list[nn.Module]:
        return list(self.backbone.stages().values())


def dense_layers(width: int, widths: Sequence[int], dropout: float) -> nn.Sequential:
    """Make dense layers of these widths upon features (N, `width`), a batch norm before and after each."""
    layers: list[nn.Module] = [BatchNorm1d(width)] if widths else []
    for before, after in pairwise((width, *widths)):
        layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout), BatchNorm1d(after)]
    return nn.Sequential(*layers)


def run(stages: Iterable[nn.Module], x: Tensor) -> Tensor:
    """Pass a batch through stages, one after the other."""
    for stage in stages:
        x = stage(x)
    return x


def freeze(classifier: Classifier, last: str) -> None:
    """Let a fresh classifier's stages up to `last` learn nothing; 'all': but the head, or 'none'.

    Raises:
        RecipeError: the backbone has no such stage.

    """
    stages = classifier.backbone.stages()
    choices = ["none", *stages, "all"]
    if last not in choices:
        raise RecipeError(
            f"model.freeze must be one of {', '.join(choices)}. Got {last!r} instead"
            f"{did_you_mean(last, choices)}"
        )
    classifier.frozen = min(choices.index(last), len(stages))
    frozen = classifier.frozen_names()
    for name, parameter in classifier.named_parameters():
        if name in frozen:
            parameter.requires_grad_(False)
    classifier.train(classifier.training)


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


def learned_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the state dict without what frozen stages hold."""
    frozen = model.frozen_names() if isinstance(model, Classifier) else set()
    return {name: tensor for name, tensor in model.state_dict().items() if name not in frozen}
