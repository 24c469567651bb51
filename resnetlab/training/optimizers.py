"""Optimisers by name, with weight decay where it belongs."""

import torch
from torch import nn

from resnetlab.recipe import Training


def make_optimizer(model: nn.Module, training: Training) -> torch.optim.Optimizer:
    """Return the recipe's optimiser over all parameters that learn.

    Biases and the scales of norms (all parameters of one dimension) are not decayed: pulling them
    to zero limits the network and regularises nothing (He et al. 2019, 'Bag of Tricks', 3.1).
    """
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in learning if p.ndim > 1], "weight_decay": training.weight_decay},
        {"params": [p for p in learning if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    lr = float(training.lr)
    if training.optimizer == "sgd":
        momentum = training.momentum
        return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=momentum > 0, fused=True)
    adam = torch.optim.AdamW if training.optimizer == "adamw" else torch.optim.Adam
    return adam(groups, lr=lr, fused=True)


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of every group."""
    for group in optimizer.param_groups:
        group["lr"] = lr
