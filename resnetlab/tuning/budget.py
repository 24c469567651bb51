"""Planning a search to a time: what an epoch takes here, and how many trials that leaves room for."""

import time
from dataclasses import dataclass, replace
from itertools import islice
from math import floor, log
from typing import Literal

import numpy as np

from resnetlab.data.batches import Samples, batches, plan_epoch, samples_of
from resnetlab.data.catalog import Catalog
from resnetlab.data.store.pixels import PixelStore
from resnetlab.errors import RecipeError
from resnetlab.recipe import Recipe
from resnetlab.system.progress import duration
from resnetlab.training.initial import initial_learner
from resnetlab.training.inputs import plain_view, training_view
from resnetlab.training.optim.learner import address
from resnetlab.training.predict import predict
from resnetlab.tuning.sampling import REDUCTION, first_rung

WARM_UP, TIMED = 2, 6  # training steps
PREDICTED = 128  # images
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


def epoch_seconds(catalog: Catalog, store: PixelStore, recipe: Recipe) -> float:
    """Return about how many seconds an epoch takes, validation included: measured on a few steps.

    Where images grow, it is the mean over all epochs: a step takes as long as it has pixels.
    """
    classifier, learner = initial_learner(recipe, catalog, store)
    train, val = (samples_of(catalog, store, split) for split in ("train", "val"))
    workers, epochs = int(recipe.data.workers), range(int(recipe.training.epochs))
    view = training_view(recipe, epochs[-1])
    sizes = np.array([training_view(recipe, epoch).image_size for epoch in epochs])
    plan = plan_epoch(len(train), recipe.training.batch_size, recipe.seed, 0)[: WARM_UP + TIMED]
    stream = batches(train, plan, view, workers)
    seconds = []
    for step in range(len(plan)):
        started = time.monotonic()
        learner.step(list(islice(stream, 1)), 0.0, address(recipe.seed, 0, step), step)
        seconds.append((time.monotonic() - started) / len(plan[step]))
    pixels = float(np.mean((sizes / view.image_size) ** 2))
    train_s = len(train) * float(np.median(seconds[WARM_UP:] or seconds)) * pixels
    if not len(val):
        return train_s
    some = head(val, PREDICTED)
    started = time.monotonic()
    predict(classifier, some, plain_view(recipe), catalog.classes, recipe.seed, workers)
    return train_s + len(val) * (time.monotonic() - started) / len(some)


def head(samples: Samples, count: int) -> Samples:
    """Return the first samples."""
    columns = ("ids", "labels", "records", "keys")
    return replace(samples, **{name: getattr(samples, name)[:count] for name in columns})


def plan_search(
    budget_s: float,
    epoch_s: float,
    folds: int,
    epochs: int,
    growth: float,
    recipe: Recipe,
    wanted: int,
    done: int = 0,
) -> Plan:
    """Return how many trials fit, and whether the less promising must be given up early for that.

    A full trial has `folds` times `epochs` epochs of `epoch_s`; the retraining has `epochs`, each
    `growth` times as long, 0 for none. At most `wanted` trials are planned, beside those that are `done`. Raises
    RecipeError where there is no room for the retraining, nor for a trial where none is done.
    """
    retraining_s = RETRAINING_SHARE * growth * epochs * epoch_s + REPORT_S
    full_s, search_s = folds * epochs * epoch_s, budget_s - retraining_s
    after = "the retraining" if growth else "the report"
    kept = f"{duration(retraining_s)} are kept for {after}"
    pruner, more = recipe.tuning.pruner, "more " if done else ""
    if done and search_s >= 0 and (search_s < full_s or not wanted):
        why = "all are done" if not wanted else f"another would take {duration(full_s)}"
        return Plan(0, pruner or "none", 0.0, f"no more trials ({why}); {kept}")
    if search_s < full_s:
        raise RecipeError(
            f"--budget is too short: a trial takes {duration(full_s)} here ({folds} folds of {epochs} "
            f"epochs, {epoch_s:.1f} s each) and {after} {duration(retraining_s)}; give at least "
            f"{duration(full_s + retraining_s)}, or take fewer folds or epochs"
        )
    in_full = floor(search_s / full_s)
    if wanted <= in_full or pruner == "none":
        count = min(wanted, in_full)
        sentence = f"{count} {more}trials to their end, {epoch_s:.1f} s an epoch; {kept}"
        return Plan(count, pruner or "none", search_s, sentence)
    steps, first = folds * epochs, first_rung(epochs)
    rungs = floor(log(steps / first) / log(REDUCTION))
    # Of each trial: the epochs to the first rung, then to each other one with what is left of them.
    last = steps / (first * REDUCTION**rungs)
    usual = first * (1 + rungs * (1 - 1 / REDUCTION) + (last - 1) / REDUCTION)
    count = min(wanted, MOST_TRIALS, 1 + floor((search_s - full_s) / (usual * epoch_s)))
    stops = ", ".join(str(first * REDUCTION**rung) for rung in range(rungs + 1))
    chosen = pruner or "halving"
    sentence = (
        f"{count} {more}trials, {epoch_s:.1f} s an epoch; the less promising are given up early "
        f"({chosen}{f', rungs at {stops} of {steps} epochs' if chosen == 'halving' else ''}); {kept}"
    )
    return Plan(count, chosen, search_s, sentence)
