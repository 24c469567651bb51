"""What 'auto' means: from a recipe, the pictures and the machine to a recipe with no 'auto' left."""

import os
import statistics
from pathlib import Path
from typing import Any

from resnetlab.data.catalog import Catalog
from resnetlab.data.decode import PictureProblem, peek_short_side
from resnetlab.data.sources.reader import Reader
from resnetlab.errors import DataError, MachineError
from resnetlab.progress import say
from resnetlab.recipe import Recipe

SMALL_UP_TO_PX = 64  # such pictures get the small stem and no random crop
PEEK = 200  # pictures whose size is looked at


def resolve_data(recipe: Recipe, catalog: Catalog) -> Recipe:
    """Settle what must be known before the pictures are read: the network's input size, threads."""
    values: dict[str, Any] = {}
    if recipe.data.image_size == "auto":
        values["data.image_size"] = suggest_image_size(peek_short_sides(catalog))
    if recipe.data.workers == "auto":
        values["data.workers"] = min(2, os.cpu_count() or 1)
    return recipe.override(values)


def resolve_training(recipe: Recipe, num_classes: int) -> Recipe:
    """Return the recipe with no 'auto' left, and network and weights known to be there."""
    from resnetlab.models import build
    from resnetlab.models.pretrained import load_weights
    from resnetlab.models.resnet import ResNet
    from resnetlab.training.hardware import choose_device, choose_precision

    weights = recipe.model.weights
    if Path(weights).is_dir():
        weights = str((bundle_of(Path(weights)) / "model.safetensors").resolve())
    if weights == "auto":
        weights = "imagenet" if wants_published_weights(recipe) else "none"
    classifier = build(
        recipe.model.name, num_classes, int(recipe.data.image_size), recipe.model.stem
    )
    if weights != "none":
        try:
            load_weights(classifier, weights, recipe.model.name)
        except MachineError as error:
            if recipe.model.weights != "auto":
                raise
            say(f"note: training from scratch, which needs far more pictures and time. {error}")
            weights = "none"
    values = {"model.weights": weights}
    if isinstance(classifier.backbone, ResNet):
        values["model.stem"] = classifier.backbone.stem
    recipe = recipe.override(values)
    device = choose_device(recipe.training.device)
    precision = choose_precision(recipe.training.precision, device)
    return fill_in(recipe, weights != "none", device, precision)


def fill_in(recipe: Recipe, pretrained: bool, device: str, precision: str) -> Recipe:
    """Settle the rest. `pretrained` says whether the network starts from published weights."""
    values: dict[str, Any] = {"training.device": device, "training.precision": precision}
    recipe = settle_augment(recipe)
    if recipe.data.normalize == "auto":
        # Published networks expect ImageNet's; everything else may take the statistics at hand.
        values["data.normalize"] = "imagenet" if recipe.model.weights == "imagenet" else "train"
    if recipe.training.lr == "auto":
        values["training.lr"] = suggest_rate(recipe, pretrained)
    return recipe.override(values)


def settle_augment(recipe: Recipe) -> Recipe:
    """Return the recipe with an augmentation that suits the size of its pictures."""
    if recipe.data.augment != "auto":
        return recipe
    small = int(recipe.data.image_size) <= SMALL_UP_TO_PX
    return recipe.override({"data.augment": "small" if small else "photo"})


def suggest_rate(recipe: Recipe, pretrained: bool) -> float:
    """Return a customary rate: for SGD in proportion to the pictures a step, for Adam fixed.

    Source: Goyal et al. 2017, 0.1 for 256 pictures with ResNet-50; a tenth to fine-tune.
    """
    training = recipe.training
    if training.optimizer != "sgd":
        return 1e-4 if pretrained else 1e-3
    return round((0.02 if pretrained else 0.2) * training.batch_size * training.accumulate / 256, 6)


def wants_published_weights(recipe: Recipe) -> bool:
    """Return whether 'auto' weights should be looked for: the stem and the size must fit them."""
    big = int(recipe.data.image_size) > SMALL_UP_TO_PX and recipe.model.stem != "small"
    return recipe.model.weights == "auto" and recipe.model.name.startswith("resnet") and big


def suggest_image_size(short_side: float) -> int:
    """Return the network's input size (px) for pictures of this typical shorter side.

    Small pictures as they are (at least 32, below which a ResNet has nothing left to pool), large
    ones at the customary 224, in between to the nearest multiple of 32.
    """
    if short_side <= SMALL_UP_TO_PX:
        return max(32, round(short_side))
    return min(224, 32 * round(short_side / 32))


def peek_short_sides(catalog: Catalog) -> float:
    """Return the median shorter side (px) of some pictures, spread over the catalog; headers only."""
    step = max(1, len(catalog) // PEEK)
    read = Reader(catalog.root)
    sides = []
    for path in catalog.paths[::step]:
        try:
            sides.append(peek_short_side(read(path)))
        except (OSError, PictureProblem):
            continue  # the audit will say what is wrong with it
    return statistics.median(sides) if sides else 224.0


def bundle_of(folder: Path) -> Path:
    """Return the bundle in a run's folder, or the folder itself where it is a bundle."""
    if (folder / "model.json").is_file():
        return folder
    if (folder / "bundle" / "model.json").is_file():
        return folder / "bundle"
    raise DataError(
        f"{folder}: neither a bundle (model.json) nor a finished run (bundle/model.json)"
    )
