"""Whether a confidence means what it says: expected calibration error, Brier score, reliability diagram.

The calibration error is that of the predicted class, over bins of equally many images. What chance
alone makes of it is taken off: twenty images of 90 % confidence seldom hold exactly eighteen correct ones.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from resnetlab.evaluation.intervals import Interval, mean_interval, wilson
from resnetlab.evaluation.metrics import losses
from resnetlab.evaluation.predictions import Predictions

Floats = NDArray[np.float64]

BINS = 15  # at most
IN_A_BIN = 40  # images at least: below, the mean of a bin is far from normal


@dataclass(frozen=True)
class Bins:
    """B bins of equally many images, from the least confident to the surest; all of shape (B,).

    `expected` is the variance that the share of correct predictions would have by chance, were the
    confidences right.
    """

    confidence: Floats
    accuracy: Floats
    images: NDArray[np.int64]
    expected: Floats


def describe_calibration(
    predictions: Predictions, temperature: float = 1.0, confidence: float = 0.95
) -> dict[str, Any]:
    """Return ece, brier, loss and the reliability diagram, as they come and `calibrated`.

    `temperature` is that of the bundle, fitted on validation: there, what is `calibrated` is a little
    optimistic. The result can be written as JSON.
    Raises DataError where a label is unknown or an image appears twice.
    """
    predictions.require_labels()
    predictions = predictions.in_id_order()
    return {
        "temperature": temperature,
        **measure(predictions, 1.0, confidence),
        "calibrated": measure(predictions, temperature, confidence),
    }


def measure(predictions: Predictions, temperature: float, confidence: float) -> dict[str, Any]:
    """Return ece, brier and loss as intervals, and the bins of a reliability diagram."""
    probs, labels = predictions.probs_at(temperature), predictions.labels
    bins = equal_mass_bins(probs.max(axis=1), predictions.predicted == labels)
    loss = mean_interval(losses(predictions, temperature), confidence)
    brier = mean_interval(brier_scores(probs, labels), confidence)
    return {
        "ece": expected_calibration_error(bins, confidence),
        "brier": brier | {"low": max(brier["low"], 0.0), "high": min(brier["high"], 2.0)},
        "loss": loss | {"low": max(loss["low"], 0.0)},
        "reliability": reliability(bins, confidence),
    }


def brier_scores(probs: Floats, labels: NDArray[np.int64]) -> Floats:
    """Return each image's Brier score (N,), 0 for a sure and correct prediction, 2 for a sure mistake.

    Σ_k (p_k - y_k)², as scikit-learn's without halving.
    Source: Brier 1950, Monthly Weather Review 78, 1-3.
    """
    own = probs[np.arange(len(labels)), labels]
    scores: Floats = (probs**2).sum(axis=1) - 2 * own + 1
    return np.maximum(scores, 0.0)


def equal_mass_bins(confidence: Floats, correct: NDArray[np.bool_]) -> Bins:
    """Sort images (N,) by confidence 0..1 into bins of equally many, 15 or as many as have 40 images."""
    order = np.argsort(confidence, kind="stable")
    edges = np.linspace(
        0, len(order), max(1, min(BINS, len(order) // IN_A_BIN)) + 1, dtype=np.int64
    )
    images = np.diff(edges)

    def mean(values: Floats) -> Floats:
        return np.asarray(np.add.reduceat(values[order], edges[:-1]) / images)

    return Bins(
        mean(confidence),
        mean(correct.astype(np.float64)),
        images,
        mean(confidence * (1 - confidence)) / images,
    )


def expected_calibration_error(
    bins: Bins, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Return how far confidence and accuracy lie apart on average, 0..1, less what chance adds.

    The debiased value of Kumar, Liang and Ma is still a little high where nothing is wrong; the sign
    of a bin's gap taken from one half of its images and its size from the other errs low. The
    interval reaches from the lower limit of the second to the upper limit of the first, by
    resampling the bins. On simulated test sets of 100 to 5,000 images it held the truth in 92 to
    100 of 100 cases (`tests/evaluation/confidence/test_calibration.py`).
    Source: Kumar, Liang and Ma 2019, 'Verified Uncertainty Calibration', NeurIPS.
    """
    gap = bins.confidence - bins.accuracy
    weights = bins.images / bins.images.sum()
    seen = bins.accuracy * (1 - bins.accuracy) / bins.images
    error = np.sqrt(np.maximum(np.maximum(bins.expected, seen), 1e-14))
    # Where no mistake occurred one may still be due: half a one is counted in.
    share = (bins.accuracy * bins.images + 0.5) / (bins.images + 1)
    width = np.sqrt(np.maximum(bins.expected, share * (1 - share) / bins.images))
    rng = np.random.default_rng(seed)
    drawn = gap + width * rng.standard_normal((resamples, len(gap)))
    high, low = estimates(gap, error, weights)
    drawn_high, drawn_low = estimates(drawn, error, weights)
    tail = (1 - confidence) / 2
    below = float(low + np.quantile(drawn_low, tail) - drawn_low.mean())
    above = float(high + np.quantile(drawn_high, 1 - tail) - drawn_high.mean())
    value = float(high)
    return Interval(value=value, low=min(max(below, 0.0), value), high=max(min(above, 1.0), value))


def estimates(gaps: Floats, error: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return two estimates of Σ w |gap| from gaps (..., B) of standard error (B,): erring high, and low.

    With X normal around a gap, 2 |gap| - E|X| takes off what noise adds to |gap|. E[sign(A) B] of
    two halves A, B is 0 where there is no gap.
    """
    size = np.abs(gaps)
    held = size * (2 * ndtr(size / error) - 1)  # |gap| times how sure its sign is
    noise = 2 * error * np.exp(-((size / error) ** 2) / 2) / np.sqrt(2 * np.pi)
    high = (2 * size - held - noise) @ weights
    low = (held - noise) @ weights
    return np.maximum(high, 0.0), np.maximum(low, 0.0)


def reliability(bins: Bins, confidence: float = 0.95) -> list[dict[str, Any]]:
    """Return the points of a reliability diagram: mean confidence, accuracy with Wilson's interval, images."""
    return [
        {
            "confidence": float(bins.confidence[b]),
            "accuracy": wilson(round(bins.accuracy[b] * count), count, confidence),
            "images": count,
        }
        for b, count in enumerate(bins.images.tolist())
    ]
