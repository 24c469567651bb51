"""Two images agree where the gradients of one are those of the other, once aligned."""

import cv2
import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from resnetlab.data.audit import alignment
from resnetlab.data.audit.alignment import covered_px, has_gradients, similarities
from resnetlab.data.audit.near_duplicates import SAME


@pytest.fixture(scope="module")
def large() -> np.ndarray:
    """40 pieces of two photographs, grey, float32 (40, 120, 120); not of sky or haze."""
    cut = [
        photo[row : row + 120, column : column + 120].mean(axis=2)
        for photo in load_sample_images().images
        for row in range(0, 307, 60)
        for column in range(0, 520, 60)
    ]
    most = sorted(cut, key=lambda piece: -np.abs(np.diff(piece, axis=1)).mean())[:40]
    return np.stack(most).astype(np.float32)


def small(pieces: np.ndarray) -> np.ndarray:
    return np.stack([cv2.resize(piece, (32, 32), interpolation=cv2.INTER_AREA) for piece in pieces])


def turned(piece: np.ndarray, degrees: float) -> np.ndarray:
    height, width = piece.shape
    around = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1)
    return cv2.warpAffine(piece, around, (width, height), borderMode=cv2.BORDER_REFLECT)


def test_an_image_agrees_with_itself(large):
    np.testing.assert_allclose(similarities(small(large), small(large)), 1, atol=1e-3)


def test_different_images_do_not_agree(large):
    apart = small(large[::2]), small(np.roll(large[::2], 1, axis=0))

    assert similarities(*apart).max() < SAME


def test_brightness_and_contrast_don_t_matter(large):
    assert similarities(small(large), 0.6 * small(large) + 70).min() > 0.97


def test_a_cropped_image_agrees_with_the_whole(large):
    found = similarities(small(large), small(large[:, 4:116, 3:117]))

    assert (found > SAME).mean() > 0.8


@pytest.mark.parametrize("degrees", [3, 8, 14])
def test_an_image_turned_a_little_is_a_copy_whatever_its_shape(large, degrees):
    wide = large[:, 20:100]  # 120 px wide, 80 high, squeezed like all thumbnails
    for pieces, aspect in ((large, 1.0), (wide, 1.5)):
        other = np.stack([turned(piece, degrees) for piece in pieces])
        found = similarities(small(pieces), small(other), np.full((len(pieces), 2), aspect))
        assert (found > SAME).mean() > 0.6, aspect


def test_an_image_turned_far_or_sheared_is_no_copy(large):
    other = np.stack([turned(piece, 24) for piece in large])
    assert similarities(small(large), small(other)).max() < SAME
    sheared = np.stack(
        [
            cv2.warpAffine(piece, np.float32([[1, 0.15, -9], [0, 1, 0]]), (120, 120))
            for piece in large
        ]
    )
    assert similarities(small(large), small(sheared)).max() < SAME


def test_pairs_do_not_depend_on_what_is_compared_beside_them(large):
    ones, others = small(large), small(large[:, 4:116, 3:117])
    alone = [similarities(ones[[row]], others[[row]])[0] for row in range(len(ones))]

    np.testing.assert_array_equal(similarities(ones, others), alone)


def test_a_glance_gives_up_hardly_any_copy(large, monkeypatch):
    ones, others = small(large), small(large[:, 4:116, 3:117])
    seen = similarities(ones, others) > SAME
    monkeypatch.setattr(alignment, "PROMISING", -1.0)

    assert (similarities(ones, others) > SAME).sum() <= seen.sum() + 1


def test_covered_px_are_those_whose_neighbours_come_from_the_other_image():
    fits = np.array(
        [[[1, 0, 0], [0, 1, 0]], [[1.1, 0.05, -3.2], [-0.03, 0.9, 4.6]], [[1, 0, 64], [0, 1, 0]]],
        dtype=np.float32,
    )
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    for fit, covered in zip(fits, covered_px(fits, 32), strict=True):
        warped = cv2.warpAffine(np.ones((32, 32), np.float32), fit, (32, 32), flags=flags)
        expected = cv2.erode(warped, np.ones((3, 3)), borderValue=0)
        assert (covered != expected).sum() <= 4  # OpenCV rounds a little else at the very edge


def test_what_shows_nothing_has_no_say(large):
    flat = np.full((1, 32, 32), 90, np.uint8)
    half = small(large[:1]).astype(np.uint8)
    half[:, :26] = 90
    images = np.concatenate([small(large[:1]).astype(np.uint8), flat, half])

    assert has_gradients(images).tolist() == [True, False, False]
