"""Bad input, rows 20 to 32, 38 and 39: names, folders, classes, copies, and no room for the results."""

import csv
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from resnetlab.data.catalog import Catalog
from resnetlab.system import requirements
from tests.scorecard.conftest import QUICK

ODD_NAMES = [
    "🐈.jpg", "line\nbreak.jpg", "a,b.jpg", 'say "x".jpg', "קטן.jpg", "e\u0301.jpg", "\u00e9.jpg",
    " blank .jpg", "tab\t.jpg", "-rf.jpg",
]  # fmt: skip


def noise(seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((40, 32), Image.Resampling.BICUBIC)


def add(folder: Path, name: str, seed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    noise(seed).save(folder / name, "JPEG")


def run_of(data: Path, tell, name: str, *more: str) -> Path:
    """Train on the data and open the test split; return the run's folder."""
    out = data.parent / "runs"
    assert tell("train", data, *QUICK, "--out", out, "--name", name, *more).code == 0
    assert tell("evaluate", out / name).code == 0
    return out / name


def ids_everywhere(run: Path) -> set[str]:
    """Return the ids in the run's tables of predictions, which are those of its catalog."""
    catalog = Catalog.load(run / "catalog.parquet")
    known = set(catalog.ids)
    predicted = set()
    for split in ("val", "test"):
        predicted |= set(pq.read_table(run / f"predictions-{split}.parquet")["id"].to_pylist())
    assert predicted <= known
    return known


def test_row_20_a_name_that_is_not_utf_8_round_trips(data, tell, tmp_path):
    for number, raw in enumerate((b"\xff.jpg", b"caf\xe9.jpg")):
        add(data / "china", os.fsdecode(raw), number)
    run = run_of(data, tell, "bytes")

    assert {"china/\\udcff.jpg", "china/caf\\udce9.jpg"} <= ids_everywhere(run)
    paths = Catalog.load(run / "catalog.parquet").paths
    assert all((data / path).is_file() for path in paths)
    out = tmp_path / "answers.csv"
    assert tell("predict", run, data / "china", "--out", out).code == 0
    with out.open(newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 14


def test_row_21_odd_names_work_and_tables_quote_them(data, tell, tmp_path):
    for number, name in enumerate(ODD_NAMES):
        add(data / 'flower, "wild"\n', name, number)
    shutil.move(data / "flower", tmp_path / "away")
    run = run_of(data, tell, "odd")
    assert {f'flower, "wild"\n/{name}' for name in ODD_NAMES} <= ids_everywhere(run)

    out = tmp_path / "answers.csv"
    assert tell("predict", run, data / 'flower, "wild"\n', "--out", out).code == 0
    with out.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {Path(row["file"]).name for row in rows} == set(ODD_NAMES)
    assert {row["class"] for row in rows} <= {"china", 'flower, "wild"\n'}


def test_row_22_the_longest_names_work_or_the_system_refuses_in_plain_words(data, tell):
    add(data / "china", "n" * 251 + ".jpg", 0)
    assert tell("inspect", data).code == 0

    said = tell("augment", data, data.parent / "out", "--image-size", "16")
    assert said.code == 5
    assert "File name too long" in said.error


def test_row_23_links_that_go_round_end_and_those_that_lead_out_wait_to_be_asked(data, tell):
    add(data.parent / "elsewhere", "1.jpg", 0)
    (data / "china" / "round").symlink_to(data)
    (data / "china" / "out").symlink_to(data.parent / "elsewhere")
    (data / "flower" / "self.jpg").symlink_to(data / "flower" / "self.jpg")
    said = tell("inspect", data, "--set", "data.max_problem_frac=0.1")
    assert "photos: 25 images" in said.out
    assert "2 files or links were passed over, the first is china/out" in said.out

    (data / "flower" / "self.jpg").unlink()
    said = tell("inspect", data, "--set", "data.follow_links=true")
    assert "photos: 25 images" in said.out, "the linked one has come, the circle was walked once"
    assert "1 files or links were passed over, the first is china/round" in said.out


def test_row_24_what_systems_and_editors_leave_is_never_a_class_or_a_sample(data, tell):
    for name in (".ipynb_checkpoints", "__MACOSX", ".hidden"):
        add(data / name, "1.jpg", 0)
        add(data / "china" / name, "1.jpg", 0)
    (data / "china" / "Thumbs.db").write_bytes(b"x")

    assert "photos: 24 images of 2 classes" in tell("inspect", data).out


def test_row_25_an_empty_class_folder_is_named_unless_allowed(data, tell):
    (data / "glass").mkdir()
    said = tell("inspect", data)
    assert said.code == 3
    assert "class folder 'glass' holds no image" in said.error

    said = tell("inspect", data, "--set", "data.allow_empty_classes=true")
    assert said.code == 0
    assert "class folder 'glass' holds no image" in said.out


def test_row_26_a_class_with_one_image_is_told_with_what_would_do(data, tell):
    add(data / "glass", "1.jpg", 0)
    said = tell("train", data, *QUICK, "--out", data.parent / "runs")
    assert said.code == 3
    assert "class 'glass' has 1 different images, too few for 3 splits" in said.error
    assert "add some, or leave the class out" in said.error

    for number in range(2, 5):
        add(data / "glass", f"{number}.jpg", number)
    said = tell("train", data, *QUICK, "--set", "data.folds=5", "--split", "0.9", "0.1", "0")
    assert said.code == 3
    assert (
        "class 'glass' has 4 different images outside the test split, too few for 5 folds"
        in said.error
    )
    assert "at most --set data.folds=4 would do" in said.error


def test_row_27_one_class_only_is_refused(data, tell):
    shutil.rmtree(data / "flower")
    said = tell("inspect", data)

    assert said.code == 3
    assert "needs two class folders at least" in said.error
    assert "only 'china'" in said.error


def test_row_28_class_names_that_differ_by_case_or_blanks_are_warned_of(data, tell):
    for number in range(12):
        add(data / "China ", f"{number}.jpg", number)
    said = tell("inspect", data)

    assert said.code == 0
    assert "photos: 36 images of 3 classes" in said.out
    assert "classes 'china' and 'China ' differ by case or blanks only" in said.out


def test_row_29_the_same_bytes_under_two_labels_are_left_out_or_fatal(data, tell):
    shutil.copy(data / "china" / "00.jpg", data / "flower" / "copy.jpg")
    said = tell("inspect", data)
    assert (
        "left out  2: same image labelled china and flower, the first is china/00.jpg" in said.out
    )

    said = tell("inspect", data, "--set", "data.conflicts=error")
    assert said.code == 3
    assert "china/00.jpg, flower/copy.jpg" in said.error


def parted(data: Path) -> Path:
    """Move the images into a training and a test split."""
    for name in ("china", "flower"):
        for number, path in enumerate(sorted((data / name).iterdir())):
            folder = data / ("test" if number % 3 == 0 else "train") / name
            folder.mkdir(parents=True, exist_ok=True)
            path.rename(folder / path.name)
        (data / name).rmdir()
    return data


def test_row_30_an_exact_copy_never_trains_and_is_tested_on(data, tell):
    shutil.copy(data / "china" / "01.jpg", data / "china" / "copy.jpg")
    for seed in range(2):
        run = run_of(data, tell, f"seed-{seed}", "--seed", str(seed))
        catalog = Catalog.load(run / "catalog.parquet")
        twins = catalog.sha256 == catalog.sha256[catalog.ids == "china/copy.jpg"][0]
        assert twins.sum() == 2
        assert len(set(catalog.split[twins])) == 1


def test_row_30_with_given_splits_copies_are_left_out_counted_or_fatal(data, tell):
    parted(data)
    shutil.copy(data / "test" / "china" / "00.jpg", data / "train" / "china" / "copy.jpg")
    said = tell("inspect", data)
    assert "copies    1 exact" in said.out
    assert (
        "left out  1: copy of an image in the test split, the first is train/china/copy.jpg"
        in said.out
    )

    said = tell("inspect", data, "--set", "data.leaks=error")
    assert said.code == 3
    assert "test/china/00.jpg and train/china/copy.jpg" in said.error


def test_row_31_a_near_duplicate_is_grouped_counted_and_shown(data, tell, tmp_path):
    with Image.open(data / "china" / "05.jpg") as image:
        image.resize((120, 90)).save(data / "china" / "smaller.jpg", quality=60)
    said = tell("inspect", data, "--out", tmp_path / "page")
    assert "2 images have a near-duplicate" in said.out
    assert (tmp_path / "page" / "copies.png").is_file()

    for seed in range(2):
        run = run_of(data, tell, f"seed-{seed}", "--seed", str(seed))
        catalog = Catalog.load(run / "catalog.parquet")
        twins = np.isin(catalog.ids, ["china/05.jpg", "china/smaller.jpg"])
        assert len(set(catalog.split[twins])) == len(set(catalog.group[twins])) == 1


def test_row_32_a_class_that_test_alone_has_is_refused_by_name_and_one_that_it_lacks_is_said(
    data, tell
):
    parted(data)
    shutil.move(data / "test" / "flower", data / "test" / "flowers")
    said = tell("train", data, *QUICK)

    assert said.code == 3
    assert "have different classes: flowers in test only (4 images)" in said.error
    assert "did you mean 'flower'?" in said.error

    said = tell("inspect", data, "--set", "data.unknown_classes=drop")
    assert said.code == 0
    assert "4 images of classes that only test has were left out: flowers" in said.out
    assert "the test split has no image of flower" in said.out


VERBS = {
    "train": lambda data, out: ("train", data, *QUICK, "--out", out),
    "inspect": lambda data, out: ("inspect", data, "--out", out),
    "augment": lambda data, out: ("augment", data, out),
    "export": lambda data, out: ("train", data, *QUICK, "--out", data.parent / "r", "--export-split", out),
}  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
def test_row_38_an_output_that_cannot_be_written_is_told_before_any_work(
    data, tell, tmp_path, monkeypatch, verb
):
    (tmp_path / "file").write_text("no folder")
    said = tell(*VERBS[verb](data, tmp_path / "file" / "out"))
    assert said.code == 5
    assert "can't be written" in said.error

    # Root may write everywhere: the refusal is injected.
    locked = tmp_path / "locked"
    locked.mkdir()
    access = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: Path(path) != locked and access(path, mode)
    )
    said = tell(*VERBS[verb](data, locked / "out"))
    assert said.code == 5
    assert f"can't be written (no right to {locked})" in said.error
    assert "decoding" not in said.err
    assert list(locked.iterdir()) == []


def test_row_39_too_little_room_is_told_with_what_is_needed(data, tell, tmp_path, monkeypatch):
    def nearly_full(path):
        return shutil._ntuple_diskusage(10**9, 10**9 - 4000, 4000)

    monkeypatch.setenv("RESNETLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(requirements.shutil, "disk_usage", nearly_full)
    said = tell("train", data, *QUICK, "--out", data.parent / "runs")

    assert said.code == 5
    assert "the checkpoints need" in said.error
    assert "but 0.0 MB are free" in said.error
    assert not (data.parent / "runs").exists()
