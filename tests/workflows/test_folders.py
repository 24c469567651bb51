"""Folders as people have them, through the whole way: inspect, train, evaluate, predict."""

import shutil
from pathlib import Path

import pytest
import yaml

from resnetlab.cli.main import main

QUICK = (
    "--model",
    "mlp",
    "--weights",
    "none",
    "--epochs",
    "1",
    "--image-size",
    "32",
    "--device",
    "cpu",
)


@pytest.fixture
def named(tmp_path: Path, digit_folder: Path) -> Path:
    """Digits in one folder, train/zero.3.png and the like, beside a test1/ without labels."""
    for label, word in ((0, "zero"), (1, "one")):
        for number in range(20):
            place = tmp_path / "digits" / "train" / f"{word}.{number}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(digit_folder / str(label) / f"{number:03}.png", place)
    (tmp_path / "digits" / "test1").mkdir()
    shutil.copy(digit_folder / "0" / "025.png", tmp_path / "digits" / "test1" / "1.png")
    return tmp_path / "digits"


def test_labels_in_file_names_are_offered_then_taken(named, tmp_path, capsys):
    assert main(["train", str(named), *QUICK, "--out", str(tmp_path)]) == 3
    assert "take them by --label-from-name" in capsys.readouterr().err

    name = ("--label-from-name", "--name", "run", "--out", str(tmp_path))
    assert main(["train", str(named), *QUICK, *name]) == 0
    said = capsys.readouterr().err
    assert "note: labels were taken from the file names by" in said
    assert f"resnetlab predict RUN {named / 'test1'}" in said
    recipe = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())
    assert recipe["data"]["label_pattern"].startswith("^(")

    assert main(["predict", str(tmp_path / "run"), str(named / "test1")]) == 0


def test_a_class_that_validation_and_test_lack_stands_beside_the_macro_figures(
    digit_folder, tmp_path, capsys
):
    for split, labels, numbers in (
        ("train", (0, 1, 2), range(10)), ("val", (0, 1), range(10, 15)), ("test", (1, 2), range(15, 20)),
    ):  # fmt: skip
        for label in labels:
            folder = tmp_path / "data" / split / f"digit {label}"
            folder.mkdir(parents=True)
            for number in numbers:
                shutil.copy(digit_folder / str(label) / f"{number:03}.png", folder)
    run = tmp_path / "run"
    assert (
        main(["train", str(tmp_path / "data"), *QUICK, "--name", "run", "--out", str(tmp_path)])
        == 0
    )
    said = capsys.readouterr()
    assert "note: the validation split has no image of digit 2" in said.err
    assert "No image of digit 2: the balanced accuracy says nothing of it" in said.out

    assert main(["evaluate", str(run)]) == 0
    assert "No image of digit 0: the balanced accuracy" in capsys.readouterr().out
    assert "Validation: No image of digit 2" in (run / "report.html").read_text(encoding="utf-8")
