"""Images as they come: what is kept of each to see whether all of them have drifted."""

from array import array
from typing import TYPE_CHECKING

import numpy as np

from resnetlab.deploy.predictor import FilePrediction
from resnetlab.evaluation.shift.reference import Reference

if TYPE_CHECKING:
    from resnetlab.evaluation.shift.drift import Drift

LEAST = 100  # images below which nothing is said of drift


class Arrivals:
    """Distances and confidences of images that were predicted; two floats an image."""

    def __init__(self, reference: Reference | None) -> None:
        self.reference = reference
        self.distances, self.confidences = array("f"), array("f")

    def __len__(self) -> int:
        return len(self.distances)

    def add(self, answer: FilePrediction) -> None:
        """Take one image; what has no distance tells nothing."""
        if answer.distance is not None and answer.probs is not None:
            self.distances.append(answer.distance)
            self.confidences.append(float(answer.probs.max()))

    def drift(self) -> "Drift | None":
        """Return how they compare with validation; None where they are few, or it can't be told."""
        if self.reference is None or len(self) < LEAST:
            return None
        from resnetlab.evaluation.shift.drift import drift

        return drift(self.reference, np.array(self.distances), np.array(self.confidences))
