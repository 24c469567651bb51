"""What a training takes on this machine, measured on a few steps of it."""

import time
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from resnetlab.data.batches import Samples, Source, View, batches, plan_epoch, samples_of
from resnetlab.data.catalog import Catalog
from resnetlab.data.store.pixels import PixelStore
from resnetlab.models.classifier import Classifier
from resnetlab.recipe import Recipe
from resnetlab.training.initial import initial_learner
from resnetlab.training.inputs import plain_view, stored_views, training_view
from resnetlab.training.optim.learner import Learner, address, make_learner
from resnetlab.training.predict import predict
from resnetlab.training.stored_features import (
    Precision,
    Rest,
    StoredFeatures,
    compute,
    views_kept,
)

WARM_UP, TIMED = 2, 6  # training steps
PREDICTED = 128  # images
COMPUTED = 32  # images that frozen stages are timed on


@dataclass(frozen=True)
class Cost:
    """What a training takes, in seconds: an epoch, validation included, and what is done once.

    `view_s` is what frozen stages take for one of the `views` that are stored of the training images,
    `held_out_s` for those that validate; all 0 where nothing is stored.
    """

    epoch_s: float
    view_s: float = 0.0
    views: int = 0
    held_out_s: float = 0.0

    def once_s(self, epochs: int) -> float:
        """Return what frozen stages take before a training of so many epochs."""
        return min(self.views, epochs) * self.view_s + self.held_out_s


def cost_of(catalog: Catalog, store: PixelStore, recipe: Recipe) -> Cost:
    """Return about what a training takes: measured on a few steps.

    Where images grow, an epoch's is the mean over all: a step takes as long as it has pixels.
    """
    classifier, learner = initial_learner(recipe, catalog, store)
    train, val = (samples_of(catalog, store, split) for split in ("train", "val"))
    if stored_views(classifier, recipe):
        return cost_behind_frozen(classifier, learner, catalog, (train, val), recipe)
    epochs = range(int(recipe.training.epochs))
    view = training_view(recipe, epochs[-1])
    sizes = np.array([training_view(recipe, epoch).image_size for epoch in epochs])
    pixels = float(np.mean((sizes / view.image_size) ** 2))
    train_s = len(train) * step_seconds(learner, train, view, recipe) * pixels
    return Cost(train_s + scoring_seconds(classifier, val, catalog, recipe))


def cost_behind_frozen(
    classifier: Classifier,
    learner: Learner,
    catalog: Catalog,
    samples: tuple[Samples, Samples],
    recipe: Recipe,
) -> Cost:
    """Return what a training takes whose epochs begin with what frozen stages gave once."""
    (train, val), view, plain = samples, training_view(recipe, 0), plain_view(recipe)
    bf16 = recipe.training.precision == "bf16"
    maps, image_s = timed_maps(classifier, train, view, "bf16" if bf16 else "fp32")
    same = np.broadcast_to(maps[:1], (1, len(train), *maps.shape[1:]))  # one map does for all
    stored = StoredFeatures(same, view, train.ids, train.labels)
    rest = make_learner(
        learner.fabric, classifier, Rest(classifier), recipe.training, learner.criterion
    )
    rest.model.train()
    step_s = step_seconds(rest, stored, view, recipe)
    cost = Cost(
        len(train) * step_s,
        len(train) * image_s,
        views_kept(view, stored_views(classifier, recipe)),
    )
    if recipe.evaluation.horizontal_flip is True:  # see evaluation_inputs
        scored_s = scoring_seconds(classifier, val, catalog, recipe)
        return replace(cost, epoch_s=cost.epoch_s + scored_s)
    _, held_out = timed_maps(classifier, val, plain, "fp32") if len(val) else (None, 0.0)
    return replace(cost, held_out_s=len(val) * held_out)


def timed_maps(
    classifier: Classifier, samples: Samples, view: View, precision: Precision
) -> tuple[np.ndarray, float]:
    """Return what frozen stages make of some samples, and the seconds they take for each."""
    images = samples.batch(np.arange(min(len(samples), COMPUTED)), view).images
    compute(classifier, images, precision)  # the first time kernels are chosen
    started = time.monotonic()
    maps = compute(classifier, images, precision)
    return maps, (time.monotonic() - started) / len(images)


def step_seconds(learner: Learner, inputs: Source, view: View, recipe: Recipe) -> float:
    """Return what a step of training takes for each of its images."""
    plan = plan_epoch(len(inputs), recipe.training.batch_size, recipe.seed, 0)[: WARM_UP + TIMED]
    stream = batches(inputs, plan, view, int(recipe.data.workers))
    seconds = []
    for step in range(len(plan)):
        started = time.monotonic()
        learner.step(list(islice(stream, 1)), 0.0, address(recipe.seed, 0, step), step)
        seconds.append((time.monotonic() - started) / len(plan[step]))
    return float(np.median(seconds[WARM_UP:] or seconds))


def scoring_seconds(
    classifier: Classifier, val: Samples, catalog: Catalog, recipe: Recipe
) -> float:
    """Return what predictions for the validation images take."""
    if not len(val):
        return 0.0
    some, workers = head(val, PREDICTED), int(recipe.data.workers)
    started = time.monotonic()
    predict(classifier, some, plain_view(recipe), catalog.classes, recipe.seed, workers)
    return len(val) * (time.monotonic() - started) / len(some)


def head(samples: Samples, count: int) -> Samples:
    """Return the first samples."""
    columns = ("ids", "labels", "records", "keys")
    return replace(samples, **{name: getattr(samples, name)[:count] for name in columns})
