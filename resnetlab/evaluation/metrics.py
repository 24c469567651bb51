"""How good predictions are: loss, accuracy, and precision, recall and F1 of every class.

Definitions are scikit-learn's, with 0 for a precision or recall that has nothing to count
(`zero_division=0`). Macro averages run over the classes that occur among labels or predictions,
balanced accuracy over those that have images. The loss is the cross-entropy in nats.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from resnetlab.evaluation.intervals import (
    Interval,
    covering,
    effective_size,
    mean_interval,
    stratified,
    wilson,
    wilson_share,
)
from resnetlab.evaluation.predictions import Predictions

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


def quick_scores(predictions: Predictions) -> dict[str, float]:
    """Return loss, accuracy, balanced_accuracy and macro_f1, without intervals.

    Raises DataError where a label is unknown.
    """
    predictions.require_labels()
    correct, predicted, support = class_counts(predictions)
    macro = macro_scores(correct, predicted, support, occurring=(predicted + support) > 0)
    return {
        "loss": float(losses(predictions).mean()),
        "accuracy": float(correct.sum() / len(predictions)),
        "balanced_accuracy": float(macro["balanced_accuracy"]),
        "macro_f1": float(macro["macro_f1"]),
    }


def score(
    predictions: Predictions, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """Return every figure as {value, low, high}, the classes' own figures and the confusion matrix.

    Proportions of counted images (accuracy, top5, recall, precision) have Wilson intervals; the
    rest come from resampling within each true class, widened to cover what a resample cannot show
    (see `intervals`): Wilson's for the effective number of images, Student's for the loss.
    The result can be written as JSON and holds no NaN. The order of the rows decides nothing.
    Raises DataError where a label is unknown or an image appears twice.
    """
    predictions.require_labels()
    predictions = predictions.in_id_order()
    correct, predicted, support = class_counts(predictions)
    occurring = (predicted + support) > 0
    per_image = losses(predictions)
    drawn_correct, drawn_predicted, drawn_loss = _resample(predictions, per_image, resamples, seed)
    macro = macro_scores(correct, predicted, support, occurring)
    drawn_macro = macro_scores(drawn_correct, drawn_predicted, support, occurring)
    images = effective_size(support[support > 0])
    return {
        "samples": len(predictions),
        "confidence": confidence,
        "accuracy": wilson(int(correct.sum()), len(predictions), confidence),
        "loss": _loss_interval(per_image, drawn_loss, confidence),
        "top5": _top5(predictions, confidence),
        **{
            name: covering(
                wilson_share(float(macro[name]), images, confidence),
                drawn_macro[name],
                confidence,
            )
            for name in macro
        },
        "per_class": _per_class(
            predictions.classes,
            (correct, predicted, support),
            class_scores(drawn_correct, drawn_predicted, support)["f1"],
            confidence,
        ),
        "confusion_matrix": confusion_matrix(predictions).tolist(),
    }


def losses(predictions: Predictions, temperature: float = 1.0) -> Floats:
    """Return the cross-entropy (N,) of each image, computed in float64 and without overflow."""
    log_probs = log_softmax(predictions.logits.astype(np.float64) / temperature, axis=1)
    own: Floats = -log_probs[np.arange(len(predictions)), predictions.labels]
    return own


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
    """Average the classes' scores (..., K) over the `occurring` (K,) ones, all weighing the same.

    Balanced accuracy is the mean recall of the classes that have images.
    """
    scores = class_scores(correct, predicted, support)
    return {
        "balanced_accuracy": scores["recall"][..., support > 0].mean(axis=-1),
        **{f"macro_{name}": scores[name][..., occurring].mean(axis=-1) for name in scores},
    }


def _ratio(count: Counts, total: Counts) -> Floats:
    zeros = np.zeros(np.broadcast_shapes(count.shape, total.shape))
    return np.divide(count, total, out=zeros, where=total > 0)


def _resample(
    predictions: Predictions, per_image: Floats, resamples: int, seed: int
) -> tuple[Counts, Counts, Floats]:
    """Count correct (R, K) and predicted (R, K) and average the loss (R,) in each resample.

    Classes keep their size, so no more is needed for any score, and never a (K, K) matrix.
    """
    k = len(predictions.classes)
    # Wrong predictions are counted in the first K cells, correct ones in the second.
    cells = predictions.predicted + k * (predictions.predicted == predictions.labels)
    counts = np.empty((resamples, 2, k), dtype=np.int64)
    loss = np.empty(resamples)
    for i, drawn in enumerate(stratified(predictions.labels, resamples, seed)):
        counts[i] = np.bincount(cells[drawn], minlength=2 * k).reshape(2, k)
        loss[i] = per_image[drawn].mean()
    return counts[:, 1], counts.sum(axis=1), loss


def _loss_interval(per_image: Floats, drawn: Floats, confidence: float) -> Interval:
    interval = covering(mean_interval(per_image, confidence), drawn, confidence)
    interval["low"] = max(interval["low"], 0.0)
    return interval


def _top5(predictions: Predictions, confidence: float) -> Interval | None:
    """Return how often the label is among the five largest logits; None for five classes or fewer.

    Of equal logits the first counts as larger, as in `predicted`.
    """
    if len(predictions.classes) <= 5:
        return None
    labels, logits = predictions.labels[:, None], predictions.logits
    own = np.take_along_axis(logits, labels, axis=1)
    earlier = np.arange(logits.shape[1]) < labels
    rank = (logits > own).sum(axis=1) + ((logits == own) & earlier).sum(axis=1)
    return wilson(int((rank < 5).sum()), len(predictions), confidence)


def _per_class(
    classes: tuple[str, ...],
    counts: tuple[Counts, Counts, Counts],
    drawn_f1: Floats,
    confidence: float,
) -> list[dict[str, Any]]:
    """Return each class's figures; F1 is correct predictions over the mean of support and predicted."""
    rows = []
    for name, correct, predicted, support, f1 in zip(
        classes, *(column.tolist() for column in counts), drawn_f1.T, strict=True
    ):
        about = (predicted + support) / 2 if support else 0.0
        rows.append(
            {
                "class": name,
                "support": support,
                "predicted": predicted,
                "precision": wilson(correct, predicted, confidence),
                "recall": wilson(correct, support, confidence),
                "f1": covering(
                    wilson_share(correct / about if about else 0.0, about, confidence),
                    f1,
                    confidence,
                ),
            }
        )
    return rows
