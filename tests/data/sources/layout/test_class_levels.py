"""Of several folders above an image one is the class; which was taken, and what else could be, is said."""

from collections import Counter

import pytest

from resnetlab.data.sources.source import read_source
from resnetlab.errors import DataError
from resnetlab.recipe import Data
from tests.data.sources.layout.test_splits import counts, grid, notes, plant

BREEDS = [*grid(("cats",), ("persian", "siamese")), *grid(("dogs",), ("pug",))]


@pytest.mark.parametrize(
    ("level", "classes"),
    [
        (None, {"cats": 2, "dogs": 1}),
        ("first", {"cats": 2, "dogs": 1}),
        ("last", {"persian": 1, "siamese": 1, "pug": 1}),
        ("joined", {"cats/persian": 1, "cats/siamese": 1, "dogs/pug": 1}),
    ],
)
def test_the_level_of_the_class_can_be_chosen(tmp_path, level, classes):
    plant(tmp_path, *BREEDS)

    assert counts(tmp_path, class_level=level) == {(k, ""): n for k, n in classes.items()}


@pytest.mark.parametrize(
    "classes", [("cats", "dogs"), ("pug", "persian", "siamese"), ("cats/persian", "cats/siamese", "dogs/pug")]
)  # fmt: skip
def test_the_level_whose_folders_are_all_named_as_classes_is_theirs(tmp_path, classes):
    plant(tmp_path, *BREEDS)

    assert {name for name, _ in counts(tmp_path, classes=classes)} == set(classes)


def test_what_was_taken_and_what_else_is_possible_is_said(tmp_path):
    plant(tmp_path, *BREEDS)

    assert notes(tmp_path) == (
        "folders lie within class folders ('cats' holds persian, siamese): the first level is taken, 2 "
        "classes; also possible: --set data.class_level=last (3 classes, such as 'persian') or --set "
        "data.class_level=joined (3 classes, such as 'cats/persian')"
    )
    assert notes(tmp_path, class_level="last") == ""


@pytest.mark.parametrize("middle", [(), ("images",)])
def test_folders_that_repeat_under_every_first_one_are_the_classes(tmp_path, middle):
    levels = (("photo", "sketch", "art"), *([middle] if middle else []), ("cat", "dog"))
    plant(tmp_path, *grid(*levels))

    assert counts(tmp_path) == {("cat", ""): 3, ("dog", ""): 3}
    assert "repeat under each of art, photo, sketch" in notes(tmp_path)
    assert "a domain: every split mixes them" in notes(tmp_path)


def test_a_domain_may_lack_one_of_many_classes_and_may_lie_in_splits(tmp_path):
    animals = ("ant", "bee", "cat", "dog")
    plant(tmp_path / "one", *grid(("photo", "sketch"), animals), *grid(("art",), animals[1:]))
    assert counts(tmp_path / "one")["ant", ""] == 2

    plant(tmp_path / "two", *grid(("train", "test"), ("photo", "sketch"), animals))
    assert counts(tmp_path / "two")["ant", "test"] == 2

    plant(tmp_path / "three", *grid(("photo", "sketch"), ("train", "test"), animals))
    assert counts(tmp_path / "three")["ant", "test"] == 2


def test_many_numbered_first_folders_are_groups(tmp_path):
    plant(tmp_path, *grid(tuple(f"subject{n:02}" for n in range(12)), ("run", "walk")))
    catalog = read_source(tmp_path, Data())

    assert catalog.classes == ("run", "walk")
    assert sorted(Counter(catalog.group.tolist()).values()) == [2] * 12
    assert "a group: all images of one stay in one split" in catalog.notes[0]


@pytest.mark.parametrize(
    "views", [("front", "side"), ("session1", "session2"), ("40X", "100X"), ("1", "2")]
)
def test_views_and_numbered_parts_of_a_class_are_no_classes(tmp_path, views):
    plant(tmp_path, *grid(("cat", "dog"), views))

    assert counts(tmp_path) == {("cat", ""): 2, ("dog", ""): 2}
    assert "the first level is taken" in notes(tmp_path)


def test_ten_digits_are(tmp_path):
    plant(tmp_path, *grid(("mnist", "svhn"), tuple("0123456789")))

    assert len(read_source(tmp_path, Data()).classes) == 10


def test_a_set_among_the_classes_is_refused_until_the_level_is_named(tmp_path):
    plant(tmp_path, *grid(("cat", "dog")), *grid(("more",), ("cat", "dog")))
    with pytest.raises(
        DataError, match=r"'more' holds folders named like those beside it \(cat, dog\)"
    ):
        read_source(tmp_path, Data())

    assert counts(tmp_path, class_level="last") == {("cat", ""): 2, ("dog", ""): 2}


def test_an_uneven_depth_is_said(tmp_path):
    plant(tmp_path, *grid(("cat", "dog")), *grid(("bird",), ("owl", "crow")))

    assert counts(tmp_path) == {("bird", ""): 2, ("cat", ""): 1, ("dog", ""): 1}
    assert "('bird' holds crow, owl)" in notes(tmp_path)


def test_innermost_folders_of_one_name_are_one_class_which_is_said(tmp_path):
    plant(tmp_path, *grid(("cats",), ("black", "white")), *grid(("dogs",), ("black",)))

    assert counts(tmp_path, class_level="last") == {("black", ""): 2, ("white", ""): 1}
    assert notes(tmp_path, class_level="last").startswith("black lie in several folders")
