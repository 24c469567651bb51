"""Dot products of descriptors are those of gradients, and neighbours are found in cells."""

import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from resnetlab.data.audit import candidates as module
from resnetlab.data.audit.candidates import THUMB, candidates, descriptors, horizontal_flip


@pytest.fixture(scope="module")
def greys() -> np.ndarray:
    """60 crops of two photographs, reduced to grey 36×36 px."""
    photos = np.stack([photo[:420:2, :600:2].mean(axis=2) for photo in load_sample_images().images])
    return np.stack(
        [
            photo[30 * row : 30 * row + 36, 50 * column : 50 * column + 36]
            for photo in photos
            for row in range(5)
            for column in range(6)
        ]
    ).astype(np.uint8)


def gradients_of(greys: np.ndarray) -> np.ndarray:
    """Differences of neighbours in thumbnails of 12×12 px, as rows of length 1."""
    count, side = len(greys), greys.shape[-1] // THUMB
    thumbs = greys.reshape(count, THUMB, side, THUMB, side).mean(axis=(2, 4))
    across, down = np.diff(thumbs, axis=2), np.diff(thumbs, axis=1)
    rows = np.concatenate([across.reshape(count, -1), down.reshape(count, -1)], axis=1)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_products_of_descriptors_are_those_of_gradients(greys):
    vectors, gradients = descriptors(greys), gradients_of(greys)

    np.testing.assert_allclose(vectors @ vectors.T, gradients @ gradients.T, atol=1e-4)


def test_horizontal_flip_gives_the_descriptors_of_flipped_images(greys):
    flipped = horizontal_flip(descriptors(greys))

    np.testing.assert_allclose(flipped, descriptors(greys[:, :, ::-1]), atol=1e-4)


def test_brightness_and_contrast_change_no_descriptor(greys):
    changed = greys * 0.5 + 40

    np.testing.assert_allclose(descriptors(changed), descriptors(greys), atol=1e-3)


def test_an_image_without_gradients_is_near_nothing(greys):
    flat = np.full_like(greys[:1], 128)
    as_is, flipped = candidates(descriptors(np.concatenate([flat, flat, greys])))

    assert not np.isin([0, 1], as_is).any()
    assert not np.isin([0, 1], flipped).any()


def directions(rng: np.random.Generator, count: int) -> np.ndarray:
    vectors = rng.normal(size=(count, THUMB**2)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("turned", [False, True], ids=["as it is", "flipped"])
def test_candidates_are_those_of_a_comparison_of_all_with_all(turned):
    rng = np.random.default_rng(0)
    vectors = directions(rng, 400)
    like = vectors[:100] + 0.5 * directions(rng, 100)  # a hundred pairs
    vectors[300:] = (horizontal_flip(like) if turned else like) / np.linalg.norm(
        like, axis=1, keepdims=True
    )
    other = horizontal_flip(vectors) if turned else vectors
    first, second = np.nonzero(np.triu(vectors @ other.T > module.CANDIDATE, 1))

    all_pairs = set(zip(first.tolist(), second.tolist(), strict=True))
    few = {tuple(pair) for pair in candidates(vectors)[turned].tolist()}
    assert len(all_pairs) == 100
    assert few <= all_pairs
    assert len(few) >= 97


def test_of_many_copies_each_meets_its_nearest():
    rows, cosines = np.array([0, 0, 0, 1, 1, 3]), np.array([0.7, 0.9, 0.8, 0.6, 0.7, 0.9])

    assert sorted(module.nearest(rows, cosines, 2).tolist()) == [1, 2, 3, 4, 5]
