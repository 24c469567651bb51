"""Answering only when sure: which share of the images gets an answer, and how often that is wrong.

Confidence is the probability of the predicted class. Below a threshold the image goes to a person.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from resnetlab.evaluation.intervals import Interval, design_effect, wilson_share
from resnetlab.evaluation.predictions import Predictions

Floats = NDArray[np.float64]
Groups = NDArray[np.int64]

POINTS = 100  # of a curve, at most
STEPS = 20  # shares of the images that are tried for a threshold
WANTED = (0.01, 0.02, 0.05)  # error rates for which a threshold is looked up
PROMISED = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)  # those that a bundle may promise


def describe_selection(
    predictions: Predictions,
    validation: Predictions | None = None,
    temperature: float = 1.0,
    confidence: float = 0.95,
    groups: Groups | None = None,
    validation_groups: Groups | None = None,
) -> dict[str, Any]:
    """Return the risk-coverage curve with its area, and for each WANTED error rate what a threshold gives.

    The thresholds are chosen on `validation` and measured here; without it none is. Of images with the same
    number in `groups` (N,) fewer count. The result can be written as JSON.
    """
    sure, wrong = confidences(predictions, temperature)
    design = design_effect(wrong, groups)
    chosen = []
    for wanted in WANTED if validation is not None else ():
        assert validation is not None
        known = confidences(validation, temperature)
        threshold = threshold_for(wanted, *known, design=design_effect(known[1], validation_groups))
        found = at_threshold(threshold, sure, wrong, confidence, design)
        chosen.append({"wanted": wanted} | found)
    return {**risk_coverage(sure, wrong, confidence, design), "thresholds": chosen}


def promised_thresholds(
    validation: Predictions, temperature: float = 1.0, groups: Groups | None = None
) -> dict[str, float]:
    """Return for each error rate of PROMISED the threshold that keeps it; none that can't be promised.

    Images with the same number in `groups` (N,) are no independent ones: fewer of them count.
    """
    sure, wrong = confidences(validation, temperature)
    design = design_effect(wrong, groups)
    found = {f"{rate:g}": threshold_for(rate, sure, wrong, design=design) for rate in PROMISED}
    return {rate: threshold for rate, threshold in found.items() if threshold is not None}


def confidences(
    predictions: Predictions, temperature: float = 1.0
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return how sure (N,) the predictions are, 0..1, and which are wrong (N,)."""
    return predictions.probs_at(temperature).max(
        axis=1
    ), predictions.predicted != predictions.labels


def risk_coverage(
    sure: Floats, wrong: NDArray[np.bool_], confidence: float = 0.95, design: float = 1.0
) -> dict[str, Any]:
    """Return the curve from the surest image to all of them, and the area below it (aurc, 0 is best).

    Images of equal confidence are answered together.
    Source: El-Yaniv and Wiener 2010, JMLR 11, 1605-1641; Geifman and El-Yaniv 2017, NeurIPS.
    """
    order = np.argsort(-sure, kind="stable")
    counts, errors = np.arange(1, len(sure) + 1), wrong[order].cumsum()
    last = np.flatnonzero(np.append(np.diff(sure[order]) != 0, True))
    shown = last[np.unique(np.linspace(0, len(last) - 1, POINTS).round().astype(int))]
    risk = np.interp(counts, counts[last], errors[last] / counts[last])
    return {
        "aurc": float(risk.mean()),
        "curve": [
            {
                "threshold": float(sure[order][row]),
                "coverage": float(counts[row] / len(sure)),
                "error": share_of(errors[row], counts[row], confidence, design),
            }
            for row in shown.tolist()
        ],
    }


def threshold_for(
    wanted: float,
    sure: Floats,
    wrong: NDArray[np.bool_],
    delta: float = 0.05,
    design: float = 1.0,
) -> float | None:
    """Return the lowest confidence at which new images are wrong at most at the rate `wanted`.

    With probability 1 - `delta` over the images that it is chosen on: of the surest 5 %, 10 %, ... the
    most whose exact upper limit is low enough, each held to its share of `delta`. By the `design` effect fewer
    images count. None where too few images are sure enough to promise that.
    Source: Angelopoulos, Bates, Candès, Jordan and Lei 2021, 'Learn then Test' (Bonferroni), with Clopper
    and Pearson's limit.
    """
    ranked = np.sort(sure)[::-1]
    found = None
    for share in range(1, STEPS + 1):
        threshold = float(ranked[max(round(len(ranked) * share / STEPS), 1) - 1])
        answered = sure >= threshold
        errors, count = int((wrong & answered).sum()) / design, int(answered.sum()) / design
        limit = upper_limit(errors, count, delta / STEPS)
        if limit <= wanted:
            found = threshold
    return found


def upper_limit(errors: float, n: float, delta: float) -> float:
    """Return the one-sided exact upper limit of an error rate, at level `delta`.

    Source: Clopper and Pearson 1934, Biometrika 26, 404-413.
    """
    return 1.0 if errors >= n else float(betaincinv(errors + 1, n - errors, 1 - delta))


def at_threshold(
    threshold: float | None,
    sure: Floats,
    wrong: NDArray[np.bool_],
    confidence: float = 0.95,
    design: float = 1.0,
) -> dict[str, Any]:
    """Return what a threshold gives: coverage and error with intervals; None where there is none."""
    if threshold is None:
        return {"threshold": None, "coverage": None, "error": None}
    answered = sure >= threshold
    return {
        "threshold": threshold,
        "coverage": share_of(answered.sum(), len(sure), confidence, design),
        "error": share_of((wrong & answered).sum(), answered.sum(), confidence, design),
    }


def share_of(part: int, whole: int, confidence: float, design: float) -> Interval:
    """Return a share of images with its interval, by as many as count."""
    return wilson_share(int(part) / max(int(whole), 1), int(whole) / design, confidence)
