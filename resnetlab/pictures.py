"""From what a user has to a catalog, its pixels and what the audit thinks of them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from resnetlab.data.audit import NO_PAIRS, audit
from resnetlab.data.catalog import Catalog, objects
from resnetlab.data.duplicates import near_duplicates
from resnetlab.data.pixels import PixelStore, read_pictures, short_side_for
from resnetlab.data.sources.source import read_source
from resnetlab.data.splits import folds, split, split_by_time, validate_on
from resnetlab.errors import DataError
from resnetlab.memory import keep_freed_memory
from resnetlab.recipe import Recipe, largest_size
from resnetlab.resolve import resolve_data
from resnetlab.run import Run, open_run


@dataclass(frozen=True)
class Pictures:
    """A data set, read and audited: catalog, pixels, altered copies (rows, PAIR), resolved recipe.

    `near` is None where altered copies were not searched.
    """

    name: str
    catalog: Catalog
    store: PixelStore
    near: np.ndarray | None
    recipe: Recipe


def read_data(data: Path, recipe: Recipe, as_one: bool = False) -> Pictures:
    """List, read and audit the pictures; settle what the recipe leaves open about them.

    With `as_one`, parts that the data is divided into already are put together.
    """
    catalog = read_source(data, recipe.data)
    if as_one:
        catalog = catalog.with_columns(split=objects([""] * len(catalog)))
    recipe = resolve_data(recipe, catalog)
    settings = recipe.data
    catalog, store = read_pixels(catalog, recipe)
    near = None
    if settings.near_duplicates == "group" and not as_one:  # one part has no other to leak into
        near = near_duplicates(catalog, store, int(settings.workers))
    rows = NO_PAIRS if near is None else np.stack([near["first"], near["second"]], axis=1)
    return Pictures(name_of(data), audit(catalog, settings, rows), store, near, recipe)


def read_pixels(catalog: Catalog, recipe: Recipe) -> tuple[Catalog, PixelStore]:
    """Decode the pictures of a catalog as a resolved recipe says."""
    keep_freed_memory()
    settings = recipe.data
    return read_pictures(
        catalog,
        short_side_for(largest_size(recipe)),
        settings.max_pixels,
        int(settings.workers),
        settings.allow_truncated,
        settings.store,
    )


def reopen_data(run: Run) -> tuple[Catalog, PixelStore]:
    """Return a run's catalog and its pixels. Raises DataError where a picture is not what it was."""
    catalog = Catalog.load(run.catalog_file)
    found, store = read_pixels(catalog, run.recipe)
    changed = np.flatnonzero(found.sha256 != catalog.sha256)
    if len(changed):
        raise DataError(
            f"{catalog.root}: {len(changed)} pictures have changed or gone since this run began, "
            f"the first is {catalog.ids[changed[0]]}; bring them back, or train anew"
        )
    return catalog, store


def divide(catalog: Catalog, recipe: Recipe) -> Catalog:
    """Return the catalog with every sound sample in a part, as the recipe says."""
    settings = recipe.data
    fractions = settings.split
    if settings.folds:  # validation comes from the folds, of what the test part leaves
        fractions = (fractions[0] + fractions[1], 0.0, fractions[2])
    if settings.time_pattern is not None:
        catalog = split_by_time(catalog, fractions, settings.time_pattern)
    else:
        catalog = split(catalog, fractions, recipe.seed, known_parts(settings.keep_split_of))
    if not settings.folds:
        return catalog
    catalog = catalog.with_columns(
        fold=folds(catalog, settings.folds, recipe.seed, settings.repeat)
    )
    return validate_on(catalog, settings.fold)


def known_parts(run: str | None) -> dict[str, str]:
    """Return the part of each picture (by content) in an earlier run."""
    if run is None:
        return {}
    known = Catalog.load(open_run(Path(run)).catalog_file)
    return {known.sha256[row]: known.split[row] for row in known.part("all")}


def name_of(data: Path) -> str:
    """Return what a data set is called: its folder's name, or its file's without the ending."""
    whole = data.resolve()
    return whole.name if whole.is_dir() else whole.name.split(".")[0].replace(":", "-")
