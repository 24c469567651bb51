"""The fast network's first layer whitens what it is shown; the rest starts by passing it on."""

import pytest
import torch
import torch.nn.functional as F

from resnetlab.models import build
from resnetlab.models.networks.fastcnn import FastCNN


@pytest.fixture
def images() -> torch.Tensor:
    """Make smooth images whose channels go together, as those of photographs do."""
    generator = torch.Generator().manual_seed(0)
    grey = F.interpolate(torch.randn(64, 1, 5, 5, generator=generator), 16, mode="bilinear")
    return grey + 0.2 * torch.randn(64, 3, 16, 16, generator=generator)


def test_the_first_layer_gives_each_direction_of_a_patch_the_same_variance(images):
    network = FastCNN(16)
    network.init_from(images)

    answers = network.whiten(images).detach().transpose(0, 1).flatten(1)

    covariance = answers[:12] @ answers[:12].T / answers.shape[1]
    torch.testing.assert_close(covariance, torch.eye(12), atol=0.03, rtol=0)
    torch.testing.assert_close(answers[12:], -answers[:12], atol=1e-4, rtol=0)  # both signs


def test_the_first_layer_s_filters_and_the_norms_scales_do_not_learn():
    network = build("fastcnn", num_classes=10, image_size=32).backbone
    frozen = {name for name, each in network.named_parameters() if not each.requires_grad}

    norms = {f"block{block}.{layer}.weight" for block in (1, 2, 3) for layer in (2, 5)}
    assert frozen == {"whiten.weight", *norms}


def test_a_convolution_starts_by_passing_its_input_on():
    network = FastCNN(32)
    maps = torch.randn(2, 64, 15, 15)

    torch.testing.assert_close(network.block2[0](maps)[:, :64], maps)


@pytest.mark.parametrize(("name", "one", "two"), [("fastcnn", 64, 256), ("fastcnn-wide", 128, 384)])
def test_it_has_the_parameters_of_its_shape(name, one, two):
    network = build(name, num_classes=10, image_size=32)
    filters = 24 * 12 + 9 * (24 * one + one * one + one * two + 3 * two * two)
    norms_and_biases = 24 + 2 * 2 * (one + two + two)
    head = two * 10 + 10

    assert sum(each.numel() for each in network.parameters()) == filters + norms_and_biases + head


@pytest.mark.parametrize("image_size", [16, 24, 32, 40, 64])
def test_the_same_network_takes_images_of_other_sizes(image_size):
    network = build("fastcnn", num_classes=4, image_size=32)

    answers = network(torch.zeros(2, 3, image_size, image_size, dtype=torch.uint8))

    assert answers.shape == (2, 4)
