"""Schedules of learning rate and image size: pure functions of time (and past scores), no state."""

import math
from collections.abc import Sequence

from resnetlab.recipe import Training

SIZE_STEP, SMALL_SIZE_STEP = 32, 4  # px by which images grow; few shapes keep the kernels warm
ONE_CYCLE_RISE = 0.3  # share of the run in which the learning rate rises
ONE_CYCLE_START, ONE_CYCLE_END = (
    1 / 25,
    1e-5,
)  # Smith and Topin 2018, with torch's and fastai's values


def lr_factor(training: Training, time: float, scores: Sequence[float]) -> float:
    """Return what the base learning rate is multiplied by, in [0, 1].

    `time` is in epochs since the start, `scores` one a finished epoch, higher is better
    (for the plateau schedule; see `history.plateau_scores`).
    """
    epochs = int(training.epochs)
    if training.schedule == "onecycle":
        return one_cycle(time / epochs)
    warmup = min(float(training.warmup_epochs), epochs / 2)
    if time < warmup:
        return time / warmup
    if training.schedule == "linear":
        return (epochs - time) / (epochs - warmup)
    if training.schedule == "cosine":  # Loshchilov and Hutter 2017, without restarts
        return (1 + math.cos(math.pi * (time - warmup) / (epochs - warmup))) / 2
    if training.schedule == "step":
        return training.step_factor ** (int(time) // training.step_epochs)
    if training.schedule == "plateau":
        return training.step_factor ** count_plateaus(scores, training.plateau_epochs)
    return 1.0


def size_of_epoch(training: Training, image_size: int, epoch: int) -> int:
    """Return the side (px) of the images in an epoch (from 0), at most `image_size`.

    Small images cost less and teach nearly as much at first. The size grows by whole steps from `start_size` on.
    Source: Howard 2018, progressive resizing in fast.ai's entry to DAWNBench.
    """
    full_from = training.full_size_from * int(training.epochs)
    if not isinstance(training.start_size, int) or epoch >= full_from:
        return image_size
    step = SIZE_STEP if image_size >= 4 * SIZE_STEP else SMALL_SIZE_STEP
    start = min(training.start_size, image_size)
    grown = (image_size - start) * epoch / full_from
    return min(image_size, start + step * round(grown / step))


def one_cycle(share: float) -> float:
    """Return the factor after a share of the run: a cosine rise, then a longer cosine fall."""
    if share < ONE_CYCLE_RISE:
        return _cosine_between(ONE_CYCLE_START, 1.0, share / ONE_CYCLE_RISE)
    return _cosine_between(1.0, ONE_CYCLE_END, (share - ONE_CYCLE_RISE) / (1 - ONE_CYCLE_RISE))


def count_plateaus(scores: Sequence[float], length: int) -> int:
    """Return how often `length` epochs in a row passed without a new best score."""
    best, waited, plateaus = -math.inf, 0, 0
    for score in scores:
        waited = 0 if score > best else waited + 1
        best = max(best, score)
        if waited == length:
            plateaus, waited = plateaus + 1, 0
    return plateaus


def _cosine_between(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
