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


def test_a_class_whose_files_lie_loose_beside_it_again_is_no_copy(tmp_path):
    plant(tmp_path, *(f"{name}/{name}.jpg" for name in ("cat", "dog", "owl")), "cat.jpg")

    assert counts(tmp_path) == {(name, ""): 1 for name in ("cat", "dog", "owl")}
    assert "1 images lie outside the class folders" in notes(tmp_path)


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


def test_masks_are_told_by_the_names_of_the_images_where_more_lies_beside_them(tmp_path):
    plant(tmp_path, *(f"cat/images/{n}.jpg" for n in range(3)), "dog/images/1.jpg")
    plant(tmp_path, *(f"cat/lung_masks/{n}_mask.png" for n in range(3)), "cat/more/x.jpg")

    assert counts(tmp_path) == {("cat", ""): 4, ("dog", ""): 1}
    assert "3 images in folders named lung_masks" in notes(tmp_path)


def test_words_for_images_and_masks_in_the_files_names_tell_nothing(tmp_path):
    plant(
        tmp_path,
        *(f"{name}/images/img_{n}.jpg" for name in CLASSES for n in range(3)),
        *(f"{name}/lung_masks/mask_{n}.png" for name in CLASSES for n in range(3)),
    )

    assert counts(tmp_path) == {(name, ""): 3 for name in CLASSES}
    assert "6 images in folders named lung_masks" in notes(tmp_path)


@pytest.mark.parametrize("folders", [("images", "masks", "overlays"), ("images", "label", "depth")])
@pytest.mark.parametrize("said", [{"class_level": "first"}, {"classes": CLASSES}])
def test_within_a_class_that_the_user_says_to_be_one_what_is_called_like_the_images_is_about_them(
    tmp_path, folders, said
):
    plant(tmp_path, *(f"{name}/{folder}/1.jpg" for name in CLASSES for folder in folders))
    plant(tmp_path, f"{CLASSES[0]}/more/x.jpg")
    with pytest.raises(DataError, match="may be a class, or masks"):
        read_source(tmp_path, Data())

    assert counts(tmp_path, **said) == {(CLASSES[0], ""): 2, (CLASSES[1], ""): 1}
    about = ", ".join(sorted(folders[1:]))
    assert f"4 images in folders named {about}" in notes(tmp_path, **said)


@pytest.mark.parametrize("above", ["", "archive/", "train/"])
def test_the_first_folders_themselves_are_asked_about_all_the_same(tmp_path, above):
    plant(tmp_path, *(f"{above}{name}/1.jpg" for name in ("picture", "label", "table")))

    with pytest.raises(DataError, match="label' may be a class, or masks"):
        read_source(tmp_path, Data(class_level="first"))


@pytest.mark.parametrize(
    "classes", [("picture", "label", "table", "text"), ("images", "models", "sketches")]
)
def test_classes_beside_one_called_images_or_the_like_stay_classes(tmp_path, classes):
    plant(tmp_path, *grid(classes))

    assert counts(tmp_path) == {(name, ""): 1 for name in classes}


@pytest.mark.parametrize(
    ("folders", "unsure"),
    [(("picture", "label", "table"), "label"), (("images", "with_mask", "without_mask"), "with_mask")],
)  # fmt: skip
def test_what_may_be_a_class_or_masks_is_refused_until_the_classes_are_named(
    tmp_path, folders, unsure
):
    plant(
        tmp_path,
        *(f"{name}/{n}{name if 'with' in name else ''}.jpg" for name in folders for n in range(3)),
    )
    (tmp_path / folders[0] / "x.jpg").touch()
    with pytest.raises(
        DataError, match=f"'{unsure}' may be a class, or masks or the like .* name all"
    ):
        read_source(tmp_path, Data())

    assert set(read_source(tmp_path, Data(classes=folders)).classes) == set(folders)


def test_folders_of_images_that_are_classes_stay_classes(tmp_path):
    plant(tmp_path, "photos/1.jpg", "drawings/2.jpg")

    assert counts(tmp_path) == {("drawings", ""): 1, ("photos", ""): 1}
    assert notes(tmp_path) == ""


def test_loose_images_are_passed_over_with_a_note(tmp_path):
    plant(tmp_path, *grid(("set",), CLASSES), "cover.jpg")

    assert counts(tmp_path) == each("")
    assert "1 images lie outside the class folders" in notes(tmp_path)
