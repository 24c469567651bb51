"""Made sets: real digits, labels that follow from them, the same bytes from the same seed."""

import numpy as np
import pytest

from resnetlab.data.sources import made
from resnetlab.data.sources.arrays.arrays import read_arrays
from resnetlab.data.sources.listing import list_folder
from resnetlab.data.sources.made import MADE_SETS, enlarged_digits, write_made_set
from resnetlab.errors import MachineError, RecipeError
from resnetlab.recipe import Data


def joined(folder):
    images = np.concatenate([np.load(folder / f"data{split}.npy") for split in range(3)])
    return images, np.concatenate([np.load(folder / f"labels{split}.npy") for split in range(3)])


def test_each_label_is_the_sum_of_the_four_digits_in_the_image(tmp_path):
    write_made_set("digit-sum", tmp_path / "set", 20, seed=1)
    images, labels = joined(tmp_path / "set")
    digits, values = enlarged_digits()
    assert images.dtype == np.uint8
    assert images.shape == (20, 40, 168)

    for image, label in zip(images, labels, strict=True):
        total = 0
        for cell in np.split(image, 4, axis=1):
            margins = [
                np.flatnonzero((digits == cell[:, m : m + 40]).all(axis=(1, 2))) for m in range(3)
            ]
            total += values[np.concatenate(margins)[0]]  # which is found: the digit is whole
        assert total == label


def test_all_margins_and_many_digits_are_drawn():
    chosen, margins = made.draw(np.arange(3000), 5, MADE_SETS["digit-sum"], np.zeros(1797))

    assert chosen.shape == margins.shape == (3000, 4)
    assert len(np.unique(chosen)) > 1700
    assert np.allclose(np.bincount(margins.ravel().astype(int)) / 12000, 1 / 3, atol=0.02)
    assert abs(np.corrcoef(chosen[:, 0].astype(float), chosen[:, 1].astype(float))[0, 1]) < 0.06


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(tmp_path):
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        write_made_set("digit-sum", tmp_path / name, 11, seed)
    content = {
        name: [(path.name, path.read_bytes()) for path in sorted((tmp_path / name).iterdir())]
        for name in "abc"
    }

    assert content["a"] == content["b"] != content["c"]


def test_a_larger_set_begins_with_the_smaller_however_it_is_cut_into_chunks(tmp_path, monkeypatch):
    write_made_set("digit-sum", tmp_path / "large", 30, seed=3)
    monkeypatch.setattr(made, "CHUNK", 4)
    write_made_set("digit-sum", tmp_path / "small", 17, seed=3)

    for large, small in zip(joined(tmp_path / "large"), joined(tmp_path / "small"), strict=True):
        assert np.array_equal(large[:17], small)


def test_the_three_files_hold_as_equal_numbers_as_can_be(tmp_path):
    write_made_set("digit-sum", tmp_path, 11, seed=0)

    assert sorted(len(np.load(tmp_path / f"labels{split}.npy")) for split in range(3)) == [3, 4, 4]
    assert len(list(tmp_path.iterdir())) == 6


def test_the_set_is_read_like_any_arrays(tmp_path):
    write_made_set("digit-sum", tmp_path, 40, seed=0)
    catalog = read_arrays(list_folder(tmp_path), Data())
    _, labels = joined(tmp_path)

    assert len(catalog) == 40
    assert sorted(catalog.classes[label] for label in catalog.labels) == sorted(map(str, labels))
    assert catalog.notes == ()


def test_nothing_is_overwritten_and_three_images_are_the_least(tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(MachineError, match="is not empty; name a new folder"):
        write_made_set("digit-sum", tmp_path, 30, seed=0)
    with pytest.raises(RecipeError, match=r"needs 3 images at least, one for each file. Got 2"):
        write_made_set("digit-sum", tmp_path / "new", 2, seed=0)

    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def scans_in(images: np.ndarray) -> set[int]:
    """Return which scans single digits (N, 40, 42) show, by their pixels."""
    digits, _ = enlarged_digits()
    known = {scan.tobytes(): number for number, scan in enumerate(digits)}
    views = [image[:, m : m + 40].tobytes() for image in images for m in range(3)]
    return {known[view] for view in views if view in known}


def test_splits_that_are_apart_share_no_scan(tmp_path):
    write_made_set("digits", tmp_path, 300, seed=0, apart=True)

    shown = [scans_in(np.load(tmp_path / f"images_{split}.npy")) for split in made.SPLITS]
    assert [len(np.load(tmp_path / f"labels_{split}.npy")) for split in made.SPLITS] == [
        240,
        30,
        30,
    ]
    assert not shown[0] & shown[1]
    assert not shown[0] & shown[2]
    assert not shown[1] & shown[2]


def test_sets_of_one_seed_divide_the_scans_alike(tmp_path):
    write_made_set("digits", tmp_path / "one", 300, seed=4, apart=True)
    write_made_set("digit-sum", tmp_path / "four", 60, seed=4, apart=True)

    tested = scans_in(np.load(tmp_path / "one" / "images_test.npy"))
    rows = np.load(tmp_path / "four" / "images_train.npy")
    trained = scans_in(np.concatenate(np.split(rows, 4, axis=2)))
    assert trained
    assert not trained & tested


def test_what_is_apart_is_read_with_its_splits(tmp_path):
    write_made_set("digit-sum", tmp_path, 50, seed=0, apart=True)

    catalog = read_arrays(list_folder(tmp_path), Data(allow_empty_classes=True))

    assert [int((catalog.split == split).sum()) for split in made.SPLITS] == [40, 5, 5]


def test_pairs_are_the_two_digits_and_the_last_are_rare(tmp_path):
    write_made_set("digit-pairs", tmp_path, 6000, seed=0)
    images, labels = joined(tmp_path)
    _, values = enlarged_digits()

    common, rare = (int((labels // 25 == quarter).sum()) for quarter in (0, 3))
    assert 10 < common / rare < 30
    for image, label in zip(images[:20], labels[:20], strict=True):
        shown = [values[next(iter(scans_in(cell[None])))] for cell in np.split(image, 2, axis=1)]
        assert 10 * shown[0] + shown[1] == label
