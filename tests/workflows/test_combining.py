"""A model of single digits becomes one of two side by side, whose predictions are like any other's."""

import json

import numpy as np
import pytest
from PIL import Image

from resnetlab import combine, compare, evaluate_bundle, make, predict, train
from resnetlab.data.catalog import Catalog
from resnetlab.deploy.bundle import FACTS, load_bundle, read_facts
from resnetlab.deploy.predictor import Predictor
from resnetlab.errors import RecipeError
from resnetlab.recipe import Recipe
from resnetlab.workflows import evaluate_foreign


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A folder, and a run on single scanned digits in it."""
    folder = tmp_path_factory.mktemp("parts")
    make("digits", folder / "digits", 900, apart=True)
    recipe = Recipe().override(
        {
            "model.name": "cnn",
            "data.image_size": 16,
            "data.fit": "stretch",
            "training.epochs": 6,
            "training.optimizer": "adamw",
            "training.lr": 0.003,
            "evaluation.resamples": 100,
            "data.near_duplicates": "ignore",
        }
    )
    return folder, train(folder / "digits", recipe, out=folder / "runs")


def test_a_run_knows_what_its_training_images_are_like_and_a_combined_bundle_does_not(
    digits, tmp_path
):
    _, run = digits
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    for number in range(20):
        noise = np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(noise).save(foreign / f"{number}.png")

    found = evaluate_foreign(run.folder, foreign)

    assert found["auroc"]["value"] > 0.9
    assert run.metrics["foreign"]["images"] == 20
    assert "20 images that show none of the classes" in (run.folder / "report.html").read_text()
    assert read_facts(run.bundle / FACTS)[0].thresholds, "single digits are promised something"
    assert combine(run.folder, tmp_path / "pairs", 2).thresholds == {}
    assert Predictor(tmp_path / "pairs").reference is None


def test_the_surest_errors_stand_beside_the_nearest_training_images(digits):
    _, run = digits
    found = json.loads((run.figures / "thumbnails-val.json").read_text())
    errors = [found["pictures"][index] for index in found["galleries"]["surest_errors"]]
    assert errors, "six epochs leave some"
    catalog = Catalog.load(run.catalog_file)
    training = set(catalog.ids[catalog.rows("train")])
    labels = dict(zip(catalog.ids, catalog.labels, strict=True))
    for each in errors:
        assert len(each["near"]) == 3
        assert all(
            one["id"] in training and one["true"] == labels[one["id"]] for one in each["near"]
        )
    assert "training image" in (run.folder / "report.html").read_text()
    assert not any("near" in picture for picture in found["pictures"] if picture not in errors)


def test_joined_names_are_those_asked_for(digits, tmp_path):
    _, run = digits
    classes = tuple(f"{first}{second}" for first in range(10) for second in range(10))

    facts = combine(run.folder, tmp_path / "pairs", 2, rule="concatenation")

    assert facts.classes == classes
    assert facts.image_size == 32


@pytest.fixture(scope="module")
def pairs(digits):
    """Images of two digits from scans of the test, in folders named by their sum."""
    folder, _ = digits
    images = np.load(folder / "digits" / "images_test.npy")
    values = np.load(folder / "digits" / "labels_test.npy")
    for number in range(len(images) // 2):
        one, other = 2 * number, 2 * number + 1
        place = folder / "pairs" / str(values[one] + values[other])
        place.mkdir(parents=True, exist_ok=True)
        both = np.concatenate([images[one], images[other]], axis=1)
        Image.fromarray(both).save(place / f"{number}.png")
    return folder / "pairs"


def test_a_sum_is_predicted_about_as_well_as_all_its_parts(digits, pairs, tmp_path):
    _, run = digits
    single = run.metrics["val"]["accuracy"]["value"]

    runs = []
    for by in ("columns", "components"):
        combine(run.folder, tmp_path / by, 2, by=by, rule="sum")
        runs.append(evaluate_bundle(tmp_path / by, pairs, tmp_path / f"{by}-run"))

    for scored in runs:
        assert scored.metrics["test"]["accuracy"]["value"] > single**2 - 0.15
    compared = compare([scored.folder for scored in runs])
    assert compared["samples"] == 45


def test_a_file_is_predicted_as_evaluation_does(digits, pairs, tmp_path):
    _, run = digits
    combine(run.folder, tmp_path / "sum", 2)
    paths = sorted(pairs.rglob("*.png"))

    rows = predict(tmp_path / "sum", paths)

    right = [row["class"] == path.parent.name for row, path in zip(rows, paths, strict=True)]
    scored = evaluate_bundle(tmp_path / "sum", pairs, tmp_path / "run")
    assert np.mean(right) == pytest.approx(scored.metrics["test"]["accuracy"]["value"])


def test_the_bundle_says_how_it_divides_and_holds_the_parts_weights(digits, tmp_path):
    _, run = digits
    combine(run.folder, tmp_path / "sum", 3, by="components")

    facts, _ = read_facts(tmp_path / "sum" / FACTS)
    loaded, _ = load_bundle(tmp_path / "sum")
    part, _ = load_bundle(run.bundle)

    assert facts.parts["by"] == "components"
    assert facts.classes == tuple(map(str, range(28)))
    assert all(
        (one == other).all()
        for one, other in zip(
            loaded.part.state_dict().values(), part.state_dict().values(), strict=True
        )
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"by": "rows"}, "--by must be one of columns, components"),
        ({"rule": "mean"}, "--rule must be one of sum, concatenation, vote"),
        ({"count": 1}, "--count must be 2 parts at least"),
    ],
)
def test_what_is_no_division_is_refused(digits, tmp_path, settings, message):
    _, run = digits

    with pytest.raises(RecipeError, match=message):
        combine(run.folder, tmp_path / "x", **{"count": 2} | settings)


def test_a_model_that_divides_already_is_no_part(digits, tmp_path):
    _, run = digits
    combine(run.folder, tmp_path / "sum", 2)

    with pytest.raises(RecipeError, match="divides images itself"):
        combine(tmp_path / "sum", tmp_path / "again", 2)
