"""Batch norms where many processes share a batch: the statistics of each, or of all together."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from resnetlab.errors import RecipeError
from resnetlab.models.networks.norm import BatchNorm1d, BatchNorm2d
from resnetlab.system import ranks


class Synchronised(_BatchNorm):
    """Normalises by mean and variance over the images of all processes, as one would that has them all.

    PyTorch's own SyncBatchNorm runs on GPUs alone. Two sums are told for a mean and a variance: the second,
    of squared distances from the mean, loses no digits.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise features (N, C) or maps (N, C, H, W); N may be 0 in some of the processes."""
        if not self.training or ranks.world() == 1:
            alone: Tensor = super().forward(x)
            return alone
        shape = (1, -1, *[1] * (x.ndim - 2))
        values, over = x.float(), (0, *range(2, x.ndim))
        own = values.new_tensor([x.numel() / self.num_features])
        sums = Sum.apply(torch.cat([values.sum(over), own]))
        count = sums[-1].detach()
        mean = sums[:-1] / count
        apart = values - mean.view(shape)
        var = Sum.apply(apart.square().sum(over)) / count
        self.keep(mean.detach(), var.detach(), count)
        scaled = apart * torch.rsqrt(var + self.eps).view(shape)
        if self.affine:
            scaled = scaled * self.weight.view(shape) + self.bias.view(shape)
        result: Tensor = scaled.to(x.dtype)
        return result

    def keep(self, mean: Tensor, var: Tensor, count: Tensor) -> None:
        """Move the running statistics towards those of a batch, as PyTorch does."""
        if self.running_mean is None or self.running_var is None or self.momentum is None:
            return
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(var * count / (count - 1).clamp(min=1), self.momentum)


class Synchronised1d(Synchronised, BatchNorm1d):
    """Of features (N, C)."""


class Synchronised2d(Synchronised, BatchNorm2d):
    """Of maps (N, C, H, W)."""


class Sum(torch.autograd.Function):
    """The sum of a tensor over all processes; so is its gradient."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        """Return the sum."""
        total = own.clone()
        ranks.add_up([total])
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Return the sum of what all say of it."""
        total = gradient.clone()
        ranks.add_up([total])
        return total


SYNCHRONISED: dict[type[_BatchNorm], type[Synchronised]] = {
    nn.BatchNorm1d: Synchronised1d,
    BatchNorm1d: Synchronised1d,
    nn.BatchNorm2d: Synchronised2d,
    BatchNorm2d: Synchronised2d,
}


def synchronise(network: nn.Module) -> None:
    """Let the batch norms of a network go by the images of all processes, in training.

    Each stays the same object, with its weights. Raises RecipeError for a norm of another kind.
    """
    for name, module in network.named_modules():
        if isinstance(module, Synchronised) or not isinstance(module, _BatchNorm):
            continue
        if type(module) not in SYNCHRONISED:
            raise RecipeError(
                f"training.sync_batchnorm knows PyTorch's batch norms; {name} is {type(module).__name__}, which "
                "isn't one. Leave it out, or set training.freeze_norms=true"
            )
        module.__class__ = SYNCHRONISED[type(module)]


def own_statistics(network: nn.Module) -> list[Tensor]:
    """Return the running means and variances that a process has learned from its own images."""
    norms = [
        module
        for module in network.modules()
        if isinstance(module, _BatchNorm)
        and not isinstance(module, Synchronised)
        and module.training
    ]
    kept = [each for norm in norms for each in (norm.running_mean, norm.running_var)]
    return [each for each in kept if each is not None]
