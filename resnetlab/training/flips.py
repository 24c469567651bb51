"""Whether predictions gain by asking about an image's horizontal flip too, tried on validation."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from resnetlab.data.batches import Samples
from resnetlab.evaluation.metrics import losses
from resnetlab.evaluation.predictions import Predictions
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


class Mirrored(nn.Module):
    """A classifier that is asked about the horizontal flip of each image alone."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier
        self.train(classifier.training)

    def forward(self, images: Tensor) -> Tensor:
        """Turn uint8 images (N, 3, H, W) into logits (N, K)."""
        logits: Tensor = self.classifier(images.flip(3))
        return logits


def try_flips(
    classifier: Classifier, val: Samples, classes: tuple[str, ...], recipe: Recipe
) -> FlipTrial:
    """Predict a validation split with and without flips; the classifier is left without them."""
    classifier.horizontal_flip = False
    workers, view = int(recipe.data.workers), plain_view(recipe)
    plain, flipped = (
        predict(model, val, view, classes, recipe.seed, workers)
        for model in (classifier, Mirrored(classifier))
    )
    # What the classifier itself says with flips, for its head is linear.
    mean = (plain.logits + flipped.logits) / 2
    gains = losses(plain) - losses(Predictions.make(val.ids, val.labels, mean, classes))
    error = float(gains.std(ddof=1) / np.sqrt(len(gains))) if len(gains) > 1 else np.inf
    return FlipTrial(float(gains.mean()), error)
