"""A recipe with adapters: they alone learn, begin from a file, and leave no stage to freeze."""

import pytest
import torch

from resnetlab.errors import RecipeError
from resnetlab.models.lora import adapters_of, save_adapters
from resnetlab.recipe import Recipe
from resnetlab.training.initial import build_network

SETTINGS = {
    "data.image_size": 32,
    "model.name": "resnet18",
    "model.weights": "none",
    "model.freeze": "none",
    "model.lora.rank": 2,
}


def test_a_network_begins_with_the_adapters_of_a_file(tmp_path):
    first = build_network(Recipe().override(SETTINGS), 3)
    with torch.no_grad():
        for name, tensor in adapters_of(first).items():
            if name.endswith("up"):
                tensor.fill_(0.5)
    save_adapters(tmp_path / "adapters.safetensors", first)

    begun = {"model.lora.adapters": str(tmp_path / "adapters.safetensors")}
    second = build_network(Recipe().override(SETTINGS | begun), 3)

    assert torch.equal(adapters_of(second)["conv1.up"], adapters_of(first)["conv1.up"])
    assert torch.equal(second.head.weight, first.head.weight)


def test_frozen_stages_and_adapters_exclude_each_other():
    recipe = Recipe().override(SETTINGS | {"model.freeze": "layer1"})

    with pytest.raises(RecipeError, match=r"model.freeze must be none with model.lora"):
        build_network(recipe, 3)
