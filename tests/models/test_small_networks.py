import pytest
import torch
from torch import nn

from resnetlab.models import build
from resnetlab.models.networks.cnn import CNN
from resnetlab.models.networks.mlp import MLP


def kinds(module: nn.Module) -> list[str]:
    return [type(leaf).__name__ for leaf in module.modules() if not list(leaf.children())]


def test_the_mlp_is_one_hidden_layer_of_64_on_the_pixels():
    classifier = build("mlp", num_classes=10, image_size=32)
    # Keras's count for Flatten, Dense(64), Dense(10) on CIFAR-10
    assert sum(parameter.numel() for parameter in classifier.parameters()) == 197_322
    assert classifier.backbone.feature_dim == 64


def test_the_mlp_gives_what_its_formula_says():
    backbone = MLP(image_size=8)
    images = torch.randn(3, 3, 8, 8)
    expected = (images.flatten(1) @ backbone.dense.weight.T + backbone.dense.bias).clamp(min=0)

    torch.testing.assert_close(backbone.features(images), expected)


def test_the_cnn_is_two_pairs_of_convolutions_and_a_dense_layer_of_512():
    backbone = CNN(image_size=32)
    pair = ["Conv2d", "ReLU", "Conv2d", "ReLU", "MaxPool2d", "Dropout"]

    assert kinds(backbone) == [*pair, *pair, "Flatten", "Linear", "ReLU", "Dropout"]
    convolutions = [layer for layer in backbone.modules() if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [32, 32, 64, 64]
    assert {layer.kernel_size for layer in convolutions} == {(3, 3)}
    assert [layer.p for layer in backbone.modules() if isinstance(layer, nn.Dropout)] == [
        0.25,
        0.25,
        0.5,
    ]


def test_the_cnn_has_as_many_parameters_as_in_keras_with_same_padding():
    classifier = build("cnn", num_classes=10, image_size=32)
    # 896 + 9,248 + 18,496 + 36,928 (convolutions) + 2,097,664 (dense 512) + 5,130 (head)
    assert sum(parameter.numel() for parameter in classifier.parameters()) == 2_168_362


@pytest.mark.parametrize("image_size", [4, 15, 33])
def test_the_cnn_takes_sizes_that_do_not_halve_evenly(image_size):
    images = torch.zeros(2, 3, image_size, image_size, dtype=torch.uint8)

    assert build("cnn", 5, image_size)(images).shape == (2, 5)


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_weights_start_glorot_uniform_and_biases_at_zero_head_included(name):
    torch.manual_seed(0)
    classifier = build(name, num_classes=10, image_size=32)
    layers = [m for m in classifier.modules() if isinstance(m, nn.Conv2d | nn.Linear)]

    for layer in layers:
        area = layer.weight[0, 0].numel()
        fan_in, fan_out = layer.weight.shape[1] * area, layer.weight.shape[0] * area
        limit = (6 / (fan_in + fan_out)) ** 0.5
        assert not layer.bias.any()
        assert layer.weight.abs().max().item() == pytest.approx(limit, rel=0.05)
        assert layer.weight.abs().max() <= limit
