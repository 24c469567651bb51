"""Planning a search to a time: what an epoch takes here, and how many trials that leaves room for."""

import time
from dataclasses import dataclass, replace
from itertools import islice
from math import floor, log
from typing import Literal

import numpy as np

from resnetlab.data.batches import Samples, Source, View, batches, plan_epoch, samples_of
from resnetlab.data.catalog import Catalog
from resnetlab.data.store.pixels import PixelStore
from resnetlab.errors import RecipeError
from resnetlab.models.classifier import Classifier
from resnetlab.recipe import Recipe
from resnetlab.report.formats import plural
from resnetlab.system.progress import duration
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
from resnetlab.tuning.sampling import REDUCTION, first_rung

WARM_UP, TIMED = 2, 6  # training steps
PREDICTED = 128  # images
COMPUTED = 32  # images that frozen stages are timed on
RETRAINING_SHARE = 1.15  # of what it should take: machines are not always equally fast
REPORT_S = 20  # for evidence, images and page
MOST_TRIALS = 200


@dataclass(frozen=True)
class Plan:
    """What fits into a budget."""

    trials: int
    pruner: Literal["none", "median", "halving", "hyperband"]
    search_s: float  # until the search must end, from now
    sentence: str


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
    facts = np.broadcast_to(maps[:1], (1, len(train), *maps.shape[1:])), view
    rest = make_learner(
        learner.fabric, classifier, Rest(classifier), recipe.training, learner.criterion
    )
    rest.model.train()
    step_s = step_seconds(rest, StoredFeatures(*facts, train.ids, train.labels), view, recipe)
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


def plan_search(
    budget_s: float,
    cost: Cost,
    folds: int,
    epochs: int,
    growth: float,
    recipe: Recipe,
    wanted: int,
    done: int = 0,
) -> Plan:
    """Return how many trials fit, and whether the less promising must be given up early for that.

    A full trial has `folds` times `epochs` epochs; what frozen stages give is stored for the first and serves
    all. The retraining has `epochs`, each `growth` times as long, 0 for none. At most `wanted` trials
    are planned, beside those that are `done`. Raises RecipeError where there is no room for the
    retraining, nor for a trial where none is done.
    """
    epoch_s, once_s = cost.epoch_s, folds * cost.once_s(epochs)
    retraining_s = RETRAINING_SHARE * growth * (epochs * epoch_s + cost.once_s(epochs)) + REPORT_S
    full_s, search_s = folds * epochs * epoch_s, budget_s - retraining_s
    trials_s = search_s if done else search_s - once_s
    after = "the retraining" if growth else "the report"
    kept = f"{duration(retraining_s)} are kept for {after}"
    before = f", what frozen stages give {duration(once_s)} before" if once_s and not done else ""
    pruner, more = recipe.tuning.pruner, "more " if done else ""
    if done and search_s >= 0 and (trials_s < full_s or not wanted):
        why = "all are done" if not wanted else f"another would take {duration(full_s)}"
        return Plan(0, pruner or "none", 0.0, f"no more trials ({why}); {kept}")
    if trials_s < full_s:
        raise RecipeError(
            f"--budget is too short: a trial takes {duration(full_s)} here ({plural(folds, 'fold')} of {epochs} "
            f"epochs, {epoch_s:.1f} s each){before} and {after} {duration(retraining_s)}; give at least "
            f"{duration(once_s + full_s + retraining_s)}, or take fewer folds or epochs"
        )
    in_full = floor(trials_s / full_s)
    if wanted <= in_full or pruner == "none":
        count = min(wanted, in_full)
        sentence = f"{count} {more}trials to their end, {epoch_s:.1f} s an epoch{before}; {kept}"
        return Plan(count, pruner or "none", search_s, sentence)
    steps, first = folds * epochs, first_rung(epochs)
    rungs = floor(log(steps / first) / log(REDUCTION))
    # Of each trial: the epochs to the first rung, then to each other one with what is left of them.
    last = steps / (first * REDUCTION**rungs)
    usual = first * (1 + rungs * (1 - 1 / REDUCTION) + (last - 1) / REDUCTION)
    count = min(wanted, MOST_TRIALS, 1 + floor((trials_s - full_s) / (usual * epoch_s)))
    stops = ", ".join(str(first * REDUCTION**rung) for rung in range(rungs + 1))
    chosen = pruner or "halving"
    sentence = (
        f"{count} {more}trials, {epoch_s:.1f} s an epoch{before}; the less promising are given up early "
        f"({chosen}{f', rungs at {stops} of {steps} epochs' if chosen == 'halving' else ''}); {kept}"
    )
    return Plan(count, chosen, search_s, sentence)
