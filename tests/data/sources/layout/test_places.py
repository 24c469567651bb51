"""Folders around the classes, second copies and what lies beside the images are seen through, and said."""

import pytest

from resnetlab.data.sources.source import read_source
from resnetlab.errors import DataError
from resnetlab.recipe import Data
from tests.data.sources.layout.test_splits import CLASSES, counts, each, grid, notes, plant


def test_one_folder_in_another_is_descended_and_said(tmp_path):
    plant(tmp_path, *grid(("archive",), ("Dataset",), CLASSES), "__MACOSX/archive/cat/1.jpg")
    plant(tmp_path, "README.md", "archive/LICENSE.txt")

    assert counts(tmp_path) == each("")
    assert "the classes were found below 'archive/Dataset'" in notes(tmp_path)
    assert read_source(tmp_path, Data()).ids[0] == "archive/Dataset/cat/archive-Dataset-cat.jpg"


def test_folders_of_annotations_do_not_hide_the_classes(tmp_path):
    plant(tmp_path, *grid(("101_ObjectCategories",), ("BACKGROUND_Google", *CLASSES)))
    plant(tmp_path, "Annotations/cat/1.mat")

    assert counts(tmp_path) == each("") | {("BACKGROUND_Google", ""): 1}
    assert "'BACKGROUND_Google' counts as a class like the others" in notes(tmp_path)


def test_an_empty_folder_beside_one_folder_of_folders_is_a_class_that_lacks_its_images(tmp_path):
    plant(tmp_path, *grid(("cat",), ("front", "side"))).joinpath("dog").mkdir()

    with pytest.raises(DataError, match="class folder 'dog' holds no image"):
        read_source(tmp_path, Data())


def test_a_second_copy_inside_is_passed_over(tmp_path):
    once = grid(("train", "val", "test"), CLASSES)
    plant(tmp_path / "chest_xray", *once, *(f"chest_xray/{name}" for name in once))
    plant(tmp_path / "chest_xray", *(f"__MACOSX/{name}" for name in once))

    assert counts(tmp_path) == each("train", "val", "test")
    assert "'chest_xray' holds 6 of these files once more and was passed over" in notes(tmp_path)


def test_files_of_the_same_names_but_other_content_are_no_copy(tmp_path):
    plant(tmp_path, *(f"{name}/1.jpg" for name in CLASSES))
    for name in CLASSES:
        (tmp_path / "more" / name).mkdir(parents=True)
        (tmp_path / "more" / name / "1.jpg").write_bytes(b"another")

    with pytest.raises(DataError, match="'more' holds folders named like those beside it"):
        read_source(tmp_path, Data())


def test_masks_beside_images_are_no_samples(tmp_path):
    plant(tmp_path / "one", *grid(CLASSES, ("images", "masks")))
    plant(tmp_path / "two", *grid(("images", "masks"), CLASSES))

    for folder in ("one", "two"):
        assert counts(tmp_path / folder) == each("")
        assert "2 images in folders named masks" in notes(tmp_path / folder)


def test_folders_of_images_that_are_classes_stay_classes(tmp_path):
    plant(tmp_path, "photos/1.jpg", "drawings/2.jpg")

    assert counts(tmp_path) == {("drawings", ""): 1, ("photos", ""): 1}
    assert notes(tmp_path) == ""


def test_loose_images_are_passed_over_with_a_note(tmp_path):
    plant(tmp_path, *grid(("set",), CLASSES), "cover.jpg")

    assert counts(tmp_path) == each("")
    assert "1 images lie outside the class folders" in notes(tmp_path)
