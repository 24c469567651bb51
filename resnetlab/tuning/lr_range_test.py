"""Learning rate range test: the loss while the learning rate grows from step to step."""

from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch

from resnetlab.data.batches import batches, plan_epoch, samples_of
from resnetlab.data.catalog import Catalog
from resnetlab.data.store.pixels import PixelStore
from resnetlab.recipe import Recipe
from resnetlab.system.progress import Progress
from resnetlab.training.initial import initial_learner
from resnetlab.training.inputs import training_view
from resnetlab.training.optim.learner import address

STEPS = 120
# A range around the customary lr would be shorter, and could miss that of an unusual network.
LOWEST, HIGHEST = 1e-6, 1e2
SMOOTHING = 0.9
DIVERGED = 4.0  # times the lowest loss: from there on nothing more is learned
BELOW_LOWEST = 10  # where the loss is lowest, training is about to diverge


@dataclass(frozen=True)
class LrRangeTest:
    """The learning rate and the loss of each step (N,), the loss smoothed, and the lr suggested by it."""

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    suggested: float
    lowest_at: float


def try_learning_rates(
    catalog: Catalog, store: PixelStore, recipe: Recipe, steps: int = STEPS
) -> LrRangeTest:
    """Train a network of its own with an lr that grows from LOWEST to HIGHEST; nothing else changes.

    The suggestion is a tenth of the lr at which the smoothed loss is lowest. What is trained later
    begins afresh, as if this had not been. Source: Smith 2017, Cyclical Learning Rates for Training
    Neural Networks; the tenth is the custom of fastai's finder.
    """
    before = torch.get_rng_state()
    recipe = recipe.override(
        {"training.lr": 1.0, "training.head_lr": None, "training.bias_lr": None}
    )
    training, seed = recipe.training, recipe.seed
    _, learner = initial_learner(recipe, catalog, store)
    train = samples_of(catalog, store, "train")
    plan = [
        rows
        for epoch in range(-(-steps * training.batch_size // len(train)))
        for rows in plan_epoch(len(train), training.batch_size, seed, epoch)
    ][:steps]
    stream = batches(train, plan, training_view(recipe, 0), int(recipe.data.workers))
    rates = np.geomspace(LOWEST, HIGHEST, len(plan))
    losses: list[float] = []
    with Progress("trying learning rates", len(plan), "steps") as progress:
        for step, lr in enumerate(rates):
            sums = learner.step(list(islice(stream, 1)), float(lr), address(seed, 0, step), step)
            losses.append(float(sums[0]) / len(plan[step]))
            progress.advance(1)
            if not np.isfinite(losses[-1]) or has_diverged(losses):
                break
    torch.set_rng_state(before)
    found = np.array(losses)
    found = found[np.isfinite(found)]
    smoothed = running_mean(found)
    lowest_at = float(rates[smoothed.argmin()])
    return LrRangeTest(rates[: len(found)], found, smoothed, lowest_at / BELOW_LOWEST, lowest_at)


def has_diverged(losses: list[float]) -> bool:
    """Return whether the smoothed loss is far above its lowest value."""
    smoothed = running_mean(np.array(losses))
    return bool(smoothed[-1] > DIVERGED * smoothed.min())


def running_mean(values: np.ndarray) -> np.ndarray:
    """Return the exponential running mean of values (N,), corrected for its beginning at 0."""
    mean, means = 0.0, []
    for count, value in enumerate(values, 1):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * float(value)
        means.append(mean / (1 - SMOOTHING**count))
    return np.array(means)
