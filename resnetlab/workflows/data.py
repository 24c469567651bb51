"""Verbs on data alone: look at it, make some, augment it."""

from pathlib import Path
from typing import Any

from resnetlab.checks import require_writable
from resnetlab.data.batches import View, samples_of
from resnetlab.data.offline import write_copies
from resnetlab.data.sources.folder import SPLIT_NAMES
from resnetlab.data.sources.made import write_digit_sum
from resnetlab.data.sources.table import write_label_table
from resnetlab.errors import DataError, MachineError, RecipeError
from resnetlab.inspection import describe_pictures, plan_parts, write_inspection
from resnetlab.pictures import read_data
from resnetlab.progress import say
from resnetlab.recipe import Augment, Recipe, did_you_mean
from resnetlab.resolve import settle_augment

MADE_SETS = {"digit-sum": write_digit_sum}


def inspect(
    data: Path, recipe: Recipe | None = None, out: Path | None = None, fix: Path | None = None
) -> dict[str, Any]:
    """Audit a data set and return what was found; with `out`, write pictures and a page there.

    With `fix`, write a label table of what can be trusted, to train from: its pictures are DATA.
    Raises DataError where the data can't be used at all.
    """
    for folder in (out, fix and fix.parent):
        if folder is not None:
            require_writable(folder)
    pictures = read_data(data, recipe or Recipe())
    findings = describe_pictures(pictures, "all") | {"planned": plan_parts(pictures)}
    if out is not None:
        write_inspection(out, findings, pictures)
    if fix is not None:
        findings["fixed"] = str(write_label_table(fix, pictures.catalog))
    return findings


def make(name: str, out: Path, count: int, seed: int = 0) -> None:
    """Write a made set of pictures into a new folder. Raises RecipeError for a name that is none."""
    if name not in MADE_SETS:
        raise RecipeError(
            f"there is no made set '{name}' (there are: {', '.join(MADE_SETS)}){did_you_mean(name, MADE_SETS)}"
        )
    require_writable(out)
    MADE_SETS[name](out, count, seed)


def augment(data: Path, out: Path, copies: int = 1, recipe: Recipe | None = None) -> int:
    """Write the training pictures and `copies` variations of each as files; return how many files.

    Where DATA is divided into parts, the training part alone. A call that was cut off goes on.
    Raises DataError for a test or validation folder, MachineError where `out` can't be used.
    """
    name = data.resolve().name.lower()
    if SPLIT_NAMES.get(name, "train") != "train":
        raise DataError(
            f"{data}: is a {SPLIT_NAMES[name]} part by its name; what a model is measured on must stay as it is"
        )
    if out.resolve().is_relative_to(data.resolve()):
        raise MachineError(
            f"{out}: lies inside the data, which stays as it is; choose another folder"
        )
    require_writable(out)
    pictures = read_data(data, recipe or Recipe())
    recipe = settle_augment(pictures.recipe)
    part = "train" if (pictures.catalog.split != "").any() else "all"
    if part == "train":
        say("note: only the training part is augmented; what a model is measured on stays as it is")
    samples = samples_of(pictures.catalog, pictures.store, part)
    assert isinstance(recipe.data.augment, Augment), "it was settled"
    view = View(int(recipe.data.image_size), recipe.data.fit, recipe.data.augment, recipe.seed)
    classes, workers = pictures.catalog.classes, int(recipe.data.workers)
    return write_copies(samples, classes, view, copies, out, workers)
