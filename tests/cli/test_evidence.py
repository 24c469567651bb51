"""Evidence from the command line: tables made elsewhere, JSON for pipelines, what is required."""

import csv
import json
import re
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
from resnetlab.evaluation.requirements import figure
from resnetlab.recipe import Recipe
from resnetlab.report.drawing import galleries
from resnetlab.runs.run import Run
from resnetlab.workflows.evidence.required import example_scores


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


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--require", "acuracy>=0.9"], 2, "no figure 'acuracy'; there are .*mean 'accuracy'?"),
        (["--require", "per_class.7.recall>0"], 2, "no figure 'per_class.7.recall'; there are 0, "),
        (["--require", "top5>0.9"], 2, "'top5' is no figure here: it was not measured"),
        (["--require", "robustness.mean>0"], 2, "no figure 'robustness.mean'"),
        (["--by", "folder"], 3, "subgroups by 'folder' must be 3 at most. Got 4, such as '0'"),
    ],
)
def test_a_mistake_that_scores_alone_would_show_opens_no_test_split(
    run, capsys, monkeypatch, words, code, message
):
    monkeypatch.setattr("resnetlab.evaluation.subgroups.MOST", 3)
    before = (run / "test_ledger.json").read_text()
    assert main(["evaluate", str(run), *words]) == code
    assert re.search(message, capsys.readouterr().err)
    assert (run / "test_ledger.json").read_text() == before


def figures(place, name=""):
    """Give the dotted name of each figure in scores."""
    if isinstance(place, list) and place and isinstance(place[0], dict) and "class" in place[0]:
        place = {row["class"]: row for row in place}
    if isinstance(place, dict):
        for key, value in place.items():
            yield from figures(value, f"{name}.{key}".lstrip("."))
    elif isinstance(place, int | float) and not isinstance(place, bool):
        yield name


def test_each_figure_that_scoring_gives_may_be_required(run):
    names = list(figures(Run(run).metrics["test"]))
    assert {"samples", "accuracy.low", "per_class.0.auroc.low", "selective.aurc"} < set(names)
    known = example_scores(Run(run), 0.95, False, False)
    for name in names:
        figure(known, name)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["RUN", "--out", "x"], "a run alone takes no flag but --split, --by, .*Got --out"),
        (["RUN", "--classes", "a,b"], "Got --classes"),
        (["RUN", "--data", "x", "--by", "folder", "--cover", "0.9"], "Got --by, --cover"),
        (["RUN", "--data", "x", "--by-class", "--robustness"], "Got --by-class, --robustness"),
        (["--predictions", "x", "--split", "val"], "--predictions takes no flag .*Got --split"),
        (["--predictions", "x", "--data", "y", "--cover", "0.9"], "Got --data, --cover"),
        (
            ["RUN", "--foreign", "x", "--by", "size"],
            "takes no flag but --require, --json. Got --by",
        ),
    ],
)
def test_a_flag_that_says_nothing_in_what_is_measured_is_refused(run, capsys, words, message):
    assert main(["evaluate", *(str(run) if word == "RUN" else word for word in words)]) == 2
    assert re.search(message, capsys.readouterr().err)


def test_the_split_of_other_images_that_was_scored_is_named(run, digit_folder, tmp_path, capsys):
    for split, numbers in (("train", range(3, 8)), ("val", range(3))):
        for label in "0123":
            (tmp_path / "data" / split / label).mkdir(parents=True)
            for number in numbers:
                image = digit_folder / label / f"{number:03}.png"
                shutil.copy(image, tmp_path / "data" / split / label)
    words = ["evaluate", str(run), "--data", str(tmp_path / "data"), "--out", str(tmp_path)]
    assert main([*words, "--split", "val"]) == 0
    assert "validation, 12 images" in capsys.readouterr().out


def test_a_report_on_a_table_takes_the_place_of_an_earlier_one_and_of_no_run(
    run, table, tmp_path, capsys
):
    words = ["evaluate", "--predictions", str(table), "--out"]
    copy = shutil.copytree(run, tmp_path / "copy")
    before = (copy / "metrics.json").read_bytes()
    assert main([*words, str(copy)]) == 2
    assert f"Got {copy}, which holds recipe.yaml of other work" in capsys.readouterr().err
    (copy / "recipe.yaml").unlink()  # cut off before it had one
    assert main([*words, str(copy)]) == 2
    assert (copy / "metrics.json").read_bytes() == before
    assert main([*words, str(tmp_path / "new")]) == 0
    assert main([*words, str(tmp_path / "new")]) == 0


def test_a_page_shows_one_confidence_for_an_image_and_what_validation_chose_is_called_so(
    run, tmp_path, capsys, monkeypatch
):
    copy, drawn = shutil.copytree(run, tmp_path / "copy"), {}
    monkeypatch.setattr(
        galleries, "sample_predictions", lambda *args: drawn.update({args[4].name: args[3]})
    )
    assert main(["evaluate", str(copy), "--split", "val"]) == 0
    assert "chosen on these very images" in capsys.readouterr().out
    found = json.loads((copy / "figures" / "thumbnails-val.json").read_text())
    places = found["galleries"]["samples"]
    shown = [found["pictures"][place]["confidence"] for place in places]
    assert drawn["samples-val.png"] == pytest.approx(shown, abs=1e-4)
    assert Run(copy).metrics["val"]["calibration"]["temperature"] != 1
    assert main(["evaluate", str(copy)]) == 0
    assert "chosen on these very images" not in capsys.readouterr().out


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
