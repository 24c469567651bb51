"""Averages of a network's weights, which are often better than where they stand."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from resnetlab.models.classifier import Classifier, learned_state
from resnetlab.recipe import Training


class Average:
    """An average of all that a network learns, its norms' statistics included."""

    def __init__(self, classifier: Classifier) -> None:
        self.current = {  # they share the network's memory
            name: tensor
            for name, tensor in learned_state(classifier).items()
            if tensor.is_floating_point()
        }
        self.state = {name: tensor.clone() for name, tensor in self.current.items()}

    def update(self, steps: int, epochs_done: int | None) -> None:
        """Take in the weights as they are after so many steps of the whole training.

        `epochs_done` says how many epochs are done where this step was the last of one.
        """
        raise NotImplementedError

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the network have the averaged weights for a while."""
        before = {name: tensor.clone() for name, tensor in self.current.items()}
        self._put(self.state)
        try:
            yield
        finally:
            self._put(before)

    def settle(self) -> None:
        """Give the network the averaged weights for good."""
        self._put(self.state)

    def lerp(self, share: float) -> None:
        """Move the average towards the current weights by this share of the way."""
        torch._foreach_lerp_(list(self.state.values()), list(self.current.values()), share)

    def _put(self, state: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, tensor in self.current.items():
                tensor.copy_(state[name])


class MovingAverage(Average):
    """Exponential moving average over the steps (EMA).

    At first it forgets faster, so that the first random weights don't stay in it. Sources: Polyak
    and Juditsky 1992, 'Acceleration of Stochastic Approximation by Averaging'; the warm-up is that
    of TensorFlow's ExponentialMovingAverage.
    """

    def __init__(self, classifier: Classifier, decay: float) -> None:
        super().__init__(classifier)
        self.decay = decay

    def update(self, steps: int, epochs_done: int | None) -> None:
        """Take in the weights after each step."""
        self.lerp(1 - min(self.decay, (1 + steps) / (10 + steps)))


class EpochMean(Average):
    """The mean of the weights at the ends of epochs, from epoch `first` (from 1) on (SWA).

    Until then it is what the last epoch left. The statistics of norms are averaged like weights, not
    computed anew. Source: Izmailov et al. 2018, 'Averaging Weights Leads to Wider Optima and Better
    Generalization', arXiv:1803.05407.
    """

    def __init__(self, classifier: Classifier, first: int) -> None:
        super().__init__(classifier)
        self.first = first

    def update(self, steps: int, epochs_done: int | None) -> None:
        """Take in the weights after the last step of an epoch."""
        if epochs_done is not None:
            self.lerp(1 / max(epochs_done - self.first + 1, 1))


def make_average(classifier: Classifier, training: Training) -> Average | None:
    """Return the average that a resolved recipe asks for, if any."""
    if training.ema is not None:
        return MovingAverage(classifier, training.ema)
    if training.swa_from is not None:
        return EpochMean(classifier, max(math.ceil(training.swa_from * int(training.epochs)), 1))
    return None
