"""Verbs on data alone: look at it, make some, augment it, see what is kept of it."""

import time
from pathlib import Path
from typing import Any

from resnetlab.data.augment.offline import SOURCES_FILE, begin, write_copies
from resnetlab.data.batches import View, samples_of
from resnetlab.data.catalog import Catalog
from resnetlab.data.dataset import list_data, name_of, read_data
from resnetlab.data.defaults import settle_augment
from resnetlab.data.description import describe_dataset, plan_splits
from resnetlab.data.sources.layout.names import parse
from resnetlab.data.sources.made import MADE_SETS, write_made_set
from resnetlab.data.sources.tables.write import write_label_table
from resnetlab.errors import DataError, RecipeError
from resnetlab.recipe import Augment, Recipe, did_you_mean, validate
from resnetlab.report.inspection import write_inspection
from resnetlab.runs.reopen import describe_lost, lost_rows
from resnetlab.runs.run import Run
from resnetlab.runs.unfinished import FILE, lasting, unfinished
from resnetlab.system.cache import Entry, entries, remove, surplus
from resnetlab.system.files import cache_folder
from resnetlab.system.progress import log
from resnetlab.system.requirements import require_outside, require_writable
from resnetlab.workflows.evidence.labels import corrected
from resnetlab.workflows.steps import read_and_say


def inspect(
    data: Path,
    recipe: Recipe | None = None,
    out: Path | None = None,
    fix: Path | None = None,
    corrections: Path | None = None,
) -> dict[str, Any]:
    """Audit a data set and return what was found; with `out`, write images and a page there.

    With `fix`, write a label table of what can be trusted, to train from: its images are DATA;
    labels are those of the table `corrections` where a person filled one in, see `label_errors`.
    Raises DataError where the data can't be used at all.
    """
    if corrections is not None and fix is None:
        raise RecipeError("--corrections need --fix: the label table that they go into")
    for folder in (out, fix and fix.parent):
        if folder is not None:
            require_writable(folder)
    dataset = read_data(data, recipe or Recipe())
    findings = describe_dataset(dataset, "all") | {"planned": plan_splits(dataset)}
    if out is not None:
        write_inspection(out, findings, dataset)
    if fix is not None:
        catalog = dataset.catalog
        if corrections is not None:
            catalog = corrected(catalog, corrections)
        findings["fixed"] = str(write_label_table(fix, catalog))
    return findings


def make(name: str, out: Path, count: int, seed: int = 0, apart: bool = False) -> None:
    """Write a made set of images into a new folder, see `write_made_set`.

    Raises RecipeError for a name that is none.
    """
    if name not in MADE_SETS:
        raise RecipeError(
            f"there is no made set '{name}' (there are: {', '.join(MADE_SETS)}){did_you_mean(name, MADE_SETS)}"
        )
    require_writable(out)
    write_made_set(name, out, count, seed, apart)


def augment(data: Path, out: Path, copies: int = 1, recipe: Recipe | None = None) -> int:
    """Write the training images and `copies` variations of each as files; return how many files.

    Where DATA is divided into splits, the training split alone. A call that was cut off goes on.
    Raises DataError for a test or validation folder, or where images have changed since `out` was
    begun, MachineError where `out` can't be used.
    """
    name = parse(data.resolve().name)
    if name.kind in ("val", "test") and not name.rest:
        raise DataError(
            f"{data}: is a {name.kind} split by its name; what a model is measured on must stay as it is"
        )
    require_outside(out, data)
    require_writable(out, "choose another folder")
    catalog, recipe = list_data(data, recipe or Recipe())
    recipe = settle_augment(recipe)
    assert isinstance(recipe.data.augment, Augment), "it was settled"
    view = View(int(recipe.data.image_size), recipe.data.fit, recipe.data.augment, recipe.seed)
    begin(out, view, copies)
    arguments = {
        "data": lasting(data),
        "copies": copies,
        "recipe": recipe.model_dump(mode="json"),
    }
    with Run(out).held(), unfinished(out, "augment", **arguments):
        dataset = read_and_say(name_of(data), catalog, recipe)
        keep_sources(out / SOURCES_FILE, dataset.catalog)
        split = "train" if (dataset.catalog.split != "").any() else "all"
        if split == "train":
            log("note: only the training split is augmented; what is measured on stays as it is")
        samples = samples_of(dataset.catalog, dataset.store, split)
        classes, workers = dataset.catalog.classes, int(recipe.data.workers)
        return write_copies(samples, classes, view, copies, out, workers)


def go_on_augmenting(folder: Path, arguments: dict[str, Any]) -> None:
    """Write the copies that are missing; of images that have changed, none are ever mixed in."""
    recipe = validate(arguments["recipe"], str(folder / FILE))
    augment(Path(arguments["data"]), folder, arguments["copies"], recipe)


def keep_sources(file: Path, catalog: Catalog) -> None:
    """Keep which images copies are made of. Raises DataError where earlier ones were of others."""
    if file.is_file():
        before = Catalog.load(file)
        changes = describe_lost(before, lost_rows(before, catalog))
        if changes:
            raise DataError(
                f"{catalog.root}: not the images with which {file.parent} was begun: "
                f"{'; '.join(changes)}; bring them back, or choose a new folder for the copies"
            )
    catalog.save(file)


def cache(
    older_than_s: float | None = None, max_bytes: float | None = None
) -> tuple[list[Entry], list[Entry]]:
    """Return what stays in the cache and what was removed, the least recently used first.

    Removed are decoded images and features last used more than `older_than_s` seconds ago, and of
    the others the least recently used until `max_bytes` are left; never what is in use. All of it is
    made again where it is needed. Raises MachineError where the folder can't be read.
    """
    found = entries(cache_folder())
    since = None if older_than_s is None else time.time() - older_than_s
    removed = [each for each in surplus(found, since, max_bytes) if remove(each.base)]
    return [each for each in found if each not in removed], removed
