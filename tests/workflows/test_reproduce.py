"""A run is trained again, and what agrees is told apart from what does not."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from resnetlab.cli.main import main
from resnetlab.runs.run import Run
from resnetlab.system.files import read_json, write_json
from resnetlab.training import initial
from resnetlab.workflows import reproducing

QUICK = [
    "--model", "mlp", "--epochs", "2", "--image-size", "16", "--split", "0.6", "0.2", "0.2",
    "--set", "training.threads=1", "--set", "training.precision=fp32",
]  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, digit_folder: Path) -> Path:
    """A finished run; to be read only."""
    out = tmp_path_factory.mktemp("runs")
    assert main(["train", str(digit_folder), "--out", str(out), "--name", "x", *QUICK]) == 0
    return out / "x"


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "x")


def reproduce(run: Path, *more: str) -> int:
    return main(["reproduce", str(run), "--out", str(run.parent), *more])


def report(run: Path) -> dict:
    return read_json(run / "reproduction.json")


def test_the_same_machine_gives_the_same_bits(run, capsys):
    assert reproduce(run) == 0

    again = run.parent / "x-again"
    assert "the same to the bit as x: weights, history and predictions of 24" in (
        capsys.readouterr().out
    )
    for name in ("history.csv", "predictions-val.parquet", "bundle/model.safetensors"):
        assert (again / name).read_bytes() == (run / name).read_bytes()
    found = report(again)
    assert found["same"] and found["causes"] == []
    assert (
        found["weights"]["sha256"]
        == [json.loads((run / "bundle/model.json").read_text())["weights_sha256"]] * 2
    )
    assert found["predictions"]["largest_logit_difference"] == 0.0
    assert not Run(again).ledger, "the test split stays closed"


def test_names_are_counted_up(run):
    (run.parent / "x-again").mkdir()

    assert reproduce(run) == 0
    assert report(run.parent / "x-again-2")["original"] == "x"


def test_splits_are_those_of_the_run_whatever_the_recipe_would_give(run):
    from resnetlab.data.catalog import Catalog

    before = Catalog.load(Run(run).catalog_file)
    swapped = before.split.copy()
    swapped[before.rows("val")] = "test"
    swapped[before.rows("test")] = "val"
    before.with_columns(split=swapped).save(Run(run).catalog_file)
    reproduce(run)

    after = Catalog.load(Run(run.parent / "x-again").catalog_file)
    assert (after.split == swapped).all()


def test_what_differs_is_measured_and_what_may_explain_it_named(run, monkeypatch, capsys):
    make_classifier = initial.initial_classifier

    def nudged(*arguments):
        classifier = make_classifier(*arguments)
        with torch.no_grad():
            classifier.head.weight[0] += 0.25
        return classifier

    monkeypatch.setattr(initial, "initial_classifier", nudged)
    facts = Run(run).environment
    write_json(run / "environment.json", facts | {"torch": "1.0", "threads": 64})
    assert reproduce(run) == 0

    out = capsys.readouterr().out
    found = report(run.parent / "x-again")
    assert not found["same"]
    assert 0 < found["weights"]["largest_difference"] < 1
    assert found["history"]["differs_from_epoch"] == 1
    assert found["predictions"]["largest_logit_difference"] > 0
    assert "not the same as x: weights differ by up to 0." in out and " of 24 answers" in out
    assert f"- torch: 1.0 -> {torch.__version__}" in out and "- threads: 64 -> " in out
    assert {line.split(":")[0] for line in found["causes"]} == {"torch", "threads"}


def test_a_change_on_the_way_explains_a_difference(run):
    entry = {"time": "2026", "changes": ["training.lr: 0.1 -> 0.2"]}
    write_json(run / "environment.json", Run(run).environment | {"went_on_anyway": [entry]})
    reproduce(run)

    assert report(run.parent / "x-again")["causes"] == [
        "x went on although something had changed: training.lr: 0.1 -> 0.2"
    ]


def test_without_validation_the_weights_decide(digit_folder, tmp_path, capsys):
    words = ["--out", str(tmp_path), "--name", "x", *QUICK, "--split", "1", "0", "0"]
    assert main(["train", str(digit_folder), *words]) == 0
    assert reproduce(tmp_path / "x") == 0

    assert "the same to the bit as x: weights, history\n" in capsys.readouterr().out
    assert report(tmp_path / "x-again")["predictions"] is None


def test_a_head_alone_is_compared_without_a_history(digit_folder, tmp_path, capsys):
    words = ["--out", str(tmp_path), "--name", "x", *QUICK, "--epochs", "0"]
    assert main(["train", str(digit_folder), *words, "--set", "training.head_first=true"]) == 0

    assert reproduce(tmp_path / "x") == 0
    assert report(tmp_path / "x-again")["same"]


def test_one_that_was_cut_goes_on_and_is_compared(run, capsys):
    assert reproduce(run, "--budget", "0s") == 0
    again = run.parent / "x-again"
    assert f"go on with: resnetlab resume {again}" in capsys.readouterr().err
    assert not (again / "reproduction.json").exists()

    assert main(["resume", str(again)]) == 0
    assert "the same to the bit as x" in capsys.readouterr().out
    assert report(again)["same"]


def test_changed_images_are_refused(digit_folder, tmp_path, capsys):
    data = shutil.copytree(digit_folder, tmp_path / "digits")
    words = ["--out", str(tmp_path / "runs"), "--name", "x", *QUICK]
    assert main(["train", str(data), *words]) == 0
    (data / "0" / "000.png").write_bytes((data / "1" / "000.png").read_bytes())

    assert reproduce(tmp_path / "runs" / "x") == 3
    assert "1 changed, the first is 0/000.png" in capsys.readouterr().err
    assert not (tmp_path / "runs" / "x-again").exists()


def test_an_edited_recipe_is_refused(run, capsys):
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("epochs: 2\n", "epochs: 3\n"))

    assert reproduce(run) == 2
    assert "training.epochs: 2 -> 3; put it back" in capsys.readouterr().err


def test_what_was_not_trained_to_its_end_here_is_refused(run, digit_folder, tmp_path, capsys):
    words = ["--out", str(tmp_path / "scored")]
    assert main(["evaluate", str(run), "--data", str(digit_folder), *words]) == 0
    (scored,) = (tmp_path / "scored").iterdir()
    assert reproduce(scored) == 3
    assert "was not trained here" in capsys.readouterr().err

    assert (
        main(["train", str(digit_folder), *words, "--name", "cut", *QUICK, "--budget", "0s"]) == 0
    )
    (scored.parent / "cut" / "recipe.yaml").write_bytes((run / "recipe.yaml").read_bytes())
    assert reproduce(scored.parent / "cut") == 3
    assert "its training isn't finished; go on with: resnetlab resume" in capsys.readouterr().err


def test_a_damaged_run_is_told_before_the_training(run, monkeypatch, capsys):
    (run / "bundle" / "model.safetensors").write_bytes(b"cut")
    monkeypatch.setattr(reproducing, "finish_training", lambda *_: pytest.fail("trained"))

    assert reproduce(run) == 4
    assert "is damaged" in capsys.readouterr().err
