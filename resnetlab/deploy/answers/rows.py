"""Predictions as a table: one row a file."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from resnetlab.deploy.predictor import FilePrediction

Row = dict[str, Any]


def prediction_row(
    prediction: "FilePrediction",
    classes: Sequence[str],
    top: int = 1,
    uncertain_below: float | None = None,
) -> Row:
    """Return what the model says of a file, and how sure it is.

    `top` holds the likeliest classes with their probabilities, the likeliest first; `uncertain` tells
    whether the best one's probability lies below a threshold, None without a threshold.
    """
    row: Row = {"file": str(prediction.path), "class": None, "probability": None, "uncertain": None}
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


def columns(classes: Sequence[str], top: int, marked: bool) -> list[str]:
    """Return the header of a table of predictions; `marked`: with a column for what is uncertain."""
    further = [f"{what}_{rank}" for rank in range(2, top + 1) for what in ("class", "probability")]
    mark = ["uncertain"] if marked else []
    return [
        "file", "class", "probability", "problem", *mark, *further, *(f"p_{name}" for name in classes)
    ]  # fmt: skip


def cells(row: Row, top: int, marked: bool) -> list[Any]:
    """Return a row's cells in the order of `columns`."""
    further = [value for pair in row["top"][1:] for value in pair]
    further += [None] * (2 * (top - 1) - len(further))
    mark = [row["uncertain"]] if marked else []
    return [
        row["file"],
        row["class"],
        row["probability"],
        row["problem"],
        *mark,
        *further,
        *row["probabilities"].values(),
    ]
