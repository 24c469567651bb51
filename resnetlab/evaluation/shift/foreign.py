"""What a model makes of images that show none of its classes."""

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnetlab.evaluation.intervals import wilson
from resnetlab.evaluation.ranking import area_interval, placements
from resnetlab.evaluation.shift.drift import refused_share
from resnetlab.evaluation.shift.reference import REFUSED, Reference

Floats = NDArray[np.floating]

SURE = 0.9  # a confidence at which nobody looks again
NAMED = 5  # classes that foreign images are taken for


def foreign_scores(
    reference: Reference,
    distances: Floats,
    probs: Floats,
    classes: tuple[str, ...],
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Return how many foreign images are told, by their `distances` (B,), and what is said of the rest.

    `auroc` ranks them against the validation images by distance, `auroc_confidence` by the highest
    of their probabilities `probs` (B, K); `sure` is the share that gets a confidence of SURE or more,
    `sure_and_kept` that which is not refused then either.
    """
    sure = probs.max(axis=1)
    kept = (distances <= reference.threshold) & (sure >= SURE)
    taken_for = Counter(np.asarray(classes, dtype=object)[probs.argmax(axis=1)].tolist())
    count = len(distances)
    return {
        "images": count,
        "confidence": confidence,
        "false_refusals": REFUSED,
        "refused": refused_share(reference, distances, confidence),
        "auroc": _auroc(distances, reference.distances, confidence),
        "auroc_confidence": _auroc(-sure, -reference.confidences, confidence),
        "sure": wilson(int((sure >= SURE).sum()), count, confidence),
        "sure_and_kept": wilson(int(kept.sum()), count, confidence),
        "taken_for": dict(taken_for.most_common(NAMED)),
    }


def _auroc(foreign: Floats, familiar: Floats, confidence: float) -> dict[str, float]:
    """Return the area under the ROC curve of foreign images against familiar ones, the higher the farther."""
    own = np.arange(len(foreign) + len(familiar)) < len(foreign)
    above = placements(np.concatenate([foreign, familiar]).astype(np.float64), own)
    area = area_interval(float(above[own].mean()), len(foreign), len(familiar), confidence)
    return dict(area)  # type: ignore[arg-type]
