"""What 'auto' means for the images: their size, their augmentation, how they are kept."""

import os
import statistics
from typing import Any

from resnetlab.data.catalog import Catalog
from resnetlab.data.sources.reader import Reader
from resnetlab.data.store.decode import ImageProblem, peek_short_side
from resnetlab.data.store.format import choose_format
from resnetlab.data.store.pixels import short_side_for
from resnetlab.recipe import Recipe, largest_size

SMALL_UP_TO_PX = 64  # such images get the small stem and no random crop
PEEK = 200  # images whose size is looked at


def resolve_data(recipe: Recipe, catalog: Catalog) -> Recipe:
    """Settle what must be known before the images are read: the network's input size, threads."""
    values: dict[str, Any] = {}
    if recipe.data.image_size == "auto":
        values["data.image_size"] = suggest_image_size(peek_short_sides(catalog))
    if recipe.data.workers == "auto":
        values["data.workers"] = min(2, os.cpu_count() or 1)
    recipe = recipe.override(values)
    if recipe.data.store == "auto":
        store_format = choose_format(catalog, short_side_for(largest_size(recipe)))
        recipe = recipe.override({"data.store": store_format})
    return recipe


def settle_augment(recipe: Recipe) -> Recipe:
    """Return the recipe with an augmentation that suits the size of its images."""
    if recipe.data.augment != "auto":
        return recipe
    small = int(recipe.data.image_size) <= SMALL_UP_TO_PX
    return recipe.override({"data.augment": "small" if small else "photo"})


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
