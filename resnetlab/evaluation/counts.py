"""Scores that follow from counts alone: how many images of each class are predicted, and correctly.

Definitions are scikit-learn's, with 0 for a precision or recall that has nothing to count
(`zero_division=0`) and for a correlation of what does not vary. All take counts of any leading
shape, so that resamples are scored at once.
"""

import numpy as np
from numpy.typing import NDArray

from resnetlab.evaluation.predictions import Predictions

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


def confusion_matrix(predictions: Predictions) -> Counts:
    """Return the number of images (K, K) by true class (row) and predicted class (column)."""
    k = len(predictions.classes)
    cells = predictions.labels * k + predictions.predicted
    return np.bincount(cells, minlength=k * k).reshape(k, k)


def class_counts(predictions: Predictions) -> tuple[Counts, Counts, Counts]:
    """Return, for each class (K,), the correct predictions, all predictions, and the images (support)."""
    matrix = confusion_matrix(predictions)
    return matrix.diagonal(), matrix.sum(axis=0), matrix.sum(axis=1)


def class_scores(correct: Counts, predicted: Counts, support: Counts) -> dict[str, Floats]:
    """Return precision, recall and F1 (..., K) from counts (..., K), 0 where nothing counts."""
    return {
        "precision": _ratio(correct, predicted),
        "recall": _ratio(correct, support),
        "f1": _ratio(2 * correct, predicted + support),
    }


def macro_scores(
    correct: Counts, predicted: Counts, support: Counts, occurring: NDArray[np.bool_]
) -> dict[str, Floats]:
    """Average the classes' scores (..., K) over the `occurring` ones, all weighing the same.

    Balanced accuracy is the mean recall of the classes that have images.
    """
    scores = class_scores(correct, predicted, support)
    return {
        "balanced_accuracy": _mean_over(scores["recall"], support > 0),
        **{f"macro_{name}": _mean_over(scores[name], occurring) for name in scores},
    }


def _mean_over(scores: Floats, classes: NDArray[np.bool_]) -> Floats:
    return np.asarray((scores * classes).sum(axis=-1) / classes.sum(axis=-1))


def agreement_scores(correct: Counts, predicted: Counts, support: Counts) -> dict[str, Floats]:
    """Return weighted F1, Cohen's kappa and Matthews' correlation (...) from counts (..., K).

    Both need no more than the sums of the confusion matrix and its diagonal.
    Source: Cohen 1960, Educational and Psychological Measurement 20, 37-46; Gorodkin 2004,
    Computational Biology and Chemistry 28, 367-374 (Matthews' coefficient of K classes).
    """
    f1 = class_scores(correct, predicted, support)["f1"]
    p, s = predicted.astype(np.float64), support.astype(np.float64)  # their squares overflow int64
    images, expected = s.sum(axis=-1), (p * s).sum(axis=-1)
    covariance = correct.sum(axis=-1) * images - expected
    spread = (images**2 - (p**2).sum(axis=-1)) * (images**2 - (s**2).sum(axis=-1))
    return {
        "weighted_f1": _ratio((f1 * s).sum(axis=-1), images),
        "kappa": _ratio(covariance, images**2 - expected),
        "matthews": _ratio(covariance, np.sqrt(spread)),
    }


def _ratio(count: Counts | Floats, total: Counts | Floats) -> Floats:
    zeros = np.zeros(np.broadcast_shapes(count.shape, total.shape))
    return np.divide(count, total, out=zeros, where=total > 0)
