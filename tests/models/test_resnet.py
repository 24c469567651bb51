import pytest
import torch
import torchvision
from torch import nn

from resnetlab.errors import RecipeError
from resnetlab.models import build
from resnetlab.models.networks.resnet import (
    BasicBlock,
    Bottleneck,
    ResNet,
    resnet18,
    resnet34,
    resnet50,
    resnet101,
    resnet152,
)


def randomise_norms(model: nn.Module) -> None:
    """As after training: fresh statistics of 0 and 1 and a gamma of 0 would hide mistakes."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.normal_(module.bias, std=0.1)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(resnet18, torchvision.models.resnet18), (resnet50, torchvision.models.resnet50)],
)
def test_torchvision_weights_load_as_they_are_and_give_the_same_logits(ours, theirs):
    torch.manual_seed(0)
    reference = theirs(weights=None).eval()
    randomise_norms(reference)
    model = ours(224, num_classes=1000).eval()
    model.load_state_dict(reference.state_dict(), strict=True)
    images = torch.randn(2, 3, 75, 64)

    with torch.no_grad():
        logits, expected = model(images), reference(images)

    assert expected.std() > 0.01
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)


def test_training_mode_also_equals_torchvision():
    torch.manual_seed(0)
    reference = torchvision.models.resnet18(weights=None)
    randomise_norms(reference)
    model = resnet18(224, num_classes=1000)
    model.load_state_dict(reference.state_dict())
    images = torch.randn(4, 3, 64, 64)

    for network in (model, reference):
        network(images).square().mean().backward()

    torch.testing.assert_close(
        model.conv1.weight.grad, reference.conv1.weight.grad, atol=1e-5, rtol=1e-3
    )
    torch.testing.assert_close(model.layer4[1].bn2.running_var, reference.layer4[1].bn2.running_var)


@pytest.mark.parametrize(
    ("builder", "parameters"),
    [
        (resnet18, 11_689_512),
        (resnet34, 21_797_672),
        (resnet50, 25_557_032),
        (resnet101, 44_549_160),
        (resnet152, 60_192_808),
    ],
)
def test_parameters_are_torchvisions_to_the_name_and_number(builder, parameters):
    with torch.device("meta"):
        model = builder(224, num_classes=1000)
        reference = getattr(torchvision.models, builder.__name__)(weights=None)

    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert list(model.state_dict()) == list(reference.state_dict())


def test_without_classes_there_is_no_fc_and_forward_gives_features():
    model = resnet18(32).eval()
    images = torch.randn(2, 3, 32, 32)

    assert not [name for name, _ in model.named_parameters() if name.startswith("fc")]
    assert model(images).shape == (2, 512)
    assert torch.equal(model(images), model.features(images))


def test_the_small_stem_keeps_the_size_of_the_image():
    model = resnet18(32, stem="small")
    shapes = []
    model.layer1.register_forward_hook(lambda _, inputs, __: shapes.append(inputs[0].shape))

    model(torch.randn(2, 3, 32, 32))

    assert shapes == [(2, 64, 32, 32)]


@pytest.mark.parametrize(
    ("image_size", "stem", "expected"),
    [
        (64, "auto", "small"),
        (65, "auto", "imagenet"),
        (32, "imagenet", "imagenet"),
        (224, "small", "small"),
    ],
)
def test_the_automatic_stem_is_small_up_to_64_px(image_size, stem, expected):
    with torch.device("meta"):
        assert resnet18(image_size, stem).stem == expected


def test_an_unknown_stem_is_refused():
    with pytest.raises(RecipeError) as caught:
        build("resnet18", 10, 32, stem="tiny")
    assert str(caught.value) == (
        "model.stem must be 'auto', 'imagenet' or 'small'. Got 'tiny' instead."
    )


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_every_block_starts_as_its_shortcut(block):
    fresh = block(64, 64 // block.expansion, stride=1)
    x = torch.rand(2, 64, 8, 8)

    assert torch.equal(fresh(x), x)


def test_the_stride_sits_on_the_3x3():
    block = Bottleneck(256, 128, stride=2)

    assert [conv.stride for conv in (block.conv1, block.conv2, block.conv3)] == [
        (1, 1),
        (2, 2),
        (1, 1),
    ]


def test_convolutions_start_with_kaimings_deviation_over_fan_out():
    torch.manual_seed(0)
    weight = ResNet(BasicBlock, (1, 1, 1, 1), "imagenet").layer4[0].conv2.weight

    assert weight.std().item() == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.01)
