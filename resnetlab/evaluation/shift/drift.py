"""Drift: whether many images, taken together, still look like those that measured the model.

Two samples, new images and validation images, are compared by the distance to the training images
and by the highest probability, each by Kolmogorov and Smirnov's test, after Bonferroni. Tests are
one-sided: images that lie nearer, such as those trained on, or get surer answers are no cause for alarm.
Source: Rabanser,
Günnemann and Lipton 2019, 'Failing Loudly: An Empirical Study of Methods for Detecting Dataset Shift'.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnetlab.evaluation.intervals import Interval, wilson
from resnetlab.evaluation.shift.reference import REFUSED, Reference

Floats = NDArray[np.floating]

FALSE_ALARMS = 0.01  # at most, among collections of images that have not drifted


@dataclass(frozen=True)
class Drift:
    """What new images are like beside those of validation; means as (new, validation).

    `p` is the chance of differences as large among images that have not drifted, at most.
    """

    images: int
    refused: Interval
    distance: tuple[float, float]
    confidence: tuple[float, float]
    p: float

    def found(self, false_alarms: float = FALSE_ALARMS) -> bool:
        """Return whether drift is shown, with that chance of a false alarm."""
        return self.p < false_alarms

    def as_json(self) -> dict[str, Any]:
        """Return the figures by name."""
        names = ("new", "validation")
        return {
            "images": self.images,
            "shown": self.found(),
            "p": self.p,
            "out_of_distribution": dict(self.refused),
            "distance": dict(zip(names, self.distance, strict=True)),
            "confidence": dict(zip(names, self.confidence, strict=True)),
        }

    def __str__(self) -> str:
        """Say how the images differ."""
        far, near = self.distance
        sure, before = self.confidence
        return (
            f"{self.refused['value']:.1%} are unlike the training images ({REFUSED:.0%} of familiar ones are), "
            f"their mean distance to them is {far:.3f} (validation: {near:.3f}), the mean confidence "
            f"{sure:.1%} ({before:.1%}); p {self.p:.1g}"
        )


def refused_share(reference: Reference, distances: Floats, confidence: float = 0.95) -> Interval:
    """Return the share of images, by their distances (B,), that are called unlike the training images."""
    return wilson(int((distances > reference.threshold).sum()), len(distances), confidence)


def drift(reference: Reference, distances: Floats, confidences: Floats) -> Drift:
    """Compare new images, by their `distances` (B,) and `confidences` (B,), with those of validation."""
    from scipy.stats import ks_2samp

    pairs = (distances, reference.distances), (confidences, reference.confidences)
    # 'less': the distribution function of the first lies below, so its values are larger.
    sides = ("less", "greater")
    smallest = min(
        float(ks_2samp(new, known, alternative=side).pvalue)
        for (new, known), side in zip(pairs, sides, strict=True)
    )
    far, sure = ((float(new.mean()), float(known.mean())) for new, known in pairs)
    return Drift(
        images=len(distances),
        refused=refused_share(reference, distances),
        distance=far,
        confidence=sure,
        p=min(1.0, len(pairs) * smallest),
    )
