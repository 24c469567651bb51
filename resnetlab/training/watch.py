"""What is told while a training goes on: a loss that goes nowhere or leaps, a machine that is busy."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from resnetlab.recipe import Training
from resnetlab.system.progress import log
from resnetlab.training.hardware.device import MOST_THREADS
from resnetlab.training.hardware.load import LoadWatch
from resnetlab.training.hardware.probe import fastest_threads
from resnetlab.training.history import History

LOOK_EVERY = 10  # steps; as often as the loop looks whether the loss is finite
LEAP = 10.0  # times the lowest loss so far, and more than
FAR = 3.0  # times that of guessing
AT_CHANCE = 0.97  # of the loss of guessing
CHANCE_EPOCHS, CHANCE_STEPS = 3, 100  # after which it should have fallen; or within an epoch
CHANCE_STEPS_AT_ONCE = 2000
FIND_LR = "see which rate suits: resnetlab tune DATA --find-lr"


def watch_training(labels: np.ndarray, training: Training) -> "Watch":
    """Return what watches over a training on images of these classes (N,), by a resolved recipe."""
    counts = np.bincount(labels)
    shares = counts[counts > 0] / len(labels)
    step = min(training.batch_size * training.accumulate, len(labels))
    steps = math.ceil(len(labels) / step)
    images = len(labels) / steps
    load = None
    if training.device == "cpu":
        threads, adaptive = training.threads, training.threads == "adaptive"
        most = MOST_THREADS if adaptive else int(threads)
        load = LoadWatch(most, images, way_out(most, adaptive))
    return Watch(training, images, float(-(shares * np.log(shares)).sum()), load)


def way_out(threads: int, adaptive: bool) -> str:
    """Return what is done, or can be done, where other programs take the processors."""
    if adaptive:
        return "as many threads as are fastest beside them from the next epoch on"
    if threads == 1:
        return "end them, or wait for them"
    return (
        f"its {threads} threads wait for each other. End them; or training.threads=adaptive (other "
        "bits) takes fewer while they last"
    )


@dataclass
class Watch:
    """Watches over a training; whatever it sees it tells once.

    `images` are those of a step, `chance` is the loss (nats) of guessing by the classes' shares.
    """

    training: Training
    images: float
    chance: float
    load: LoadWatch | None = None
    lowest: float = math.inf  # mean loss of LOOK_EVERY steps
    steps: int = 0  # of all epochs that were watched
    told_leap: bool = False
    told_chance: bool = False

    def begin_epoch(self, history: History) -> None:
        """Begin to count; where the recipe leaves them open, take the threads that are fastest now."""
        self.epoch, self.seen = len(history) + 1, (0, 0.0)  # steps, and the sum of their losses
        if self.load is None:
            return
        if self.training.threads == "adaptive" and self.load.turned:
            adapt_threads(self.training.precision)
            self.load.turned = False
        self.load.begin()

    def after_step(self, step: int, sums: torch.Tensor) -> None:
        """Take in a step: `step` of the epoch are done, `sums` (2,) are of loss and correct."""
        self.steps += 1
        if self.load is not None:
            self.load.step()
        if self.steps % LOOK_EVERY == 0:
            self.look(step, float(sums[0]))

    def look(self, step: int, total: float) -> None:
        """Look at the mean loss since the last look; `total` is its sum over the epoch's images."""
        before, total_before = self.seen
        self.seen = step, total
        if step <= before or not math.isfinite(total):
            return
        loss = (total - total_before) / ((step - before) * self.images)
        usual = min(self.lowest, self.chance)
        if loss > max(LEAP * usual, FAR * self.chance) and not self.told_leap:
            self.told_leap = True
            best = f", the lowest so far is {usual:.3g}" if usual < self.chance else ""
            log(
                f"note: epoch {self.epoch}, step {step}: the loss leapt to {loss:.3g} (guessing gives "
                f"{self.chance:.3g}{best}). Most likely training.lr={self.training.lr:g} is too high; "
                f"{FIND_LR}"
            )
        self.lowest = min(self.lowest, loss)
        if self.steps >= CHANCE_STEPS_AT_ONCE and self.epoch == 1:
            self.tell_chance(self.lowest, f"{self.steps:,} steps")

    def end_epoch(self, history: History) -> None:
        """Take in the epoch that has just ended."""
        if self.load is not None:
            self.load.end()
        if len(history) >= CHANCE_EPOCHS and self.steps >= CHANCE_STEPS:
            lowest = min(row["train_loss"] for row in history)
            self.tell_chance(lowest, f"{len(history)} epochs")

    def tell_chance(self, lowest: float, after: str) -> None:
        """Say that the training loss is no better than that of guessing, where it never was."""
        if self.told_chance or lowest < AT_CHANCE * self.chance:
            return
        self.told_chance = True
        log(
            f"note: after {after} the training loss is still no better than guessing ({self.chance:.3g}). Most "
            f"likely training.lr={self.training.lr:g} is far too high or too low, the labels have nothing "
            f"to do with the images, or too much is frozen or varied; {FIND_LR}"
        )


def adapt_threads(precision: str) -> None:
    """Compute with as many threads as are fastest just now, and say so where that is another number."""
    before = torch.get_num_threads()
    torch.set_num_threads(MOST_THREADS)
    threads = fastest_threads("bf16" if precision == "bf16" else "fp32")
    torch.set_num_threads(threads)
    if threads != before:
        log(f"note: computes with {threads} of {MOST_THREADS} threads from this epoch on")
