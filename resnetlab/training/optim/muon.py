"""Muon: momentum whose update is made orthogonal, for filters; plain SGD for all other parameters."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor

FILTER_MOMENTUM = 0.6
ROUNDS = 3  # of Newton and Schulz; the singular values need not be exact
# Coefficients of the quintic that pushes singular values towards 1 fastest, from the source.
A, B, C = 3.4445, -4.7750, 2.0315


class Muon(torch.optim.Optimizer):
    """For groups with `filters`, the update is the nearest (semi-)orthogonal matrix to the momentum.

    Each filter bank is then kept at the norm of the square root of its number of filters, so that the
    learning rate says how far it turns. Other groups take SGD steps with Nesterov's momentum.

    Source: Jordan et al. 2024, 'Muon: An optimizer for hidden layers in neural networks', and the
    constants of its use on CIFAR-10.
    """

    def __init__(
        self, groups: Iterable[dict[str, Any]], momentum: float, bf16: bool = False
    ) -> None:
        super().__init__(groups, {"filters": False, "momentum": momentum, "weight_decay": 0.0})
        self.bf16 = bf16

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Do one step with the gradients at hand."""
        for group in self.param_groups:
            advance = partial(turn, bf16=self.bf16) if group["filters"] else slide
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(parameter)
                advance(parameter, parameter.grad, state["momentum_buffer"], group)


def turn(
    filters: Tensor, gradient: Tensor, momentum: Tensor, group: dict[str, Any], bf16: bool
) -> None:
    """Turn a bank of filters (F, ...) by `lr` towards lower loss."""
    momentum.mul_(FILTER_MOMENTUM).add_(gradient)
    ahead = gradient.add(momentum, alpha=FILTER_MOMENTUM)  # Nesterov
    filters.mul_(len(filters) ** 0.5 / filters.norm())
    update = orthogonal(ahead.flatten(1), bf16).view_as(ahead)
    filters.add_(update, alpha=-group["lr"])


def slide(parameter: Tensor, gradient: Tensor, momentum: Tensor, group: dict[str, Any]) -> None:
    """Do a step of SGD with Nesterov's momentum and weight decay."""
    gradient = gradient.add(parameter, alpha=group["weight_decay"])
    momentum.mul_(group["momentum"]).add_(gradient)
    parameter.add_(gradient.add(momentum, alpha=group["momentum"]), alpha=-group["lr"])


def orthogonal(matrix: Tensor, bf16: bool = False) -> Tensor:
    """Return about the nearest (semi-)orthogonal matrix (R, C): singular values near 1.

    Newton and Schulz's iteration: only matrix products. `bf16` is precise enough for it, and twenty
    times slower on a processor that has no instructions for it.
    """
    x = matrix.bfloat16() if bf16 else matrix
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(ROUNDS):
        square = x @ x.T
        x = A * x + (B * square + C * square @ square) @ x
    result: Tensor = (x.T if tall else x).to(matrix.dtype)
    return result
