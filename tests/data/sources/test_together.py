"""Several sources put together: their images, labels, splits and groups are those of each."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnetlab.cli.main import main
from resnetlab.data.catalog import MEMBER, new_catalog
from resnetlab.data.dataset import list_data
from resnetlab.data.sources.reader import Reader
from resnetlab.data.sources.source import read_source
from resnetlab.data.sources.together import put_together
from resnetlab.errors import DataError
from resnetlab.recipe import Data, load_recipe
from resnetlab.runs.run import Run


def write_table(file: Path, rows: dict[str, str]) -> Path:
    with file.open("w", newline="") as opened:
        csv.writer(opened).writerows([("path", "label"), *rows.items()])
    return file


@pytest.fixture
def kept(tmp_path, photo_folder) -> Path:
    """A table as the server's page keeps it: two images beside it, one of a new class."""
    (tmp_path / "kept").mkdir()
    shutil.copy(photo_folder / "china" / "00.jpg", tmp_path / "kept" / "a.jpg")
    shutil.copy(photo_folder / "flower" / "00.jpg", tmp_path / "kept" / "b.jpg")
    rows = {"kept/a.jpg": "china", "kept/b.jpg": "tulip"}
    return write_table(tmp_path / "kept.csv", rows)


def test_a_folder_and_a_table_of_kept_images(photo_folder, kept):
    catalog = read_source(photo_folder, Data(more=(str(kept),)))
    assert len(catalog) == 26
    assert catalog.classes == ("china", "flower", "tulip")
    read = Reader(catalog.root)
    added = {
        catalog.classes[catalog.labels[row]]: read(catalog.paths[row])
        for row in range(len(catalog))
        if "kept/" in catalog.paths[row]
    }
    assert added == {
        "china": (photo_folder / "china" / "00.jpg").read_bytes(),
        "tulip": (photo_folder / "flower" / "00.jpg").read_bytes(),
    }
    said = " ".join(catalog.notes)
    assert "2 images of" in said
    assert "adds a class: tulip" in said
    assert not any(".." in path for path in catalog.paths)


def test_of_a_file_that_both_name_the_later_label_counts(tmp_path, photo_folder):
    shutil.copytree(photo_folder, tmp_path / "photos")
    table = write_table(tmp_path / "corrected.csv", {"photos/china/00.jpg": "flower"})
    catalog = read_source(tmp_path / "photos", Data(more=(str(table),)))
    assert len(catalog) == 24
    (row,) = np.flatnonzero(catalog.ids == "photos/china/00.jpg")
    assert catalog.classes[catalog.labels[row]] == "flower"
    assert "1 of them are the same files" in " ".join(catalog.notes)


def test_beside_given_splits_images_without_one_are_learned_from(tmp_path, photo_folder, kept):
    for split in ("train", "test"):
        shutil.copytree(photo_folder, tmp_path / "given" / split)
    catalog = read_source(tmp_path / "given", Data(more=(str(kept),)))
    split = {path: catalog.split[row] for row, path in enumerate(catalog.paths)}
    assert split["kept/a.jpg"] == split["kept/b.jpg"] == "train"
    assert list(split.values()).count("test") == 24


def test_a_further_table_may_have_one_class(tmp_path, photo_folder, kept):
    table = write_table(tmp_path / "one.csv", {"kept/a.jpg": "tulip"})
    catalog = read_source(photo_folder, Data(more=(str(table),)))
    assert catalog.counts("all").tolist() == [12, 12, 1]


@pytest.mark.parametrize(
    "form", ["folder", "given splits", "table", "table without labels", "arrays"]
)
def test_one_class_is_not_enough_in_any_form(tmp_path, photo_folder, form):
    data, found = tmp_path / "data", "only 'tulip'"
    if form in ("folder", "given splits"):
        for split in ("train", "test") if form == "given splits" else ("",):
            shutil.copytree(photo_folder / "flower", data / split / "tulip")
    elif form == "arrays":
        data.mkdir()
        np.save(data / "x.npy", np.random.default_rng(0).integers(0, 256, (9, 8, 8), np.uint8))
        np.save(data / "y.npy", np.array(["tulip"] * 9))
    else:
        shutil.copytree(photo_folder / "flower", data)
        label, found = ("", "none") if form == "table without labels" else ("tulip", found)
        names = [path.name for path in data.iterdir()]
        data = write_table(data / "labels.csv", dict.fromkeys(names, label))
    with pytest.raises(DataError, match=f"needs two class(es| folders) at least.*, found {found}"):
        read_source(data, Data())


def test_archives_and_classes_in_the_order_of_the_recipe(tmp_path, photo_folder, kept):
    archive = shutil.make_archive(str(tmp_path / "photos"), "zip", photo_folder)
    order = ("tulip", "flower", "china")
    catalog = read_source(Path(archive), Data(more=(str(kept),), classes=order))
    assert catalog.classes == order
    member = next(path for path in catalog.paths if MEMBER in path)
    assert Reader(catalog.root)(member)[:2] == b"\xff\xd8"
    with pytest.raises(DataError, match="'tulip' is none of the 2"):
        read_source(photo_folder, Data(more=(str(kept),), classes=("china", "flower")))


names = st.lists(st.sampled_from([f"{a}/{b}" for a in "xy" for b in range(6)]), unique=True)


@given(names, names, st.data())
def test_every_image_once_with_its_label_and_its_group(first, second, data):
    def made(root, paths, classes):
        labels = [data.draw(st.integers(0, len(classes) - 1)) for _ in paths]
        groups = [data.draw(st.sampled_from(["", "a", "b"])) for _ in paths]
        catalog = new_catalog(Path(root), classes, paths, labels, [""] * len(paths), (), groups)
        return catalog, {p: classes[n] for p, n in zip(paths, labels, strict=True)}, groups

    one, its_labels, its_groups = made("/d/photos", first, ("cat", "dog"))
    two, their_labels, their_groups = made(
        "/d", [f"photos/{path}" for path in second], ("dog", "elk")
    )
    both = put_together(one, two, "more")
    labels = {f"photos/{path}": label for path, label in its_labels.items()} | their_labels
    assert list(both.paths) == sorted(labels)
    found = {path: both.classes[label] for path, label in zip(both.paths, both.labels, strict=True)}
    assert found == labels
    group_of = {f"photos/{p}": (1, g) for p, g in zip(first, its_groups, strict=True)}
    group_of |= {f"photos/{p}": (2, g) for p, g in zip(second, their_groups, strict=True)}
    for a, path in enumerate(both.paths):
        assert both.group[a] <= a
        for b, other in enumerate(both.paths[:a]):
            same = group_of[path] == group_of[other] and group_of[path][1] != ""
            assert (both.group[a] == both.group[b]) == same


def test_train_takes_further_sources_and_resume_knows_them(
    tmp_path, photo_folder, kept, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    words = ["--model", "mlp", "--epochs", "1", "--image-size", "16", "--device", "cpu"]
    again = write_table(tmp_path / "again.csv", {"kept/a.jpg": "china", "kept/b.jpg": "flower"})
    assert main(["train", str(photo_folder), again.name, *words, "--name", "run"]) == 0
    assert main(["inspect", str(photo_folder), again.name]) == 0
    (tmp_path / "recipes").mkdir()
    recipe = tmp_path / "recipes" / "mine.yaml"
    recipe.write_text("data: {more: [../again.csv]}\n")  # as seen from the recipe's file
    assert list_data(photo_folder, load_recipe(str(recipe)))[0].counts("all").sum() == 26
    assert Run(tmp_path / "runs" / "run").recipe.data.more == (str(again),)
    assert main(["reproduce", "runs/run"]) == 0
