"""Evidence from the command line: tables made elsewhere, JSON for pipelines, what is required."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from resnetlab.cli.main import main
from resnetlab.data.catalog import Catalog
from resnetlab.data.dataset import read_data
from resnetlab.evaluation.predictions import Predictions
from resnetlab.recipe import Recipe


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, digit_folder: Path) -> Path:
    """A run of a small network, its test split opened."""
    out = tmp_path_factory.mktemp("runs")
    quick = ["--epochs", "2", "--weights", "none", "--image-size", "16", "--device", "cpu"]
    words = ["--model", "mlp", "--out", str(out), "--name", "mlp", "--lr", "0.005"]
    assert main(["train", str(digit_folder), *words, *quick]) == 0
    assert main(["evaluate", str(out / "mlp")]) == 0
    return out / "mlp"


@pytest.fixture
def table(run: Path, tmp_path: Path) -> Path:
    """The run's own probabilities, as another tool would write them, with the classes in another order."""
    predictions = Predictions.load(run / "predictions-test.parquet")
    order = predictions.classes[::-1]
    other = predictions.with_classes(order)
    with (tmp_path / "elsewhere.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "label", "camera", *(f"p_{name}" for name in order)])
        for row, (id_, label) in enumerate(zip(other.ids, other.labels, strict=True)):
            writer.writerow([id_, order[label], "ab"[row % 2], *other.probs[row].tolist()])
    return tmp_path / "elsewhere.csv"


def test_a_table_made_elsewhere_gives_the_figures_of_the_run(run, table, capsys):
    assert main(["evaluate", "--predictions", str(table), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    expected = json.loads((run / "metrics.json").read_text())["test"]
    assert found["accuracy"] == expected["accuracy"]
    for name in ("auroc", "loss", "macro_f1"):
        assert found[name]["value"] == pytest.approx(expected[name]["value"], rel=1e-5)


def test_a_table_gets_a_report_and_subgroups(table, tmp_path, capsys):
    out = tmp_path / "report"
    words = ["evaluate", "--predictions", str(table), "--by", "camera", "--out", str(out)]
    assert main(words) == 0
    assert "camera" in capsys.readouterr().out
    assert {"report.html", "metrics.json", "figures"} <= {path.name for path in out.iterdir()}


def test_a_table_is_compared_beside_a_run(run, table, capsys):
    assert main(["compare", str(run), str(table), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {each["name"] for each in found["runs"]} == {"mlp", "elsewhere"}
    assert found["pairs"][0]["difference"]["value"] == 0
    assert found["split"] == "test"


def test_standard_output_is_one_document_and_nothing_else(run, digit_folder, tmp_path, capsys):
    copy = shutil.copytree(run, tmp_path / "copy")
    for words in (
        ["evaluate", str(copy), "--split", "val", "--by", "size"],
        ["inspect", str(digit_folder)],
    ):
        assert main([*words, "--json"]) == 0
        assert isinstance(json.loads(capsys.readouterr().out), dict)
    assert "size" in json.loads((copy / "metrics.json").read_text())["val"]["subgroups"]


def test_what_is_required_decides_the_exit_code(table, capsys):
    words = ["evaluate", "--predictions", str(table), "--require"]
    assert main([*words, "accuracy>=0"]) == 0
    assert main([*words, "accuracy.low>=1"]) == 7
    assert "not as required: accuracy.low >= 1, found 0." in capsys.readouterr().err


def test_what_is_no_requirement_opens_no_test_split(run, capsys):
    before = (run / "test_ledger.json").read_text()
    assert main(["evaluate", str(run), "--require", "accuracy"]) == 2
    assert main(["evaluate", str(run), "--by", "camera"]) == 2
    assert "--by must be one of folder, size" in capsys.readouterr().err
    assert (run / "test_ledger.json").read_text() == before


def test_evaluate_takes_a_run_or_a_table(run, table, capsys):
    assert main(["evaluate"]) == 2
    assert main(["evaluate", str(run), "--predictions", str(table)]) == 2
    assert "the folder of a run, or --predictions with a table" in capsys.readouterr().err


def test_a_promise_that_validation_cannot_bear_opens_no_test_split(run, capsys):
    before = (run / "test_ledger.json").read_text()
    assert main(["evaluate", str(run), "--cover", "0.99"]) == 3
    assert "takes 99 at least: promise less" in capsys.readouterr().err
    assert (run / "test_ledger.json").read_text() == before


def test_sets_and_thresholds_are_measured_with_validation_choosing_them(run, tmp_path, capsys):
    copy = shutil.copytree(run, tmp_path / "copy")
    assert main(["evaluate", str(copy), "--cover", "0.8"]) == 0
    assert "sets that promise to hold the true class of 0.8:" in capsys.readouterr().out
    scores = json.loads((copy / "metrics.json").read_text())["test"]
    assert scores["conformal"]["promise"] == 0.8
    assert scores["selective"]["curve"][-1]["coverage"] == 1


def test_label_errors_become_a_table_that_a_person_corrects_and_no_file_is_touched(
    run, digit_folder, tmp_path, capsys
):
    before = {path: path.read_bytes() for path in digit_folder.rglob("*.png")}
    table, fixed = tmp_path / "suspects.csv", tmp_path / "labels.csv"
    assert main(["label-errors", str(run), "--out", str(table)]) == 0
    assert "of 120 images were looked at" in capsys.readouterr().out
    with table.open("w", newline="") as file:  # what a person would fill in
        writer = csv.writer(file)
        writer.writerows(
            [["id", "correct"], ["0/000.png", "3"], ["1/001.png", "drop"], ["2/002.png", ""]]
        )
    words = ["inspect", str(digit_folder), "--fix", str(fixed), "--corrections", str(table)]
    assert main(words) == 0
    with fixed.open(newline="") as file:
        labels = {row["path"]: row["label"] for row in csv.DictReader(file)}
    assert (labels["0/000.png"], labels["1/001.png"], labels["2/002.png"]) == ("3", "", "2")
    assert {path: path.read_bytes() for path in digit_folder.rglob("*.png")} == before


def test_corrections_go_into_a_table(digit_folder, tmp_path, capsys):
    assert main(["inspect", str(digit_folder), "--corrections", str(tmp_path / "t.csv")]) == 2
    assert "--corrections need --fix" in capsys.readouterr().err


def test_the_model_card_is_one_that_the_hub_reads_with_the_figures_that_were_measured(run):
    from huggingface_hub import ModelCard

    card = ModelCard((run / "bundle" / "README.md").read_text())
    scores = json.loads((run / "metrics.json").read_text())
    assert card.data.library_name == "resnetlab"
    assert card.data.pipeline_tag == "image-classification"
    found = {(each.dataset_split, each.metric_type): each for each in card.data.eval_results}
    for split, name in (("test", "test"), ("val", "validation")):
        accuracy = found[name, "accuracy"]
        assert accuracy.metric_value == round(scores[split]["accuracy"]["value"], 4)
        assert f"{scores[split]['samples']} images" in accuracy.metric_name
    assert "Beware: " in card.text


def test_the_report_shows_where_the_network_saw_what_it_took_the_surest_errors_for(
    digit_folder, tmp_path
):
    quick = ["--epochs", "1", "--weights", "none", "--image-size", "16", "--device", "cpu"]
    words = ["--model", "cnn", "--out", str(tmp_path), "--name", "cnn", "--lr", "0.0005"]
    assert main(["train", str(digit_folder), *words, *quick]) == 0
    found = json.loads((tmp_path / "cnn" / "figures" / "thumbnails-val.json").read_text())
    errors = [found["pictures"][place] for place in found["galleries"]["surest_errors"]]
    assert errors, "after an epoch it still makes mistakes"
    assert all("cam" in picture for picture in errors)
    assert 'alt="Grad-CAM for ' in (tmp_path / "cnn" / "report.html").read_text()


def test_a_training_gives_its_folder_bundle_and_figures_as_one_document(run, capsys):
    assert main(["train", "--resume", str(run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["folder"] == str(run)
    assert found["bundle"] == str(run / "bundle")
    assert found["val"]["accuracy"].keys() == {"value", "low", "high"}


def test_predictions_are_one_document_with_what_was_counted(run, digit_folder, tmp_path, capsys):
    words = ["predict", str(run), str(digit_folder / "0"), "--json"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["files"], found["unusable"], len(found["predictions"])) == (30, 0, 30)
    assert found["predictions"][0]["class"] in "0123"
    assert found["out_of_distribution"] is None, "12 validation images are too few to tell"

    assert main([*words, "--out", str(tmp_path / "table.csv")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["out"] == str(tmp_path / "table.csv")
    assert found["predictions"] == []


def test_suggested_images_become_a_table_that_a_person_fills_in_and_train_takes(
    run, digit_folder, tmp_path, capsys
):
    unlabelled = digit_folder.parent / "unlabelled"
    unlabelled.mkdir()
    for number, image in enumerate(load_digits(n_class=4).images[-30:]):
        pixels = np.rint(image * 255 / 16).astype(np.uint8)
        Image.fromarray(pixels).save(unlabelled / f"{number:02d}.png")
    (unlabelled / "broken.png").write_bytes(b"no image")
    out = tmp_path / "next.csv"

    assert main(["suggest", str(run), str(unlabelled), "--count", "8", "--out", str(out)]) == 0

    said = capsys.readouterr()
    assert "8 of 30 images to label next" in said.out
    assert "1 of 31 files are no sound image" in said.err
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows[:8]] == [""] * 8
    assert len(rows) == 8 + 120
    assert f"--images {digit_folder.parent}" in said.out
    assert [float(row["uncertainty"]) for row in rows[:8]] == sorted(
        (float(row["uncertainty"]) for row in rows[:8]), reverse=True
    )

    for row in rows[:7]:
        row["label"] = row["predicted"]  # a person would look
    with out.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    recipe = Recipe().override({"data.images": str(digit_folder.parent), "data.unmatched": "drop"})
    dataset = read_data(out, recipe)
    before = Catalog.load(run / "catalog.parquet")
    assert len(dataset.catalog) == len(before) + 7
    assert dict(zip(*np.unique(dataset.catalog.split, return_counts=True), strict=True)) == {
        name: count + 7 * (name == "train")
        for name, count in zip(*np.unique(before.split, return_counts=True), strict=True)
    }


def test_robustness_is_shown_drawn_and_written(run, tmp_path, capsys):
    copy = shutil.copytree(run, tmp_path / "copy")
    assert main(["evaluate", str(copy), "--split", "val", "--robustness"]) == 0
    said = capsys.readouterr().out
    assert "occlusion" in said
    assert "strength 5" in said
    with (copy / "tables" / "robustness-val.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 7 * 5
    assert "Robustness" in (copy / "report.html").read_text()
    assert (copy / "figures" / "robustness-val.svg").is_file()
