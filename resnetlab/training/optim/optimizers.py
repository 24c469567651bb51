"""Optimisers by name, with weight decay and learning rates where they belong."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from resnetlab.errors import RecipeError
from resnetlab.models.classifier import Classifier
from resnetlab.recipe import Training, did_you_mean
from resnetlab.training.optim.muon import Muon


def make_optimizer(model: nn.Module, training: Training) -> torch.optim.Optimizer:
    """Return the recipe's optimiser over all parameters that learn.

    The learning rate of the head and that of biases and norms may be their own, and so may that of
    each stage. Biases and the scales of norms (all parameters of one dimension) are not decayed:
    pulling them to zero limits the network and regularises nothing (He et al. 2019, 'Bag of Tricks',
    3.1).
    """
    lr, decay = float(training.lr), float(training.weight_decay)
    head_lr = lr if training.head_lr is None else training.head_lr
    head = getattr(model, "head", None)
    last = set(head.parameters()) if isinstance(head, nn.Module) else set()
    groups: list[dict[str, Any]] = []
    for rate, begins, parameters in by_lr(model, training, last):
        bias_lr = rate if training.bias_lr is None else training.bias_lr
        groups += [
            {
                "params": matrices(parameters),
                "lr": rate,
                "weight_decay": decay,
                "filters": True,
                "begins": begins,
            },
            {"params": vectors(parameters), "lr": bias_lr, "weight_decay": 0.0, "begins": begins},
        ]
    outer = [parameter for parameter in learning(model) if parameter in last]
    groups += [
        {"params": matrices(outer), "lr": head_lr, "weight_decay": decay},
        {"params": vectors(outer), "lr": head_lr, "weight_decay": 0.0},
    ]
    groups = [
        {"begins": 0.0, "base_lr": group["lr"]} | group for group in groups if group["params"]
    ]
    return by_name(training, groups, lr)


def by_lr(
    model: nn.Module, training: Training, last: set[nn.Parameter]
) -> Iterator[tuple[float, float, list[nn.Parameter]]]:
    """Give each learning rate and beginning (epochs) with the parameters that learn by them.

    The head's (`last`) are apart.
    """
    lrs = stage_lrs(model, training) if isinstance(model, Classifier) else {}
    inner = [parameter for parameter in learning(model) if parameter not in last]
    if len(set(lrs.values())) <= 1 and training.unfreeze_epochs is None:
        yield next(iter(lrs.values()), float(training.lr)), 0.0, inner
        return
    assert isinstance(model, Classifier)
    names = {parameter: name for name, parameter in model.backbone.named_parameters()}
    beginnings = stage_beginnings(model, training)
    for stage, lr in lrs.items():
        own = [p for p in inner if p in names and model.backbone.stage_of(names[p]) == stage]
        yield lr, beginnings[stage], own
    dense = [p for p in inner if p not in names]  # layers before the head
    yield float(training.lr), 0.0, dense


def stage_lrs(classifier: Classifier, training: Training) -> dict[str, float]:
    """Return the highest learning rate of each stage of the backbone that has parameters.

    It falls by `layer_decay` from stage to stage towards the image; a norm goes with the stage
    before it. Source: Clark et al. 2020, ELECTRA, as used by Bao et al. 2021, BEiT. Raises
    RecipeError where training.stage_lr names a stage that isn't there.
    """
    depths = stage_depths(classifier)
    unknown = [name for name in training.stage_lr if name not in depths]
    if unknown:
        raise RecipeError(
            f"training.stage_lr must name stages of the network: {', '.join(depths)}. "
            f"Got '{unknown[0]}'{did_you_mean(unknown[0], depths)}"
        )
    lr, decay = float(training.lr), float(training.layer_decay)
    return {name: training.stage_lr.get(name, lr * decay**depth) for name, depth in depths.items()}


def stage_beginnings(classifier: Classifier, training: Training) -> dict[str, float]:
    """Return after how many epochs each stage begins to learn: the head at once, then the last ..."""
    each = training.unfreeze_epochs or 0.0
    return {name: each * depth for name, depth in stage_depths(classifier).items()}


def stage_depths(classifier: Classifier) -> dict[str, int]:
    """Return how many steps each stage with parameters lies below the head; a norm lies with the one before."""
    levels, level = {}, 0
    for name, stage in classifier.backbone.stages().items():
        if parameters := list(stage.parameters()):
            level += any(parameter.ndim > 1 for parameter in parameters)
            levels[name] = level
    return {name: level + 1 - own for name, own in levels.items()}


def learning_table(classifier: Classifier, training: Training) -> list[str]:
    """Return a line for each stage with parameters: its name, how many, and its learning rate."""
    lrs = stage_lrs(classifier, training)
    beginnings = stage_beginnings(classifier, training)
    stages = classifier.backbone.stages()
    head_lr = training.lr if training.head_lr is None else training.head_lr
    rows = [(name, list(stages[name].parameters()), lr) for name, lr in lrs.items()]
    rows.append(("head", list(classifier.head.parameters()), float(head_lr)))
    lines = []
    for name, parameters, lr in rows:
        total = sum(parameter.numel() for parameter in parameters)
        learned = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
        line = f"  {name:<14}{total:>12,} parameters  "
        line += f"lr {lr:.2g}" if learned else "frozen"
        line += f" for {learned:,} of them" if 0 < learned < total else ""
        line += f" after {beginnings[name]:g} epochs" if beginnings.get(name) else ""
        lines.append(line)
    return lines


def learning(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that learn."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def matrices(parameters: list[nn.Parameter]) -> list[nn.Parameter]:
    """Return the weights of layers, which have more than one dimension."""
    return [parameter for parameter in parameters if parameter.ndim > 1]


def vectors(parameters: list[nn.Parameter]) -> list[nn.Parameter]:
    """Return biases, and scales and offsets of norms."""
    return [parameter for parameter in parameters if parameter.ndim <= 1]


def by_name(training: Training, groups: list[dict[str, Any]], lr: float) -> torch.optim.Optimizer:
    """Return the optimiser of a training over groups that know their learning rate."""
    name, momentum = training.optimizer, training.momentum
    if name == "muon":
        return Muon(groups, momentum, training.precision == "bf16")
    if name == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=momentum > 0, fused=True)
    adam = torch.optim.AdamW if name == "adamw" else torch.optim.Adam
    return adam(groups, lr=lr, fused=True)


def set_lr(optimizer: torch.optim.Optimizer, factor: float, time: float = math.inf) -> None:
    """Set the learning rate of every group to `factor` of its highest, or 0 before it begins.

    `time` is in epochs since the start.
    """
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor if time >= group["begins"] else 0.0
