"""From what a user has to a catalog, its pixels and what the audit thinks of them."""

import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from resnetlab.checks import require_writable
from resnetlab.data.audit import NO_PAIRS, audit
from resnetlab.data.catalog import Catalog, objects
from resnetlab.data.duplicates import near_duplicates
from resnetlab.data.pixels import PixelStore, read_pictures, short_side_for
from resnetlab.data.sources.source import read_source
from resnetlab.data.splits import folds, split, split_by_time, validate_on
from resnetlab.errors import DataError
from resnetlab.files import cache_folder
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


def read_data(data: Path, recipe: Recipe) -> Pictures:
    """List, read and audit the pictures; settle what the recipe leaves open about them."""
    return read_listed(name_of(data), *list_data(data, recipe))


def list_data(data: Path, recipe: Recipe, as_one: bool = False) -> tuple[Catalog, Recipe]:
    """List the pictures without reading them; settle what the recipe leaves open about them.

    With `as_one`, parts that the data is divided into already are put together.
    """
    catalog = read_source(data, recipe.data)
    if as_one:
        catalog = catalog.with_columns(split=objects([""] * len(catalog)))
    return catalog, resolve_data(recipe, catalog)


def read_listed(name: str, catalog: Catalog, recipe: Recipe, as_one: bool = False) -> Pictures:
    """Read and audit the pictures of a catalog, by a recipe that `list_data` settled.

    With `as_one`, altered copies are not searched: one part has no other to leak into.
    """
    settings = recipe.data
    catalog, store = read_pixels(catalog, recipe)
    near = None
    if settings.near_duplicates == "group" and not as_one:
        near = near_duplicates(catalog, store, int(settings.workers))
    rows = NO_PAIRS if near is None else np.stack([near["first"], near["second"]], axis=1)
    return Pictures(name, audit(catalog, settings, rows), store, near, recipe)


def read_pixels(catalog: Catalog, recipe: Recipe) -> tuple[Catalog, PixelStore]:
    """Decode the pictures of a catalog as a resolved recipe says."""
    require_writable(cache_folder(), "set RESNETLAB_CACHE to another folder")
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


def reopen_data(
    run: Run, recipe: Recipe, anyway: bool | None = False
) -> tuple[Catalog, PixelStore, list[str]]:
    """Return a run's catalog, its pixels, and what has changed of its pictures since it began.

    Raises DataError where anything has. With `anyway`, pictures of the training part that have are
    quarantined instead; those that are measured on must be what they were. None: nobody may say so.
    """
    before = Catalog.load(run.catalog_file)
    if not before.root.is_dir():
        raise DataError(f"{before.root}: is gone, with the pictures of {run.folder}; bring it back")
    found, store = read_pixels(before, recipe)
    lost = lost_rows(before, found)
    problem = before.problem.copy()
    for what, rows in lost.items():
        problem[rows] = f"{what} since the run began"
    catalog = before.with_columns(sha256=found.sha256, problem=problem)
    changes = describe_lost(before, lost)
    if changes:
        refuse_lost(before, catalog, changes, run, anyway)
    return catalog, store, changes


def lost_rows(before: Catalog, found: Catalog) -> dict[str, np.ndarray]:
    """Return the rows of usable pictures of a catalog that another finds 'changed' or 'gone'."""
    place = {path: row for row, path in enumerate(found.paths)}
    lost: dict[str, list[int]] = {"changed": [], "gone": []}
    for row in before.part("all"):
        other = place.get(before.paths[row])
        if other is None or found.problem[other].startswith("can't be read"):
            lost["gone"].append(row)
        elif found.sha256[other] != before.sha256[row]:
            lost["changed"].append(row)
    return {what: np.array(rows, dtype=np.int64) for what, rows in lost.items()}


def describe_lost(before: Catalog, lost: dict[str, np.ndarray]) -> list[str]:
    """Return '3 changed, the first is cat/1.jpg' and the like, nothing where nothing is lost."""
    return [
        f"{len(rows)} {what}, the first is {before.ids[rows[0]]}"
        for what, rows in lost.items()
        if len(rows)
    ]


def refuse_lost(
    before: Catalog, after: Catalog, changes: list[str], run: Run, anyway: bool | None
) -> None:
    """Raise DataError where a run can't go on without the pictures that `after` leaves out."""
    told = f"{before.root}: not the pictures with which {run.folder} began: {'; '.join(changes)}"
    if anyway is None:
        raise DataError(f"{told}; bring them back, or begin anew")
    for part, name in (("val", "validation"), ("test", "test")):
        missing = len(before.part(part)) - len(after.part(part))
        if missing:
            raise DataError(
                f"{told}; {missing} of them belong to the {name} part, which is measured on and must "
                "stay as it was: bring them back, or train anew"
            )
    if not anyway:
        raise DataError(
            f"{told}; bring them back, or go on without them: "
            f"resnetlab resume {shlex.quote(str(run.folder))} --anyway"
        )
    empty = np.flatnonzero((after.counts("train") == 0) & (before.counts("train") > 0))
    if len(empty):
        name = before.classes[empty[0]]
        raise DataError(f"{told}; class '{name}' has none left to train on: bring them back")


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
