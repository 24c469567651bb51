"""Predictions as a table: one row a file."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from resnetlab.deploy.predictor import FilePrediction

Row = dict[str, Any]
MARKS = ("uncertain", "out_of_distribution")  # of a row: true, false or unknown


def prediction_row(
    prediction: "FilePrediction",
    classes: Sequence[str],
    top: int = 1,
    uncertain_below: float | None = None,
) -> Row:
    """Return what the model says of a file, and how sure it is.

    `top` holds the likeliest classes with their probabilities, the likeliest first; `uncertain` tells
    whether the best one's probability lies below a threshold, None without a threshold;
    `out_of_distribution` whether it is unlike the training images, None where that can't be told.
    """
    row: Row = {
        "file": str(prediction.path),
        "class": None,
        "probability": None,
        "uncertain": None,
        "out_of_distribution": prediction.out_of_distribution,
    }
    if prediction.probs is None:
        probabilities: dict[str, float | None] = dict.fromkeys(classes)
        return row | {"top": [], "probabilities": probabilities, "problem": prediction.problem}
    values = prediction.probs.tolist()
    order = np.argsort(-prediction.probs, kind="stable")[:top].tolist()
    best = order[0]
    return row | {
        "class": classes[best],
        "probability": values[best],
        "uncertain": None if uncertain_below is None else values[best] < uncertain_below,
        "top": [(classes[each], values[each]) for each in order],
        "probabilities": dict(zip(classes, values, strict=True)),
        "problem": "",
    }


def columns(classes: Sequence[str], top: int, marks: Sequence[str]) -> list[str]:
    """Return the header of a table of predictions; `marks`, of MARKS, are columns of true and false."""
    further = [f"{what}_{rank}" for rank in range(2, top + 1) for what in ("class", "probability")]
    return [
        "file", "class", "probability", "problem", *marks, *further, *(f"p_{name}" for name in classes)
    ]  # fmt: skip


def cells(row: Row, top: int, marks: Sequence[str]) -> list[Any]:
    """Return a row's cells in the order of `columns`."""
    further = [value for pair in row["top"][1:] for value in pair]
    further += [None] * (2 * (top - 1) - len(further))
    return [
        row["file"],
        row["class"],
        row["probability"],
        row["problem"],
        *(row[name] for name in marks),
        *further,
        *row["probabilities"].values(),
    ]
