"""Whether images may be flipped: digits may not, and what is not sure is left as it was."""

import csv

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from resnetlab.data.audit.mirrored import look_mirrored
from resnetlab.data.dataset import read_data
from resnetlab.recipe import Recipe


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RESNETLAB_CACHE", str(tmp_path / "cache"))


def save_digits(folder, mirrored=False, count=200):
    """Save scanned digits by class, every other one mirrored if asked."""
    digits = load_digits()
    for number in range(count):
        pixels = np.kron(digits.images[number] * 15, np.ones((4, 4))).astype(np.uint8)
        turned = mirrored and number % 2
        path = folder / str(digits.target[number]) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[:, ::-1] if turned else pixels).save(path)
    return folder


def test_digits_are_not_flipped_and_that_is_said(tmp_path):
    dataset = read_data(save_digits(tmp_path / "digits"), Recipe())

    assert dataset.recipe.data.augment.flip == 0
    (note,) = [note for note in dataset.catalog.notes if note.startswith("mirrored images")]
    assert "data.augment.flip=0.5" in note


def test_what_comes_mirrored_anyway_is_flipped(tmp_path):
    dataset = read_data(save_digits(tmp_path / "digits", mirrored=True, count=400), Recipe())

    assert dataset.recipe.data.augment.flip == 0.5
    assert not dataset.catalog.notes


def test_who_says_how_often_is_obeyed(tmp_path):
    recipe = Recipe().override({"data.augment.preset": "small", "data.augment.flip": 0.25})

    assert read_data(save_digits(tmp_path / "digits"), recipe).recipe.data.augment.flip == 0.25


def test_labels_that_images_do_not_show_decide_nothing(tmp_path):
    folder = save_digits(tmp_path / "digits")
    rng = np.random.default_rng(0)
    rows = [
        [f"{path.parent.name}/{path.name}", rng.choice(["a", "b"])]
        for path in sorted(folder.rglob("*.png"))
    ]
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["image", "label"], *rows])
    dataset = read_data(folder / "labels.csv", Recipe())

    assert not look_mirrored(dataset.catalog, dataset.store).differs
    assert dataset.recipe.data.augment.flip == 0.5


def test_few_images_decide_nothing(tmp_path):
    dataset = read_data(save_digits(tmp_path / "digits", count=40), Recipe())

    assert look_mirrored(dataset.catalog, dataset.store) is None
    assert dataset.recipe.data.augment.flip == 0.5


def test_images_kept_for_the_test_do_not_count(tmp_path):
    dataset = read_data(save_digits(tmp_path / "digits"), Recipe())
    catalog = dataset.catalog
    split = np.where(np.arange(len(catalog)) < 40, "train", "test").astype(object)

    assert look_mirrored(catalog.with_columns(split=split), dataset.store) is None


def test_images_of_one_group_do_not_speak_for_each_other(tmp_path):
    """All images of a class are one group: nothing but other classes is left to compare with."""
    dataset = read_data(save_digits(tmp_path / "digits"), Recipe())
    catalog = dataset.catalog
    found = look_mirrored(catalog.with_columns(group=catalog.labels), dataset.store)

    assert found.as_is == found.flipped == 0
