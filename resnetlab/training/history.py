"""What each epoch brought: one row an epoch, from which best, patience and plateaus are derived."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from resnetlab.recipe import Training
from resnetlab.system.files import read_csv, write_csv

COLUMNS = (
    "epoch",  # from 1
    "fold",  # -1 where there are none
    "lr",  # at the middle of the epoch
    "train_loss",  # cross-entropy over the augmented images while learning
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "val_balanced_accuracy",
    "val_macro_f1",
)
OPTIONAL = ("threads",)  # that computed the epoch, where the recipe lets them change
History = list[dict[str, Any]]


def scores(history: Sequence[dict[str, Any]], monitor: str) -> list[float]:
    """Return one score an epoch, higher is better; without validation, later is better."""
    if not history or history[0]["val_loss"] is None:
        return [float(row["epoch"]) for row in history]
    sign = -1.0 if monitor == "loss" else 1.0
    return [sign * row[f"val_{monitor}"] for row in history]


def plateau_scores(history: Sequence[dict[str, Any]], monitor: str) -> list[float]:
    """Return the scores by which the plateau schedule goes; without validation, the training loss."""
    if not history or history[0]["val_loss"] is None:
        return [-row["train_loss"] for row in history]
    return scores(history, monitor)


def best_epoch(history: Sequence[dict[str, Any]], monitor: str) -> int:
    """Return the epoch (from 1) with the best score; of equal ones the last, whose learning rate is lower.

    Few validation images have few scores: an early epoch soon has the same by luck.
    """
    values = scores(history, monitor)
    return len(values) - values[::-1].index(max(values))


def kept_epoch(history: Sequence[dict[str, Any]], training: Training, images: int) -> int:
    """Return the epoch (from 1) whose weights are handed over, by scores on so many validation images.

    It is the last that is within one standard error of the best: what so few images can't tell apart
    is luck, and later epochs have learned more, at a lower rate (docs/experiments.md). With patience, or by the
    loss, it is the best. Source of the rule, for sizes of trees: Breiman et al. 1984, 'Classification and
    Regression Trees', 3.4.3.
    """
    best = best_epoch(history, training.monitor)
    if training.monitor == "loss" or training.patience is not None or not images:
        return best
    values = scores(history, training.monitor)
    share = values[best - 1]
    least = share - math.sqrt(share * (1 - share) / images)
    return max(epoch for epoch, value in enumerate(values, start=1) if value >= least)


def out_of_patience(history: Sequence[dict[str, Any]], monitor: str, patience: int | None) -> bool:
    """Return whether the last `patience` epochs brought no new best."""
    if patience is None or not history:
        return False
    values = scores(history, monitor)
    return len(values) - 1 - values.index(max(values)) >= patience


def write_history(folder: Path, history: Sequence[dict[str, Any]]) -> None:
    """Write history.csv anew, whole."""
    columns = [*COLUMNS, *(name for name in OPTIONAL if name in history[-1])]
    rows = [["" if row[name] is None else row[name] for name in columns] for row in history]
    write_csv(folder / "history.csv", columns, rows)


def read_history(path: Path) -> History:
    """Read history.csv back into numbers; what was not measured is None."""
    whole = {"epoch", "fold", "threads"}
    return [
        {
            name: (int(text) if name in whole else float(text)) if text else None
            for name, text in row.items()
        }
        for row in read_csv(path)
    ]
