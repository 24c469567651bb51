"""Learning-rate schedules: pure functions of time (and past scores), so there is no state to save."""

import math
from collections.abc import Sequence

from resnetlab.recipe import Training

ONE_CYCLE_RISE = 0.3  # share of the run in which the rate rises
ONE_CYCLE_START, ONE_CYCLE_END = (
    1 / 25,
    1e-5,
)  # Smith and Topin 2018, with torch's and fastai's values


def rate_factor(training: Training, time: float, scores: Sequence[float]) -> float:
    """Return what the base rate is multiplied by, in [0, 1].

    `time` is in epochs since the start, `scores` one a finished epoch, higher is better
    (for the plateau schedule).
    """
    if training.schedule == "onecycle":
        return one_cycle(time / training.epochs)
    warmup = min(training.warmup_epochs, training.epochs / 2)
    if time < warmup:
        return time / warmup
    if training.schedule == "cosine":  # Loshchilov and Hutter 2017, without restarts
        return (1 + math.cos(math.pi * (time - warmup) / (training.epochs - warmup))) / 2
    if training.schedule == "step":
        return training.step_factor ** (int(time) // training.step_epochs)
    if training.schedule == "plateau":
        return training.step_factor ** count_plateaus(scores, training.plateau_epochs)
    return 1.0


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
