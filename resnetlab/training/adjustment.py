"""The logits of a trained network adjusted by how frequent its classes were: the head's bias takes it in."""

import numpy as np
import torch

from resnetlab.data.batches import Samples
from resnetlab.evaluation.metrics import quick_scores
from resnetlab.evaluation.predictions import Predictions
from resnetlab.models.classifier import Classifier
from resnetlab.recipe import Recipe
from resnetlab.training.inputs import plain_view
from resnetlab.training.optim.losses import log_frequencies
from resnetlab.training.predict import predict

TAUS = tuple(np.arange(0, 2.01, 0.25).tolist())  # tried, the least first: more must be better


def best_tau(
    classifier: Classifier,
    val: Samples,
    classes: tuple[str, ...],
    counts: np.ndarray,
    recipe: Recipe,
) -> tuple[float, dict[float, float]]:
    """Return how much of the classes' log frequencies to take off, and the score with each of TAUS.

    Scored on validation by balanced accuracy; `counts` (K,) are the training images of each class.
    """
    view, workers = plain_view(recipe), int(recipe.data.workers)
    found = predict(classifier, val, view, classes, recipe.seed, workers)
    scores = {}
    for tau in TAUS:
        offsets = log_frequencies(counts, tau)
        logits = found.logits if offsets is None else found.logits - offsets.numpy()
        adjusted = Predictions.make(found.ids, found.labels, logits, classes)
        scores[tau] = quick_scores(adjusted)["balanced_accuracy"]
    return max(TAUS, key=lambda tau: scores[tau]), scores


def adjust_head(classifier: Classifier, counts: np.ndarray, tau: float) -> None:
    """Take `tau` times the log frequency of each class off its logit for good. Source: Menon et al. 2021."""
    offsets = log_frequencies(counts, tau)
    if offsets is not None:
        with torch.no_grad():
            classifier.head.bias.sub_(offsets.to(classifier.head.bias.device))
