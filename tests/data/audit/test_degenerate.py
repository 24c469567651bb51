"""Whatever a set is like, the audit ends with words: findings, or one DataError."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resnetlab.data.dataset import list_data, read_listed
from resnetlab.data.description import describe_dataset, plan_splits
from resnetlab.errors import DataError
from resnetlab.recipe import Recipe

Image = Callable[[int, int], np.ndarray]  # of a class and a number


def write(folder: Path, counts: list[int], image: Image) -> Path:
    for label, count in enumerate(counts):
        (folder / f"class{label}").mkdir(parents=True)
        for number in range(count):
            cv2.imwrite(str(folder / f"class{label}" / f"{number}.png"), image(label, number))
    return folder


def flat(value: int, size: int = 24) -> np.ndarray:
    return np.full((size, size, 3), value, np.uint8)


def noise(seed: int, size: int = 24) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


def inspected(folder: Path) -> dict:
    recipe = Recipe().override(
        {"data.image_size": 32, "data.workers": 0, "data.max_problem_frac": 1.0}
    )
    dataset = read_listed("set", *list_data(folder, recipe))
    return describe_dataset(dataset, "all") | {"plan": plan_splits(dataset)}


SETS: dict[str, tuple[list[int], Image]] = {
    "each class is copies of one flat image": ([15, 15], lambda label, _: flat(60 * label + 60)),
    "each class is copies of one detailed image": ([15, 15], lambda label, _: noise(label)),
    "all images differ": ([30, 30], lambda label, number: noise(100 * label + number)),
    "all images are flat, each of its own colour": (
        [12, 12],
        lambda label, n: flat(20 * label + n),
    ),
    "two images": ([1, 1], lambda label, _: noise(label)),
    "a hundred classes of one image": ([1] * 100, lambda label, _: noise(label, 8)),
    "one class has one image": ([40, 1], lambda label, number: noise(50 * label + number)),
    "one pixel each": ([12, 12], lambda label, number: noise(50 * label + number, 1)),
    "all sizes differ": ([12, 12], lambda label, number: noise(number, 8 + 3 * label + number)),
    "one class is copies, the other is not": (
        [15, 15],
        lambda label, number: noise(label * (number + 1)),
    ),
}


@pytest.mark.parametrize("name", SETS)
def test_degenerate_sets_are_described(tmp_path, name):
    counts, image = SETS[name]

    found = inspected(write(tmp_path / "set", counts, image))

    assert found["images"] == sum(counts)
    assert found["used"] + len(found["problems"]) == sum(counts)


def test_a_class_that_is_copies_of_one_image_is_a_thing_to_look_at(tmp_path):
    found = inspected(write(tmp_path / "set", *SETS["each class is copies of one flat image"]))

    assert found["duplicates"] == 28
    assert any("2 of 2 classes are a single group" in text for text in found["warnings"])
    assert "class 'class0' has 15 images in 1 group" in found["plan"]["problem"]


def test_copies_under_two_labels_leave_nothing_to_train_on_and_that_is_said(tmp_path):
    folder = write(tmp_path / "set", [12, 12], lambda label, number: noise(0))

    with pytest.raises(DataError, match="class 'class0' has no usable image left"):
        inspected(folder)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=14), min_size=2, max_size=4),
    st.sampled_from([1, 8, 24, 33]),
    st.booleans(),
)
def test_any_small_set_is_described_or_refused_in_words(classes, size, is_flat):
    """Each number is an image; the same number is the same image."""

    def image(label: int, number: int) -> np.ndarray:
        content = classes[label][number]
        return flat(40 * content, size) if is_flat else noise(content, size)

    with tempfile.TemporaryDirectory() as folder:
        try:
            found = inspected(write(Path(folder) / "set", [len(each) for each in classes], image))
        except DataError:
            return
        assert found["used"] + len(found["problems"]) == sum(map(len, classes))
