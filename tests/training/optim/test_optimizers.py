"""Every parameter that learns is in the optimiser once, and only weights are decayed."""

import pytest
import torch
from torch import nn

from resnetlab.models import build
from resnetlab.recipe import Training
from resnetlab.training.defaults import FROM_SCRATCH
from resnetlab.training.optim.muon import Muon
from resnetlab.training.optim.optimizers import learning_table, make_optimizer, set_lr

KINDS = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "muon": Muon,
}


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return build("resnet18", num_classes=3, image_size=16)


def optimizer_of(network: nn.Module, **values) -> torch.optim.Optimizer:
    return make_optimizer(network, Training(**FROM_SCRATCH | {"lr": 0.1} | values))


def names(network: nn.Module, parameters) -> set[str]:
    wanted = {id(parameter) for parameter in parameters}
    return {name for name, each in network.named_parameters() if id(each) in wanted}


@pytest.mark.parametrize("name", KINDS)
def test_the_recipe_names_the_optimiser(network, name):
    optimizer = optimizer_of(network, optimizer=name)

    assert type(optimizer) is KINDS[name]
    assert {group["lr"] for group in optimizer.param_groups} == {0.1}


@pytest.mark.parametrize("name", KINDS)
def test_every_parameter_that_learns_is_there_exactly_once(network, name):
    groups = optimizer_of(network, optimizer=name).param_groups
    parameters = [each for group in groups for each in group["params"]]

    assert len(parameters) == len({id(each) for each in parameters})
    assert names(network, parameters) == {name for name, _ in network.named_parameters()}


@pytest.mark.parametrize("name", KINDS)
def test_biases_and_norms_are_not_decayed_and_all_else_is(network, name):
    groups = optimizer_of(network, optimizer=name, weight_decay=0.03).param_groups
    decayed = [each for group in groups if group["weight_decay"] for each in group["params"]]

    assert {group["weight_decay"] for group in groups} == {0.0, 0.03}
    layers = {
        f"{name}.weight"
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    }
    assert names(network, decayed) == layers


def test_what_is_frozen_is_left_out():
    network = build("mlp", num_classes=3, image_size=8)
    network.backbone.requires_grad_(False)

    groups = optimizer_of(network).param_groups

    parameters = [each for group in groups for each in group["params"]]
    assert names(network, parameters) == {"head.weight", "head.bias"}


def test_sgd_takes_nesterov_s_momentum_where_there_is_momentum(network):
    with_momentum = optimizer_of(network, optimizer="sgd", momentum=0.8)
    without = optimizer_of(network, optimizer="sgd", momentum=0)

    assert {(group["momentum"], group["nesterov"]) for group in with_momentum.param_groups} == {
        (0.8, True)
    }
    assert {(group["momentum"], group["nesterov"]) for group in without.param_groups} == {
        (0, False)
    }


def test_sgd_steps_as_the_formula_says():
    network = nn.Linear(2, 1)
    nn.init.ones_(network.weight)
    nn.init.ones_(network.bias)
    optimizer = optimizer_of(network, optimizer="sgd", momentum=0.5, weight_decay=0.1)

    for _ in range(2):
        optimizer.zero_grad()
        network(torch.ones(1, 2)).sum().backward()  # every gradient is 1
        optimizer.step()

    weight, moment, bias, bias_moment = 1.0, 0.0, 1.0, 0.0
    for _ in range(2):
        gradient = 1 + 0.1 * weight
        moment = 0.5 * moment + gradient
        weight -= 0.1 * (gradient + 0.5 * moment)
        bias_moment = 0.5 * bias_moment + 1
        bias -= 0.1 * (1 + 0.5 * bias_moment)
    torch.testing.assert_close(network.weight.detach(), torch.full((1, 2), weight))
    torch.testing.assert_close(network.bias.detach(), torch.full((1,), bias))


def test_a_rate_is_set_for_all_parameters(network):
    optimizer = optimizer_of(network)

    set_lr(optimizer, 0.25)

    assert [group["lr"] for group in optimizer.param_groups] == [0.025] * 4


@pytest.mark.parametrize("name", KINDS)
def test_the_head_and_the_biases_may_have_rates_of_their_own(network, name):
    optimizer = optimizer_of(network, optimizer=name, head_lr=0.3, bias_lr=0.7)

    set_lr(optimizer, 0.5)

    rates: dict[float, set[str]] = {rate: set() for rate in (0.05, 0.15, 0.35)}
    for group in optimizer.param_groups:
        rates[group["lr"]] |= names(network, group["params"])
    head = {"head.weight", "head.bias"}
    assert rates[0.15] == head
    vectors = {name for name, each in network.named_parameters() if each.ndim == 1}
    assert rates[0.35] == vectors - head


def test_muon_turns_the_filters_and_not_the_head(network):
    groups = optimizer_of(network, optimizer="muon").param_groups

    turned = names(
        network, [each for group in groups if group["filters"] for each in group["params"]]
    )

    assert "head.weight" not in turned
    assert turned == {
        f"{name}.weight" for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d)
    }


def test_unfreezing_gradually_a_stage_more_learns_after_so_many_epochs_from_the_last_on(network):
    optimizer = optimizer_of(network, optimizer="adamw", unfreeze_epochs=0.5)
    begun = {}
    for time in (0.0, 0.6, 1.2, 9.0):
        set_lr(optimizer, 1.0, time)
        learning = [
            each for group in optimizer.param_groups if group["lr"] for each in group["params"]
        ]
        begun[time] = {name.split(".")[1] for name in names(network, learning) if "." in name}

    assert begun[0.0] == {"weight", "bias"}, "the head alone"
    assert begun[0.6] == {"weight", "bias", "layer4"}
    assert begun[1.2] == {"weight", "bias", "layer4", "layer3"}
    assert {"conv1", "bn1", "layer1"} < begun[9.0]


def test_the_table_tells_when_a_stage_begins(network):
    training = Training(**FROM_SCRATCH | {"lr": 0.1, "unfreeze_epochs": 2})

    table = learning_table(network, training)

    assert any("layer3" in line and line.endswith("lr 0.1 after 4 epochs") for line in table)
    assert table[-1].endswith("lr 0.1"), "the head begins at once"
