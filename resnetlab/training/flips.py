"""Whether predictions gain by asking about an image's horizontal flip too, tried on validation."""

from dataclasses import dataclass

import numpy as np

from resnetlab.data.batches import Samples
from resnetlab.evaluation.metrics import losses
from resnetlab.models.classifier import Classifier
from resnetlab.recipe import Recipe
from resnetlab.training.inputs import plain_view
from resnetlab.training.predict import predict

CLEARLY = (
    2.0  # standard errors by which the loss must fall: a flip doubles the time of a prediction
)


@dataclass(frozen=True)
class FlipTrial:
    """By how much the mean loss on validation falls with flips, and the standard error of that."""

    gain: float
    error: float

    @property
    def helps(self) -> bool:
        """Whether flips are worth their time."""
        return self.gain > CLEARLY * self.error


def try_flips(
    classifier: Classifier, val: Samples, classes: tuple[str, ...], recipe: Recipe
) -> FlipTrial:
    """Predict a validation split with and without flips; the classifier is left without them."""
    workers, view = int(recipe.data.workers), plain_view(recipe)
    found = []
    for flip in (False, True):
        classifier.horizontal_flip = flip
        found.append(losses(predict(classifier, val, view, classes, recipe.seed, workers)))
    classifier.horizontal_flip = False
    gains = found[0] - found[1]
    error = float(gains.std(ddof=1) / np.sqrt(len(gains))) if len(gains) > 1 else np.inf
    return FlipTrial(float(gains.mean()), error)
