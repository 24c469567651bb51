"""One trial: a fresh network trained on each fold with the same settings, and its predictions."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from resnetlab.data.batches import samples_of
from resnetlab.data.catalog import Catalog
from resnetlab.data.splits import folds, validate_on
from resnetlab.data.store.pixels import PixelStore
from resnetlab.evaluation.predictions import Predictions
from resnetlab.models.classifier import Classifier
from resnetlab.recipe import Recipe
from resnetlab.runs.trackers import tracker_of
from resnetlab.training.checkpoint import load_checkpoint
from resnetlab.training.hardware.device import make_fabric
from resnetlab.training.head import loosen_head
from resnetlab.training.history import History, best_epoch, read_history
from resnetlab.training.initial import initial_classifier
from resnetlab.training.inputs import plain_view
from resnetlab.training.loop import fit
from resnetlab.training.optim.average import make_average
from resnetlab.training.predict import predict

PREDICTIONS = "predictions.parquet"


@dataclass(frozen=True)
class Fold:
    """One fold of the images validates while the others train; the same for every trial."""

    index: int  # from 0, through all repeats
    catalog: Catalog
    seed: int  # of the training


def make_folds(catalog: Catalog, recipe: Recipe) -> list[Fold]:
    """Return the folds of a catalog whose test split is settled, in the order they are trained.

    Each repeat has other folds and trains with the next seed. With one fold, every repeat validates
    on the catalog's validation split.
    """
    tuning = recipe.tuning
    found: list[Fold] = []
    for repeat in range(tuning.repeats):
        seed = recipe.seed + repeat
        dealt = [catalog]
        if tuning.folds > 1:
            assigned = catalog.with_columns(fold=folds(catalog, tuning.folds, recipe.seed, repeat))
            dealt = [validate_on(assigned, fold) for fold in range(tuning.folds)]
        found += [Fold(len(found) + i, each, seed) for i, each in enumerate(dealt)]
    return found


def train_fold(
    fold: Fold,
    store: PixelStore,
    recipe: Recipe,
    folder: Path,
    on_epoch_end: Callable[[History, str], None],
    name: str,
) -> History:
    """Train a fresh network on one fold, or go on with it; return the history, `fold` in each row.

    Writes the predictions for the fold's validation split, after which the checkpoints are removed.
    `on_epoch_end` and `name` are as in `fit`. Raises DivergedError, StoppedError.
    """
    if (folder / PREDICTIONS).is_file():
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        return with_fold(read_history(folder / "history.csv"), fold)
    recipe = recipe.override({"seed": fold.seed})
    training, catalog = recipe.training, fold.catalog
    classifier = initial_classifier(recipe, catalog, store)
    fabric = make_fabric(str(training.device), str(training.precision), int(training.threads))
    train, val = (samples_of(catalog, store, split) for split in ("train", "val"))
    if training.head_first and not (folder / "checkpoints" / "last.safetensors").is_file():
        loosen_head(classifier, train, recipe)
    history = fit(
        fabric, classifier, train, val, catalog.classes, recipe, folder, on_epoch_end, name
    )
    if tracker := tracker_of(recipe, folder, name):
        tracker.tell_result()
    load_scored(classifier, recipe, folder / "checkpoints")
    workers = int(recipe.data.workers)
    found = predict(classifier, val, plain_view(recipe), catalog.classes, fold.seed, workers)
    columns = found.ids, found.labels, found.logits, found.classes
    Predictions.make(*columns, fold=fold.index, seed=fold.seed).save(folder / PREDICTIONS)
    shutil.rmtree(folder / "checkpoints")
    return with_fold(history, fold)


def load_scored(classifier: Classifier, recipe: Recipe, checkpoints: Path) -> None:
    """Load the weights of the epoch that counts, see `score_of`."""
    training = recipe.training
    if training.patience is not None:
        load_checkpoint(checkpoints / "best.safetensors", classifier)
        return
    average = make_average(classifier, training)
    load_checkpoint(checkpoints / "last.safetensors", classifier, None, average)
    if average is not None:
        average.settle()


def score_of(history: Sequence[dict[str, Any]], recipe: Recipe) -> float:
    """Return the score of a training on one fold, as the recipe's monitor measures it.

    It is the last epoch's: to take the best of many would flatter every setting. Where patience ends
    trainings early, the best epoch is what they give, and counts.
    """
    return float(row_of(history, recipe)[f"val_{recipe.training.monitor}"])


def row_of(history: Sequence[dict[str, Any]], recipe: Recipe) -> dict[str, Any]:
    """Return the epoch of a training that counts."""
    if recipe.training.patience is None:
        return history[-1]
    return history[best_epoch(history, recipe.training.monitor) - 1]


def with_fold(history: Sequence[dict[str, Any]], fold: Fold) -> History:
    """Return a history whose rows name their fold."""
    return [row | {"fold": fold.index} for row in history]


def out_of_fold(folders: Sequence[Path]) -> Predictions:
    """Return the predictions of several folds of one repeat as one table."""
    tables = [Predictions.load(folder / PREDICTIONS) for folder in folders]
    return Predictions(
        ids=np.concatenate([table.ids for table in tables]),
        labels=np.concatenate([table.labels for table in tables]),
        logits=np.concatenate([table.logits for table in tables]),
        classes=tables[0].classes,
        fold=np.concatenate([table.fold for table in tables]),
        seed=np.concatenate([table.seed for table in tables]),
    )
