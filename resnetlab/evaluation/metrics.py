"""How good predictions are, each figure with its interval. The loss is the cross-entropy in nats."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from resnetlab.evaluation.counts import (
    Counts,
    Floats,
    agreement_scores,
    class_counts,
    class_scores,
    confusion_matrix,
    macro_scores,
)
from resnetlab.evaluation.intervals import (
    Interval,
    clustered,
    covering,
    design_effect,
    effective_size,
    mean_interval,
    stratified,
    wilson_share,
)
from resnetlab.evaluation.predictions import Predictions
from resnetlab.evaluation.ranking import ranking_scores, top_k

SCORED = ("loss", "top3", "top5", "auroc", "average_precision")
SIGNED = ("kappa", "matthews")  # from -1 to 1, 0 for guessing


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
    predictions: Predictions,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    groups: NDArray[np.int64] | None = None,
) -> dict[str, Any]:
    """Return every figure as {value, low, high}, the classes' own figures and the confusion matrix.

    Proportions of counted images (accuracy, top-k, recall, precision) have Wilson intervals; the
    rest come from resampling within each true class, widened to cover what a resample cannot show
    (see `intervals`): Wilson's for the effective number of images, Student's for the loss. Rankings
    have the intervals of `ranking`.
    Images with the same number in `groups` (N,) are no independent ones: they are resampled whole,
    and every formula counts by the design effect fewer images.
    Where no more than the predicted class is known, the figures of SCORED are None.
    The result can be written as JSON and holds no NaN. The order of the rows decides nothing.
    Raises DataError where a label is unknown or an image appears twice.
    """
    predictions.require_labels()
    order = np.argsort(predictions.ids, kind="stable")
    predictions = predictions.in_id_order()
    if groups is not None:
        groups = groups[order] if len(np.unique(groups)) < len(groups) else None
    right = (predictions.predicted == predictions.labels).astype(np.float64)
    design = design_effect(right, groups)
    counts = class_counts(predictions)
    per_image = losses(predictions)
    drawn = _resample(predictions, per_image, resamples, seed, groups)
    if predictions.scored:
        scored = _scored(predictions, per_image, drawn, groups, design, confidence)
    else:
        scored = dict.fromkeys(SCORED) | {"per_class": [{}] * len(predictions.classes)}
    ranked = scored.pop("per_class")
    return {
        "samples": len(predictions),
        "groups": None if groups is None else len(np.unique(groups)),
        "confidence": confidence,
        **_averages(counts, drawn, design, confidence),
        **scored,
        "per_class": [
            row | own
            for row, own in zip(
                _per_class(predictions.classes, counts, drawn, design, confidence),
                ranked,
                strict=True,
            )
        ],
        "confusion_matrix": confusion_matrix(predictions).tolist(),
    }


def _scored(
    predictions: Predictions,
    per_image: Floats,
    drawn: "Drawn",
    groups: NDArray[np.int64] | None,
    design: float,
    confidence: float,
) -> dict[str, Any]:
    """Return the figures that need more than the predicted class: SCORED, and rankings in `per_class`."""
    return {
        "loss": _loss_interval(per_image, drawn.loss, groups, confidence),
        "top3": top_k(predictions, 3, confidence, design),
        "top5": top_k(predictions, 5, confidence, design),
        **ranking_scores(predictions, confidence, design),
    }


def losses(predictions: Predictions, temperature: float = 1.0) -> Floats:
    """Return the cross-entropy (N,) of each image, computed in float64 and without overflow."""
    log_probs = log_softmax(predictions.logits.astype(np.float64) / temperature, axis=1)
    own: Floats = -log_probs[np.arange(len(predictions)), predictions.labels]
    return own


@dataclass(frozen=True)
class Drawn:
    """What R resamples counted: correct, predicted and support (R, K), mean loss (R,)."""

    correct: Counts
    predicted: Counts
    support: Counts
    loss: Floats


def _resample(
    predictions: Predictions,
    per_image: Floats,
    resamples: int,
    seed: int,
    groups: NDArray[np.int64] | None,
) -> Drawn:
    """Count and average in each resample: images within their class, or groups whole.

    No more is needed for any score, and never a (K, K) matrix.
    """
    k, labels = len(predictions.classes), predictions.labels
    # Wrong predictions are counted in the first K cells, correct ones in the second.
    cells = predictions.predicted + k * (predictions.predicted == labels)
    counts = np.empty((resamples, 2, k), dtype=np.int64)
    support = np.tile(np.bincount(labels, minlength=k), (resamples, 1))
    loss = np.empty(resamples)
    if groups is None:
        for i, drawn in enumerate(stratified(labels, resamples, seed)):
            counts[i] = np.bincount(cells[drawn], minlength=2 * k).reshape(2, k)
            loss[i] = per_image[drawn].mean()
    else:
        for i, times in enumerate(clustered(groups, resamples, seed)):
            counts[i] = np.bincount(cells, times, minlength=2 * k).reshape(2, k)
            support[i] = np.bincount(labels, times, minlength=k)
            loss[i] = per_image @ times / times.sum()
    return Drawn(counts[:, 1], counts.sum(axis=1), support, loss)


def _averages(
    counts: tuple[Counts, Counts, Counts], drawn: Drawn, design: float, confidence: float
) -> dict[str, Interval]:
    """Return accuracy, balanced accuracy, macro and weighted figures, kappa and Matthews' correlation."""
    correct, predicted, support = counts
    images = int(support.sum())
    occurring = (predicted + support) > 0
    accuracy = wilson_share(float(correct.sum() / images), images / design, confidence)
    grouped = bool((drawn.support != support).any())
    if grouped:
        share = drawn.correct.sum(axis=1) / drawn.support.sum(axis=1)
        accuracy = covering(accuracy, share, confidence)
        seen = occurring & ((drawn.predicted + drawn.support) > 0)
    else:
        seen = occurring
    macro = macro_scores(correct, predicted, support, occurring)
    drawn_macro = macro_scores(drawn.correct, drawn.predicted, drawn.support, seen)
    agreement = agreement_scores(correct, predicted, support)
    drawn_agreement = agreement_scores(drawn.correct, drawn.predicted, drawn.support)
    behind = effective_size(support[support > 0]) / design
    return {
        "accuracy": accuracy,
        **{
            name: covering(
                wilson_share(float(macro[name]), behind, confidence), drawn_macro[name], confidence
            )
            for name in macro
        },
        **{
            name: covering(
                _signed(float(value), accuracy)
                if name in SIGNED
                else wilson_share(float(value), images / design, confidence),
                drawn_agreement[name],
                confidence,
            )
            for name, value in agreement.items()
        },
    }


def _signed(value: float, accuracy: Interval) -> Interval:
    """Return a figure from -1 to 1 with the interval of the accuracy, on its own scale.

    Both kappa and Matthews' correlation are 1 where the accuracy is, and fall with it about in line.
    """
    missed = 1 - accuracy["value"]
    scale = (1 - value) / missed if missed else 1.0
    low, high = (value + scale * (accuracy[end] - accuracy["value"]) for end in ("low", "high"))
    return Interval(value=value, low=max(low, -1.0), high=min(high, 1.0))


def _loss_interval(
    per_image: Floats, drawn: Floats, groups: NDArray[np.int64] | None, confidence: float
) -> Interval:
    formula = mean_interval(per_image, confidence)
    if groups is not None:
        wider = design_effect(per_image, groups) ** 0.5
        for end in ("low", "high"):
            formula[end] = formula["value"] + wider * (formula[end] - formula["value"])
    interval = covering(formula, drawn, confidence)
    interval["low"] = max(interval["low"], 0.0)
    return interval


def _per_class(
    classes: tuple[str, ...],
    counts: tuple[Counts, Counts, Counts],
    drawn: Drawn,
    design: float,
    confidence: float,
) -> list[dict[str, Any]]:
    """Return each class's figures; F1 is correct predictions over the mean of support and predicted."""
    drawn_f1 = class_scores(drawn.correct, drawn.predicted, drawn.support)["f1"]

    def share(correct: int, total: float) -> Interval:
        return wilson_share(correct / total if total else 0.0, total / design, confidence)

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
                "precision": share(correct, predicted),
                "recall": share(correct, support),
                "f1": covering(share(correct, about), f1, confidence),
            }
        )
    return rows
