"""Copies on disk are those that training would draw, tell their source, and can be gone on with."""

import csv
import hashlib
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnetlab import workflows
from resnetlab.data.augment import offline
from resnetlab.data.batches import View, samples_of
from resnetlab.data.sources.folder import class_folders
from resnetlab.data.sources.listing import list_folder
from resnetlab.data.store.pixels import read_images, short_side_for
from resnetlab.errors import DataError, MachineError
from resnetlab.recipe import Augment, Recipe
from resnetlab.system import threads

RECIPE = Recipe().override({"data.image_size": 16, "data.augment": "s0", "seed": 5})


def tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"  # says which process held it last
    }


def test_every_image_yields_itself_and_its_copies_under_names_that_tell(photo_folder, tmp_path):
    before = tree(photo_folder)
    assert workflows.augment(photo_folder, tmp_path / "out", 2, RECIPE) == 3 * 24

    names = set(tree(tmp_path / "out"))
    assert {"china/00.png", "china/00.copy1.png", "flower/11.copy2.png"} <= names
    assert len(names) == 3 * 24 + len({"labels.csv", "augment.json", "augment.catalog"})
    assert tree(photo_folder) == before
    with Image.open(tmp_path / "out" / "china" / "00.copy1.png") as image:
        assert (image.size, image.mode) == ((16, 16), "RGB")


def test_copies_are_what_training_would_draw(photo_folder, tmp_path):
    workflows.augment(photo_folder, tmp_path / "out", 2, RECIPE)
    catalog, store = read_images(
        class_folders(list_folder(photo_folder)), short_side_for(16), 10**7, 2
    )
    samples = samples_of(catalog, store, "all")
    augment = RECIPE.data.augment
    assert isinstance(augment, Augment)
    expected = np.empty((16, 16, 3), np.uint8)
    samples.render(3, View(16, "crop", augment, seed=5, epoch=1), expected)
    name = Path(samples.ids[3]).with_suffix("")

    found = np.asarray(Image.open(tmp_path / "out" / f"{name}.copy2.png"))
    np.testing.assert_array_equal(found, expected)


def test_a_table_keeps_copies_with_their_source(photo_folder, tmp_path):
    workflows.augment(photo_folder, tmp_path / "out", 1, RECIPE)
    with (tmp_path / "out" / "labels.csv").open(newline="") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}

    assert len(rows) == 48
    assert rows["china/00.copy1.png"] == {
        "path": "china/00.copy1.png",
        "label": "china",
        "group": "china/00.jpg",
    }


def test_the_number_of_workers_changes_no_byte(photo_folder, tmp_path):
    for workers in (0, 3):
        recipe = RECIPE.override({"data.workers": workers})
        workflows.augment(photo_folder, tmp_path / str(workers), 1, recipe)

    assert tree(tmp_path / "0") == tree(tmp_path / "3")


def test_a_call_that_was_cut_off_goes_on_to_the_same_files(photo_folder, tmp_path, monkeypatch):
    workflows.augment(photo_folder, tmp_path / "uncut", 2, RECIPE)
    write_image, written = offline.write_image, []

    def breaking(samples, row, view, path):
        if len(written) == 20:
            raise KeyboardInterrupt
        written.append(path)
        write_image(samples, row, view, path)

    monkeypatch.setattr(offline, "write_image", breaking)
    recipe = RECIPE.override({"data.workers": 0})
    with pytest.raises(KeyboardInterrupt):
        workflows.augment(photo_folder, tmp_path / "cut", 2, recipe)
    monkeypatch.setattr(offline, "write_image", write_image)
    inodes = {path: path.stat().st_ino for path in written}
    workflows.augment(photo_folder, tmp_path / "cut", 2, recipe)

    assert tree(tmp_path / "cut") == tree(tmp_path / "uncut")
    assert inodes == {path: path.stat().st_ino for path in written}, "none was written again"


def test_a_disk_that_does_not_answer_is_not_waited_for_without_end(
    photo_folder, tmp_path, monkeypatch
):
    answer = threading.Event()
    monkeypatch.setattr(threads, "PATIENCE_S", 1.0)
    monkeypatch.setattr(offline, "write_image", lambda *_: answer.wait(3))
    try:
        with pytest.raises(MachineError, match="the disk or network folder they are in"):
            workflows.augment(photo_folder, tmp_path / "out", 1, RECIPE)
    finally:
        answer.set()


def test_names_that_differ_by_their_ending_alone_stay_apart(write_images, tmp_path):
    folder = write_images({"a/1.png": 1, "a/1.bmp": 2, "b/1.png": 3})
    assert workflows.augment(folder, tmp_path / "out", 1, RECIPE) == 6

    names = {path.name for path in (tmp_path / "out" / "a").iterdir()}
    assert names == {"1.png.png", "1.bmp.png", "1.png.copy1.png", "1.bmp.copy1.png"}


# What must not be augmented, where it must not go


def test_of_a_divided_set_the_training_split_alone_is_augmented(write_images, tmp_path, capsys):
    names = ("train/a/1.png", "train/b/2.png", "test/a/3.png", "test/b/4.png")
    folder = write_images({name: number for number, name in enumerate(names)})
    assert workflows.augment(folder, tmp_path / "out", 1, RECIPE) == 4

    assert {path.parts[0] for path in map(Path, tree(tmp_path / "out")) if len(path.parts) > 1} == {
        "train"
    }
    assert "only the training split is augmented" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "part"), [("test", "test"), ("Valid", "val")])
def test_a_test_split_is_refused(write_images, tmp_path, name, part):
    folder = write_images({"a/1.png": 1, "b/2.png": 2}).rename(tmp_path / name)
    with pytest.raises(DataError, match=f"is a {part} split by its name"):
        workflows.augment(folder, tmp_path / "out", 1, RECIPE)


def test_a_folder_inside_the_data_is_refused(write_images):
    folder = write_images({"a/1.png": 1, "b/2.png": 2})
    with pytest.raises(MachineError, match="lies inside the data"):
        workflows.augment(folder, folder / "out", 1, RECIPE)


def test_copies_of_other_settings_and_foreign_files_are_not_mixed_in(photo_folder, tmp_path):
    workflows.augment(photo_folder, tmp_path / "out", 1, RECIPE)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "text").write_text("precious")

    for out, recipe in (("out", RECIPE.override({"seed": 6})), ("mine", RECIPE)):
        before = tree(tmp_path / out)
        with pytest.raises(MachineError, match="choose a new folder"):
            workflows.augment(photo_folder, tmp_path / out, 1, recipe)
        assert tree(tmp_path / out) == before
