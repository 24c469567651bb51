"""Grad-CAM equals captum's, finds what a transformer looked at, and leaves the network as it was."""

import pytest
import torch
import torch.nn.functional as F
from captum.attr import LayerGradCam
from torch import nn

from resnetlab.models import build
from resnetlab.models.attribution import grad_cam, raw_cam


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8, generator=torch.manual_seed(0))


@pytest.mark.parametrize(
    ("name", "stage"),
    [("resnet18", "layer4"), ("cnn", "block2"), ("hrnet_w18_small", "final_layer")],
)
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


QUARTERS = [(row, column) for row in (0, 32) for column in (0, 32)]


def coloured_quarters(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return grey noise (N, 3, 64, 64) with a patch of a colour in one quarter; the colours and the quarters."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(90, 166, (count, 3, 64, 64), generator=generator, dtype=torch.uint8)
    colours = torch.randint(0, 3, (count,), generator=generator)
    quarters = torch.randint(0, 4, (count,), generator=generator)
    for image, colour, quarter in zip(images, colours, quarters, strict=True):
        top, left = QUARTERS[quarter]
        image[colour, top + 8 : top + 24, left + 8 : left + 24] = 250
    return images, colours, quarters


@pytest.mark.parametrize(
    ("name", "expected"),
    [("vit_tiny_patch16_224", 4), ("swin_tiny_patch4_window7_224", 2), ("levit_128s", 2)],
)
def test_a_transformer_has_a_map_of_its_tokens(name, expected, images):
    torch.manual_seed(1)
    found = raw_cam(build(name, 4, 64), images, torch.tensor([0, 3, 1]))
    assert found is not None and found.shape == (3, expected, expected)
    assert found.min() >= 0


def test_what_a_transformer_learned_to_look_at_is_found():
    torch.manual_seed(0)
    classifier = build("test_vit", 3, 64)
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=1e-3)
    images, colours, _ = coloured_quarters(256, 0)
    for start in 7 * list(range(0, 256, 32)):
        part = slice(start, start + 32)
        F.cross_entropy(classifier(images[part]), colours[part]).backward()
        optimizer.step()
        optimizer.zero_grad()
    images, colours, quarters = coloured_quarters(60, 1)
    cams = raw_cam(classifier, images, colours)
    assert cams is not None
    mass = torch.stack([cams[:, :2, :2], cams[:, :2, 2:], cams[:, 2:, :2], cams[:, 2:, 2:]]).sum(
        (2, 3)
    )
    assert (mass.argmax(dim=0) == quarters).float().mean() > 0.8  # by chance 0.25
