"""From DATA to a catalog, its pixels and what the audit found."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from resnetlab.data.audit.mirrored import look_mirrored
from resnetlab.data.audit.name_groups import name_groups
from resnetlab.data.audit.near_duplicates import near_duplicates
from resnetlab.data.audit.quarantine import NO_PAIRS, audit
from resnetlab.data.catalog import CATALOG_FILE, Catalog, objects
from resnetlab.data.defaults import resolve_data, settle_augment
from resnetlab.data.sources.source import read_source
from resnetlab.data.splits import folds, split, split_by_time, validate_on
from resnetlab.data.store.pixels import PixelStore, read_images, short_side_for
from resnetlab.errors import DataError
from resnetlab.recipe import Augment, Data, Recipe, largest_size
from resnetlab.system.allocator import keep_freed_memory
from resnetlab.system.files import cache_folder
from resnetlab.system.requirements import require_writable


@dataclass(frozen=True)
class Dataset:
    """A data set, read and audited: catalog, pixels, near-duplicates (rows, PAIR), resolved recipe.

    `near` is None where near-duplicates were not searched for.
    """

    name: str
    catalog: Catalog
    store: PixelStore
    near: np.ndarray | None
    recipe: Recipe


def read_data(data: Path, recipe: Recipe) -> Dataset:
    """List, read and audit the images; settle what the recipe leaves open about them."""
    return read_listed(name_of(data), *list_data(data, recipe))


def list_data(
    data: Path, recipe: Recipe, as_one: bool = False, split: str | None = None
) -> tuple[Catalog, Recipe]:
    """List the images without reading them; settle what the recipe leaves open about them.

    With `as_one`, splits that the data is divided into already are put together; with `split`, only that
    one is taken. Raises DataError where the data has no such split.
    """
    catalog = read_source(data, recipe.data)
    if split is not None:
        catalog = catalog.take(np.flatnonzero(catalog.split == split))
        if not len(catalog):
            raise DataError(
                f"{data}: is not divided into splits, or has none that is called {split}"
            )
    if as_one:
        catalog = catalog.with_columns(split=objects([""] * len(catalog)))
    return catalog, resolve_data(recipe, catalog)


def read_listed(name: str, catalog: Catalog, recipe: Recipe, as_one: bool = False) -> Dataset:
    """Read and audit the images of a catalog, by a recipe that `list_data` settled.

    With `as_one`, near-duplicates are not searched for: one split has no other to leak into.
    """
    settings = recipe.data
    catalog, store = read_pixels(catalog, recipe)
    catalog, recipe = settle_range(catalog, recipe, store)
    catalog, guessed = (catalog, None) if as_one else guess_groups(catalog, store, settings)
    near = None
    if settings.near_duplicates == "group" and not as_one:
        near = near_duplicates(catalog, store, int(settings.workers))
    rows = NO_PAIRS if near is None else np.stack([near["first"], near["second"]], axis=1)
    catalog = audit(catalog, settings, rows, guessed)
    if not as_one:
        catalog, recipe = settle_training_flip(catalog, recipe, store)
    return Dataset(name, catalog, store, near, recipe)


def guess_groups(
    catalog: Catalog, store: PixelStore, settings: Data
) -> tuple[Catalog, np.ndarray | None]:
    """Return the groups (N,) that names tell of, with a note in the catalog, or None.

    Groups that the user gives, by a column or a pattern, are not added to.
    """
    given = settings.group_pattern is not None or (catalog.group != np.arange(len(catalog))).any()
    if given or settings.name_groups == "ignore":
        return catalog, None
    found = name_groups(catalog, store)
    if found is None:
        return catalog, None
    notes = filter(None, (found.sentence, found.warning, *divided_groups(catalog, found.group)))
    return catalog.with_columns(notes=(*catalog.notes, *notes)), found.group


def divided_groups(catalog: Catalog, group: np.ndarray) -> Iterator[str]:
    """Give sentences on groups (N,) that the data's own splits divide: nobody declared them, so they stay."""
    trained = group[catalog.split == "train"]
    for part, name in (("val", "validation"), ("test", "test")):
        rows = np.flatnonzero(catalog.split == part)
        shared = rows[np.isin(group[rows], trained)]
        if len(shared):
            yield (
                f"{len(shared):,} of {len(rows):,} {name} images are of a group that training has images of too, the "
                f"first is {catalog.ids[shared[0]]}: figures on them flatter. The splits are the data's own and "
                "stay; put the images together and let resnetlab divide them"
            )


def read_pixels(catalog: Catalog, recipe: Recipe) -> tuple[Catalog, PixelStore]:
    """Decode the images of a catalog as a resolved recipe says."""
    require_writable(cache_folder(), "set RESNETLAB_CACHE to another folder")
    keep_freed_memory()
    settings = recipe.data
    return read_images(
        catalog,
        short_side_for(largest_size(recipe)),
        settings.max_pixels,
        int(settings.workers),
        settings.allow_truncated,
        settings.store,
        settings.value_range,
    )


def settle_range(catalog: Catalog, recipe: Recipe, store: PixelStore) -> tuple[Catalog, Recipe]:
    """Return the recipe with the scale of images of more than 8 bits, noted where it was found."""
    if store.value_range is None:
        return catalog, recipe.override({"data.value_range": None})
    low, high = store.value_range
    if recipe.data.value_range == "auto":
        note = (
            f"images of more than 8 bits: {low:g} becomes black and {high:g} white, for all of them and in "
            "prediction alike; another scale by --set data.value_range=[LOW,HIGH]"
        )
        catalog = catalog.with_columns(notes=(*catalog.notes, note))
    return catalog, recipe.override({"data.value_range": [low, high]})


def settle_training_flip(
    catalog: Catalog, recipe: Recipe, store: PixelStore
) -> tuple[Catalog, Recipe]:
    """Return the recipe in which it is settled whether training images are flipped, noted where not."""
    recipe = settle_augment(recipe)
    augment = recipe.data.augment
    if not isinstance(augment, Augment) or augment.flip != "auto":
        return catalog, recipe
    found = look_mirrored(catalog, store)
    if found is None or not found.differs:
        return catalog, recipe.override({"data.augment.flip": 0.5})
    note = (
        f"mirrored images look no longer like those of their class (of {found.as_is:.0%} of the images the most "
        f"similar one has the same class, of {found.flipped:.0%} where they are mirrored): training doesn't flip "
        "them; it does by --set data.augment.flip=0.5"
    )
    catalog = catalog.with_columns(notes=(*catalog.notes, note))
    return catalog, recipe.override({"data.augment.flip": 0.0})


def divide(catalog: Catalog, recipe: Recipe) -> Catalog:
    """Return the catalog with every sound sample in a split, as the recipe says."""
    settings = recipe.data
    fractions = settings.split
    if settings.folds:  # validation comes from the folds, of what the test split leaves
        fractions = (fractions[0] + fractions[1], 0.0, fractions[2])
    known = known_splits(settings.keep_split_of)
    if settings.time_pattern is not None:
        catalog = split_by_time(catalog, fractions, settings.time_pattern, known)
    else:
        catalog = split(catalog, fractions, recipe.seed, known)
    if not settings.folds:
        return catalog
    catalog = catalog.with_columns(
        fold=folds(catalog, settings.folds, recipe.seed, settings.repeat)
    )
    return validate_on(catalog, settings.fold)


def known_splits(run: str | None) -> dict[str, str]:
    """Return the split of each image (by content) in an earlier run."""
    if run is None:
        return {}
    file = Path(run) / CATALOG_FILE
    if not file.is_file():
        raise DataError(f"{run}: no run here (a run has a {CATALOG_FILE})")
    known = Catalog.load(file)
    return {known.sha256[row]: known.split[row] for row in known.rows("all")}


def name_of(data: Path) -> str:
    """Return what a data set is called: its folder's name, or its file's without the ending."""
    whole = data.resolve()
    return whole.name if whole.is_dir() else whole.name.split(".")[0].replace(":", "-")
