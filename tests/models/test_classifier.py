"""The contract that every network of MODELS keeps."""

import pytest
import torch
from torch import nn

from resnetlab.errors import RecipeError
from resnetlab.models import MODELS, Backbone, Classifier, build
from resnetlab.models.classifier import freeze

# These differ from resnet18 and resnet50 in depth alone: only their shapes are checked.
DEEP = ("resnet34", "resnet101", "resnet152")
RUNNABLE = [name for name in MODELS if name not in DEEP]


def images(n: int = 4, size: int = 16) -> torch.Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8, generator=generator)


@pytest.fixture(scope="module", params=RUNNABLE)
def classifier(request) -> Classifier:
    torch.manual_seed(0)
    return build(request.param, num_classes=5, image_size=16)


@pytest.mark.parametrize("name", MODELS)
def test_features_are_as_wide_as_feature_dim_says(name):
    with torch.device("meta"):
        backbone = build(name, num_classes=5, image_size=32).backbone
        images = torch.zeros(2, 3, 32, 32)

    assert isinstance(backbone, Backbone)
    assert backbone.features(images).shape == (2, backbone.feature_dim)


def test_bytes_go_in_and_finite_logits_come_out(classifier):
    logits = classifier.train()(images())

    assert logits.shape == (4, 5)
    assert logits.isfinite().all()


def test_features_of_the_classifier_are_those_of_the_backbone_on_normalised_images(classifier):
    classifier.eval()
    normalised = classifier.normalise(images())

    torch.testing.assert_close(
        classifier.features(images()), classifier.backbone.features(normalised)
    )


def test_the_gradient_reaches_every_parameter_that_learns(classifier):
    with torch.no_grad():
        for module in classifier.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.fill_(1)  # a gamma of 0 rightly stops the gradient on its first step

    classifier.train()(images()).square().sum().backward()

    unreached = [
        name
        for name, parameter in classifier.named_parameters()
        if parameter.requires_grad and (parameter.grad is None or not parameter.grad.any())
    ]
    unreached = [name for name in unreached if "decoder" not in name]  # learns by what it restores
    assert unreached == []


def test_a_single_image_is_enough_in_evaluation(classifier):
    assert classifier.eval()(images(1)).shape == (1, 5)


def test_an_image_gets_the_same_logits_alone_and_in_a_batch(classifier):
    classifier.eval()

    torch.testing.assert_close(
        classifier(images()[:1]), classifier(images())[:1], atol=1e-5, rtol=1e-5
    )


def test_the_memory_format_does_not_change_the_logits(classifier):
    classifier.eval()
    view = images().permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)  # as the store gives it

    torch.testing.assert_close(classifier(view), classifier(images()), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["mlp", "cnn", "resnet18"])
def test_the_same_seed_builds_the_same_network(name):
    torch.manual_seed(3)
    first = build(name, 5, 16).state_dict()
    torch.manual_seed(3)
    second = build(name, 5, 16).state_dict()

    assert list(first) == list(second)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_normalising_keeps_the_memory_format():
    classifier = build("mlp", 5, 16)
    batch = images().to(memory_format=torch.channels_last)

    assert classifier.normalise(batch).is_contiguous(memory_format=torch.channels_last)


def test_normalising_scales_to_0_to_1_then_takes_mean_and_deviation():
    mean, std = torch.tensor([0.1, 0.5, 0.9]), torch.tensor([0.2, 0.3, 0.4])
    classifier = build("mlp", 5, 16, mean=mean.tolist(), std=std.tolist())
    expected = (images() / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1)

    torch.testing.assert_close(classifier.normalise(images()), expected)


def test_normalising_leaves_the_images_alone():
    batch = images()
    build("mlp", 5, 16).normalise(batch)

    assert torch.equal(batch, images())


def test_mean_and_deviation_travel_with_the_weights():
    trained = build("mlp", 5, 16, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    fresh = build("mlp", 5, 16)
    fresh.load_state_dict(trained.state_dict())

    assert torch.equal(fresh(images()), trained(images()))


def test_floats_are_refused_by_name():
    with pytest.raises(TypeError) as caught:
        build("mlp", 5, 16)(images().float())
    assert str(caught.value) == (
        "Classifier takes images as torch.uint8, values 0 to 255. "
        "Got torch.float32 instead: leave scaling and normalisation to it."
    )


def test_dropout_acts_on_the_features_in_training_alone():
    classifier = build("mlp", 5, 16, dropout=0.9)
    classifier.train()
    assert not torch.equal(classifier(images()), classifier(images()))
    classifier.eval()
    assert torch.equal(classifier(images()), classifier(images()))


def test_a_misspelt_network_gets_the_nearest_name_and_the_list():
    with pytest.raises(RecipeError) as caught:
        build("ResNet5O", 10, 32)
    assert str(caught.value) == (
        "model.name must be one of mlp, cnn, autoencoder, fastcnn, fastcnn-wide, resnet18, resnet34, resnet50, "
        "resnet101, resnet152, or a network of timm. "
        "Got 'ResNet5O' instead, did you mean 'resnet50'?"
    )


def test_a_name_like_no_other_gets_the_list_alone():
    with pytest.raises(RecipeError, match=r"Got 'zzzzz' instead$"):
        build("zzzzz", 10, 32)


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_a_stem_is_refused_where_there_is_none(name):
    with pytest.raises(RecipeError) as caught:
        build(name, 10, 32, stem="small")
    assert str(caught.value) == (
        f"model.stem must be 'auto' for {name.upper()}, which has no stem. Got 'small' instead."
    )


def test_an_image_too_small_to_halve_twice_is_refused():
    with pytest.raises(RecipeError) as caught:
        build("cnn", 10, 3)
    assert str(caught.value) == "data.image_size must be at least 4 px. Got 3 instead."


@pytest.mark.parametrize("mean", [(124, 116, 104), (0.5,), (0.5, 0.5, float("nan"))])
def test_a_mean_that_is_not_in_0_to_1_is_refused(mean):
    with pytest.raises(RecipeError, match=r"The mean must be three numbers from 0 to 1.*Got \["):
        build("mlp", 10, 32, mean=mean)


@pytest.mark.parametrize("std", [(0.0, 0.2, 0.2), (58.4, 57.1, 57.4), (0.2, 0.2)])
def test_a_deviation_that_would_divide_by_zero_or_is_in_bytes_is_refused(std):
    with pytest.raises(RecipeError, match=r"must be three numbers above 0 and up to 1.*Got \["):
        build("mlp", 10, 32, std=std)


class Chain(Backbone):
    """Stages of which each leaves its mark, and a place that is left empty."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Flatten()
        self.nothing = nn.Identity()
        self.last = nn.Softmax(dim=1)


def test_a_backbone_runs_its_stages_in_the_order_they_were_named():
    images = torch.randn(2, 3, 4, 4)

    assert list(Chain().stages()) == ["first", "last"]
    assert torch.equal(Chain().features(images), images.flatten(1).softmax(dim=1))
    assert torch.equal(Chain()(images), Chain().features(images))


# Freezing


def frozen(name: str, last: str) -> Classifier:
    torch.manual_seed(0)
    classifier = build(name, num_classes=5, image_size=16, dropout=0.5)
    freeze(classifier, last)
    return classifier


def learning(classifier: Classifier) -> set[str]:
    """Return the first names of all parameters that learn: those of stages, and 'head'."""
    names = [name for name, each in classifier.named_parameters() if each.requires_grad]
    return {name.removeprefix("backbone.").split(".")[0] for name in names}


@pytest.mark.parametrize("name", RUNNABLE)
def test_the_frozen_part_and_the_rest_are_together_the_network(name):
    for last in ("none", *build(name, 5, 16).backbone.stages(), "all"):
        classifier = frozen(name, last).eval()

        logits = classifier.rest(classifier.prefix(images()))

        assert torch.equal(logits, classifier(images())), last


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        ("none", {"conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "head"}),
        ("conv1", {"bn1", "layer1", "layer2", "layer3", "layer4", "head"}),
        ("layer3", {"layer4", "head"}),
        ("all", {"head"}),
    ],
)
def test_a_stage_is_frozen_with_all_before_it(last, expected):
    assert learning(frozen("resnet18", last)) == expected


def test_whatever_is_frozen_the_head_learns():
    assert {frozenset(learning(frozen(name, "all"))) for name in RUNNABLE} == {frozenset(["head"])}


def test_frozen_stages_stay_in_evaluation_and_change_no_bit():
    classifier = frozen("resnet18", "layer3")
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}

    classifier.eval()
    classifier.train()
    classifier(images()).square().sum().backward()

    after = classifier.state_dict()
    changed = {name.split(".")[1] for name in after if not torch.equal(after[name], before[name])}
    assert changed == {"layer4"}, "the running statistics of the norms that learn"
    assert not classifier.backbone.layer3.training
    assert not classifier.backbone.layer3[0].bn1.training
    assert classifier.backbone.layer4.training
    assert classifier.training


def test_evaluation_reaches_every_stage():
    assert not any(module.training for module in frozen("resnet18", "layer3").eval().modules())


def test_dropout_in_a_frozen_stage_is_off_and_before_the_head_it_stays():
    classifier = frozen("cnn", "all").train()

    assert torch.equal(classifier.prefix(images()), classifier.prefix(images()))
    maps = classifier.prefix(images())
    assert not torch.equal(classifier.rest(maps), classifier.rest(maps))


def test_no_gradient_is_computed_for_the_frozen_part():
    assert not frozen("cnn", "block1").train().prefix(images()).requires_grad


def test_a_misspelt_stage_gets_the_nearest_name_and_the_list():
    with pytest.raises(RecipeError) as caught:
        frozen("resnet18", "layr3")
    assert str(caught.value) == (
        "model.freeze must be one of none, conv1, bn1, relu, layer1, layer2, layer3, layer4, "
        "avgpool, all. Got 'layr3' instead, did you mean 'layer3'?"
    )


def test_an_image_and_its_horizontal_flip_get_one_answer_in_evaluation_alone():
    torch.manual_seed(0)
    classifier = build("cnn", num_classes=3, image_size=16, horizontal_flip=True).eval()
    images = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    one, other = (
        classifier.head(classifier.backbone.features(classifier.normalise(each)))
        for each in (images, images.flip(3))
    )

    torch.testing.assert_close(classifier(images), (one + other) / 2)
    torch.testing.assert_close(classifier(images), classifier(images.flip(3)))
    classifier.backbone.eval()
    classifier.training = True
    torch.testing.assert_close(
        classifier.features(images), classifier.backbone.features(classifier.normalise(images))
    )


def test_dense_layers_before_the_head_are_those_of_the_document():
    """S1's: batch norm, dense, dropout; batch norm, dense, dropout; batch norm, and the classes."""
    torch.manual_seed(0)
    classifier = build("resnet18", 10, 32, dropout=0.4, hidden=(128, 64))

    kinds = [type(layer).__name__ for layer in classifier.hidden]
    block = ["Linear", "ReLU", "Dropout", "BatchNorm1d"]
    assert kinds == ["BatchNorm1d", *block, *block]
    widths = [layer.out_features for layer in classifier.hidden if isinstance(layer, nn.Linear)]
    assert widths == [128, 64]
    assert classifier.head.in_features == 64
    assert {m.p for m in classifier.hidden if isinstance(m, nn.Dropout)} == {0.4}
    assert classifier.dropout.p == 0.0  # the last one stands before the last norm


def test_with_dense_layers_the_two_parts_are_the_whole_and_a_horizontal_flip_counts_as_much():
    torch.manual_seed(0)
    classifier = build("resnet18", 5, 32, hidden=(16,), horizontal_flip=True)
    freeze(classifier, "layer2")
    classifier.eval()
    batch = images(size=32)

    mean = (
        classifier.head(classifier.embed(batch)) + classifier.head(classifier.embed(batch.flip(3)))
    ) / 2
    torch.testing.assert_close(classifier(batch), mean)
    classifier.horizontal_flip = False
    torch.testing.assert_close(classifier.rest(classifier.prefix(batch)), classifier(batch))


def test_a_batch_of_one_learns_with_dense_layers_too():
    classifier = build("mlp", 5, 16, hidden=(8,))
    assert classifier.train()(images(1)).isfinite().all()
