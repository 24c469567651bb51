"""What 'auto' means: from a recipe, the images and the machine to a recipe with no 'auto' left."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from resnetlab.data.catalog import Catalog
from resnetlab.data.defaults import SMALL_UP_TO_PX, settle_augment
from resnetlab.errors import MachineError, RecipeError
from resnetlab.recipe import Recipe
from resnetlab.runs.run import bundle_of
from resnetlab.system.progress import log

if TYPE_CHECKING:
    from resnetlab.models import Classifier

MUON_LR = 0.24  # Jordan et al. 2024


def resolve_listed(recipe: Recipe, catalog: Catalog) -> Recipe:
    """As `resolve_training`, before images are read and divided: by the most that may be training's."""
    count = int(np.isin(catalog.split, ["", "train"]).sum())
    return resolve_training(recipe, len(catalog.classes), count)


def resolve_training(recipe: Recipe, num_classes: int, count: int) -> Recipe:
    """Return the recipe with no 'auto' left, and network and weights known to be there.

    `count` is the number of training images.
    """
    from resnetlab.models import build_for
    from resnetlab.models.classifier import freeze
    from resnetlab.models.networks.resnet import ResNet
    from resnetlab.models.pretrained import load_weights

    weights = recipe.model.weights
    if Path(weights).is_dir():
        weights = str((bundle_of(Path(weights)) / "model.safetensors").resolve())
    if weights == "auto":
        weights = "imagenet" if wants_published_weights(recipe) else "none"
    classifier = build_for(recipe.model, num_classes, int(recipe.data.image_size))
    if weights != "none":
        try:
            load_weights(classifier, weights, recipe.model.name)
        except MachineError as error:
            if recipe.model.weights != "auto":
                raise
            log(f"note: training from scratch, which needs far more images and time. {error}")
            weights = "none"
    freeze(classifier, recipe.model.freeze)
    refuse_sizes(recipe, classifier.backbone.any_size)
    values = {"model.weights": weights}
    if isinstance(classifier.backbone, ResNet):
        values["model.stem"] = classifier.backbone.stem
    recipe = fill_in(settle_machine(recipe.override(values)), weights != "none")
    return settle_frozen_views(recipe, classifier, count)


def refuse_sizes(recipe: Recipe, any_size: bool) -> None:
    """Raise RecipeError where the network would see images of a size that it can't take."""
    image_size, training = int(recipe.data.image_size), recipe.training
    for key, size in (
        ("training.start_size", training.start_size),
        ("evaluation.image_size", recipe.evaluation.image_size),
    ):
        if size not in (None, image_size) and not any_size:
            raise RecipeError(
                f"{key} must be data.image_size ({image_size}) or left out for {recipe.model.name}, "
                f"whose dense layers have one size. Got {size} instead"
            )
    if training.start_size and training.frozen_views not in ("auto", 0):
        raise RecipeError(
            "training.frozen_views must be 0 with training.start_size: what is stored has one size. "
            f"Got {training.frozen_views} instead"
        )


def settle_frozen_views(recipe: Recipe, classifier: "Classifier", count: int) -> Recipe:
    """Return the recipe with the number of views, of `count` images, to keep behind frozen stages."""
    from resnetlab.training.stored_features import image_bytes, suggest_views

    training = recipe.training
    if training.mixup and training.frozen_views not in ("auto", 0):
        raise RecipeError(
            "training.frozen_views must be 0 with training.mixup: what is stored are maps of single "
            f"images. Got {training.frozen_views} instead"
        )
    if training.frozen_views != "auto":
        return recipe
    views = 0
    if classifier.frozen and training.start_size is None and not training.mixup:
        precision: Literal["fp32", "bf16"] = "bf16" if training.precision == "bf16" else "fp32"
        each = image_bytes(classifier, int(recipe.data.image_size), precision)
        views = suggest_views(training.epochs, each, count)
    return recipe.override({"training.frozen_views": views})


def settle_machine(recipe: Recipe) -> Recipe:
    """Return the recipe with device, precision and threads, tried out where they are left open."""
    from resnetlab.training.hardware.device import choose_device, choose_precision, choose_threads

    training = recipe.training
    device = choose_device(training.device)
    precision = choose_precision(training.precision, device)
    threads = choose_threads(training.threads, device, precision)
    return recipe.override(
        {
            "training.device": device,
            "training.precision": precision,
            "training.threads": threads,
        }
    )


def fill_in(recipe: Recipe, pretrained: bool) -> Recipe:
    """Settle the rest. `pretrained` says whether the network starts from published weights."""
    values: dict[str, Any] = {}
    recipe = settle_augment(recipe)
    if recipe.data.normalize == "auto":
        # Published networks expect ImageNet's; everything else may take the statistics at hand.
        values["data.normalize"] = "imagenet" if recipe.model.weights == "imagenet" else "train"
    if recipe.training.lr == "auto":
        values["training.lr"] = suggest_lr(recipe, pretrained)
    return recipe.override(values)


def suggest_lr(recipe: Recipe, pretrained: bool) -> float:
    """Return a customary rate: for SGD in proportion to the images a step, for Adam fixed.

    Source: Goyal et al. 2017, 0.1 for 256 images with ResNet-50; a tenth to fine-tune.
    """
    training = recipe.training
    if training.optimizer == "muon":
        return MUON_LR
    if training.optimizer != "sgd":
        return 1e-4 if pretrained else 1e-3
    return round((0.02 if pretrained else 0.2) * training.batch_size * training.accumulate / 256, 6)


def wants_published_weights(recipe: Recipe) -> bool:
    """Return whether 'auto' weights should be looked for: the stem and the size must fit them."""
    big = int(recipe.data.image_size) > SMALL_UP_TO_PX and recipe.model.stem != "small"
    return recipe.model.weights == "auto" and recipe.model.name.startswith("resnet") and big
