"""What a user types, and what they get: text, files, exit codes."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from resnetlab.cli.main import main
from resnetlab.data.sources.source import read_source
from resnetlab.recipe import Data
from resnetlab.system import interruption

QUICK = ["--set", "training.epochs=2", "--set", "data.image_size=16", "--set", "data.augment=shift"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, digit_folder: Path) -> list[Path]:
    """Two finished runs on the same images, their test splits opened."""
    out = tmp_path_factory.mktemp("runs")
    for name in ("mlp", "cnn"):
        assert (
            main(
                [
                    "train",
                    str(digit_folder),
                    "--model",
                    name,
                    "--out",
                    str(out),
                    "--name",
                    name,
                    *QUICK,
                ]
            )
            == 0
        )
        assert main(["evaluate", str(out / name)]) == 0
    return [out / "mlp", out / "cnn"]


def test_train_leaves_everything_a_run_holds(runs: list[Path]) -> None:
    names = {path.name for path in runs[0].iterdir()}
    assert names >= {
        "recipe.yaml", "catalog.parquet", "environment.json", "history.csv", "metrics.json", "report.html",
        "predictions-val.parquet", "predictions-test.parquet", "test_ledger.json", "figures", "checkpoints", "bundle",
    }  # fmt: skip
    assert {path.name for path in (runs[0] / "checkpoints").iterdir()} == {
        "last.safetensors",
        "best.safetensors",
    }


def test_recipe_of_a_run_is_fully_resolved(runs: list[Path]) -> None:
    assert "auto" not in (runs[0] / "recipe.yaml").read_text().replace("stem: auto", "")


def test_training_does_not_open_the_test_split(digit_folder: Path, tmp_path: Path, capsys) -> None:
    assert (
        main(
            [
                "train",
                str(digit_folder),
                "--model",
                "mlp",
                "--out",
                str(tmp_path),
                "--name",
                "run",
                *QUICK,
            ]
        )
        == 0
    )
    run = tmp_path / "run"
    assert not (run / "predictions-test.parquet").exists()
    assert not (run / "test_ledger.json").exists()
    assert f"resnetlab evaluate {run}" in capsys.readouterr().out


def test_each_look_at_the_test_split_is_in_the_ledger(
    runs: list[Path], tmp_path: Path, capsys
) -> None:
    run = shutil.copytree(runs[0], tmp_path / "run")
    assert main(["evaluate", str(run)]) == 0
    entries = json.loads((run / "test_ledger.json").read_text())
    assert len(entries) == 2
    assert entries[0]["predictions_sha256"] == entries[1]["predictions_sha256"]
    assert "opened once before" in capsys.readouterr().err


def test_compare_says_what_few_images_cannot_show(runs: list[Path], tmp_path: Path, capsys) -> None:
    assert main(["compare", *map(str, runs), "--out", str(tmp_path)]) == 0
    assert "test images" in capsys.readouterr().out
    page = (tmp_path / "comparison.html").read_text()
    assert "mlp" in page and "cnn" in page
    names = ("differences.png", "curves.png", "curves-minutes.png", "costs.png", "only-1.png")
    assert all((tmp_path / name).is_file() for name in names)
    assert "Correct by " in page


def test_reports_open_in_the_browser(runs: list[Path], monkeypatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    assert main(["compare", *map(str, runs), "--open"]) == 0
    assert main(["evaluate", str(runs[0]), "--split", "val", "--open"]) == 0
    compared, evaluated = opened
    assert (
        compared.endswith("/comparison.html") and Path(compared.removeprefix("file://")).is_file()
    )
    assert evaluated == (runs[0] / "report.html").resolve().as_uri()
    table = str(runs[0] / "predictions-val.parquet")
    assert main(["evaluate", "--predictions", table, "--open"]) == 0
    assert Path(opened[-1].removeprefix("file://")).is_file()


def test_compare_refuses_runs_on_different_images(
    runs: list[Path], digit_folder: Path, tmp_path: Path, capsys
) -> None:
    args = [
        "train",
        str(digit_folder),
        "--model",
        "mlp",
        "--seed",
        "7",
        "--out",
        str(tmp_path),
        "--name",
        "other",
    ]
    assert main([*args, *QUICK]) == 0
    assert main(["compare", str(runs[0]), str(tmp_path / "other")]) == 3
    assert "same" in capsys.readouterr().err


def test_predict_needs_the_bundle_alone(
    runs: list[Path], digit_folder: Path, tmp_path: Path
) -> None:
    bundle = shutil.copytree(runs[1] / "bundle", tmp_path / "bundle")
    out = tmp_path / "answers.csv"
    assert main(["predict", str(bundle), str(digit_folder), "--out", str(out)]) == 0
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(1 for _ in digit_folder.rglob("*.png"))
    classes = [name for name in rows[0] if name.startswith("p_")]
    for row in rows:
        assert sum(float(row[name]) for name in classes) == pytest.approx(1)
        assert float(row["probability"]) == max(float(row[name]) for name in classes)


def test_bundle_gives_the_probabilities_of_the_run(runs: list[Path], digit_folder: Path) -> None:
    from resnetlab import predict
    from resnetlab.evaluation.predictions import Predictions

    measured = Predictions.load(runs[1] / "predictions-test.parquet")
    answers = predict(runs[1] / "bundle", [digit_folder / name for name in measured.ids])
    found = np.array([list(answer["probabilities"].values()) for answer in answers])
    temperature = json.loads((runs[1] / "bundle" / "model.json").read_text())["temperature"]
    assert np.abs(found - measured.probs_at(temperature)).max() < 1e-6


def test_the_temperature_of_a_bundle_is_fitted_on_validation(runs: list[Path]) -> None:
    from resnetlab.evaluation.confidence.temperature import fit_temperature
    from resnetlab.evaluation.predictions import Predictions

    temperature = json.loads((runs[1] / "bundle" / "model.json").read_text())["temperature"]
    validation = Predictions.load(runs[1] / "predictions-val.parquet")
    assert temperature == pytest.approx(fit_temperature(validation))
    measured = json.loads((runs[1] / "metrics.json").read_text())
    assert measured["test"]["calibration"]["temperature"] == temperature


def test_predict_names_the_file_that_is_no_image(runs: list[Path], tmp_path: Path, capsys) -> None:
    bad = tmp_path / "page.jpg"
    bad.write_text("<html>")
    assert main(["predict", str(runs[0]), str(bad)]) == 0
    assert "page.jpg  not an image" in capsys.readouterr().out


def test_a_bundle_is_scored_on_other_images(
    runs: list[Path], digit_folder: Path, tmp_path: Path, capsys
) -> None:
    args = [
        "evaluate",
        str(runs[1] / "bundle"),
        "--data",
        str(digit_folder),
        "--out",
        str(tmp_path),
    ]
    assert main(args) == 0
    scores = json.loads((next(tmp_path.iterdir()) / "metrics.json").read_text())["test"]
    assert scores["samples"] == sum(1 for _ in digit_folder.rglob("*.png"))


def test_scoring_a_run_on_its_own_training_images_says_so(
    runs: list[Path], digit_folder: Path, tmp_path: Path, capsys
) -> None:
    assert (
        main(["evaluate", str(runs[1]), "--data", str(digit_folder), "--out", str(tmp_path)]) == 0
    )
    assert "trained this model" in capsys.readouterr().err


def test_training_goes_on_from_another_runs_network(
    runs: list[Path], digit_folder: Path, tmp_path: Path
) -> None:
    args = [
        "train",
        str(digit_folder),
        "--model",
        "cnn",
        "--weights",
        str(runs[1]),
        "--out",
        str(tmp_path),
    ]
    # At such a rate nothing is learned but the head: what it can, it brought along.
    assert main([*args, "--name", "second", *QUICK, "--epochs", "1", "--lr", "1e-7"]) == 0
    first = json.loads((runs[1] / "metrics.json").read_text())["val"]["loss"]["value"]
    second = json.loads((tmp_path / "second" / "metrics.json").read_text())["val"]["loss"]["value"]
    assert second < first  # untrained: 1.386


@pytest.mark.parametrize("command", [["resume"], ["train", "--resume"]])
def test_resuming_a_finished_run_changes_nothing(
    runs: list[Path], command: list[str], capsys
) -> None:
    before = {path: path.stat().st_mtime_ns for path in runs[0].rglob("*") if path.name != ".lock"}
    assert main([*command, str(runs[0])]) == 0
    assert capsys.readouterr() == ("", f"{runs[0]} is finished\n")
    assert before == {
        path: path.stat().st_mtime_ns for path in runs[0].rglob("*") if path.name != ".lock"
    }


def test_inspect_changes_nothing_and_writes_a_page(
    digit_folder: Path, tmp_path: Path, capsys
) -> None:
    before = {path: path.read_bytes() for path in digit_folder.rglob("*.png")}
    assert main(["inspect", str(digit_folder), "--out", str(tmp_path / "page")]) == 0
    assert before == {path: path.read_bytes() for path in digit_folder.rglob("*.png")}
    text = capsys.readouterr().out
    assert "all of them usable, nothing odd" in text and "std R" in text
    assert (tmp_path / "page" / "inspect.html").is_file()


def test_export_split_copies_the_splits(digit_folder: Path, tmp_path: Path) -> None:
    args = [
        "train",
        str(digit_folder),
        "--model",
        "mlp",
        "--out",
        str(tmp_path),
        "--split",
        "0.8",
        "0",
        "0.2",
        *QUICK,
    ]
    assert main([*args, "--export-split", str(tmp_path / "splits")]) == 0
    copies = [
        path.relative_to(tmp_path / "splits").parts[0]
        for path in (tmp_path / "splits").rglob("*.png")
    ]
    total = sum(1 for _ in digit_folder.rglob("*.png"))
    assert len(copies) == total and set(copies) == {"train", "test"}
    assert copies.count("test") == pytest.approx(0.2 * total, abs=5)


def test_make_writes_a_set_of_so_many_images(tmp_path: Path, capsys) -> None:
    assert main(["make", "digit-sum", str(tmp_path / "sums"), "--count", "12"]) == 0
    assert len(read_source(tmp_path / "sums", Data())) == 12
    assert capsys.readouterr().out.split() == ["12", "images:", str(tmp_path / "sums")]


def test_models_lists_the_stages_of_resnet50(capsys) -> None:
    assert main(["models", "resnet50", "--image-size", "224"]) == 0
    text = capsys.readouterr().out
    for shape in (
        "64×112×112",
        "64×56×56",
        "256×56×56",
        "512×28×28",
        "1024×14×14",
        "2048×7×7",
        "25,557,032",
    ):
        assert shape in text


def test_models_and_recipes_list_names(capsys) -> None:
    assert main(["models"]) == 0 and main(["recipes"]) == 0
    text = capsys.readouterr().out
    assert "resnet152" in text and "s1-mlp" in text


def test_recipes_prints_a_recipe_that_can_be_used(
    tmp_path: Path, digit_folder: Path, capsys
) -> None:
    assert main(["recipes", "demo"]) == 0
    (tmp_path / "mine.yaml").write_text(capsys.readouterr().out)
    args = [
        "train",
        str(digit_folder),
        "--recipe",
        str(tmp_path / "mine.yaml"),
        "--model",
        "mlp",
        "--epochs",
        "1",
    ]
    assert main([*args, "--out", str(tmp_path / "runs")]) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["train", "no-such-folder"], 3, "no-such-folder: no such file or folder"),
        (["train"], 2, "train needs DATA"),
        (["train", "x", "--set", "training.lerning_rate=1"], 2, "did you mean 'training.lr'?"),
        (["train", "x", "--lr", "-1"], 2, "training.lr must be greater than 0. Got -1.0"),
        (["train", "x", "--model", "resnet51"], 2, "did you mean 'resnet50'?"),
        (["train", "x", "--recipe", "s1-mpl"], 2, "did you mean 's1-mlp'?"),
        (
            ["train", "x", "--budget", "soon"],
            2,
            "--budget takes a time such as 55m, 2h or 1h30m. Got 'soon'",
        ),
        (
            ["train", "x", "--stop-at", "noon"],
            2,
            "--stop-at takes a time of the day such as 14:30. Got 'noon'",
        ),
        (["make", "digit-sun", "x"], 2, "did you mean 'digit-sum'?"),
        (["train", "--resume", "x", "--epochs", "3"], 2, "give it alone"),
        (["train", "--resume", "no-run"], 3, "no-run: no run here"),
        (["train", "x", "--anyway"], 2, "--anyway goes with --resume RUN"),
        (["resume", "no-run"], 3, "no-run: no run here"),
        (["resume"], 2, "Missing argument 'folder'"),
        (["reproduce", "no-run"], 3, "no-run: no run here"),
        (["evaluate", "no-run"], 3, "no-run: no run here"),
        (["evaluate", "no-run", "--split", "train"], 2, "--split must be 'test' or 'val'"),
        (["predict", "no-run", "x.png"], 3, "x.png: no such file or folder"),
        (["compare", "only-one"], 2, "compare needs two different runs at least"),
        (["compare", "only-one", "other"], 3, "only-one: no run here"),
        (["nonsense"], 2, "No such command"),
    ],
)
def test_a_mistake_gets_one_clear_line_and_its_exit_code(
    arguments: list[str], code: int, message: str, capsys, digit_folder: Path
) -> None:
    arguments = [str(digit_folder) if word == "x" else word for word in arguments]
    assert main(arguments) == code
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_what_has_no_folder_to_go_on_with_is_told_to_repeat(digit_folder: Path, capsys) -> None:
    """As long as nothing is written, the command itself goes on: what it has read is kept."""
    interruption.set_deadline(0)  # `inspect` has no flag for it
    assert main(["inspect", str(digit_folder)]) == 0
    assert capsys.readouterr().err.endswith(f"go on with: resnetlab inspect {digit_folder}\n")


def test_debug_shows_the_traceback(capsys) -> None:
    assert main(["train", "no-such-folder", "--debug"]) == 3
    assert "Traceback" in capsys.readouterr().err


def test_divergence_ends_with_its_exit_code_and_advice(
    digit_folder: Path, tmp_path: Path, capsys
) -> None:
    args = [
        "train",
        str(digit_folder),
        "--model",
        "cnn",
        "--out",
        str(tmp_path),
        "--lr",
        "100000",
        *QUICK,
    ]
    assert main(args) == 6
    assert "lower training.lr" in capsys.readouterr().err
