"""Where a model is worse than elsewhere: its figures on parts of the images, by a column of any table."""

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnetlab.errors import DataError
from resnetlab.evaluation.intervals import design_effect, wilson_share
from resnetlab.evaluation.metrics import quick_scores
from resnetlab.evaluation.paired import holm
from resnetlab.evaluation.predictions import Predictions

MOST = 100  # values of a column; more are no groups


def require_few(column: str, values: NDArray[Any]) -> None:
    """Raise DataError where the `values` (N,) of a column are more than 100: they make no subgroups."""
    found = np.unique(np.asarray(values).astype(str))
    if len(found) > MOST:
        raise DataError(
            f"subgroups by '{column}' must be {MOST} at most. Got {len(found):,}, such as {str(found[0])!r}"
        )


def subgroup_scores(
    predictions: Predictions,
    values: NDArray[Any],
    confidence: float = 0.95,
    groups: NDArray[np.int64] | None = None,
) -> list[dict[str, Any]]:
    """Return for each of the `values` (N,) images, accuracy with interval, macro_f1, loss; lowest first.

    `differs` is 'lower' or 'higher' where the accuracy is shown to be another than on all other
    images: Fisher's exact test, over all subgroups after Holm. Images of one group (N,) count by
    their design effect in the interval; the test is then made with as many fewer.
    """
    names, which = np.unique(np.asarray(values).astype(str), return_inverse=True)
    right = (predictions.predicted == predictions.labels).astype(np.float64)
    design = design_effect(right, groups)
    rows: list[dict[str, Any]] = []
    for index, name in enumerate(names):
        inside = which == index
        part = predictions.take(inside)
        accuracy, images = float(right[inside].mean()), len(part)
        p_value = 1.0
        if images < len(predictions):
            p_value = fisher(right[inside], right[~inside], design)
        scores = quick_scores(part)
        rows.append(
            {
                "value": str(name),
                "images": images,
                "accuracy": wilson_share(accuracy, images / design, confidence),
                "macro_f1": scores["macro_f1"],
                "loss": scores["loss"],
                "p_value": p_value,
                "differs": None,
            }
        )
    overall = right.mean()
    for row, adjusted in zip(rows, holm([row["p_value"] for row in rows]), strict=True):
        row["p_adjusted"] = adjusted
        if adjusted < 1 - confidence:
            row["differs"] = "lower" if row["accuracy"]["value"] < overall else "higher"
    return sorted(rows, key=lambda row: (row["accuracy"]["value"], row["value"]))


def fisher(inside: NDArray[np.float64], outside: NDArray[np.float64], design: float) -> float:
    """Return the exact two-sided p of two accuracies being one, with 1 / `design` of the images.

    Source: Fisher 1935, The Design of Experiments.
    """
    from scipy.stats import fisher_exact  # takes a second to load

    table = [
        [round(part.sum() / design), round((len(part) - part.sum()) / design)]
        for part in (inside, outside)
    ]
    return float(fisher_exact(table).pvalue)


def size_bands(width: NDArray[np.int64], height: NDArray[np.int64]) -> NDArray[np.object_]:
    """Return for each image (N,) in which quarter of the shorter sides (px) it lies: '120-240 px'."""
    side = np.minimum(width, height)
    edges = np.unique(np.quantile(side, [0, 0.25, 0.5, 0.75, 1], method="nearest"))
    if len(edges) < 2:
        return np.full(len(side), f"{edges[0]} px", dtype=object)
    digits = len(str(edges[-1]))
    names = [f"{low:>{digits}}-{high} px" for low, high in pairwise(edges)]
    band = np.clip(np.searchsorted(edges, side, "right") - 1, 0, len(names) - 1)
    return np.array(names, dtype=object)[band]


def folders(ids: NDArray[np.object_]) -> NDArray[np.object_]:
    """Return the folder that each image (N,) lies in, '.' at the top."""
    return np.array([str(each).rpartition("/")[0] or "." for each in ids], dtype=object)
