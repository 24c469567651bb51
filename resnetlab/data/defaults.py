"""What 'auto' means for the images: their size, their augmentation, how they are kept."""

import os
import statistics
from pathlib import Path
from typing import Any

from resnetlab.data.catalog import Catalog
from resnetlab.data.sources.layout.file_names import AUTO, usual_pattern
from resnetlab.data.sources.reader import Reader
from resnetlab.data.store.decode import ImageProblem, peek_short_side
from resnetlab.data.store.format import choose_format
from resnetlab.data.store.pixels import short_side_for
from resnetlab.recipe import Recipe, largest_size

DEFAULT_NETWORK = "tf_efficientnet_lite0"  # its ImageNet weights come as a package
SMALLEST_TRANSFER_PX = 128  # smaller images are enlarged for it
SMALL_UP_TO_PX = 64  # such images get the small stem and no random crop
PEEK = 200  # images whose size is looked at
WORDS = ("auto", "none", "imagenet")  # of model.weights, even where a folder is called so


def resolve_data(recipe: Recipe, catalog: Catalog) -> Recipe:
    """Settle what must be known before the images are read: the network's input size, threads."""
    values = lasting_paths(recipe)
    if recipe.data.label_pattern == AUTO:
        values["data.label_pattern"] = usual_pattern(catalog.ids[catalog.may_train].tolist())
    recipe = name_network(recipe)
    if recipe.data.image_size == "auto":
        short_side = peek_short_sides(catalog)
        if recipe.model.name == DEFAULT_NETWORK and recipe.model.weights != "none":
            values |= transfer_sizes(recipe, short_side)
        else:
            values["data.image_size"] = suggest_image_size(short_side)
    if recipe.data.workers == "auto":
        values["data.workers"] = min(2, os.cpu_count() or 1)
    recipe = recipe.override(values)
    if recipe.data.store == "auto":
        store_format = choose_format(catalog, short_side_for(largest_size(recipe)))
        recipe = recipe.override({"data.store": store_format})
    return recipe


def lasting_paths(recipe: Recipe) -> dict[str, Any]:
    """Return the paths of a recipe that are relative as they hold wherever it is read again."""
    paths = {"data.images": recipe.data.images, "data.keep_split_of": recipe.data.keep_split_of}
    found: dict[str, Any] = {
        key: os.path.abspath(path)  # noqa: PTH100 (without '..')
        for key, path in paths.items()
        if path is not None
    }
    # A further source may also be a name, such as hf:NAME.
    more = [
        str(Path(each).absolute()) if Path(each).exists() else each for each in recipe.data.more
    ]
    if more:
        found["data.more"] = more
    # So may weights.
    model = recipe.model
    for key, name in (
        ("model.weights", model.weights),
        ("model.lora.adapters", model.lora.adapters),
    ):
        if name and name not in WORDS and Path(name).exists():
            found[key] = str(Path(name).absolute())
    return found


def settle_augment(recipe: Recipe) -> Recipe:
    """Return the recipe with an augmentation that suits the size of its images."""
    if recipe.data.augment != "auto":
        return recipe
    small = int(recipe.data.image_size) <= SMALL_UP_TO_PX
    return recipe.override({"data.augment": "small" if small else "photo"})


def name_network(recipe: Recipe) -> Recipe:
    """Return the recipe with its network named: by default the one whose weights are always at hand."""
    if recipe.model.name != "auto":
        return recipe
    if recipe.model.candidates:
        return recipe.override({"model.name": recipe.model.candidates[0]})
    transfer = recipe.model.weights in ("auto", "imagenet")
    return recipe.override({"model.name": DEFAULT_NETWORK if transfer else "resnet50"})


def transfer_sizes(recipe: Recipe, short_side: float) -> dict[str, int]:
    """Return the input sizes (px) of the default network, for images of this typical shorter side.

    It was made for 224 px; training on less costs less, and enlarged objects in crops make up for
    it (Touvron et al. 2019, 'Fixing the train-test resolution discrepancy').
    """
    size = int(min(224, max(SMALLEST_TRANSFER_PX, 32 * round(short_side / 32))))
    if size < 224 or recipe.evaluation.image_size is not None:
        return {"data.image_size": size}
    return {"data.image_size": 192, "evaluation.image_size": 224}


def suggest_image_size(short_side: float) -> int:
    """Return the network's input size (px) for images of this typical shorter side.

    Small images as they are (at least 32, below which a ResNet has nothing left to pool), large
    ones at the customary 224, in between to the nearest multiple of 32.
    """
    if short_side <= SMALL_UP_TO_PX:
        return max(32, round(short_side))
    return min(224, 32 * round(short_side / 32))


def peek_short_sides(catalog: Catalog) -> float:
    """Return the median shorter side (px) of some images, spread over the catalog; headers only."""
    step = max(1, len(catalog) // PEEK)
    read = Reader(catalog.root)
    sides = []
    for path in catalog.paths[::step]:
        try:
            sides.append(peek_short_side(read(path)))
        except (OSError, ImageProblem):
            continue  # the audit will say what is wrong with it
    return statistics.median(sides) if sides else 224.0
