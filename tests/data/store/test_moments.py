"""Mean and deviation are exact, and know of nothing but the images that were asked for."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resnetlab.data.sources.folder import class_folders
from resnetlab.data.sources.listing import list_folder
from resnetlab.data.store.moments import describe_moments, moments
from resnetlab.data.store.pixels import PixelStore, read_images
from resnetlab.data.store.record import RECORD, fill_from_pixels


def store_of(images: list[np.ndarray]) -> PixelStore:
    index = np.zeros(len(images), dtype=RECORD)
    offset = 0
    for record, image in zip(index, images, strict=True):
        fill_from_pixels(record, image)
        record["offset"] = offset
        offset += image.size
    pixels = np.concatenate([image.reshape(-1) for image in images])
    return PixelStore(pixels, index, index["small"])


def directly(images: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and deviation of all pixels, by NumPy, in two passes."""
    values = np.concatenate([image.reshape(-1, 3) for image in images]) / 255.0
    return values.mean(axis=0), values.std(axis=0)


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=6),
    st.integers(0, 250),
    st.integers(0, 10**6),
)
def test_moments_equal_those_of_all_pixels(sizes, darkest, seed):
    generator = np.random.default_rng(seed)
    images = [generator.integers(darkest, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    mean, deviation = moments(store_of(images), np.arange(len(images)))
    expected_mean, expected_deviation = directly(images)

    np.testing.assert_allclose(mean, expected_mean, rtol=0, atol=1e-12)
    np.testing.assert_allclose(deviation, expected_deviation, rtol=0, atol=1e-12)


def test_moments_of_real_images_are_those_of_their_pixels(photo_folder):
    catalog, store = read_images(class_folders(list_folder(photo_folder)), 50, 10**6, 2)
    rows = store.rows_of(catalog)
    expected = directly([store.image(row) for row in rows])

    np.testing.assert_allclose(moments(store, rows), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("value", [0, 1, 254, 255])
def test_one_colour_has_no_deviation_at_all(value):
    mean, deviation = moments(store_of([np.full((701, 997, 3), value, np.uint8)] * 2), np.arange(2))

    assert deviation.tolist() == [0.0, 0.0, 0.0]
    np.testing.assert_allclose(mean, value / 255)


def test_channels_are_told_apart():
    image = np.zeros((2, 2, 3), np.uint8)
    image[..., 1] = 255
    image[0, :, 2] = 255
    mean, deviation = moments(store_of([image]), np.array([0]))

    assert mean.tolist() == [0.0, 1.0, 0.5]
    assert deviation.tolist() == [0.0, 0.0, 0.5]


def test_an_image_named_twice_counts_twice():
    images = [np.full((2, 2, 3), value, np.uint8) for value in (0, 255)]
    mean, _ = moments(store_of(images), np.array([0, 1, 1]))

    np.testing.assert_allclose(mean, 2 / 3)


def test_the_order_of_images_changes_no_bit():
    generator = np.random.default_rng(0)
    store = store_of([generator.integers(0, 256, (5, 7, 3), dtype=np.uint8) for _ in range(50)])
    forwards, backwards = moments(store, np.arange(50)), moments(store, np.arange(50)[::-1])

    np.testing.assert_array_equal(forwards, backwards)


def test_no_image_has_no_moments():
    with pytest.raises(ValueError, match="no image"):
        moments(store_of([np.zeros((1, 1, 3), np.uint8)]), np.array([], dtype=np.int64))


# Leaks


SPLITS = {
    "train/a/1.png": 1, "train/a/2.png": 2, "train/b/3.png": 3, "train/b/4.png": 4,
    "val/a/5.png": 5, "val/b/6.png": 6, "test/a/7.png": 7, "test/b/8.png": 8,
}  # fmt: skip


def of_training_split(folder: Path) -> dict:
    catalog, store = read_images(class_folders(list_folder(folder)), 8, 10**6, 2)
    return describe_moments(catalog, store, "train")


@pytest.mark.parametrize("name", ["val/a/5.png", "val/b/6.png", "test/a/7.png", "test/b/8.png"])
def test_no_image_outside_the_training_split_changes_its_moments(write_images, name):
    before = of_training_split(write_images(SPLITS))
    after = of_training_split(write_images(SPLITS | {name: 99}))

    assert before == after


@pytest.mark.parametrize("name", ["train/a/1.png", "train/b/4.png"])
def test_every_image_of_the_training_split_does(write_images, name):
    before = of_training_split(write_images(SPLITS))
    after = of_training_split(write_images(SPLITS | {name: 99}))
    own, other = ("a", "b") if "/a/" in name else ("b", "a")

    assert before["train"] != after["train"]
    assert before["per_class"][own] != after["per_class"][own]
    assert before["per_class"][other] == after["per_class"][other]


def test_quarantined_images_count_for_nothing(write_images):
    folder = write_images(SPLITS)
    before = of_training_split(folder)
    (folder / "train/a/damaged.png").write_bytes(b"")

    assert of_training_split(folder) == before


def test_moments_of_classes_are_those_of_their_images(write_images):
    catalog, store = read_images(class_folders(list_folder(write_images(SPLITS))), 8, 10**6, 2)
    facts = describe_moments(catalog, store, "train")
    rows = store.rows_of(catalog)[catalog.rows("train")][:2]  # the two of class a

    mean, deviation = moments(store, rows)
    assert facts["per_class"]["a"] == {"mean": mean.tolist(), "std": deviation.tolist()}
    assert set(facts["per_class"]) == {"a", "b"}
