"""A new training that begins with the network of a finished run."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from resnetlab.data.catalog import Catalog
from resnetlab.data.dataset import known_splits
from resnetlab.errors import DataError
from resnetlab.recipe import Recipe
from resnetlab.runs.run import Run, bundle_of, open_run
from resnetlab.runs.unfinished import lasting, require_trained
from resnetlab.system.progress import log

# Settings of the machine, which may be another one now.
OF_THE_MACHINE = (
    "data.store",
    "data.workers",
    "training.device",
    "training.feature_precision",
    "training.precision",
    "training.threads",
)


def recipe_from(folder: Path) -> Recipe:
    """Return the recipe of a new training that begins with the network of a finished run.

    Weights, head and preparation of the images are the run's, and so is each setting; images that
    it had stay in their splits. The optimiser begins anew. Raises DataError where there is no
    finished run, CheckpointError where it is damaged.
    """
    require_trained(Run(folder))
    run = open_run(folder)
    bundle_of(folder)
    recipe = run.recipe
    values: dict[str, Any] = dict.fromkeys((*OF_THE_MACHINE, "training.frozen_views"), "auto")
    values |= {
        "model.weights": lasting(folder),
        "model.head": "weights",
        "training.head_first": False,
        "data.normalize": "network",
        "data.keep_split_of": lasting(folder),
        "tuning": {},
    }
    if recipe.training.epochs == 0:
        values["training.epochs"] = "auto"  # of the run, the head alone had learned
    if recipe.data.folds:  # one of them validated, and goes on to
        train, val, test = recipe.data.split
        fold = (train + val) / recipe.data.folds
        values |= {"data.folds": None, "data.fold": 0, "data.repeat": 0}
        values["data.split"] = [train + val - fold, fold, test]
    return recipe.override(values)


def describe_start(recipe: Recipe, catalog: Catalog) -> str:
    """Return one line on the run that a training begins with: which of the classes it knows."""
    from resnetlab.models.head import known_classes

    known = known_classes(Path(recipe.model.weights))
    new = [name for name in catalog.classes if name not in known]
    gone = [name for name in known if name not in catalog.classes]
    text = f"begins with the network of {recipe.data.keep_split_of or recipe.model.weights}"
    text += f", which knows {len(known) - len(gone)} of the {len(catalog.classes)} classes"
    if new:
        text += f"; new: {', '.join(new[:5])}{', ...' if len(new) > 5 else ''}"
    if gone:
        text += (
            f"\nnote: it also knows {', '.join(gone[:5])}{', ...' if len(gone) > 5 else ''}, without "
            "an image here: the new network will not; DATA must hold the old images beside the new"
        )
    return text


def leave_out_seen(catalog: Catalog, recipe: Recipe) -> Catalog:
    """Return the catalog without images that are to measure, but taught the run whose weights are taken.

    So did those of the run whose weights that one began with, and so on. Raises DataError where they
    are more than a few, see `data.max_problem_frac`, or `data.leaks` says so.
    """
    teachers = list(runs_before(recipe))
    learned = {
        digest: run
        for run in teachers
        for digest, split in known_splits(str(run.folder)).items()
        if split == "train"
    }
    if learned and not any(digest in learned for digest in catalog.sha256):
        log(
            f"note: no image that taught {teachers[0].folder} is here: near-duplicates of one can't be "
            "told among those that measure"
        )
    measuring = np.concatenate([catalog.rows("val"), catalog.rows("test")])
    rows = [int(row) for row in measuring if catalog.sha256[row] in learned]
    if not rows:
        return catalog
    first = learned[catalog.sha256[rows[0]]].folder
    text = (
        f"{len(rows)} validation or test images, the first is {catalog.ids[rows[0]]}, taught {first}, "
        "whose weights this training begins with: they would flatter it"
    )
    few = len(rows) <= recipe.data.max_problem_frac * len(catalog)
    if recipe.data.leaks == "error" or not few:
        raise DataError(
            f"{text}. Keep its split (--set data.keep_split_of={shlex.quote(str(first))}), put them "
            "into the training split, or begin with other weights"
        )
    log(f"note: {text}, and are left out")
    problem = catalog.problem.copy()
    for row in rows:
        problem[row] = f"taught {learned[catalog.sha256[row]].folder}, whose weights are taken"
    return catalog.with_columns(problem=problem)


def runs_before(recipe: Recipe) -> Iterator[Run]:
    """Give the run whose weights a resolved recipe takes, the one whose weights that took, and so on."""
    seen: set[Path] = set()
    run = run_of_weights(recipe)
    while run is not None and run.folder not in seen:
        yield run
        seen.add(run.folder)
        run = run_of_weights(run.recipe)


def run_of_weights(recipe: Recipe) -> Run | None:
    """Return the run whose bundle the weights of a resolved recipe are; None where they are no run's."""
    run = Run(Path(recipe.model.weights).parent.parent)
    is_run = run.catalog_file.is_file() and (run.folder / "recipe.yaml").is_file()
    return run if is_run and Path(recipe.model.weights).parent == run.bundle else None
