"""The one way from images to predictions: every sample, in order, in fp32, without a trace."""

import numpy as np
import pytest
import torch

from resnetlab.data.batches import View
from resnetlab.errors import DivergedError
from resnetlab.training.predict import NOT_FINITE, as_images, predict

CLASSES = ("high", "middle", "low")
VIEW = View(image_size=16, fit="crop")


@pytest.fixture
def classifier(make_recipe, make_classifier):
    return make_classifier(make_recipe(model__name="cnn", model__dropout=0.5))


@pytest.mark.parametrize("batch_size", [1, 2, 5, 7, 64])
def test_every_sample_counts_once_and_in_order_whatever_the_batch_size(
    classifier, make_samples, batch_size
):
    samples = make_samples(7)
    alone = [row_by_itself(classifier, samples, row) for row in range(7)]

    found = predict(classifier, samples, VIEW, CLASSES, 3, workers=2, batch_size=batch_size)

    assert list(found.ids) == list(samples.ids)
    assert list(found.labels) == list(samples.labels)
    assert set(found.seed) == {3}
    np.testing.assert_allclose(found.logits, alone, rtol=1e-5, atol=1e-5)


def row_by_itself(classifier, samples, row: int) -> np.ndarray:
    """Return the logits of one sample, by hand."""
    image = np.empty((16, 16, 3), np.uint8)
    samples.render(row, VIEW, image)
    with torch.inference_mode():
        return classifier.eval()(as_images(image[None])).numpy()[0]


@pytest.mark.parametrize("training", [True, False])
def test_the_classifier_is_left_as_it_was(make_recipe, make_classifier, make_samples, training):
    classifier = make_classifier(make_recipe(model__name="resnet18")).train(training)
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}

    predict(classifier, make_samples(3), VIEW, CLASSES, 0, workers=0)

    assert all(module.training == training for module in classifier.modules())
    for name, tensor in classifier.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_no_random_number_is_drawn(classifier, make_samples):
    state = torch.get_rng_state()

    predict(classifier.train(), make_samples(3), VIEW, CLASSES, 0, workers=0)

    assert torch.equal(torch.get_rng_state(), state)


def test_the_answer_is_that_of_fp32_after_training_in_bf16(classifier, make_samples):
    from resnetlab.training.hardware.device import make_fabric

    expected = predict(classifier, make_samples(3), VIEW, CLASSES, 0, workers=0)
    fast = make_fabric("cpu", "bf16").setup(classifier)
    assert fast.train()(torch.zeros(2, 3, 16, 16, dtype=torch.uint8)).isfinite().all()

    found = predict(classifier, make_samples(3), VIEW, CLASSES, 0, workers=0)

    assert np.array_equal(found.logits, expected.logits)


def test_answers_that_are_not_finite_are_divergence(classifier, make_samples):
    with torch.no_grad():
        classifier.head.bias[1] = float("inf")

    with pytest.raises(DivergedError) as caught:
        predict(classifier, make_samples(3), VIEW, CLASSES, 0, workers=0)

    assert str(caught.value) == NOT_FINITE


def test_pixels_become_images_without_a_copy():
    pixels = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)

    images = as_images(pixels)

    assert images.shape == (2, 3, 4, 4)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert images.data_ptr() == pixels.ctypes.data
    assert int(images[1, 2, 3, 0]) == pixels[1, 3, 0, 2]
