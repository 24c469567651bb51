"""Faults that were planted into real photographs are all found; without them there is no alarm."""

import re
import shutil
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from resnetlab.cli.main import main


@pytest.fixture
def planted(photo_folder: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    shutil.copytree(photo_folder, folder)
    return folder


def inspected(folder: Path, capfd) -> str:
    assert main(["inspect", str(folder), "--set", "data.max_problem_frac=0.2"]) == 0
    return capfd.readouterr().out


def test_a_clean_set_raises_no_alarm(planted, capfd):
    out = inspected(planted, capfd)

    assert "24 images of 2 classes, all of them usable, nothing odd" in out
    assert "copies    0 exact, 0 images have a near-duplicate" in out


def test_all_planted_faults_are_found(planted, capfd):
    china, flower = planted / "china", planted / "flower"
    shutil.copy(china / "05.jpg", china / "copy.jpg")  # a copy
    with Image.open(china / "06.jpg") as image:
        image.resize((120, 90)).save(china / "smaller.jpg", quality=60)  # a near-duplicate
        ImageOps.mirror(image).save(flower / "flipped.jpg")  # the same under another label
    shutil.copy(china / "04.jpg", flower / "same.jpg")  # a copy under another label
    (flower / "cut.jpg").write_bytes((flower / "03.jpg").read_bytes()[:2000])
    for path in flower.glob("[0-9]*.jpg"):  # a frame on one class
        with Image.open(path) as image:
            framed = ImageOps.expand(image.crop((4, 4, 156, 116)), 4, "navy")
        framed.save(path, quality=90)
    out = inspected(planted, capfd)

    assert "copies    2 exact, 3 images have a near-duplicate, " in out
    assert "2 pairs of near-duplicates have different labels" in out
    left_out = re.findall(r"left out  (\d+): (.*), the first", out)
    assert sorted(left_out) == [("1", "truncated"), ("2", "same image labelled china and flower")]
    assert "look at   a border alone tells " in out


def test_the_cleaned_table_trains_without_what_was_found(planted, tmp_path, capfd):
    shutil.copy(planted / "china" / "04.jpg", planted / "flower" / "same.jpg")
    (planted / "flower" / "cut.jpg").write_bytes(b"")
    table = tmp_path / "clean.csv"
    code = main(
        ["inspect", str(planted), "--fix", str(table), "--set", "data.max_problem_frac=0.2"]
    )
    assert code == 0
    assert f"resnetlab train {table} --images {planted}" in capfd.readouterr().out

    code = main(
        ["train", str(table), "--images", str(planted), "--model", "mlp", "--image-size", "16",
         "--epochs", "1", "--out", str(tmp_path / "runs")]
    )  # fmt: skip
    assert code == 0
    out = inspected_table(table, planted, capfd)
    assert "clean: 23 images of 2 classes, all of them usable" in out
    assert "3 images have no label in the table and were left out" in out


def inspected_table(table: Path, images: Path, capfd) -> str:
    capfd.readouterr()
    assert main(["inspect", str(table), "--images", str(images)]) == 0
    return capfd.readouterr().out
