"""Sets of classes that hold the true one as often as promised, whatever the model.

Split conformal prediction: a class belongs to the set where its probability is no lower than that of
the true class was on all but a promised share of held-out images. Nothing is drawn by lot.
"""

from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnetlab.errors import DataError
from resnetlab.evaluation.intervals import wilson
from resnetlab.evaluation.predictions import Predictions

Floats = NDArray[np.float64]

PROMISE = 0.95  # the cover that reports look at


def images_needed(promise: float) -> int:
    """Return how many held-out images a promise takes at least: 19 for 0.95, 99 for 0.99."""
    n = 1
    while rank(n, promise) > n:
        n += 1
    return n


def rank(n: int, promise: float) -> int:
    """Return which of `n` scores, counted from the smallest, the promise is kept by: ⌈(n + 1) promise⌉."""
    return ceil((n + 1) * promise - 1e-9)  # 20 × 0.95 is a hair above 19 in floating point


def fit_sets(
    validation: Predictions, promise: float, by_class: bool = False, temperature: float = 1.0
) -> Floats:
    """Return the lowest probability (K,) with which each class belongs to a set that keeps a promise.

    The promise, such as 0.95, holds on average over images like those of `validation`; `by_class`
    for the images of each class. Raises DataError where validation is too small for it.
    Source: Vovk, Gammerman and Shafer 2005, Algorithmic Learning in a Random World; Sadinle, Lei and
    Wasserman 2019, JASA 114, 223-234 (least ambiguous sets).
    """
    validation.require_labels()
    if not 0 < promise < 1:
        raise DataError(f"a promised cover lies between 0 and 1. Got {promise:g}")
    labels, classes = validation.labels, validation.classes
    probs = validation.probs_at(temperature)
    scores = 1 - probs[np.arange(len(labels)), labels]
    if not by_class:
        return np.full(len(classes), 1 - quantile(scores, promise, "validation"))
    return np.array(
        [
            1 - quantile(scores[labels == k], promise, f"validation of class {name}")
            for k, name in enumerate(classes)
        ]
    )


def quantile(scores: Floats, promise: float, what: str) -> float:
    """Return the score that keeps a promise. Raises DataError where there are too few."""
    n = len(scores)
    if rank(n, promise) > n:
        raise DataError(
            f"{what} has {n} images; to promise a cover of {promise:.4g} takes {images_needed(promise)} at least: "
            "promise less, or set more images aside (data.split)"
        )
    return float(np.sort(scores)[rank(n, promise) - 1])


def sets_of(probs: Floats, least: Floats) -> NDArray[np.bool_]:
    """Return which classes (N, K) belong to the set of each image; a set may be empty."""
    return np.asarray(probs >= least - 1e-12)  # 1 - (1 - p) is a hair off p


def describe_sets(
    predictions: Predictions, least: Floats, temperature: float = 1.0, confidence: float = 0.95
) -> dict[str, Any]:
    """Return how often the sets hold the true class, in all and by class, and how large they are."""
    sets = sets_of(predictions.probs_at(temperature), least)
    labels, n = predictions.labels, len(predictions)
    covered = sets[np.arange(n), labels]
    sizes = sets.sum(axis=1)
    return {
        "cover": wilson(int(covered.sum()), n, confidence),
        "size": float(sizes.mean()),
        "single": wilson(int((sizes == 1).sum()), n, confidence),
        "empty": wilson(int((sizes == 0).sum()), n, confidence),
        "per_class": [
            {
                "class": name,
                "cover": wilson(
                    int(covered[labels == k].sum()), int((labels == k).sum()), confidence
                ),
                "least": float(least[k]),
            }
            for k, name in enumerate(predictions.classes)
        ],
    }


def conformal(
    predictions: Predictions,
    validation: Predictions | None,
    promise: float = PROMISE,
    by_class: bool = False,
    temperature: float = 1.0,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Return what sets fitted on validation hold here, or under `refused` why they promise nothing."""
    facts: dict[str, Any] = {"promise": promise, "by_class": by_class}
    if validation is None:
        return facts | {"refused": "sets are fitted on validation images, and there are none"}
    try:
        least = fit_sets(validation, promise, by_class, temperature)
    except DataError as error:
        return facts | {"refused": str(error)}
    return facts | describe_sets(predictions, least, temperature, confidence)
