"""Whatever the folders are called, each image is a sample, is counted in a note, or the set is refused.

Where they are class folders, each is a class.
"""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resnetlab.data.catalog import Catalog
from resnetlab.data.sources.listing import Listing, list_names
from resnetlab.data.sources.source import read_listing
from resnetlab.errors import DataError
from resnetlab.recipe import Data

NAMES = st.sampled_from(
    ["train", "Train_Set", "val", "test", "test1", "unlabeled", "fold1", "fold2", "images", "masks", "cat", "dog",
     "photo", "sketch", "seg_train", "seg_test", "train_cat", "x", "1", "Ünï", "__MACOSX", "eval"]
)  # fmt: skip
FILES = st.sampled_from(
    ["cat.1.jpg", "cat.2.jpg", "dog.1.jpg", "dog.2.jpg", "7.png", "a.txt", ".x.jpg"]
)
TREES = st.sets(
    st.builds(lambda folders, file: "/".join((*folders, file)), st.lists(NAMES, max_size=4), FILES),
    min_size=1,
    max_size=30,
)


def listing_of(names: set[str]) -> Listing:
    return list_names(
        Path("/data"), Path("/data"), "", names, lambda name: name.rpartition("/")[2].encode()
    )


def noted(catalog: Catalog) -> int:
    """Return how many images the notes count as left out."""
    images = re.compile(
        r"^(\d+) (?:images|file names hold no label)|holds (\d+) of these files once more"
    )
    found = (images.search(note) for note in catalog.notes)
    return sum(int(match[1] or match[2]) for match in found if match)


@settings(max_examples=400)
@given(
    TREES,
    st.sampled_from([None, "first", "last", "joined"]),
    st.sampled_from([None, "auto", "^([a-z]+)"]),
)
def test_each_image_is_a_sample_or_counted(names, level, pattern):
    listing = listing_of(names)
    try:
        catalog = read_listing(listing, Data(class_level=level, label_pattern=pattern))
    except DataError as error:
        assert str(error).startswith("/data"), "the error names the place"
        return
    assert len(catalog) + noted(catalog) == len(listing.images())
    assert set(catalog.paths) <= set(listing.images())
    assert len(catalog.classes) >= 2
    assert set(catalog.split) <= {"", "train", "val", "test"}


@settings(max_examples=200)
@given(TREES)
def test_no_folder_of_a_splits_name_is_a_class_without_a_word(names):
    try:
        catalog = read_listing(listing_of(names), Data())
    except DataError:
        return
    notes = "\n".join(catalog.notes)
    for name in set(catalog.classes) & {
        "train",
        "val",
        "test",
        "test1",
        "unlabeled",
        "eval",
        "Train_Set",
    }:
        assert f"'{name}'" in notes


# Names of classes that only numbers, signs or case tell apart, or that speak of masks, models and file kinds.
CLASSES = st.sampled_from(
    ["type1", "type2", "normal", "with_mask", "without_mask", "C", "C++", "C#", "c", "Java", "label", "mask", "model x",
     "text.2", "text.3", "car_models", "Ünï-1", "Ünï-2", "10x", "20x"]
)  # fmt: skip
# Class folders by themselves, in one around them, in splits, around these, in folds, or with a split in each name.
FORMS = [
    ["{}"], ["archive/{}"], ["train/{}", "test/{}"], ["set/Training/{}", "set/valid/{}"], ["{}/train", "{}/test"],
    ["fold1/{}", "fold2/{}"], ["train_{}", "test_{}"], ["{} (train)", "{} (test)"], ["{}/images", "{}/masks"],
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form[0])
@settings(max_examples=60)
@given(st.sets(CLASSES, min_size=2, max_size=6), st.booleans(), st.booleans())
def test_each_folder_is_a_class_by_the_name_it_has(form, classes, numbered, loose):
    """No two are merged and none is left out, also where all are numbered alike, or one lies loose again."""
    labels = {
        f"{place.format(name)}/{'' if numbered else name}1.jpg": name
        for place in form
        for name in classes
    }
    again = {f"{'' if numbered else min(classes)}1.jpg"} if loose else set()
    catalog = read_listing(listing_of({*labels, *again}), Data())

    assert set(catalog.classes) == classes
    for path, label in zip(catalog.paths, catalog.labels, strict=True):
        assert catalog.classes[label] == labels[path]
