"""What is wrong with the data is found, named and left out; nothing of the user's is changed."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from resnetlab.data.audit.findings import describe, describe_near
from resnetlab.data.audit.near_duplicates import PAIR
from resnetlab.data.audit.quarantine import audit, first_problems, left_out
from resnetlab.data.catalog import objects
from resnetlab.data.sources.folder import class_folders
from resnetlab.data.sources.listing import list_folder
from resnetlab.data.store.pixels import read_images
from resnetlab.errors import DataError, RecipeError
from resnetlab.recipe import Data


def audited(folder: Path, conflicts: str = "drop", max_problem_frac: float = 1.0):
    catalog, _ = read_images(class_folders(list_folder(folder)), 8, 10**6, 2)
    return audit(catalog, Data(conflicts=conflicts, max_problem_frac=max_problem_frac))


def described(folder: Path) -> dict[str, Any]:
    catalog, store = read_images(class_folders(list_folder(folder)), 8, 10**6, 2)
    catalog = audit(catalog, Data(max_problem_frac=1.0))
    return describe(catalog, store, np.empty(0, dtype=PAIR), "images")


def problems(catalog) -> dict[str, str]:
    pairs = zip(catalog.ids, catalog.problem, strict=True)
    return {name: problem for name, problem in pairs if problem}


def groups(catalog) -> set[frozenset[str]]:
    return {
        frozenset(catalog.ids[catalog.group == group].tolist())
        for group in set(catalog.group)
        if (catalog.group == group).sum() > 1
    }


def fingerprint(folder: Path) -> dict[str, tuple[str, int]]:
    return {
        str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in folder.rglob("*")
        if path.is_file()
    }


# Copies


def test_copies_are_kept_and_share_a_group(write_images):
    names = {"a/1.png": 1, "a/2.png": 2, "a/copy.png": 1, "b/3.png": 3, "b/4.png": 3}
    folder = write_images(names)
    catalog = audited(folder)

    assert groups(catalog) == {
        frozenset({"a/1.png", "a/copy.png"}),
        frozenset({"b/3.png", "b/4.png"}),
    }
    assert catalog.sound.all()
    assert described(folder)["duplicates"] == 2


def test_damaged_files_are_no_copies_of_each_other(write_images):
    folder = write_images({"a/1.png": 1, "a/2.png": 2, "b/3.png": 3, "b/4.png": 4})
    for name in ("a/1.png", "b/3.png"):
        (folder / name).write_bytes(b"")
    catalog = audited(folder)

    assert groups(catalog) == set()
    assert problems(catalog) == {"a/1.png": "empty", "b/3.png": "empty"}


# One image, two labels


TWO_LABELS = {"a/1.png": 1, "a/2.png": 2, "b/same as 1.png": 1, "b/3.png": 3}


def test_an_image_under_two_labels_is_left_out_with_both_names(write_images):
    folder = write_images(TWO_LABELS)
    catalog = audited(folder)

    assert problems(catalog) == {
        "a/1.png": "same image labelled a and b",
        "b/same as 1.png": "same image labelled a and b",
    }
    assert described(folder)["conflicts"] == 2


def test_an_image_under_two_labels_is_fatal_where_the_recipe_says_so(write_images):
    with pytest.raises(DataError) as caught:
        audited(write_images(TWO_LABELS), conflicts="error")

    assert str(caught.value) == (
        "the same image is labelled a and b: a/1.png, b/same as 1.png; mend the labels, "
        "or leave such images out with --set data.conflicts=drop"
    )


# Leaks between given splits


def test_a_copy_of_a_test_image_leaves_the_training_split(write_images):
    train = {"train/a/1.png": 1, "train/a/2.png": 2, "train/b/3.png": 3, "train/b/4.png": 4}
    val = {"val/a/1.png": 1, "val/a/5.png": 5, "val/b/4.png": 4}
    test = {"test/a/1.png": 1, "test/b/6.png": 6}
    catalog = audited(write_images(train | val | test))

    assert problems(catalog) == {
        "train/a/1.png": "copy of an image in the test split",
        "val/a/1.png": "copy of an image in the test split",
        "train/b/4.png": "copy of an image in the val split",
    }
    seen = {split: set(catalog.sha256[catalog.rows(split)]) for split in ("train", "val", "test")}
    assert not seen["train"] & seen["val"]
    assert not seen["train"] & seen["test"]
    assert not seen["val"] & seen["test"]


def test_the_split_that_is_measured_on_loses_nothing(write_images):
    names = {"train/a/1.png": 1, "train/a/2.png": 2, "train/b/3.png": 3}
    catalog = audited(
        write_images(names | {"test/a/1.png": 1, "test/a/also 1.png": 1, "test/b/4.png": 4})
    )

    assert len(catalog.rows("test")) == 3
    assert list(problems(catalog)) == ["train/a/1.png"]


def test_a_conflict_between_splits_is_a_conflict_not_a_leak(write_images):
    names = {"train/a/1.png": 1, "train/a/2.png": 2, "train/b/3.png": 3}
    catalog = audited(write_images(names | {"test/a/4.png": 4, "test/b/1.png": 1}))

    assert set(problems(catalog)) == {"train/a/1.png", "test/b/1.png"}
    assert set(problems(catalog).values()) == {"same image labelled a and b"}


def test_leaks_are_fatal_where_the_recipe_says_so(write_images):
    names = {"train/a/1.png": 1, "train/a/2.png": 2, "train/b/3.png": 3}
    folder = write_images(names | {"test/a/1.png": 1, "test/b/4.png": 4})
    catalog, _ = read_images(class_folders(list_folder(folder)), 8, 10**6, 2)

    with pytest.raises(DataError) as caught:
        audit(catalog, Data(leaks="error"))
    assert str(caught.value) == (
        "1 images outside the test split have a copy in it, the first two are test/a/1.png and "
        "train/a/1.png; take them apart, or leave them out of training with --set data.leaks=drop"
    )


# Near-duplicates and groups


def test_near_duplicates_share_a_group_with_whatever_hangs_together(make_catalog):
    catalog = make_catalog([(0, number, "") for number in (0, 1, 2, 2, 4, 5)] + [(1, 6, "")])
    audited = audit(catalog, Data(), np.array([[0, 2], [1, 5]]))

    assert audited.group.tolist() == [0, 1, 0, 0, 4, 1, 6]
    assert audited.sound.all()


def test_near_duplicates_of_test_images_leave_the_training_split(make_catalog):
    splits = ["train", "train", "val", "test", "train"]
    catalog = make_catalog(
        [(0, row, split) for row, split in enumerate(splits)] + [(1, 9, "train")]
    )
    audited = audit(catalog, Data(), np.array([[0, 3], [1, 2], [2, 3], [0, 4]]))

    assert audited.problem.tolist() == [
        "near-duplicate of an image in the test split",
        "",  # its twin in the validation split has gone
        "near-duplicate of an image in the test split",
        "",
        "",
        "",
    ]
    assert len(set(audited.group)) == 6, "nobody is left to share a group with"


def test_near_duplicates_under_two_labels_are_kept_and_told(make_catalog):
    catalog = make_catalog([(0, 1, ""), (0, 2, ""), (1, 3, ""), (1, 4, "")])
    near = np.array([(0, 2, 0.9, False), (2, 3, 0.9, True)], dtype=PAIR)
    audited = audit(catalog, Data(), np.array([[0, 2], [2, 3]]))

    assert audited.sound.all()
    assert describe_near(audited, near)["across_labels"] == 1
    assert describe_near(audited, near)["images"] == 3


def test_what_a_pattern_finds_in_the_path_names_the_group(write_images):
    names = [
        f"{label}/p{patient}-{view}.png" for label in "ab" for patient in (1, 2) for view in "xy"
    ]
    folder = write_images({name: number for number, name in enumerate(names)})
    catalog, _ = read_images(class_folders(list_folder(folder)), 8, 10**6, 2)

    assert groups(audit(catalog, Data(group_pattern=r"/(p\d+)-"))) == {
        frozenset(name for name in names if f"/p{patient}-" in name) for patient in (1, 2)
    }
    assert groups(audit(catalog, Data(group_pattern="-x"))) == {
        frozenset(name for name in names if "-x" in name)
    }
    with pytest.raises(DataError, match=r"'q.' is found in no path, such as a/p1-x\.png"):
        audit(catalog, Data(group_pattern=r"q."))
    with pytest.raises(RecipeError, match=r"data.group_pattern: '\(' is no pattern"):
        audit(catalog, Data(group_pattern="("))


def test_groups_that_contradict_the_given_splits_are_refused(make_catalog):
    catalog = make_catalog([(0, 0, "train"), (1, 1, "train"), (0, 2, "test"), (1, 3, "test")])
    catalog = catalog.with_columns(group=np.array([0, 1, 0, 3]))

    with pytest.raises(DataError) as caught:
        audit(catalog, Data())
    assert str(caught.value) == (
        "00000.png (train) and 00002.png (test) are of one group but not in one split; "
        "mend the groups or the splits"
    )


def test_images_below_the_least_size_are_left_out(write_images):
    folder = write_images({f"{row % 2}/{row}.png": row for row in range(6)})
    Image.new("RGB", (40, 7), "red").save(folder / "0" / "low.png")
    catalog, _ = read_images(class_folders(list_folder(folder)), 8, 10**6, 2)

    assert problems(audit(catalog, Data(min_size=8, max_problem_frac=0.5))) == {
        "0/low.png": "smaller than 8 px"
    }
    assert problems(audit(catalog, Data())) == {}


# Too much


def spoilt(write_images, count: int, of: int = 100) -> Path:
    folder = write_images({f"{row % 2}/{row:03}.png": row for row in range(of)})
    for row in range(0, 2 * count, 2):
        (folder / f"0/{row:03}.png").write_bytes(b"no image %d" % row)
    return folder


def test_as_many_problems_as_allowed_are_passed(write_images):
    folder = spoilt(write_images, count=7)

    assert (~audited(folder, max_problem_frac=0.07).sound).sum() == 7


def test_more_problems_than_allowed_stop_with_the_first_five(write_images):
    with pytest.raises(DataError) as caught:
        audited(spoilt(write_images, count=7), max_problem_frac=0.06)

    listed = ", ".join(f"0/{row:03}.png (not an image)" for row in range(0, 10, 2))
    assert str(caught.value) == (
        "7 of 100 images can't be used, more than the 6.0% allowed: "
        f"{listed}, and 2 more; mend them, or allow more with --set data.max_problem_frac=0.1"
    )


def test_a_class_left_without_images_is_named(write_images):
    folder = write_images({"a/1.png": 1, "b/2.png": 2})
    (folder / "b/2.png").write_bytes(b"")

    with pytest.raises(DataError, match=r"class 'b' has no usable image left: b/2\.png \(empty\)"):
        audited(folder)


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (0, ""),
        (2, "00000.png (empty), 00001.png (empty)"),
        (7, ", ".join(f"0000{i}.png (empty)" for i in range(5)) + ", and 2 more"),
    ],
)
def test_first_problems_lists_five_and_counts_the_rest(make_catalog, bad, text):
    catalog = make_catalog([(row % 2, row, "") for row in range(8)])
    catalog = catalog.with_columns(problem=objects(["empty"] * bad + [""] * (8 - bad)))

    assert first_problems(catalog) == text


# What it says, what it leaves alone


def test_what_is_left_out_is_said_in_one_sentence_the_commonest_reasons_first(make_catalog):
    catalog = make_catalog([(0, row, "") for row in range(9)])
    reasons = ["", "", "a", "b", "b", "c", "c", "c", "d"]
    assert left_out(catalog) == []
    assert left_out(catalog.with_columns(problem=objects(reasons))) == [
        "7 of 9 images can't be used: c (3); b (2); a (1); other reasons (1)"
    ]


def test_the_description_is_json_and_adds_up(write_images):
    folder = write_images({f"{row % 3}/{row:02}.png": row for row in range(20)})
    (folder / "0/copy.png").write_bytes((folder / "0/00.png").read_bytes())
    (folder / "1/bad.png").write_bytes(b"")
    facts = described(folder)

    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert facts["images"] == 22
    assert facts["used"] == 21
    assert facts["problems"] == [{"id": "1/bad.png", "problem": "empty"}]
    assert facts["counts"] == {"all": [8, 7, 6]}
    assert facts["sizes"] == {"width": [8, 8, 8], "height": [8, 8, 8]}


def test_the_description_counts_by_split_where_there_are_splits(write_images):
    names = {"train/a/1.png": 1, "train/a/2.png": 2, "train/b/3.png": 3}
    folder = write_images(names | {"test/a/4.png": 4, "test/b/5.png": 5})

    assert described(folder)["counts"] == {"train": [2, 1], "val": [0, 0], "test": [1, 1]}


def test_neither_the_folder_nor_the_catalog_that_came_in_is_changed(write_images):
    folder = write_images(TWO_LABELS | {"a/4.png": 2})
    before = fingerprint(folder)
    catalog, _ = read_images(class_folders(list_folder(folder)), 8, 10**6, 2)
    columns = catalog.problem.copy(), catalog.group.copy()
    audit(catalog, Data(max_problem_frac=1.0))

    assert fingerprint(folder) == before
    assert (catalog.problem.tolist(), catalog.group.tolist()) == tuple(c.tolist() for c in columns)
