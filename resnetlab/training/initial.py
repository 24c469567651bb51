"""The network with which a training begins: its size, its norm, its first weights."""

from collections.abc import Sequence

import numpy as np
import torch

from resnetlab.data.batches import Samples, View, samples_of
from resnetlab.data.catalog import Catalog
from resnetlab.data.store.moments import moments
from resnetlab.data.store.pixels import PixelStore
from resnetlab.models import build
from resnetlab.models.classifier import IMAGENET_MEAN, IMAGENET_STD, Classifier, freeze
from resnetlab.models.pretrained import load_weights
from resnetlab.recipe import Recipe
from resnetlab.training.hardware.device import make_fabric
from resnetlab.training.inputs import plain_view
from resnetlab.training.optim.learner import Learner, make_learner
from resnetlab.training.predict import as_images

# Mean and deviation of each channel, for pixel values in 0 to 1.
FIXED_MOMENTS: dict[str, tuple[Sequence[float], Sequence[float]]] = {
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "network": (IMAGENET_MEAN, IMAGENET_STD),  # until the weights are there, which tell
}


def initial_classifier(recipe: Recipe, catalog: Catalog, store: PixelStore) -> Classifier:
    """Return the fresh network of a resolved recipe, its first weights decided by the seed.

    What it takes from images (mean and deviation, first filters) it takes from the training split.
    """
    torch.manual_seed(recipe.seed)
    mean, std = normalisation(recipe, catalog, store)
    model = recipe.model
    classifier = build(
        model.name,
        len(catalog.classes),
        int(recipe.data.image_size),
        model.stem,
        model.dropout,
        mean,
        std,
        recipe.evaluation.horizontal_flip,
        model.hidden,
    )
    if model.weights != "none":
        published = load_weights(classifier, model.weights, model.name)
        if recipe.data.normalize == "network":
            classifier.set_moments(*published)
    elif classifier.backbone.init_images:
        look(classifier, samples_of(catalog, store, "train"), plain_view(recipe))
    classifier.freeze_norms = recipe.training.freeze_norms
    freeze(classifier, model.freeze)
    return classifier


def initial_learner(
    recipe: Recipe, catalog: Catalog, store: PixelStore
) -> tuple[Classifier, Learner]:
    """Return the fresh network of a resolved recipe on its device, and what trains all of it."""
    training = recipe.training
    classifier = initial_classifier(recipe, catalog, store).to(memory_format=torch.channels_last)
    fabric = make_fabric(str(training.device), str(training.precision), int(training.threads))
    fabric.to_device(classifier)
    learner = make_learner(fabric, classifier, classifier, training)
    learner.model.train()
    return classifier, learner


def look(classifier: Classifier, samples: Samples, view: View) -> None:
    """Show a network the training images that decide its first weights."""
    count = min(len(samples), classifier.backbone.init_images)
    images = as_images(samples.batch(np.arange(count), view).images)
    classifier.backbone.init_from(classifier.normalise(images))


def normalisation(
    recipe: Recipe, catalog: Catalog, store: PixelStore
) -> tuple[Sequence[float], Sequence[float]]:
    """Return mean and deviation by which images are normalised; 'train' is the training split alone."""
    if recipe.data.normalize in FIXED_MOMENTS:
        return FIXED_MOMENTS[recipe.data.normalize]
    mean, std = moments(store, store.rows_of(catalog)[catalog.rows("train")])
    return mean.tolist(), np.maximum(std, 1e-3).tolist()  # a channel without any variation
