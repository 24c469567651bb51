"""The preparation within a graph is the one that training, evaluation and prediction have."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_sample_images

from resnetlab.data.store.resize import reduced_size, shrink
from resnetlab.deploy.export.inside import prepare
from resnetlab.deploy.preparation import Preparation

PHOTO = load_sample_images().images[0]
SIDES = st.integers(8, 300)


@given(SIDES, SIDES, st.sampled_from(["crop", "stretch"]), st.sampled_from([16, 32, 45]))
def test_an_image_of_any_size_differs_by_one_grey_level_at_most(width, height, fit, size):
    preparation = Preparation(size, -(-size * 8 // 7), fit, 10**9, None)
    image = cv2.resize(PHOTO, (width, height), interpolation=cv2.INTER_AREA)
    reduced = shrink(image, reduced_size((width, height), preparation.short_side))
    expected = preparation.square(reduced).astype(int)

    found = prepare(torch.from_numpy(image)[None], preparation)[0].permute(1, 2, 0).numpy()

    assert np.abs(found.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("fit", ["crop", "stretch"])
def test_a_prepared_image_passes_unchanged(fit):
    preparation = Preparation(32, 37, fit, 10**9, None)
    image = np.ascontiguousarray(PHOTO[:32, :32])

    found = prepare(torch.from_numpy(image)[None], preparation)[0].permute(1, 2, 0).numpy()

    assert np.array_equal(found, image)
