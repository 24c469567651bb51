"""Every network by name, and `build`, which puts a classifier around it."""

from collections.abc import Callable, Sequence

from resnetlab.errors import RecipeError
from resnetlab.models.classifier import IMAGENET_MEAN, IMAGENET_STD, Backbone, Classifier
from resnetlab.models.networks.autoencoder import Autoencoder
from resnetlab.models.networks.cnn import CNN
from resnetlab.models.networks.fastcnn import FastCNN, WideFastCNN
from resnetlab.models.networks.mlp import MLP
from resnetlab.models.networks.resnet import (
    ResNet,
    resnet18,
    resnet34,
    resnet50,
    resnet101,
    resnet152,
)
from resnetlab.recipe import did_you_mean

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "MODELS",
    "Backbone",
    "Classifier",
    "build",
]

SMALLEST_PX = 4  # the CNN halves an image twice


def _without_stem(network: Callable[[int], Backbone]) -> Callable[[int, str], Backbone]:
    """Adapt a network that has no stem to choose; a setting that would do nothing is refused."""

    def builder(image_size: int, stem: str) -> Backbone:
        if stem != "auto":
            raise RecipeError(
                f"model.stem must be 'auto' for {network.__name__}, which has no stem. "
                f"Got {stem!r} instead."
            )
        return network(image_size)

    return builder


MODELS: dict[str, Callable[[int, str], Backbone]] = {
    "mlp": _without_stem(MLP),
    "cnn": _without_stem(CNN),
    "autoencoder": _without_stem(Autoencoder),
    "fastcnn": _without_stem(FastCNN),
    "fastcnn-wide": _without_stem(WideFastCNN),
    "resnet18": resnet18,
    "resnet34": resnet34,
    "resnet50": resnet50,
    "resnet101": resnet101,
    "resnet152": resnet152,
}


def build(
    name: str,
    num_classes: int,
    image_size: int,
    stem: str = "auto",
    dropout: float = 0.0,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    horizontal_flip: bool = False,
    hidden: Sequence[int] = (),
    upsample: int = 0,
    pool: str = "average",
    drop_path: float = 0.0,
) -> Classifier:
    """Build a classifier of K `num_classes` for square images of `image_size` px, fresh weights.

    `mean` and `std` are those of pixel values in 0 to 1; `hidden` gives the widths of dense layers
    before the head, `dropout` comes before each of these; with `horizontal_flip` it answers, in evaluation,
    by the mean over an image and its horizontal flip. The network sees images whose sides were doubled
    `upsample` times; with a `pool` of 'flatten' its features are all places of its last map;
    `drop_path` in [0, 1) is the chance that its last residual block is skipped in training.

    Raises:
        RecipeError: the name, size, stem, mean or deviation is wrong.

    """
    if image_size < SMALLEST_PX:
        raise RecipeError(
            f"data.image_size must be at least {SMALLEST_PX} px. Got {image_size} instead."
        )
    backbone = make_backbone(name, image_size << upsample, stem, pool, drop_path)
    return Classifier(backbone, num_classes, dropout, mean, std, horizontal_flip, hidden, upsample)


def make_backbone(
    name: str, image_size: int, stem: str, pool: str = "average", drop_path: float = 0.0
) -> Backbone:
    """Make one of our own networks or one of timm's, by name, for images of `image_size` px.

    Raises:
        RecipeError: there is no such network, or it has no stem, pool or blocks to choose for.

    """
    if name in MODELS:
        backbone = MODELS[name](image_size, stem)
        if isinstance(backbone, ResNet):
            backbone.set_drop_path(drop_path)
            if pool == "flatten":
                backbone.flatten(image_size)
        elif drop_path or pool != "average":
            key = "model.drop_path" if drop_path else "model.pool"
            raise RecipeError(f"{key} is for residual networks and those of timm, not for {name}")
        return backbone
    from resnetlab.models.networks.timm_network import TimmNetwork, timm_name, timm_names

    theirs = timm_name(name)
    if theirs is None:
        raise RecipeError(
            f"model.name must be one of {', '.join(MODELS)}, or a network of timm. Got {name!r} instead"
            f"{did_you_mean(name.lower(), MODELS) or did_you_mean(name.lower(), timm_names())}"
        )
    if stem != "auto":
        raise RecipeError(f"model.stem must be 'auto' for {name}. Got {stem!r} instead.")
    return TimmNetwork(theirs, image_size, pool, drop_path)
