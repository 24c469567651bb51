"""The moving average of a network's weights, which is often better than where they stand."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from resnetlab.models.classifier import Classifier, learned_state


class Average:
    """Exponential moving average of all that a network learns, its norms' statistics included.

    At first it forgets faster, so that the first random weights don't stay in it. Sources: Polyak
    and Juditsky 1992, 'Acceleration of Stochastic Approximation by Averaging'; the warm-up is that
    of TensorFlow's ExponentialMovingAverage.
    """

    def __init__(self, classifier: Classifier, decay: float) -> None:
        self.decay = decay
        self.current = {  # they share the network's memory
            name: tensor
            for name, tensor in learned_state(classifier).items()
            if tensor.is_floating_point()
        }
        self.state = {name: tensor.clone() for name, tensor in self.current.items()}

    def update(self, steps: int) -> None:
        """Take in the weights as they are after so many steps of the whole training."""
        decay = min(self.decay, (1 + steps) / (10 + steps))
        torch._foreach_lerp_(list(self.state.values()), list(self.current.values()), 1 - decay)

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

    def _put(self, state: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, tensor in self.current.items():
                tensor.copy_(state[name])
