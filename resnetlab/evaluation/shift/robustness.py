"""How the accuracy falls under corruptions, from predictions for corrupted views."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnetlab.evaluation.intervals import Interval, design_effect, wilson_share
from resnetlab.evaluation.predictions import Predictions


def robustness(
    clean: Predictions,
    corrupted: Mapping[str, Mapping[float, Predictions]],
    groups: NDArray[np.int64],
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Return the accuracy by corruption and strength with intervals, and the mean over all of them.

    `corrupted` holds predictions for the images of `clean` by corruption, then by its strength, the
    mildest first; `groups` (N,) are of images that belong together.
    """
    curves = [
        {
            "corruption": name,
            "strengths": [
                {"strength": strength, "accuracy": dict(_accuracy(each, groups, confidence))}
                for strength, each in curve.items()
            ],
        }
        for name, curve in corrupted.items()
    ]
    values = [point["accuracy"]["value"] for curve in curves for point in curve["strengths"]]  # type: ignore[index]
    return {
        "confidence": confidence,
        "clean": dict(_accuracy(clean, groups, confidence)),
        "mean": float(np.mean(values)),
        "curves": curves,
    }


def _accuracy(predictions: Predictions, groups: NDArray[np.int64], confidence: float) -> Interval:
    right = (predictions.predicted == predictions.labels).astype(np.float64)
    effective = len(right) / design_effect(right, groups)
    return wilson_share(float(right.mean()), effective, confidence)
