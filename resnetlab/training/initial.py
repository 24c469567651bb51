"""The network with which a training begins: its size, its norm, its first weights."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from resnetlab.data.batches import Samples, View, samples_of
from resnetlab.data.catalog import Catalog
from resnetlab.data.store.moments import moments
from resnetlab.data.store.pixels import PixelStore
from resnetlab.errors import RecipeError
from resnetlab.models import build
from resnetlab.models.classifier import IMAGENET_MEAN, IMAGENET_STD, Classifier, freeze
from resnetlab.models.head import load_head
from resnetlab.models.lora import add_adapters, load_adapters
from resnetlab.models.pretrained import load_weights
from resnetlab.recipe import Model, Recipe
from resnetlab.training.hardware.device import make_fabric, starting_threads
from resnetlab.training.inputs import plain_view
from resnetlab.training.optim.learner import Learner, make_learner
from resnetlab.training.optim.losses import make_criterion
from resnetlab.training.predict import as_images
from resnetlab.training.reconstruction import Reconstructing

# Mean and deviation of each channel, for pixel values in 0 to 1.
FIXED_MOMENTS: dict[str, tuple[Sequence[float], Sequence[float]]] = {
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}


def build_network(recipe: Recipe, num_classes: int) -> Classifier:
    """Return the network of a recipe, its first weights decided by the seed or taken from elsewhere.

    Size and weights must be settled. Published weights bring their mean and deviation.
    """
    torch.manual_seed(recipe.seed)
    model = recipe.model
    network = build(
        model.name,
        num_classes,
        int(recipe.data.image_size),
        model.stem,
        model.dropout,
        horizontal_flip=recipe.evaluation.horizontal_flip is True,
        hidden=model.hidden,
        upsample=model.upsample,
        pool=model.pool,
        drop_path=model.drop_path,
    )
    if model.weights != "none":
        network.set_moments(*load_weights(network, model.weights, model.name))
    freeze(network, model.freeze)
    if model.lora.rank:
        adapt(network, model)
    return network


def network_with(recipe: Recipe, num_classes: int, state: dict[str, Tensor]) -> Classifier:
    """Return the network of a resolved recipe with the weights that it has in another process."""
    bare = recipe.override({"model.weights": "none", "model.lora.adapters": None})
    network = build_network(bare, num_classes)
    network.load_state_dict(state)
    return network


def adapt(network: Classifier, model: Model) -> None:
    """Let the network learn by low-rank adapters alone. Raises RecipeError where stages are frozen too."""
    if model.freeze != "none":
        raise RecipeError(
            f"model.freeze must be none with model.lora, which freezes all weights itself. Got {model.freeze}"
        )
    add_adapters(network, model.lora.rank, model.lora.alpha, model.lora.targets)
    if model.lora.adapters is not None:
        load_adapters(Path(model.lora.adapters), network)


def initial_classifier(
    recipe: Recipe, catalog: Catalog, store: PixelStore, network: Classifier | None = None
) -> Classifier:
    """Return the network with which the training by a resolved recipe begins.

    `network` is what `build_network` gave, where that was done already. What the network takes from
    images (mean and deviation, first filters) it takes from the training split.
    """
    network = network or build_network(recipe, len(catalog.classes))
    if recipe.model.head == "weights":
        load_head(network, Path(recipe.model.weights), catalog.classes)
    if recipe.data.normalize != "network":
        network.set_moments(*normalisation(recipe, catalog, store))
    if recipe.model.weights == "none" and network.backbone.init_images:
        look(network, samples_of(catalog, store, "train"), plain_view(recipe))
    return network


def initial_learner(
    recipe: Recipe, catalog: Catalog, store: PixelStore
) -> tuple[Classifier, Learner]:
    """Return the fresh network of a resolved recipe on its device, and what trains all of it, its decoder too."""
    training = recipe.training
    classifier = initial_classifier(recipe, catalog, store).to(memory_format=torch.channels_last)
    threads = starting_threads(training)
    fabric = make_fabric(str(training.device), str(training.precision), threads)
    fabric.to_device(classifier)
    criterion = make_criterion(training, catalog.classes, catalog.labels[catalog.rows("train")])
    part = Reconstructing(classifier) if training.reconstruction else classifier
    learner = make_learner(fabric, classifier, part, training, criterion)
    learner.model.train()
    return classifier, learner


def look(classifier: Classifier, samples: Samples, view: View) -> None:
    """Show a network the training images that decide its first weights."""
    count = min(len(samples), classifier.backbone.init_images)
    images = as_images(samples.batch(np.arange(count), view).images)
    classifier.backbone.init_from(classifier.prepare(images))


def normalisation(
    recipe: Recipe, catalog: Catalog, store: PixelStore
) -> tuple[Sequence[float], Sequence[float]]:
    """Return mean and deviation by which images are normalised; 'train' is the training split alone."""
    if recipe.data.normalize in FIXED_MOMENTS:
        return FIXED_MOMENTS[recipe.data.normalize]
    mean, std = moments(store, store.rows_of(catalog)[catalog.rows("train")])
    return mean.tolist(), np.maximum(std, 1e-3).tolist()  # a channel without any variation
