"""Optimisers by name, with weight decay and rates where they belong."""

from typing import Any

import torch
from torch import nn

from resnetlab.recipe import Training
from resnetlab.training.optim.muon import Muon


def make_optimizer(model: nn.Module, training: Training) -> torch.optim.Optimizer:
    """Return the recipe's optimiser over all parameters that learn.

    The rate of the head and that of biases and norms may be their own. Biases and the scales of
    norms (all parameters of one dimension) are not decayed: pulling them to zero limits the network
    and regularises nothing (He et al. 2019, 'Bag of Tricks', 3.1).
    """
    lr = float(training.lr)
    head_lr = lr if training.head_lr is None else training.head_lr
    bias_lr = lr if training.bias_lr is None else training.bias_lr
    head = getattr(model, "head", None)
    last = set(head.parameters()) if isinstance(head, nn.Module) else set()
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    inner, outer = ([p for p in learning if (p in last) == is_last] for is_last in (False, True))
    decay = training.weight_decay
    groups = [
        {"params": matrices(inner), "lr": lr, "weight_decay": decay, "filters": True},
        {"params": vectors(inner), "lr": bias_lr, "weight_decay": 0.0},
        {"params": matrices(outer), "lr": head_lr, "weight_decay": decay},
        {"params": vectors(outer), "lr": head_lr, "weight_decay": 0.0},
    ]
    groups = [group | {"base_lr": group["lr"]} for group in groups if group["params"]]
    return by_name(training.optimizer, groups, lr, training.momentum)


def matrices(parameters: list[nn.Parameter]) -> list[nn.Parameter]:
    """Return the weights of layers, which have more than one dimension."""
    return [parameter for parameter in parameters if parameter.ndim > 1]


def vectors(parameters: list[nn.Parameter]) -> list[nn.Parameter]:
    """Return biases, and scales and offsets of norms."""
    return [parameter for parameter in parameters if parameter.ndim <= 1]


def by_name(
    name: str, groups: list[dict[str, Any]], lr: float, momentum: float
) -> torch.optim.Optimizer:
    """Return an optimiser over groups that know their rate; `momentum` is of SGD and Muon's SGD part."""
    if name == "muon":
        return Muon(groups, momentum)
    if name == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=momentum > 0, fused=True)
    adam = torch.optim.AdamW if name == "adamw" else torch.optim.Adam
    return adam(groups, lr=lr, fused=True)


def set_lr(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set the learning rate of every group to `factor` of its highest."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
