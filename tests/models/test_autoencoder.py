"""An autoencoder: a code that tells the classes, and an image made of it again."""

import pytest
import torch

from resnetlab.models import build
from resnetlab.models.networks.autoencoder import reconstruction_errors


@pytest.mark.parametrize("image_size", [8, 17, 32, 40, 100])
def test_images_of_any_size_come_back_in_that_size(image_size):
    classifier = build("autoencoder", 3, image_size)
    images = torch.randint(0, 256, (2, 3, image_size, image_size), dtype=torch.uint8)

    code = classifier.backbone.features(classifier.prepare(images))
    restored = classifier.backbone.decode(code)

    assert code.shape == (2, 128)
    assert restored.shape == images.shape
    assert 0 <= restored.min() <= restored.max() <= 1


def test_the_decoder_is_no_stage():
    assert list(build("autoencoder", 3, 32).backbone.stages()) == [
        "down1",
        "down2",
        "down3",
        "flatten",
        "code",
    ]


def test_errors_are_mean_squares_of_values_in_0_to_1():
    images = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 4, 4)

    found = reconstruction_errors(torch.full((2, 3, 4, 4), 0.25), images)

    assert found.tolist() == pytest.approx([0.25**2, 0.75**2])
