"""Low-rank adapters: nothing else learns, they become part of the weights, and PEFT agrees."""

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from resnetlab.errors import CheckpointError, RecipeError
from resnetlab.models import build
from resnetlab.models.lora import (
    Adapter,
    adapters_of,
    add_adapters,
    load_adapters,
    merged_state,
    save_adapters,
    takes_adapter,
)


@pytest.fixture(params=["resnet18", "tf_efficientnet_lite0"])
def classifier(request):
    torch.manual_seed(0)
    return build(request.param, 3, 32).eval()


def images(count: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8)


def shaken(classifier):
    """Give adapters that are not at their beginning."""
    torch.manual_seed(2)
    with torch.no_grad():
        for module in classifier.modules():
            if isinstance(module, Adapter):
                module.up.normal_(std=0.05)
    return classifier


def test_the_network_begins_as_it_was_and_only_adapters_and_head_learn(classifier):
    before = classifier(images())
    layers = sum(takes_adapter(layer) for layer in classifier.backbone.modules())

    add_adapters(classifier, rank=4, alpha=8)

    assert torch.equal(classifier(images()), before)
    learning = {name for name, each in classifier.named_parameters() if each.requires_grad}
    assert len([name for name in learning if name.startswith("backbone.")]) == 2 * layers
    assert all(name.endswith((".up", ".down")) for name in learning if "backbone" in name)
    assert {"head.weight", "head.bias"} <= learning


def test_merged_weights_give_the_same_logits(classifier):
    add_adapters(classifier, rank=4, alpha=8)
    shaken(classifier)

    plain = build_from(classifier, merged_state(classifier))

    torch.testing.assert_close(plain(images()), classifier(images()), atol=1e-5, rtol=1e-5)


def test_adapters_alone_are_a_file_that_another_network_takes(classifier, tmp_path):
    start = classifier.state_dict()
    add_adapters(classifier, rank=2, alpha=4)
    shaken(classifier)
    save_adapters(tmp_path / "adapters.safetensors", classifier)

    other = build_from(classifier, start)
    add_adapters(other, rank=2, alpha=4)
    load_adapters(tmp_path / "adapters.safetensors", other)

    assert torch.equal(other(images()), classifier(images()))
    held = load_file(tmp_path / "adapters.safetensors")
    assert held.keys() == adapters_of(classifier).keys() | {"head.weight", "head.bias"}
    weights = sum(tensor.numel() for tensor in start.values())
    assert sum(tensor.numel() for tensor in held.values()) < weights / 10


def build_from(classifier, state: dict):
    name = "resnet18" if hasattr(classifier.backbone, "conv1") else "tf_efficientnet_lite0"
    other = build(name, 3, 32).eval()
    other.load_state_dict(state)
    return other


def test_adapters_of_another_rank_are_refused(classifier, tmp_path):
    add_adapters(classifier, rank=2, alpha=4)
    save_adapters(tmp_path / "two.safetensors", classifier)
    other = build("resnet18", 3, 32)
    add_adapters(other, rank=3, alpha=4)

    with pytest.raises(CheckpointError, match=r"two.safetensors: does not fit"):
        load_adapters(tmp_path / "two.safetensors", other)


def test_targets_name_layers():
    classifier = build("resnet18", 3, 32)

    add_adapters(classifier, rank=2, alpha=4, targets=("layer4.*.conv1",))

    assert {name.rpartition(".")[0] for name in adapters_of(classifier)} == {
        "layer4.0.conv1",
        "layer4.1.conv1",
    }


def test_targets_that_name_nothing_are_refused():
    with pytest.raises(RecipeError, match=r"model.lora.targets must name .* such as conv1"):
        add_adapters(build("resnet18", 3, 32), rank=2, alpha=4, targets=("dense",))


def test_peft_gives_the_same_logits_with_the_same_adapters():
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    ours = build("resnet18", 3, 32).eval()
    theirs = build("resnet18", 3, 32).eval()
    theirs.load_state_dict(ours.state_dict())
    names = [
        name
        for name, layer in theirs.named_modules()
        if name.startswith("backbone.") and isinstance(layer, nn.Conv2d)
    ]
    theirs = get_peft_model(theirs, LoraConfig(r=4, lora_alpha=8, target_modules=names)).eval()
    add_adapters(ours, rank=4, alpha=8)
    shaken(ours)

    adapters = adapters_of(ours)
    with torch.no_grad():
        for name, module in theirs.named_modules():
            if hasattr(module, "lora_A") and isinstance(module.lora_A, nn.ModuleDict):
                layer = name.partition("backbone.")[2]
                down, up = module.lora_A["default"].weight, module.lora_B["default"].weight
                down.copy_(adapters[f"{layer}.down"].view_as(down))
                up.copy_(adapters[f"{layer}.up"].view_as(up))

    torch.testing.assert_close(theirs(images()), ours(images()), atol=1e-4, rtol=1e-4)
