"""The four documents run again: here with small networks in the places of theirs."""

import json
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from resnetlab import train
from resnetlab.data.catalog import Catalog
from resnetlab.errors import RecipeError, StoppedError
from resnetlab.recipe import Recipe, load_recipe
from resnetlab.runs.run import Run
from resnetlab.system.files import write_json
from resnetlab.workflows import reproduce_document, resume
from resnetlab.workflows.documents import telling
from resnetlab.workflows.documents.stories import STORIES, Step, Story

SMALL = {
    "model.name": "mlp",
    "model.weights": "none",
    "data.image_size": 8,
    "data.near_duplicates": "ignore",
    "training.epochs": 2,
    "training.batch_size": 16,
    "training.optimizer": "sgd",
    "training.lr": 0.05,
}
SPACE = {"training.lr": [0.001, 0.05]}
SEARCHING = Story(
    "digits",
    test=0.2,
    copies=True,
    steps=(
        Step("search", "A grid", "s0-search", "search", settings=SMALL | {"tuning.space": SPACE}),
        Step("told", "With copies", "s0", "copies", reports="55.29 %", settings=SMALL),
        Step("ours", "Longer", ours=True, settings=SMALL | {"training.epochs": 12}),
    ),
)


@pytest.fixture(scope="module")
def told(tmp_path_factory, digit_folder) -> Path:
    """S0's story, small, cut off in its second step and resumed."""
    out = tmp_path_factory.mktemp("documents")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(STORIES, "s0", SEARCHING)
        real = telling.evaluate

        def cut(*arguments):
            raise StoppedError("terminated", 143)

        patch.setattr(telling, "evaluate", cut)
        with pytest.raises(StoppedError, match=r"resnetlab resume .*s0"):
            reproduce_document("s0", digit_folder, out)
        patch.setattr(telling, "evaluate", real)
        resume(out / "s0")
    return out / "s0"


def test_steps_and_ours_are_tested_once_on_the_same_images(told):
    tests = [Catalog.load(Run(told / name).catalog_file) for name in ("told", "ours")]
    ids = [set(catalog.ids[catalog.rows("test")]) for catalog in tests]
    assert ids[0] == ids[1] and len(ids[0]) == 24
    assert [len(Run(told / name).ledger) for name in ("told", "ours")] == [1, 1]
    assert not (told / "search" / "predictions-test.parquet").is_file()


def test_the_document_trains_on_each_image_and_one_copy_by_the_best_settings(told):
    catalog = Catalog.load(told / "told" / "catalog.parquet")
    ours = Catalog.load(told / "ours" / "catalog.parquet")
    assert len(catalog.rows("train")) == 2 * 96
    assert len(ours.rows("train")) + len(ours.rows("val")) == 96
    best = load_recipe(told / "search" / "best.yaml").training
    recipe = Run(told / "told").recipe
    assert (recipe.training.lr, recipe.training.epochs) == (best.lr, best.epochs)


def test_the_page_tells_what_was_reported_and_what_came_of_it(told):
    facts = json.loads((told / "results.json").read_text())
    assert [row["name"] for row in facts["steps"]] == ["search", "told", "ours"]
    assert [row["openings"] for row in facts["steps"]] == [0, 1, 1]
    (pair,) = facts["pairs"]
    assert {pair["a"], pair["b"]} == {"told", "ours"}
    assert pair["balanced_difference"]["low"] <= pair["balanced_difference"]["value"]
    page = (told / "report.html").read_text()
    assert "epochs instead of" in facts["verdict"]
    assert "55.29 %" in page and facts["verdict"].split(":")[0] in unescape(page)


def test_a_budget_reduces_epochs_and_sizes_and_the_page_says_so(monkeypatch):
    step = Step("told", "Long", "s1-mlp-document", share=0.1, reduced={"data.image_size": 16})
    working = telling.Telling(Path(), Story("digits", (step,)), Path(), 600.0, True, True)
    asked = []
    monkeypatch.setattr(telling, "train", lambda *arguments: asked.append(arguments))
    telling.do_training(working, step)
    ((_, recipe, _, name, _, seconds, most),) = asked
    assert (name, recipe.data.image_size, recipe.training.epochs) == ("told", 16, "auto")
    assert (seconds, most) == (60.0, 25)
    assert telling.describe_changes(working, step) == ["data.image_size: 16"]
    assert telling.shorter(step, {"epochs": 5}) == ["5 epochs instead of 25"]
    assert telling.shorter(step, {"epochs": 25}) == []


@pytest.mark.parametrize(
    ("budget_s", "took", "has"), [(None, 92.0, 92.0), (600.0, 92.0, 300.0), (600.0, 400.0, 400.0)]
)
def test_ours_has_the_minutes_that_the_documents_step_took_or_was_given(
    tmp_path, budget_s, took, has
):
    steps = Step("told", "Short", share=0.5), Step("ours", "Ours", ours=True, as_long_as="told")
    (tmp_path / "told").mkdir()
    write_json(tmp_path / "told" / "metrics.json", {"training": {"seconds": took}})
    working = telling.Telling(tmp_path, Story("digits", steps), Path(), budget_s, True, False)

    assert working.seconds(steps[1]) == has


def test_a_step_that_was_cut_before_it_was_planned_is_planned_again(
    digit_folder, tmp_path, monkeypatch
):
    steps = (
        Step("told", "Short", share=0.5, settings=SMALL),
        Step("ours", "Ours", ours=True, share=0.5, settings=SMALL),
    )
    monkeypatch.setitem(STORIES, "s0", Story("digits", steps, test=0.2))

    def cut(*arguments):
        raise StoppedError("terminated", 143)

    budgets = []

    def trained(*arguments):
        budgets.append(arguments[5])
        return train_step(*arguments)

    train_step = telling.train
    monkeypatch.setattr(telling, "train", trained)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("resnetlab.workflows.training.in_time", cut)
        with pytest.raises(StoppedError):
            reproduce_document("s0", digit_folder, tmp_path, budget_s=120.0)
    assert (tmp_path / "s0" / "told" / "unfinished.json").is_file()
    resume(tmp_path / "s0")

    assert budgets == [60.0, 60.0, 60.0]


def test_where_the_weights_of_a_resnet_cannot_be_had_the_packaged_network_takes_its_place():
    for story in STORIES.values():
        for step in story.steps:
            working = telling.Telling(Path(), story, Path(), None, False, True)
            recipe = working.recipe(step)
            pretrained = recipe.model.weights != "none" and recipe.model.name not in (
                "mlp", "cnn", "fastcnn", "autoencoder"
            )  # fmt: skip
            if pretrained:
                assert recipe.model.name in ("tf_efficientnet_lite0", "auto"), step


@pytest.mark.parametrize("document", STORIES)
def test_all_steps_of_a_document_keep_the_same_share_for_the_test(document):
    story = STORIES[document]
    for weights in (True, False):
        for budget_s in (None, 3600.0):
            working = telling.Telling(Path(), story, Path(), budget_s, weights, False)
            shares = {working.recipe(step).data.split[2] for step in story.steps}
            assert shares == {story.test}
    share = {step.name: step.share for step in story.steps}
    shares = [share[step.as_long_as or step.name] for step in story.steps]
    assert sum(shares) == pytest.approx(1.0)


def test_a_competition_is_answered_in_its_form(tmp_path, monkeypatch):
    digits = load_digits(n_class=3)
    data = tmp_path / "competition"
    hidden = {}
    for number, (image, label) in enumerate(zip(digits.images[:150], digits.target, strict=False)):
        folder = data / "test" if number >= 120 else data / "train" / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.rint(image * 255 / 16).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:04d}.png")
        if number >= 120:
            hidden[f"{number:04d}.png"] = str(label)
    rows = [f"{name},0" for name in sorted(hidden, reverse=True)]
    (data / "sample_submission.csv").write_text("\n".join(["id,label", *rows]) + "\n")
    steps = (
        Step("told", "Short", settings=SMALL),
        Step("ours", "Longer", ours=True, settings=SMALL | {"training.epochs": 12}),
    )
    monkeypatch.setitem(STORIES, "s3", Story("digits", steps))
    run = reproduce_document("s3", data, tmp_path / "runs")
    lines = (run.folder / "submission.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == sorted(hidden, reverse=True)
    right = sum(hidden[name] == label for name, label in (line.split(",") for line in lines[1:]))
    assert right / len(hidden) > 0.8


@pytest.mark.parametrize("anyway", [True, False])
def test_a_step_goes_on_anyway_where_its_document_does(tmp_path, digit_folder, monkeypatch, anyway):
    monkeypatch.setitem(STORIES, "s0", Story("digits", (Step("told", "Short"),)))

    def reached(folder, asked):
        assert (folder.name, asked) == ("told", anyway)
        raise StoppedError("reached", 143)

    monkeypatch.setattr(telling, "go_on", reached)
    arguments = {"document": "s0", "data": str(digit_folder), "budget_s": None}
    with pytest.raises(StoppedError, match="reached"):
        telling.go_on_telling(tmp_path, arguments, anyway)


def test_a_document_without_images_is_refused():
    with pytest.raises(RecipeError, match="reproduce s1 needs --data"):
        reproduce_document("s1", None)


def test_a_budget_works_without_validation(tmp_path, digit_folder):
    recipe = Recipe().override(SMALL | {"training.epochs": "auto", "data.split": [0.8, 0.0, 0.2]})
    run = train(digit_folder, recipe, tmp_path, budget_s=40.0, most_epochs=3)
    assert run.recipe.training.epochs <= 3
