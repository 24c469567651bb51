"""What a training sees: images as each epoch shows them, or what frozen stages made of them."""

import torch

from resnetlab.data.batches import Samples, SharedSource, Source, View
from resnetlab.models.classifier import Classifier
from resnetlab.recipe import Augment, Recipe, evaluation_size
from resnetlab.system import ranks
from resnetlab.training.optim.schedules import size_of_epoch
from resnetlab.training.resident import ResidentSamples, may_reside
from resnetlab.training.stored_features import Precision, Rest, StoredFeatures, store_features


def training_inputs(
    device: torch.device, classifier: Classifier, train: Samples, recipe: Recipe
) -> tuple[Classifier | Rest, Source]:
    """Return the part of the network that works in each step, and what it learns from.

    The whole of it and the images; or what follows the frozen stages, and what those gave.
    """
    training = recipe.training
    if views := stored_views(classifier, recipe):
        precision: Precision = "bf16" if training.precision == "bf16" else "fp32"
        view, workers = training_view(recipe, 0), int(recipe.data.workers)
        stored = stored_by_main(classifier, train, view, views, precision, workers)
        return Rest(classifier), part_of(stored, recipe)
    if may_reside(train, device):
        return classifier, part_of(ResidentSamples.of(train, device), recipe)
    return classifier, part_of(train, recipe)


def part_of(source: Source, recipe: Recipe) -> Source:
    """Return what of each batch this process learns from: all, unless others work with it."""
    mixed = bool(recipe.training.mixup or recipe.training.cutmix)
    return source if ranks.world() == 1 else SharedSource(source, mixed)


def stored_by_main(
    classifier: Classifier,
    samples: Samples,
    view: View,
    views: int,
    precision: Precision,
    workers: int,
) -> StoredFeatures:
    """Return what `store_features` gives; of many processes the main one computes it, the others read it."""
    stored: list[StoredFeatures] = []

    def store() -> None:
        stored.append(store_features(classifier, samples, view, views, precision, workers))

    ranks.on_main(store)
    if not stored:
        store()
    return stored[0]


def evaluation_inputs(
    classifier: Classifier, val: Samples, recipe: Recipe
) -> tuple[Classifier | Rest, Source]:
    """Return the part of the network that is scored after each epoch, and on what; in fp32."""
    # An image and its horizontal flip pass through the frozen stages apart: that isn't stored.
    if not stored_views(classifier, recipe) or recipe.evaluation.horizontal_flip is True:
        return classifier, val
    workers = int(recipe.data.workers)
    return Rest(classifier), stored_by_main(classifier, val, plain_view(recipe), 1, "fp32", workers)


def stored_views(classifier: Classifier, recipe: Recipe) -> int:
    """Return how many views of the images are kept behind frozen stages; 0 where none is."""
    return int(recipe.training.frozen_views) if classifier.frozen else 0


def training_view(recipe: Recipe, epoch: int) -> View:
    """Return how images are shown in an epoch of training."""
    augment = recipe.data.augment
    assert isinstance(augment, Augment), "the recipe must be resolved"
    size = size_of_epoch(recipe.training, int(recipe.data.image_size), epoch)
    return View(size, recipe.data.fit, augment, recipe.seed, epoch)


def plain_view(recipe: Recipe) -> View:
    """Return how images are shown in evaluation."""
    return View(evaluation_size(recipe), recipe.data.fit)
