"""The contract that every network of MODELS keeps."""

import pytest
import torch
from torch import nn

from resnetlab.errors import RecipeError
from resnetlab.models import MODELS, Backbone, Classifier, build

# These differ from resnet18 and resnet50 in depth alone: only their shapes are checked.
DEEP = ("resnet34", "resnet101", "resnet152")
RUNNABLE = [name for name in MODELS if name not in DEEP]


def pictures(n: int = 4, size: int = 16) -> torch.Tensor:
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
    logits = classifier.train()(pictures())

    assert logits.shape == (4, 5)
    assert logits.isfinite().all()


def test_features_of_the_classifier_are_those_of_the_backbone_on_normalised_pictures(classifier):
    classifier.eval()
    normalised = classifier.normalise(pictures())

    torch.testing.assert_close(
        classifier.features(pictures()), classifier.backbone.features(normalised)
    )


def test_the_gradient_reaches_every_parameter(classifier):
    with torch.no_grad():
        for module in classifier.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.fill_(1)  # a gamma of 0 rightly stops the gradient on its first step

    classifier.train()(pictures()).square().sum().backward()

    unreached = [
        name
        for name, parameter in classifier.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    assert unreached == []


def test_a_single_picture_is_enough_in_evaluation(classifier):
    assert classifier.eval()(pictures(1)).shape == (1, 5)


def test_a_picture_gets_the_same_logits_alone_and_in_a_batch(classifier):
    classifier.eval()

    torch.testing.assert_close(
        classifier(pictures()[:1]), classifier(pictures())[:1], atol=1e-5, rtol=1e-5
    )


def test_the_memory_format_does_not_change_the_logits(classifier):
    classifier.eval()
    view = pictures().permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)  # as the store gives it

    torch.testing.assert_close(classifier(view), classifier(pictures()), atol=1e-5, rtol=1e-5)


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
    images = pictures().to(memory_format=torch.channels_last)

    assert classifier.normalise(images).is_contiguous(memory_format=torch.channels_last)


def test_normalising_scales_to_0_to_1_then_takes_mean_and_deviation():
    mean, std = torch.tensor([0.1, 0.5, 0.9]), torch.tensor([0.2, 0.3, 0.4])
    classifier = build("mlp", 5, 16, mean=mean.tolist(), std=std.tolist())
    expected = (pictures() / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1)

    torch.testing.assert_close(classifier.normalise(pictures()), expected)


def test_normalising_leaves_the_pictures_alone():
    images = pictures()
    build("mlp", 5, 16).normalise(images)

    assert torch.equal(images, pictures())


def test_mean_and_deviation_travel_with_the_weights():
    trained = build("mlp", 5, 16, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    fresh = build("mlp", 5, 16)
    fresh.load_state_dict(trained.state_dict())

    assert torch.equal(fresh(pictures()), trained(pictures()))


def test_floats_are_refused_by_name():
    with pytest.raises(TypeError) as caught:
        build("mlp", 5, 16)(pictures().float())
    assert str(caught.value) == (
        "Classifier takes pictures as torch.uint8, values 0 to 255. "
        "Got torch.float32 instead: leave scaling and normalisation to it."
    )


def test_dropout_acts_on_the_features_in_training_alone():
    classifier = build("mlp", 5, 16, dropout=0.9)
    classifier.train()
    assert not torch.equal(classifier(pictures()), classifier(pictures()))
    classifier.eval()
    assert torch.equal(classifier(pictures()), classifier(pictures()))


def test_a_misspelt_network_gets_the_nearest_name_and_the_list():
    with pytest.raises(RecipeError) as caught:
        build("ResNet5O", 10, 32)
    assert str(caught.value) == (
        "model.name must be one of mlp, cnn, resnet18, resnet34, resnet50, resnet101, resnet152. "
        "Got 'ResNet5O' instead, did you mean 'resnet50'?"
    )


def test_a_name_like_no_other_gets_the_list_alone():
    with pytest.raises(RecipeError, match=r"Got 'transformer' instead$"):
        build("transformer", 10, 32)


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_a_stem_is_refused_where_there_is_none(name):
    with pytest.raises(RecipeError) as caught:
        build(name, 10, 32, stem="small")
    assert str(caught.value) == (
        f"model.stem must be 'auto' for {name.upper()}, which has no stem. Got 'small' instead."
    )


def test_a_picture_too_small_to_halve_twice_is_refused():
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


def test_a_backbone_without_features_says_what_to_define():
    with pytest.raises(NotImplementedError, match=r"^Backbone must define features\(images\)$"):
        Backbone()(torch.zeros(1))
