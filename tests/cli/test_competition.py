"""A competition in Kaggle's form, from its archives to a file of answers that a hidden key scores."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnetlab.cli.main import main

NAMES = {"0": "frog", "1": "truck", "2": "cat", "3": "deer"}
TOLD = 20  # of each class's 30 digits; the others are the test


def write_rows(file: Path, rows: list[tuple[str, str]]) -> None:
    with file.open("w", newline="") as opened:
        csv.writer(opened).writerows([("id", "label"), *rows])


def test_a_submission_scores_by_the_hidden_key_what_evaluate_says(
    tmp_path, digit_folder, monkeypatch, capsys
):
    py7zr = pytest.importorskip("py7zr", reason="reading .7z is an extra")
    monkeypatch.chdir(tmp_path)
    data, hidden = tmp_path / "competition", tmp_path / "hidden"
    data.mkdir()
    told, key = [], {}
    paths = sorted(digit_folder.glob("*/*.png"))
    order = np.random.default_rng(0).permutation(len(paths))
    with (
        py7zr.SevenZipFile(data / "train.7z", "w") as train,
        py7zr.SevenZipFile(data / "test.7z", "w") as test,
    ):
        for number, path in enumerate((paths[row] for row in order), 1):
            label = NAMES[path.parent.name]
            if int(path.stem) < TOLD:
                train.write(path, f"train/{number}.png")
                told.append((str(number), label))
            else:
                test.write(path, f"test/{number}.png")
                key[str(number)] = label
                (hidden / label).mkdir(parents=True, exist_ok=True)
                Image.open(path).save(hidden / label / f"{number}.png")
    write_rows(data / "trainLabels.csv", told)
    ids = sorted(key, key=int, reverse=True)
    write_rows(data / "sampleSubmission.csv", [(each, "cat") for each in ids])

    words = ["--model", "cnn", "--weights", "none", "--image-size", "16", "--epochs", "8"]
    assert main(["train", str(data), *words, "--name", "run", "--device", "cpu"]) == 0
    sample, out = data / "sampleSubmission.csv", tmp_path / "submission.csv"
    asked = ["predict", "runs/run", str(data / "test.7z"), "--submission", str(sample)]
    assert main([*asked, "--out", str(out)]) == 0
    capsys.readouterr()
    assert main(["evaluate", "runs/run", "--data", str(hidden), "--json"]) == 0
    accuracy = json.loads(capsys.readouterr().out)["accuracy"]["value"]

    answers = list(csv.DictReader(out.read_text().splitlines()))
    assert [row["id"] for row in answers] == ids
    right = sum(key[row["id"]] == row["label"] for row in answers)
    assert right / len(key) == pytest.approx(accuracy)
    assert accuracy > 0.5
