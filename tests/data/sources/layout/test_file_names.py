"""Labels that stand in file names are seen, offered, and taken where the user says so."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnetlab.data.dataset import list_data
from resnetlab.data.sources.layout.file_names import label_in_name, usual_pattern
from resnetlab.data.sources.source import read_source
from resnetlab.errors import DataError, RecipeError
from resnetlab.recipe import Data, Recipe
from tests.data.sources.layout.test_splits import counts, notes, plant

SEVERAL = [f"train/{name}.{number}.jpg" for name in ("cat", "dog") for number in range(3)]


@pytest.mark.parametrize(
    "form",
    ["{label}_{n}.jpg", "{label}.{n}.jpg", "{label}-{n}.JPG", "{label} ({n}).jpeg", "{label}{n}.png",
     "{n}_{label}.jpg", "{label}-x{n}y.jpg", "a{n}b-{label}.jpg", "{label}_{n:04}.jpg"],
)  # fmt: skip
def test_the_usual_forms_are_found(form):
    paths = [form.format(label=label, n=n) for label in ("cat", "dog") for n in range(20, 26)]
    pattern = usual_pattern(paths)

    assert pattern is not None
    assert {label_in_name(pattern, path) for path in paths} == {"cat", "dog"}


@given(
    st.sets(st.from_regex(r"[a-z]{2,8}(_[a-z]{2,8})?", fullmatch=True), min_size=2, max_size=9),
    st.integers(2, 9),
)
def test_every_image_gets_the_label_that_its_name_begins_with(labels, count):
    paths = {f"deep/{label}_{n}.jpg": label for label in labels for n in range(count)}
    pattern = usual_pattern(list(paths))

    assert pattern is not None
    assert {path: label_in_name(pattern, path) for path in paths} == paths


@pytest.mark.parametrize(
    "paths",
    [[f"IMG_{n}.jpg" for n in range(9)], [f"{n}.jpg" for n in range(9)], ["a.jpg", "b.jpg"],
     [f"{n:032x}.jpg" for n in range(99)], []],
)  # fmt: skip
def test_names_without_labels_are_given_none(paths):
    assert usual_pattern(paths) is None


def test_the_beginners_set_is_read_with_one_flag(tmp_path):
    plant(tmp_path, *SEVERAL, "test1/1.jpg", "test1/2.jpg", "sampleSubmission.csv")

    assert counts(tmp_path, label_pattern="auto") == {("cat", "train"): 3, ("dog", "train"): 3}
    assert "labels were taken from the file names by" in notes(tmp_path, label_pattern="auto")
    assert "cat 3, dog 3" in notes(tmp_path, label_pattern="auto")
    assert "2 images of 'test1' have no label" in notes(tmp_path, label_pattern="auto")


def test_the_pattern_that_was_found_is_in_the_recipe(tmp_path):
    recipe = Recipe().override({"data.label_pattern": "auto", "data.image_size": 32})
    _, settled = list_data(plant(tmp_path, *SEVERAL), recipe)

    assert settled.data.label_pattern == usual_pattern(SEVERAL)
    again, _ = list_data(tmp_path, settled)
    assert again.classes == ("cat", "dog")


@pytest.mark.parametrize(
    ("pattern", "classes"),
    [("^([a-z]+)", ("cat", "dog")), (r"\d", ("0", "1", "2")), (r"/([cd])[^/]*$", ("c", "d"))],
)
def test_a_pattern_finds_the_label_in_the_name_or_with_a_slash_in_the_path(
    tmp_path, pattern, classes
):
    plant(tmp_path, *SEVERAL)

    assert read_source(tmp_path, Data(label_pattern=pattern)).classes == classes


def test_names_that_hold_no_label_stop_it_or_are_dropped(tmp_path):
    plant(tmp_path, *SEVERAL, "train/7.jpg")
    with pytest.raises(DataError, match=r"1 file names hold no label .* the first is train/7.jpg"):
        read_source(tmp_path, Data(label_pattern="^([a-z]+)"))

    found = read_source(tmp_path, Data(label_pattern="^([a-z]+)", unmatched="drop"))
    assert len(found) == 6
    assert "1 file names hold no label and were left out, the first is train/7.jpg" in found.notes


def test_a_pattern_that_is_none_or_finds_too_little_is_refused(tmp_path):
    plant(tmp_path, *SEVERAL)
    for pattern, error, message in (
        ("(", RecipeError, r"data.label_pattern: '\(' is no pattern"),
        ("cat|dog(?=x)", DataError, "3 file names hold no label"),
        (r"\.(jpg)", DataError, "finds only 'jpg', two labels at least are needed"),
    ):
        with pytest.raises(error, match=message):
            read_source(tmp_path, Data(label_pattern=pattern))
    with pytest.raises(DataError, match="no usual form of names, such as 'label_12"):
        read_source(plant(tmp_path / "x", "IMG_1.jpg", "IMG_2.jpg"), Data(label_pattern="auto"))


def test_splits_below_the_first_folders_are_refused_not_mixed(tmp_path):
    plant(
        tmp_path, *(f"Dataset/{name}" for name in SEVERAL), "Dataset/test/cat.9.jpg", "demo/1.jpg"
    )

    with pytest.raises(
        DataError, match=r"'Dataset' holds splits of its own .* or rename them if they are none"
    ):
        read_source(tmp_path, Data(label_pattern="auto"))


def test_splits_within_every_first_folder_are_read(tmp_path):
    names = [
        f"set/person{n}/train/{name}_{i}.jpg"
        for n in range(3)
        for name in ("cat", "dog")
        for i in (1, 2)
    ]
    tests = [name.replace("train", "test") for name in names if "person0" in name]
    plant(tmp_path, *names, *tests, "set/person1/test/1.jpg", "set/person2/test/1.jpg")
    said = notes(tmp_path, label_pattern="auto")

    assert counts(tmp_path, label_pattern="auto") == {
        (name, split): n for name in ("cat", "dog") for split, n in (("train", 6), ("test", 2))
    }
    assert "'test', 'train' lie within each of 3 folders" in said
    assert "1 images of 'person1/test' have no label" in said
    assert f"predict RUN {tmp_path}/set/person1/test" in said


def test_a_further_source_may_hold_one_label(tmp_path):
    plant(tmp_path / "first", *SEVERAL)
    more = plant(tmp_path / "more", "elk.1.jpg", "elk.2.jpg")
    catalog = read_source(tmp_path / "first", Data(label_pattern="^([a-z]+)", more=(str(more),)))

    assert catalog.classes == ("cat", "dog", "elk")


def test_images_in_one_folder_whose_names_carry_labels_are_offered_the_flag(tmp_path):
    plant(tmp_path, *(name.removeprefix("train/") for name in SEVERAL))

    with pytest.raises(DataError, match=r"\(cat 3, dog 3\): take them by --label-from-name"):
        read_source(tmp_path, Data())
