"""Which files of a folder are samples, and of which class: nothing is opened, nothing is lost unnoticed."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnetlab.data.sources.folder import class_folders
from resnetlab.data.sources.listing import list_folder, natural_key
from resnetlab.data.sources.source import read_source
from resnetlab.data.sources.unlabelled import read_unlabelled
from resnetlab.errors import DataError
from resnetlab.recipe import Data


def plant(root: Path, *names: str) -> Path:
    """Make empty files: the listing does not open them."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def listed(root: Path) -> list[tuple[str, str, str]]:
    """Return (id, class, split) of every sample."""
    catalog = class_folders(list_folder(root))
    names = [catalog.classes[label] for label in catalog.labels]
    return list(zip(catalog.ids, names, catalog.split, strict=True))


# Classes and splits


def test_each_subfolder_is_a_class_searched_to_the_bottom(tmp_path):
    plant(tmp_path, "cat/1.png", "cat/more/deep/2.JPG", "dog/1.jpeg")

    assert listed(tmp_path) == [
        ("cat/1.png", "cat", ""),
        ("cat/more/deep/2.JPG", "cat", ""),
        ("dog/1.jpeg", "dog", ""),
    ]


def test_classes_are_in_natural_order(tmp_path):
    plant(tmp_path, *(f"{name}/x.png" for name in ("10", "9", "b10", "B2", "a")))
    catalog = class_folders(list_folder(tmp_path))

    assert catalog.classes == ("9", "10", "a", "B2", "b10")
    assert [catalog.classes[label] for label in catalog.labels] == ["10", "9", "B2", "a", "b10"]


@given(st.lists(st.integers(0, 10**6), unique=True))
def test_numbers_are_ordered_by_value(numbers):
    names = [f"item {number}" for number in numbers]

    assert sorted(names, key=natural_key) == [f"item {number}" for number in sorted(numbers)]


@given(st.text(), st.text())
def test_the_natural_order_tells_any_two_names_apart(first, second):
    a, b = natural_key(first), natural_key(second)

    assert (a < b) + (b < a) == (first != second)


@pytest.mark.parametrize(
    "folders",
    [
        ("train", "val", "test"),
        ("training", "valid", "test"),
        ("Train", "validation", "TEST"),
    ],
)
def test_folders_that_name_splits_are_the_split(tmp_path, folders):
    plant(tmp_path, *(f"{split}/{name}/x.png" for split in folders for name in ("cat", "dog")))

    assert sorted(listed(tmp_path)) == sorted(
        (f"{folder}/{name}/x.png", name, split)
        for folder, split in zip(folders, ("train", "val", "test"), strict=True)
        for name in ("cat", "dog")
    )


def test_a_training_folder_alone_is_a_split_to_be_completed(tmp_path):
    plant(tmp_path, "train/cat/1.png", "train/dog/1.png")

    assert [split for _, _, split in listed(tmp_path)] == ["train", "train"]


def test_a_class_may_be_called_train(tmp_path):
    plant(tmp_path, "bus/1.png", "train/1.png", "tram/1.png")

    assert class_folders(list_folder(tmp_path)).classes == ("bus", "train", "tram")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["cat/1.png"], "needs two class folders at least .*found only 'cat'"),
        (["1.png"], "needs two class folders at least .*found none"),
        (["train/cat/1.png", "test/cat/1.png"], "found only 'cat'"),
        (["cat/1.png", "dog/readme.txt"], "class folder 'dog' holds no image; fill it or remove"),
        (["train/a/1.png", "train/b/1.png", "train/c/.keep", "val/a/1.png"],
         "class folder 'train/c' holds no image"),
        (["train/a/1.png", "val/a/1.png", "validation/a/1.png"],
         "both 'val' and 'validation' are the val split; keep one"),
        (["val/a/1.png", "test/a/1.png"], "has test, val but no train folder"),
        (["train/a/1.png", "val/a/1.png", "extra/1.png"],
         "has train, val, but also 'extra', which is no split; move it"),
    ],
)  # fmt: skip
def test_folders_that_make_no_data_set_are_refused_by_name(tmp_path, names, message):
    with pytest.raises(DataError, match=message) as caught:
        class_folders(list_folder(plant(tmp_path, *names)))

    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("name", ["with_mask", "car_models"])
@pytest.mark.parametrize(
    "others", [("without_mask/1.png", "incorrect/1.png"), ("a/b/1.png", "a/c/1.png")]
)
def test_an_empty_class_whose_name_ends_in_mask_or_the_like_is_no_folder_of_masks(
    tmp_path, name, others
):
    plant(tmp_path, *others).joinpath(name).mkdir()

    with pytest.raises(DataError, match=f"class folder '{name}' holds no image"):
        class_folders(list_folder(tmp_path))


@pytest.mark.parametrize(
    "beside",
    ["pascal_annotations/1.xml", "trained_models/resnet/a.pt", "old_code/a.py", "flower_labels/1.txt",
     "segmentation_masks/cat/1.npy", "plant_docs/a.pdf"],
)  # fmt: skip
@pytest.mark.parametrize("above", ["", "flowers/"])
def test_one_that_holds_other_files_is_beside_the_classes(tmp_path, beside, above):
    plant(tmp_path, f"{above}cat/1.png", f"{above}dog/1.png", beside)
    catalog = class_folders(list_folder(tmp_path))

    assert catalog.classes == ("cat", "dog")
    assert f"the first is {beside}" in catalog.notes[-1]


def test_links_to_images_alone_make_a_class_empty_not_one_beside_the_others(tmp_path):
    plant(tmp_path, "elsewhere/1.png", "data/incorrect/1.png", "data/without_mask/1.png")
    (tmp_path / "data/with_mask").mkdir()
    (tmp_path / "data/with_mask/1.png").symlink_to(tmp_path / "elsewhere/1.png")

    with pytest.raises(DataError, match="class folder 'with_mask' holds no image"):
        class_folders(list_folder(tmp_path / "data"))


def test_an_empty_folder_called_labels_is_a_class_only_where_the_user_names_it(tmp_path):
    listing = list_folder(plant(tmp_path, "a/1.png", "b/1.png", "labels/a.txt"))

    assert class_folders(listing).classes == ("a", "b")
    with pytest.raises(DataError, match="class folder 'labels' holds no image"):
        class_folders(listing, Data(classes=("a", "b", "labels")))


def test_one_of_several_sources_may_have_one_class_but_not_none(tmp_path):
    plant(tmp_path, "photos/cat/1.png", "photos/dog/1.png", "new/dog/2.png", "loose/3.png")
    catalog = read_source(tmp_path / "photos", Data(more=(str(tmp_path / "new"),)))

    assert catalog.counts("all").tolist() == [1, 2]
    with pytest.raises(DataError, match=r"loose: needs a class folder at least .*found none"):
        read_source(tmp_path / "photos", Data(more=(str(tmp_path / "loose"),)))


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    plant(tmp_path, "file")
    for path in (tmp_path / "nothing", tmp_path / "file"):
        with pytest.raises(DataError, match=f"{path}: no such folder"):
            class_folders(list_folder(path))


def test_a_folder_that_cannot_be_listed_is_an_error_not_a_loss(tmp_path, monkeypatch):
    plant(tmp_path, "cat/1.png", "cat/locked/2.png", "dog/1.png")
    scandir = os.scandir

    def refusing(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(DataError, match=r"cat/locked: can't be read .Permission denied"):
        class_folders(list_folder(tmp_path))


# Files that are no samples


def test_hidden_and_system_names_are_neither_classes_nor_samples(tmp_path):
    plant(tmp_path, "cat/1.png", "dog/1.png")
    plant(tmp_path, ".ipynb_checkpoints/1.png", "__MACOSX/cat/1.png", "$RECYCLE.BIN/1.png")
    plant(tmp_path, "cat/.ipynb_checkpoints/1-checkpoint.png", "cat/__MACOSX/1.png")
    plant(tmp_path, "cat/._1.png", "cat/Thumbs.db", "cat/desktop.ini", "cat/.DS_Store")
    catalog = class_folders(list_folder(tmp_path))

    assert list(catalog.ids) == ["cat/1.png", "dog/1.png"]
    assert catalog.classes == ("cat", "dog")
    assert catalog.notes == ()


def test_hidden_folders_do_not_hide_that_a_class_is_empty(tmp_path):
    with pytest.raises(DataError, match="class folder 'dog' holds no image"):
        class_folders(list_folder(plant(tmp_path, "cat/1.png", "dog/.ipynb_checkpoints/1.png")))


def test_files_of_other_kinds_are_passed_over_with_a_note(tmp_path):
    plant(tmp_path, "cat/1.png", "cat/notes.txt", "dog/1.png", "dog/labels.csv")
    catalog = class_folders(list_folder(tmp_path))

    assert len(catalog) == 2
    assert catalog.notes == ("2 files or links were passed over, the first is cat/notes.txt",)


# Links


def test_links_that_lead_round_in_a_circle_come_to_an_end(tmp_path):
    plant(tmp_path, "cat/1.png", "dog/1.png")
    (tmp_path / "cat" / "round").symlink_to(tmp_path)
    (tmp_path / "again").symlink_to(tmp_path)
    (tmp_path / "dog" / "self.png").symlink_to(tmp_path / "dog" / "self.png")
    catalog = class_folders(list_folder(tmp_path))

    # The link to itself is listed; that it holds no image is found when it is read.
    assert list(catalog.ids) == ["cat/1.png", "dog/1.png", "dog/self.png"]
    assert catalog.classes == ("cat", "dog")
    assert catalog.notes == ("2 files or links were passed over, the first is again",)


def test_links_out_of_the_folder_are_passed_over_with_a_note(tmp_path):
    plant(tmp_path, "elsewhere/1.png", "data/cat/1.png", "data/dog/1.png")
    data = tmp_path / "data"
    (data / "cat" / "2.png").symlink_to(tmp_path / "elsewhere" / "1.png")
    (data / "cat" / "more").symlink_to(tmp_path / "elsewhere")
    (data / "dog" / "2.png").symlink_to("../../elsewhere/1.png")
    (data / "bird").symlink_to(tmp_path / "elsewhere")
    catalog = class_folders(list_folder(data))

    assert list(catalog.ids) == ["cat/1.png", "dog/1.png"]
    assert catalog.notes == ("4 files or links were passed over, the first is bird",)


def test_class_folders_that_are_links_are_named_in_the_refusal(tmp_path):
    plant(tmp_path, "elsewhere/1.png").joinpath("data").mkdir()
    (tmp_path / "data" / "cat").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(DataError, match=r"links are not followed.*found none"):
        class_folders(list_folder(tmp_path / "data"))


def test_links_between_images_of_the_folder_are_followed(tmp_path):
    plant(tmp_path, "cat/1.png", "dog/1.png")
    (tmp_path / "cat" / "2.png").symlink_to("1.png")

    assert list(class_folders(list_folder(tmp_path)).ids) == ["cat/1.png", "cat/2.png", "dog/1.png"]


def test_the_data_folder_itself_may_be_a_link(tmp_path):
    plant(tmp_path, "real/cat/1.png", "real/dog/1.png")
    (tmp_path / "link").symlink_to("real")
    catalog = class_folders(list_folder(tmp_path / "link"))

    assert catalog.root == tmp_path / "real"
    assert len(catalog) == 2
    assert catalog.notes == ()


# Names


ODD = [
    "🐈.png", "line\nbreak.png", "a,b.png", 'say "x".png', "it's.png", "קטן.png", "tab\t.png",
    "e\u0301.png", "\u00e9.png", "-rf.png", " blank .png", "back\\slash.png", "n" * 251 + ".png",
]  # fmt: skip


def test_odd_names_are_samples_like_any_other(tmp_path):
    plant(tmp_path, *(f'ç, "1"\n/{name}' for name in ODD), "dog/1.png")
    catalog = class_folders(list_folder(tmp_path))

    assert len(catalog) == len(ODD) + 1
    assert catalog.notes == ()
    assert set(catalog.classes) == {'ç, "1"\n', "dog"}
    assert all((tmp_path / path).is_file() for path in catalog.paths)


def test_names_that_are_no_text_become_ids_that_are(tmp_path):
    plant(tmp_path, "dog/1.png")
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    plant(folder, *map(os.fsdecode, (b"\xff.png", b"\xfe.png", b"\xfd.txt")))
    catalog = class_folders(list_folder(tmp_path))

    assert list(catalog.ids) == [r"caf\udce9/\udcfe.png", r"caf\udce9/\udcff.png", "dog/1.png"]
    assert catalog.classes == (r"caf\udce9", "dog")
    assert r"caf\udce9/\udcfd.txt" in catalog.notes[0]
    assert all((tmp_path / path).is_file() for path in catalog.paths)
    "".join([*catalog.ids, *catalog.classes, *catalog.notes]).encode()  # text that can be written


# Images without labels


def test_unlabelled_files_and_folders_are_found_in_natural_order(tmp_path):
    plant(tmp_path, "new/10.png", "new/9.png", "new/deep/1.jpg", "new/notes.txt", "single.dat")
    found = read_unlabelled([tmp_path / "single.dat", tmp_path / "new"])

    names = ["single.dat", "new/9.png", "new/10.png", "new/deep/1.jpg"]
    assert list(found) == [tmp_path / name for name in names]


def test_unlabelled_paths_must_be_there_and_hold_an_image(tmp_path):
    plant(tmp_path, "empty/notes.txt")
    with pytest.raises(DataError, match="gone: no such file or folder"):
        read_unlabelled([tmp_path / "gone"])
    with pytest.raises(DataError, match="empty: no image found"):
        read_unlabelled([tmp_path / "empty"])


def test_a_pipe_under_an_images_name_is_no_sample(tmp_path):
    """Who reads it would wait for ever."""
    plant(tmp_path, "cat/1.jpg", "dog/2.jpg")
    os.mkfifo(tmp_path / "cat" / "pipe.jpg")

    assert [name for name, _, _ in listed(tmp_path)] == ["cat/1.jpg", "dog/2.jpg"]
