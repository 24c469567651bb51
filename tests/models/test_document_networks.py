"""The networks of the documents, counted against what they and others published."""

import pytest
import torch
from torch import nn

from resnetlab.errors import RecipeError
from resnetlab.models import build
from resnetlab.models.networks.resnet import drop_path


def parameters(*modules: nn.Module) -> int:
    return sum(each.numel() for module in modules for each in module.parameters())


@pytest.fixture(scope="module")
def third_model():
    """S1's third model: 32 px doubled three times, ResNet-50 without top, flattened, 128, 64, 10."""
    return build("resnet50", 10, 32, dropout=0.5, hidden=(128, 64), upsample=3, pool="flatten")


def test_the_network_without_top_has_keras_number_of_parameters(third_model):
    backbone = third_model.backbone
    convolutions = [layer for layer in backbone.modules() if isinstance(layer, nn.Conv2d)]
    norms = [layer for layer in backbone.modules() if isinstance(layer, nn.BatchNorm2d)]

    # Keras counts the norms' moving statistics, and its convolutions have biases that norms undo.
    statistics = sum(2 * norm.num_features for norm in norms)
    biases = sum(layer.out_channels for layer in convolutions)
    assert parameters(backbone) + statistics + biases == 23_587_712


def test_its_dense_layers_have_the_documents_numbers_of_parameters(third_model):
    norm, first, *_ = third_model.hidden
    dense = [layer for layer in third_model.hidden if isinstance(layer, nn.Linear)]

    assert third_model.backbone.feature_dim == 131_072
    assert parameters(norm) + 2 * norm.num_features == 524_288
    assert parameters(first) == 16_777_344
    assert [parameters(layer) for layer in dense[1:]] == [8_256]
    assert parameters(third_model.head) == 650


def test_each_pixel_becomes_four_each_time(third_model):
    image = torch.arange(32 * 32 * 3, dtype=torch.int64).remainder(256).to(torch.uint8)
    image = image.view(1, 3, 32, 32)

    seen = third_model.prepare(image)

    assert seen.shape == (1, 3, 256, 256)
    plain = third_model.normalise(image)
    assert torch.equal(seen, plain.repeat_interleave(8, dim=2).repeat_interleave(8, dim=3))


def test_it_answers_and_its_pooled_form_too(third_model):
    image = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    pooled = build("resnet50", 10, 32, upsample=3)

    assert third_model.eval()(image).shape == (1, 10)
    assert pooled.eval()(image).shape == (1, 10)
    assert pooled.backbone.feature_dim == 2048
    assert pooled.backbone.stem == "imagenet"


@pytest.mark.parametrize("name", ["resnet18", "tf_efficientnet_lite0"])
def test_any_network_can_be_flattened(name):
    torch.manual_seed(0)
    pooled = build(name, 3, 64).eval()
    flat = build(name, 3, 64, pool="flatten").eval()
    image = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    flat.backbone.load_state_dict(pooled.backbone.state_dict())

    maps = flat.features(image).view(1, pooled.backbone.feature_dim, -1)

    torch.testing.assert_close(maps.mean(dim=2), pooled.features(image), atol=1e-4, rtol=1e-4)


def test_blocks_are_skipped_in_training_alone_and_the_last_most_often():
    for name in ("resnet18", "tf_efficientnet_lite0"):
        classifier = build(name, 3, 32, drop_path=0.5)
        for norm in classifier.modules():
            if isinstance(norm, nn.BatchNorm2d):
                nn.init.ones_(norm.weight)  # a block of ours begins as its shortcut alone
        image = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)

        assert torch.equal(classifier.eval()(image), classifier(image))
        classifier.train()
        torch.manual_seed(0)
        first = classifier(image)
        assert not torch.equal(first, classifier(image))
        torch.manual_seed(0)
        assert torch.equal(first, classifier(image))
    chances = [
        block.drop_path
        for block in build("resnet18", 3, 32, drop_path=0.4).modules()
        if hasattr(block, "drop_path")
    ]
    assert chances == pytest.approx([0.05 * number for number in range(1, 9)])


def test_what_a_block_adds_keeps_its_mean():
    torch.manual_seed(0)

    kept = drop_path(torch.ones(4000, 1, 1, 1), 0.3, training=True)

    assert kept.mean() == pytest.approx(1, abs=0.05)
    assert sorted(set(kept.flatten().tolist())) == pytest.approx([0.0, 1 / 0.7])


@pytest.mark.parametrize("settings", [{"pool": "flatten"}, {"drop_path": 0.1}])
def test_networks_without_blocks_or_pool_refuse_them(settings):
    with pytest.raises(RecipeError, match=r"model\.(pool|drop_path) is for residual networks"):
        build("cnn", 3, 32, **settings)
