"""Images varied on the device are those that the processor's threads make."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from resnetlab.data.batches import View
from resnetlab.recipe import Augment
from resnetlab.training.resident import ResidentSamples, may_reside

CPU = torch.device("cpu")
SETTINGS = {
    "plain": None,
    "moved": Augment(flip="alternate", translate_frac=0.2),
    "s0": Augment.model_validate("s0"),
    "everything": Augment.model_validate({"preset": "s0", "erase": 0.7, "translate_frac": 0.1}),
}


@pytest.mark.parametrize("fit", ["crop", "stretch"])
@pytest.mark.parametrize("image_size", [18, 16, 24])  # as stored, smaller, larger
@pytest.mark.parametrize("name", SETTINGS)
def test_a_batch_is_the_same_up_to_rounding(make_samples, name, image_size, fit):
    samples = make_samples(12)
    view = View(image_size, fit, SETTINGS[name], seed=3, epoch=5)
    rows = np.array([7, 0, 3, 11])

    expected = samples.batch(rows, view)
    found = ResidentSamples.of(samples, CPU).batch(rows, view)

    assert isinstance(found.images, torch.Tensor) and found.images.dtype == torch.uint8
    difference = np.abs(found.images.numpy().astype(int) - expected.images)
    assert difference.max() <= 2
    assert difference.mean() < 0.05
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_array_equal(found.rows, expected.rows)


def test_moved_by_whole_pixels_it_is_the_same_to_the_bit(make_samples):
    samples = make_samples(12)
    view = View(18, "crop", SETTINGS["moved"], seed=3, epoch=5)
    rows = np.arange(12)

    found = ResidentSamples.of(samples, CPU).batch(rows, view).images

    np.testing.assert_array_equal(found.numpy(), samples.batch(rows, view).images)


def test_only_images_of_one_size_that_fit_live_on_a_gpu(make_samples, monkeypatch):
    gpu, samples = torch.device("cuda"), make_samples(12)
    needed = 12 * 18 * 18 * 3
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (needed * 6, needed * 6))

    assert may_reside(samples, gpu)
    assert not may_reside(samples, CPU)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (needed * 4, needed * 6))
    assert not may_reside(samples, gpu)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (needed * 6, needed * 6))
    index = samples.store.index.copy()
    index["width"][0] -= 1
    other = replace(samples, store=replace(samples.store, index=index))
    assert not may_reside(other, gpu)
