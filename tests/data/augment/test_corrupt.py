"""Corruptions: stronger ones change more, and what is random follows from its address."""

import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from resnetlab.data.augment.corrupt import CORRUPTIONS, STRENGTHS, Corrupted
from resnetlab.data.batches import View, samples_of
from resnetlab.data.sources.folder import class_folders
from resnetlab.data.sources.listing import list_folder
from resnetlab.data.store.pixels import read_images

PHOTO = np.ascontiguousarray(load_sample_images().images[0][100:324, 200:424])


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_stronger_the_farther_from_the_image(name):
    corrupt, strengths = CORRUPTIONS[name]
    found = [corrupt(PHOTO, each, np.random.default_rng(0)) for each in strengths]
    assert all(each.dtype == np.uint8 and each.shape == PHOTO.shape for each in found)
    far = [float(np.abs(each.astype(int) - PHOTO).mean()) for each in found]
    assert far[0] > 0.3
    if name in ("rotation", "scale"):  # at some point a photograph is as unlike itself as it gets
        assert far[-1] > far[0]
    else:
        assert far == sorted(far)


def test_brightness_and_jpeg_are_those_of_their_source():
    grey = np.full((8, 8, 3), 100, np.uint8)
    brighter = CORRUPTIONS["brightness"][0](grey, 0.2, np.random.default_rng(0))
    assert (brighter == 151).all(), "the value of a grey of 100/255, raised by 0.2"
    assert CORRUPTIONS["jpeg"][1] == (25, 18, 15, 10, 7)


@pytest.mark.parametrize("name", ["noise", "occlusion", "rotation"])
def test_randomness_has_an_address(photo_folder, name):
    """A view depends on seed, image, corruption and strength: not on the batch that it comes in."""
    catalog, store = read_images(class_folders(list_folder(photo_folder)), 32, 10**8, 1)
    samples, view = samples_of(catalog, store, "all"), View(32, "crop")
    rows = np.arange(6)
    first = Corrupted(samples, name, 3, 0).batch(rows, view).images
    again = Corrupted(samples, name, 3, 0).batch(rows[::-1], view).images[::-1]
    other = Corrupted(samples, name, 3, 1).batch(rows, view).images
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len(STRENGTHS) == len(CORRUPTIONS[name][1])
