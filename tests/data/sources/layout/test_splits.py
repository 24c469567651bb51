"""Folders named like splits are splits, never classes without a word; what has no label is left aside."""

import itertools
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnetlab.data.sources.layout.names import (
    SPLIT_NAMES,
    ends_beside,
    is_beside,
    parse,
    split_kinds,
)
from resnetlab.data.sources.source import read_source
from resnetlab.errors import DataError
from resnetlab.recipe import Data

CLASSES = ("cat", "dog")


def plant(root: Path, *names: str) -> Path:
    """Make empty files: the listing opens none of them."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def grid(*levels: tuple[str, ...]) -> list[str]:
    """Return the name of an image in each folder of folders; no two images have one name."""
    folders = ["/".join(parts) for parts in itertools.product(*levels)]
    return [f"{folder}/{folder.replace('/', '-')}.jpg" for folder in folders]


def counts(root: Path, **settings: object) -> dict[tuple[str, str], int]:
    """Return how many images there are by (class, split)."""
    catalog = read_source(root, Data(**settings))
    names = (catalog.classes[label] for label in catalog.labels)
    return dict(Counter(zip(names, catalog.split, strict=True)))


def notes(root: Path, **settings: object) -> str:
    return "\n".join(read_source(root, Data(**settings)).notes)


def each(*splits: str) -> dict[tuple[str, str], int]:
    return {(name, split): 1 for name in CLASSES for split in splits}


# Names


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        (("Train", "Test", "Validation"), ("train", "test", "val")),
        (("TRAINING", "dev", "Testing"), ("train", "val", "test")),
        (("TRAIN_IMAGES", "VALID_IMAGES"), ("train", "val")),
        (("train_set", "dev-set", "testset"), ("train", "val", "test")),
        (("trainData", "testData"), ("train", "test")),
        (("train2017", "val2017"), ("train", "val")),
        (("seg_train", "seg_test"), ("train", "test")),
        (("birds-train", "birds-valid"), ("train", "val")),
        (("train", "eval"), ("train", "val")),
        (("train", "dev", "eval"), ("train", "val", "test")),
    ],
)
def test_a_folder_is_a_split_by_the_words_in_its_name(tmp_path, folders, splits):
    plant(tmp_path, *grid(folders, CLASSES))

    assert counts(tmp_path) == each(*splits)


def test_names_that_are_not_the_customary_ones_are_said(tmp_path):
    plant(tmp_path, *grid(("TRAIN_IMAGES", "dev"), CLASSES))

    assert "taken for splits by their names: 'TRAIN_IMAGES' train, 'dev' val" in notes(tmp_path)


@given(st.sampled_from(sorted(SPLIT_NAMES)), st.sampled_from(["", "_images", " SET", "-data", "2"]))
def test_case_and_words_for_files_change_no_split(word, more):
    for name in (word + more, (word + more).upper(), word.title() + more):
        assert split_kinds([name]) == {name: SPLIT_NAMES[word]}


@pytest.mark.parametrize("name", ["test_tube", "cat", "trainer", "latest", "validator", "contest"])
def test_a_name_that_only_holds_such_a_word_is_none(name):
    assert split_kinds([name, "cat", "dog"]) == {}


@given(st.text())
def test_any_name_can_be_read(name):
    parse(name)


@pytest.mark.parametrize(
    ("name", "text"),
    [("train_type1", "type1"), ("C++ (Test)", "C++"), ("Train - C#", "C#"), ("trainCats", "Cats"), ("val_.NET", ".NET"),
     ("birds-train2017", "birds"), ("cats_testset_left", "cats_left"), ("with_mask", "with_mask"), ("Training", "")],
)  # fmt: skip
def test_what_a_name_says_beside_its_split_stays_as_it_is_written(name, text):
    assert parse(name).text == text


def test_a_whole_name_says_more_than_its_last_word():
    for name in ("masks", "Ground_Truth"):
        assert is_beside(name)
        assert ends_beside(name)
    assert ends_beside("with_mask")
    assert not is_beside("with_mask")
    assert not ends_beside("mask_shop")


def test_numbered_folders_of_one_split_are_joined_and_two_words_for_it_are_refused(tmp_path):
    plant(tmp_path / "one", *grid(("train1", "train2", "test"), CLASSES))
    assert counts(tmp_path / "one")["cat", "train"] == 2
    assert "train1, train2 were joined as the train split" in notes(tmp_path / "one")

    plant(tmp_path / "two", *grid(("train", "val", "validation"), CLASSES))
    with pytest.raises(DataError, match="both 'val' and 'validation' are the val split; keep one"):
        counts(tmp_path / "two")


# Where they lie


def test_a_split_folder_within_itself_is_one(tmp_path):
    twice = [n for s in ("training_set", "test_set") for n in grid((s,), (s,), CLASSES)]
    plant(tmp_path / "one", *twice)
    plant(tmp_path / "two", *(f"dataset/{name}" for name in twice))

    assert counts(tmp_path / "one") == each("train", "test")
    assert counts(tmp_path / "two") == each("train", "test")
    assert "the classes were found below 'dataset'" in notes(tmp_path / "two")


def test_what_wraps_the_classes_in_every_split_is_seen_through(tmp_path):
    plant(tmp_path, *grid(("train", "test"), ("faces",), CLASSES))

    assert counts(tmp_path) == each("train", "test")


def test_splits_may_lie_below_images_beside_their_annotations(tmp_path):
    plant(tmp_path, *grid(("images",), ("train", "val"), CLASSES), "labels/train/1.txt")

    assert counts(tmp_path) == each("train", "val")


def test_splits_may_lie_within_each_class(tmp_path):
    plant(tmp_path, *grid(CLASSES, ("train", "test")))

    assert counts(tmp_path) == each("train", "test")
    assert "'test', 'train' lie within each of 2 folders" in notes(tmp_path)


def test_they_are_classes_there_where_the_user_names_them(tmp_path):
    folds = ("fold 1", "fold 2")
    plant(tmp_path, *grid(("bad", "good"), folds))

    assert counts(tmp_path, classes=folds) == {(name, ""): 2 for name in folds}


def test_such_splits_are_counted_by_the_folders_that_hold_them(tmp_path):
    plant(tmp_path, *grid(CLASSES, ("2020", "2021"), ("train", "test")))

    assert "'test', 'train' lie within each of 4 folders" in notes(tmp_path)


def test_a_name_may_be_split_and_class_together(tmp_path):
    plant(tmp_path, *grid(("train_cat", "train_dog", "test_cat", "test_dog")))

    assert counts(tmp_path) == each("train", "test")
    assert "split and class together, as in 'test_cat'" in notes(tmp_path)


@pytest.mark.parametrize("form", ["{split}_{name}", "{name} ({split})", "{split}-{name}"])
def test_classes_named_so_are_told_by_numbers_signs_and_case(tmp_path, form):
    names = ("type1", "type2", "C", "C++", "c")
    plant(
        tmp_path,
        *grid(tuple(form.format(split=s, name=n) for s in ("train", "test") for n in names)),
    )

    assert counts(tmp_path) == {(name, split): 1 for name in names for split in ("train", "test")}


@pytest.mark.parametrize(
    ("folders", "classes"),
    [
        (("Train_Cats", "test_cats", "train_dogs", "Test_Dogs"), {"Cats", "dogs"}),
        (("train_cats_images", "test_cats", "train_dogs", "test_dogs"), {"cats_images", "dogs"}),
        (("cat train", "cat_test", "dog-train", "dog test 2"), {"cat", "dog"}),
        (("train_cats2", "test_cats", "train_dogs", "test_dogs"), {"cats2", "dogs"}),
        (("train_Type1", "test_type1", "train_type2", "test_Type2"), {"Type1", "type2"}),
    ],
)
def test_spellings_that_differ_are_one_class_by_its_training_folders_name(
    tmp_path, folders, classes
):
    plant(tmp_path, *grid(folders))

    assert counts(tmp_path) == {(name, split): 1 for name in classes for split in ("train", "test")}
    assert "with the training folder most like it" in notes(tmp_path)


def test_but_no_two_classes_of_a_split_are_merged_for_that(tmp_path):
    plant(
        tmp_path, *grid(("train_type1", "train_type2", "test_type", "train_x", "test_x", "val_x"))
    )

    with pytest.raises(DataError):
        read_source(tmp_path, Data())


def test_unlabelled_images_named_so_are_left_aside(tmp_path):
    plant(tmp_path, *grid(("train_cat", "train_dog", "test_cat", "test_dog", "unlabeled_cat")))

    assert counts(tmp_path) == each("train", "test")
    assert "1 images of 'unlabeled_cat' have no label" in notes(tmp_path)


def test_splits_and_folds_may_lie_within_the_classes_of_domains(tmp_path):
    plant(tmp_path / "one", *grid(("photo", "sketch"), CLASSES, ("train", "test")))
    assert counts(tmp_path / "one") == dict.fromkeys(each("train", "test"), 2)

    plant(tmp_path / "two", *grid(CLASSES, ("fold1", "fold2")))
    assert sorted(read_source(tmp_path / "two", Data()).fold) == [0, 0, 1, 1]


@pytest.mark.parametrize("level", [None, "first", "last", "joined"])
@pytest.mark.parametrize("parts", [("train", "test"), ("fold1", "fold2")])
def test_splits_of_one_folder_beside_others_are_refused_for_it_alone(tmp_path, parts, level):
    """Read as classes, 'Dataset' and 'demo' would be trained on, test images and all."""
    plant(tmp_path, *grid(("Dataset",), parts, CLASSES), "demo/1.png")
    with pytest.raises(
        DataError, match=f"'Dataset' holds splits of its own .* give {tmp_path}/Dataset"
    ):
        read_source(tmp_path, Data(class_level=level))

    assert len(read_source(tmp_path / "Dataset", Data())) == 4


def test_they_are_no_splits_where_the_user_names_the_folder_as_a_class(tmp_path):
    plant(tmp_path, *grid(("railway",), ("train",)), "bus/1.png")
    with pytest.raises(DataError, match="if 'railway' is a class, name all classes"):
        read_source(tmp_path, Data())

    assert counts(tmp_path, classes=("railway", "bus")) == {("railway", ""): 1, ("bus", ""): 1}


@pytest.mark.parametrize(("level", "above"), [("last", ""), ("joined", "vehicles/")])
def test_nor_where_the_user_says_that_the_innermost_folders_are_the_classes(tmp_path, level, above):
    plant(tmp_path, *grid(("animals",), CLASSES), *grid(("vehicles",), ("train",)))

    assert (f"{above}train", "") in counts(tmp_path, class_level=level)
    assert len(read_source(tmp_path, Data(class_level=level)).classes) == 3


@pytest.mark.parametrize("tops", [("fold_1", "fold_2"), ("train", "test")])
def test_splits_within_folds_or_splits_are_refused_for_one_of_these(tmp_path, tops):
    plant(tmp_path, *grid(tops, ("train", "val"), CLASSES))

    with pytest.raises(DataError, match=r"holds splits of its own \('train', 'val'\)"):
        read_source(tmp_path, Data())
    assert counts(tmp_path / tops[0]) == each("train", "val")


def test_a_labelled_test_folder_beside_class_folders_is_the_test_split(tmp_path):
    plant(tmp_path, *grid(CLASSES), *grid(("test",), CLASSES))

    assert counts(tmp_path) == each("train", "test")
    assert "the folders beside 'test' are taken for the training images" in notes(tmp_path)


def test_folders_named_fold_are_folds_in_natural_order(tmp_path):
    plant(tmp_path, *grid(("fold10", "fold1", "fold2"), CLASSES), *grid(("test",), CLASSES))
    catalog = read_source(tmp_path, Data())

    folds = {name.split("/")[0]: fold for name, fold in zip(catalog.ids, catalog.fold, strict=True)}
    assert folds == {"fold1": 0, "fold2": 1, "fold10": 2, "test": -1}
    assert set(catalog.split[catalog.fold < 0]) == {"test"}
    assert "--set data.folds=3 --set data.fold=0" in "".join(catalog.notes)


# Images without labels


@pytest.mark.parametrize(
    "folder",
    ["test", "test1", "unlabeled", "Unlabelled_Images", "val", "test/unknown", "test/test"],
)
def test_a_flat_folder_beside_train_is_counted_left_aside_and_named_for_predict(tmp_path, folder):
    plant(tmp_path, *grid(("train",), CLASSES), f"{folder}/1.jpg", f"{folder}/2.jpg")
    top = folder.split("/")[0]

    assert counts(tmp_path) == each("train")
    assert notes(tmp_path) == (
        f"2 images of '{top}' have no label and were left aside; name their classes with: "
        f"resnetlab predict RUN {tmp_path / top}"
    )


@pytest.mark.parametrize("folder", ["test", "unlabeled"])
def test_so_is_one_beside_class_folders_unless_the_user_names_it_as_a_class(tmp_path, folder):
    plant(tmp_path, *grid(CLASSES), f"{folder}/1.jpg")

    assert counts(tmp_path) == each("")
    assert f"1 images of '{folder}' have no label" in notes(tmp_path)
    assert counts(tmp_path, classes=(*CLASSES, folder)) == each("") | {(folder, ""): 1}


def test_a_class_may_be_called_train_and_that_is_said(tmp_path):
    plant(tmp_path, *grid(("bus", "train", "tram")))

    assert counts(tmp_path) == {(name, ""): 1 for name in ("bus", "train", "tram")}
    assert "'train' lies beside 'bus', 'tram' and was taken for a class" in notes(tmp_path)


def test_a_class_whose_name_speaks_of_a_split_is_said(tmp_path):
    plant(tmp_path, *grid(("bench", "test_tube")))

    assert counts(tmp_path) == {("bench", ""): 1, ("test_tube", ""): 1}
    assert notes(tmp_path).startswith(
        "'test_tube' counts as a class, though its name speaks of a split"
    )


def test_the_well_known_sets_are_read_right(tmp_path):
    seg = [n for s in ("seg_train", "seg_test") for n in grid((s,), (s,), CLASSES)]
    plant(tmp_path / "seg", *seg, "seg_pred/seg_pred/1.jpg")
    assert counts(tmp_path / "seg") == each("train", "test")
    assert "1 images of 'seg_pred' have no label" in notes(tmp_path / "seg")

    asl = grid(("asl_alphabet_train",), ("asl_alphabet_train",), CLASSES)
    plant(tmp_path / "asl", *asl, "asl_alphabet_test/asl_alphabet_test/cat_test.jpg")
    assert counts(tmp_path / "asl") == each("train")

    tiny = [f"train/{name}/images/{name}_0.JPEG" for name in CLASSES]
    plant(tmp_path / "tiny", *tiny, "train/cat/cat_boxes.txt", "val/images/v.JPEG", "wnids.txt")
    assert counts(tmp_path / "tiny") == each("train")
    assert "1 images of 'val' have no label" in notes(tmp_path / "tiny")


# What can't be meant


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train/cat.0.jpg", "train/cat.1.jpg", "train/dog.0.jpg", "train/dog.1.jpg", "test1/1.jpg"],
         r"'train' names a split, but holds no class folders; the file names seem to carry labels "
         r"\(cat 2, dog 2\): take them by --label-from-name"),
        (["train/cat.0.jpg", "train/cat.1.jpg", "train/dog.0.jpg", "train/dog.1.jpg", "more/1.jpg"],
         "'train' names a split, but holds no class folders"),
        (["train/1.jpg", "test/2.jpg"],
         "'train' names a split, but holds no class folders; put the images into a folder for each class"),
        (["fold1/1.jpg", "fold2/2.jpg"], "'fold1' names a fold, but holds no class folders"),
        (["test/cat/1.jpg", "test/dog/1.jpg"], "has test but no train folder"),
        (["train/cat/1.jpg", "train/dog/2.jpg", "extra/3.jpg"],
         "has train, but also 'extra', which is no split; move it, or if train is a class"),
        (["train/1.jpg", "test/2.jpg", "cat/3.jpg"], "has test, train, but also 'cat'"),
    ],
)  # fmt: skip
def test_folders_that_contradict_each_other_are_refused_with_a_way_out(tmp_path, names, message):
    with pytest.raises(DataError, match=message):
        read_source(plant(tmp_path, *names), Data())


# Splits whose classes differ


def test_a_class_that_val_or_test_lacks_is_said_once(tmp_path):
    plant(tmp_path, *grid(("train",), ("a", "b", "c")), *grid(("val",), ("a", "b")), "test/a/1.jpg")
    (tmp_path / "val" / "c").mkdir()
    catalog = read_source(tmp_path, Data())

    assert catalog.classes == ("a", "b", "c")
    assert catalog.notes == (
        "the validation split has no image of c: no figure on it tells of this class",
        "the test split has no image of b, c: no figure on it tells of these classes",
    )


def test_a_class_that_only_val_or_test_has_is_refused_or_dropped(tmp_path):
    plant(tmp_path, *grid(("train", "val"), CLASSES), "val/ant/1.jpg", "val/ant/2.jpg")
    with pytest.raises(DataError, match=r"ant in val only \(2 images\).*data.unknown_classes=drop"):
        read_source(tmp_path, Data())

    catalog = read_source(tmp_path, Data(unknown_classes="drop"))
    assert counts(tmp_path, unknown_classes="drop") == each("train", "val")
    assert [int(group) for group in catalog.group] == [0, 1, 2, 3]
    assert catalog.notes == ("2 images of classes that only val has were left out: ant",)


def test_the_same_holds_for_a_table(tmp_path):
    plant(tmp_path, *(f"{number}.jpg" for number in range(5)))
    rows = ("0.jpg,a,train", "1.jpg,b,train", "2.jpg,a,test", "3.jpg,z,test", "4.jpg,a,val")
    (tmp_path / "t.csv").write_text("\n".join(("path,label,split", *rows)))

    with pytest.raises(DataError, match="train and test have different classes: z in test only"):
        read_source(tmp_path / "t.csv", Data())
    found = read_source(tmp_path / "t.csv", Data(unknown_classes="drop"))
    assert (found.classes, len(found)) == (("a", "b"), 4)
