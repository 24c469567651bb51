"""The images of a run opened again, and what has changed in them since it began."""

import shlex

import numpy as np

from resnetlab.data.catalog import Catalog
from resnetlab.data.dataset import read_pixels
from resnetlab.data.store.pixels import PixelStore
from resnetlab.errors import DataError
from resnetlab.recipe import Recipe
from resnetlab.runs.run import Run


def reopen_data(
    run: Run, recipe: Recipe, anyway: bool | None = False
) -> tuple[Catalog, PixelStore, list[str]]:
    """Return a run's catalog, its pixels, and what has changed in its images since it began.

    Raises DataError where anything has. With `anyway`, changed images of the training split are
    quarantined instead; validation and test images must be what they were. None: --anyway is not
    offered.
    """
    before = Catalog.load(run.catalog_file)
    if not before.root.is_dir():
        raise DataError(f"{before.root}: is gone, with the images of {run.folder}; bring it back")
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
    """Return the rows of usable images of a catalog that another finds 'changed' or 'gone'."""
    row_of = {path: row for row, path in enumerate(found.paths)}
    lost: dict[str, list[int]] = {"changed": [], "gone": []}
    for row in before.rows("all"):
        other = row_of.get(before.paths[row])
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
    """Raise DataError where a run can't go on without the images that `after` leaves out."""
    message = f"{before.root}: not the images with which {run.folder} began: {'; '.join(changes)}"
    if anyway is None:
        raise DataError(f"{message}; bring them back, or begin anew")
    for split, name in (("val", "validation"), ("test", "test")):
        missing = len(before.rows(split)) - len(after.rows(split))
        if missing:
            raise DataError(
                f"{message}; {missing} of them belong to the {name} split, which is measured on and must "
                "stay as it was: bring them back, or train anew"
            )
    if not anyway:
        raise DataError(
            f"{message}; bring them back, or go on without them: "
            f"resnetlab resume {shlex.quote(str(run.folder))} --anyway"
        )
    empty = np.flatnonzero((after.counts("train") == 0) & (before.counts("train") > 0))
    if len(empty):
        name = before.classes[empty[0]]
        raise DataError(f"{message}; class '{name}' has none left to train on: bring them back")
