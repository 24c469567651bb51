"""How well scores rank: area under the ROC curve, average precision, label among the k likeliest.

Each class against the rest, as scikit-learn's, by its probability. Macro figures run over the classes
that have images and are not all there is.
"""

from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtri

from resnetlab.evaluation.intervals import Interval, effective_size, wilson_share
from resnetlab.evaluation.predictions import Predictions

Floats = NDArray[np.float64]


def top_k(
    predictions: Predictions, k: int, confidence: float = 0.95, design: float = 1.0
) -> Interval | None:
    """Return how often the label is among the k largest logits; None for k classes or fewer.

    Of equal logits the first counts as larger, as in `predicted`. By the `design` effect fewer images count.
    """
    if len(predictions.classes) <= k:
        return None
    labels, logits = predictions.labels[:, None], predictions.logits
    own = np.take_along_axis(logits, labels, axis=1)
    earlier = np.arange(logits.shape[1]) < labels
    rank = (logits > own).sum(axis=1) + ((logits == own) & earlier).sum(axis=1)
    return wilson_share(float((rank < k).mean()), len(predictions) / design, confidence)


def ranking_scores(
    predictions: Predictions, confidence: float = 0.95, design: float = 1.0
) -> dict[str, Any]:
    """Return macro auroc and average_precision with intervals, and both of each class in `per_class`.

    A class without images, or with nothing but its own, has None. `design` is by how much groups
    of images lessen what stands behind a figure, see `intervals.design_effect`.
    """
    probs, labels = predictions.probs, predictions.labels
    per_class: list[dict[str, Interval | None]] = []
    influence = np.zeros(len(labels))
    supports = []
    for k in range(len(predictions.classes)):
        own = labels == k
        positives, negatives = int(own.sum()), int((~own).sum())
        if not positives or not negatives:
            per_class.append({"auroc": None, "average_precision": None})
            continue
        above = placements(probs[:, k], own)
        area, precision = float(above[own].mean()), average_precision(probs[:, k], own)
        influence += np.where(own, (above - area) / positives, (above - area) / negatives)
        supports.append(positives)
        per_class.append(
            {
                "auroc": area_interval(area, positives / design, negatives / design, confidence),
                # In the number of positives: Boyd, Eng and Page 2013, ECML PKDD.
                "average_precision": wilson_share(precision, positives / design, confidence),
            }
        )
    found = [row for row in per_class if row["auroc"] is not None]
    if not found:
        return {"auroc": None, "average_precision": None, "per_class": per_class}
    images = effective_size(np.array(supports)) / design
    macro = {name: mean_value(found, name) for name in ("auroc", "average_precision")}
    error = sqrt(design * float((influence**2).sum())) / len(found)
    return {
        "auroc": macro_area(macro["auroc"], error, images, len(labels) / design, confidence),
        "average_precision": wilson_share(macro["average_precision"], images, confidence),
        "per_class": per_class,
    }


def placements(scores: Floats, own: NDArray[np.bool_]) -> Floats:
    """Return for each image (N,) the share of the other side that it is rightly ranked against.

    For an image of the class, of the rest that score lower; for one of the rest, of the class's images
    that score higher; ties count half. The mean over either side is the area under the ROC curve.
    Source: DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44, 837-845.
    """
    positives, negatives = np.sort(scores[own]), np.sort(scores[~own])
    share = np.empty(len(scores))
    share[own] = _below(negatives, scores[own])
    share[~own] = 1 - _below(positives, scores[~own])
    return share


def _below(others: Floats, scores: Floats) -> Floats:
    """Return the share of sorted `others` below each score, ties half."""
    sides = np.searchsorted(others, scores, "left") + np.searchsorted(others, scores, "right")
    return np.asarray(sides / (2 * len(others)))


def average_precision(scores: Floats, own: NDArray[np.bool_]) -> float:
    """Return the precision at every score, averaged over the recall gained there; as scikit-learn's."""
    order = np.argsort(-scores, kind="stable")
    hits = own[order].cumsum()
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # of those that score alike
    gained = np.diff(hits[last], prepend=0)
    return float((gained * hits[last] / (last + 1)).sum() / hits[-1])


def area_interval(area: float, m: float, n: float, confidence: float = 0.95) -> Interval:
    """Return an area under the ROC curve of `m` against `n` images with a score interval.

    The areas whose own standard error (Hanley and McNeil's) allows for what was seen; so it has a
    width at an area of 1 too.
    Source: Newcombe 2006, Statistics in Medicine 25, 559-573 (method 5).
    """
    from scipy.optimize import brentq  # takes a while to load, which other verbs need not wait for

    z, half = float(ndtri((1 + confidence) / 2)), (m + n) / 2 - 1

    def error(a: float) -> float:
        spread = a * (1 - a) * (1 + half * ((1 - a) / (2 - a) + a / (1 + a))) / (m * n)
        return z * sqrt(max(spread, 0.0))

    edge = 1e-12
    low, high = 0.0, 1.0
    if area > 2 * edge:
        low = brentq(lambda a: area - a - error(a), edge, min(area, 1 - edge))
    if area < 1 - 2 * edge:
        high = brentq(lambda a: a - area - error(a), max(area, edge), 1 - edge)
    return Interval(value=area, low=min(float(low), area), high=max(float(high), area))


def macro_area(
    area: float, error: float, images: float, others: float, confidence: float
) -> Interval:
    """Return the mean of areas with the wider of two intervals: by its standard error, and by counts.

    The first counts in that all classes rank the same images (DeLong's covariance) and is taken on the
    logit scale, which keeps it within 0..1; the second holds where no ranking was wrong.
    """
    formula = area_interval(area, images, max(others, 1.0), confidence)
    if not 0 < area < 1 or not error:
        return formula
    half = float(ndtri((1 + confidence) / 2)) * error / (area * (1 - area))
    low, high = (float(expit(logit(area) + side * half)) for side in (-1, 1))
    return Interval(value=area, low=min(low, formula["low"]), high=max(high, formula["high"]))


def mean_value(rows: list[dict[str, Any]], name: str) -> float:
    """Return the mean of the values of intervals."""
    return float(np.mean([row[name]["value"] for row in rows]))
