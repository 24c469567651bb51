"""What each epoch brought: one row an epoch, from which best, patience and plateaus are derived."""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from resnetlab.errors import MachineError
from resnetlab.system.files import read_csv, whole, write_csv

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
NO_CURVES = {"epoch", "fold"}
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
    """Return the first epoch (from 1) with the best score."""
    values = scores(history, monitor)
    return 1 + values.index(max(values))


def out_of_patience(history: Sequence[dict[str, Any]], monitor: str, patience: int | None) -> bool:
    """Return whether the last `patience` epochs brought no new best."""
    if patience is None or not history:
        return False
    return len(history) - best_epoch(history, monitor) >= patience


def write_history(folder: Path, history: Sequence[dict[str, Any]], log: str | None) -> None:
    """Write history.csv anew, whole, and the last row to TensorBoard where asked for."""
    columns = [*COLUMNS, *(name for name in OPTIONAL if name in history[-1])]
    rows = [["" if row[name] is None else row[name] for name in columns] for row in history]
    write_csv(folder / "history.csv", columns, rows)
    if log == "tensorboard":
        write_tensorboard(folder / "tensorboard", history[-1])


def write_tensorboard(folder: Path, row: dict[str, Any]) -> None:
    """Write one epoch as an event file of its own, whole. Raises MachineError without the package.

    TensorBoard's own writer works in a thread, which a full disk leaves with a traceback.
    """
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter
        from torch.utils.tensorboard.summary import scalar
    except ImportError as error:
        raise MachineError(
            "training.log=tensorboard needs the package tensorboard: pip install 'resnetlab[tensorboard]'"
        ) from error
    events = [Event(wall_time=time.time(), file_version="brain.Event:2")]
    for name, value in row.items():
        if name not in NO_CURVES and value is not None and math.isfinite(value):
            summary = scalar(name.replace("_", "/", 1), value)  # type: ignore[no-untyped-call]
            events.append(Event(wall_time=time.time(), step=row["epoch"], summary=summary))
    with (
        whole(folder / f"events.out.tfevents.{row['epoch']:010d}.resnetlab") as temporary,
        temporary.open("wb") as file,
    ):
        writer = RecordWriter(file)
        for event in events:
            writer.write(event.SerializeToString())


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
