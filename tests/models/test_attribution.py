"""Grad-CAM equals captum's, leaves the network as it was, and says where there is nothing to see."""

import pytest
import torch
from captum.attr import LayerGradCam
from torch import nn

from resnetlab.models import build
from resnetlab.models.attribution import grad_cam, raw_cam


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8, generator=torch.manual_seed(0))


@pytest.mark.parametrize(("name", "stage"), [("resnet18", "layer4"), ("cnn", "block2")])
def test_it_equals_captums(name, stage, images):
    torch.manual_seed(1)
    classifier = build(name, 4, 64).eval()

    class FromFloats(nn.Module):
        def forward(self, floats: torch.Tensor) -> torch.Tensor:
            return classifier.head(classifier.backbone.features(floats))

    classes = torch.tensor([0, 3, 1])
    reference = LayerGradCam(FromFloats(), classifier.backbone.stages()[stage])
    floats = classifier.normalise(images)
    expected = reference.attribute(floats, classes, relu_attributions=True)[:, 0]
    torch.testing.assert_close(raw_cam(classifier, images, classes), expected.detach())


def test_it_is_as_large_as_the_image_and_1_at_its_strongest(images):
    torch.manual_seed(1)
    found = grad_cam(build("resnet18", 4, 64), images, torch.tensor([0, 1, 2]))
    assert found is not None and found.shape == (3, 64, 64)
    assert found.min() >= 0
    strongest = found.amax(dim=(1, 2))
    assert all(value == pytest.approx(1) or value == 0 for value in strongest.tolist())


def test_the_network_stays_as_it_was(images):
    classifier = build("resnet18", 4, 64).train()
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
    grad_cam(classifier, images, torch.tensor([0, 1, 2]))
    assert classifier.training
    assert all(parameter.grad is None for parameter in classifier.parameters())
    for name, tensor in classifier.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_a_network_without_places_has_none(images):
    assert grad_cam(build("mlp", 4, 64), images, torch.tensor([0, 1, 2])) is None
