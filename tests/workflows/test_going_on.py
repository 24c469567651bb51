"""Going on from a finished run: more epochs, more patience, more images, one more class."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from resnetlab import workflows
from resnetlab.cli.main import main
from resnetlab.data.catalog import Catalog
from resnetlab.deploy.bundle import load_bundle
from resnetlab.errors import DataError, RecipeError
from resnetlab.evaluation.predictions import Predictions
from resnetlab.recipe import Recipe
from resnetlab.runs.run import Run
from resnetlab.system import interruption
from resnetlab.system.files import read_csv
from resnetlab.workflows.resuming.lengthening import refuse_longer

TINY = {
    "data.image_size": 16,
    "data.augment": "none",
    "data.workers": 0,
    "model.name": "mlp",
    "training.batch_size": 16,
    "training.precision": "fp32",
    "training.threads": 1,
    "training.optimizer": "adamw",
    "evaluation.resamples": 100,
}
RESULTS = ("history.csv", "predictions-val.parquet", "bundle/model.safetensors")


def recipe_for(**values: object) -> Recipe:
    return Recipe().override(
        TINY | {key.replace("__", "."): value for key, value in values.items()}
    )


def results(run: Run) -> dict[str, bytes]:
    return {name: (run.folder / name).read_bytes() for name in RESULTS}


def put(folder: Path, labels: range, numbers: range) -> Path:
    """Write digits as PNG into class folders: of each class those with these numbers."""
    digits = load_digits()
    for label in labels:
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        for number in numbers:
            image = digits.images[digits.target == label][number]
            pixels = np.rint(image * 255 / 16).astype(np.uint8)
            Image.fromarray(pixels).save(folder / str(label) / f"{number:03d}.png")
    return folder


@pytest.fixture(autouse=True)
def no_deadline_is_left() -> Iterator[None]:
    yield
    interruption.reset()


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 digits of each of three classes."""
    return put(tmp_path_factory.mktemp("few"), range(3), range(30))


@pytest.fixture(scope="module")
def run(few: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Three epochs whose rate ends at zero; to be read only."""
    return workflows.train(few, recipe_for(training__epochs=3), tmp_path_factory.mktemp("runs"))


def splits_of(run: Run) -> dict[str, str]:
    catalog = Catalog.load(run.catalog_file)
    return dict(zip(catalog.sha256, catalog.split, strict=True))


# A new training


def test_it_begins_with_the_very_network_of_the_run(run: Run, few: Path, tmp_path: Path) -> None:
    # At such a rate no answer changes: what it can, it brought along.
    onward = workflows.recipe_from(run.folder).override({"training.lr": 1e-12})
    second = workflows.train(few, onward, tmp_path)

    before, after = (Predictions.load(each.predictions("val")) for each in (run, second))
    assert list(before.ids) == list(after.ids)
    np.testing.assert_allclose(after.logits, before.logits, atol=1e-4)
    measured = second.metrics["start"]["accuracy"]
    assert measured == run.metrics["val"]["accuracy"]["value"]


def test_more_images_and_one_more_class(run: Run, tmp_path: Path, capfd) -> None:
    more = put(tmp_path / "more", range(4), range(40))
    words = ["train", str(more), "--from", str(run.folder), "--out", str(tmp_path), "--epochs", "1"]
    assert main(words) == 0

    assert "knows 3 of the 4 classes; new: 3\n" in capfd.readouterr().err
    second = Run(tmp_path / "more-mlp")
    assert splits_of(second).items() >= splits_of(run).items()  # each is where it was
    first, head = (load_bundle(each.bundle)[0].head for each in (run, second))
    assert head.out_features == 4
    # One epoch moves the weights a little; rows of other classes would lie far off.
    distance = (head.weight[:3] - first.weight).norm() / first.weight.norm()
    assert distance < 0.5
    assert second.recipe.training.epochs == 1
    assert second.recipe.training.lr == run.recipe.training.lr  # not said, so as it was


def test_rows_of_the_head_go_by_name_and_not_by_place(run: Run, tmp_path: Path, capfd) -> None:
    """A class that is here no more moves the rows of those that follow it."""
    other = put(tmp_path / "other", range(1, 4), range(30))
    onward = workflows.recipe_from(run.folder).override({"training.lr": 1e-12})
    second = workflows.train(other, onward, tmp_path / "runs")

    said = capfd.readouterr().err
    assert "note: it also knows 0, without an image here: the new network will not" in said
    assert Catalog.load(second.catalog_file).classes == ("1", "2", "3")
    first, head = (load_bundle(each.bundle)[0].head for each in (run, second))
    np.testing.assert_allclose(head.weight[:2].detach(), first.weight[1:].detach(), atol=1e-6)
    np.testing.assert_allclose(head.bias[:2].detach(), first.bias[1:].detach(), atol=1e-6)


def test_it_is_cut_before_its_first_step_and_goes_on_to_the_same_bits(
    run: Run, few: Path, tmp_path: Path
) -> None:
    onward = workflows.recipe_from(run.folder).override({"training.epochs": 2})
    onward = onward.override({"data.workers": 0, "training.precision": "fp32"})
    uncut = workflows.train(few, onward, tmp_path, "uncut")
    interruption.set_deadline(0)
    with pytest.raises(Exception, match="the time is up"):
        workflows.train(few, onward, tmp_path, "cut")
    interruption.reset()
    workflows.resume(tmp_path / "cut")
    assert results(Run(tmp_path / "cut")) == results(uncut)


def test_dense_layers_before_the_head_come_along(few: Path, tmp_path: Path) -> None:
    settings = {"model.name": "cnn", "model.hidden": [8], "training.epochs": 1}
    first = workflows.train(few, recipe_for().override(settings), tmp_path, "first")
    onward = workflows.recipe_from(first.folder).override({"training.lr": 1e-12})
    second = workflows.train(few, onward, tmp_path, "second")
    found = {
        "accuracy": second.metrics["start"]["accuracy"],
        "loss": second.metrics["start"]["loss"],
    }
    assert found["accuracy"] == first.metrics["val"]["accuracy"]["value"]
    assert found["loss"] == pytest.approx(first.metrics["val"]["loss"]["value"], rel=1e-4)


def test_what_it_was_measured_on_stays_apart_where_a_fold_validated(
    few: Path, tmp_path: Path
) -> None:
    folded = recipe_for(training__epochs=1, data__folds=3, data__fold=1)
    first = workflows.train(few, folded, tmp_path, "first")
    onward = workflows.recipe_from(first.folder)
    assert sum(onward.data.split) == pytest.approx(1)
    assert splits_of(workflows.train(few, onward, tmp_path, "second")) == splits_of(first)


def test_an_image_that_taught_the_run_never_measures_what_goes_on_from_it(
    run: Run, few: Path, tmp_path: Path, capfd
) -> None:
    """The user's own folders may put them there: a few are left out, more are refused."""
    catalog = Catalog.load(run.catalog_file)
    folder = tmp_path / "given"
    learned = [catalog.paths[row] for row in catalog.rows("train")]
    for split, paths in {"val": learned[::20], "train": learned[1::20] + learned[2::20]}.items():
        for path in paths:
            (folder / split / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(few / path, folder / split / path)
    put(folder / "val", range(3), range(40, 45))
    put(folder / "test", range(3), range(45, 50))
    onward = workflows.recipe_from(run.folder).override({"training.epochs": 1})
    with pytest.raises(
        DataError, match=r"4 validation or test images, the first is val/0/.* taught"
    ):
        workflows.train(folder, onward, tmp_path / "runs")

    second = workflows.train(
        folder, onward.override({"data.max_problem_frac": 0.5}), tmp_path / "runs"
    )
    after = Catalog.load(second.catalog_file)
    assert len(after.rows("val")) == 15
    assert sum("taught" in problem for problem in after.problem) == 4
    assert "would flatter it, and are left out" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "cnn"], "model.name can't be said beside it. Got cnn"),
        (["--weights", "imagenet"], "model.weights can't be said beside it. Got imagenet"),
        (["--quick"], "For a new head: --weights"),
        (["--recipe", "s0"], "change single values by --set"),
    ],
)
def test_what_contradicts_it_is_refused(run: Run, few: Path, words, message, capfd) -> None:
    assert main(["train", str(few), "--from", str(run.folder), *words]) == 2
    assert message in capfd.readouterr().err


def test_a_bundle_alone_knows_no_split(run: Run, few: Path, capfd) -> None:
    assert main(["train", str(few), "--from", str(run.bundle)]) == 3
    assert "no run here" in capfd.readouterr().err


# A finished training made longer


@pytest.mark.parametrize("schedule", ["constant", "step", "plateau"])
def test_more_epochs_are_those_of_a_training_that_had_them_from_the_beginning(
    few: Path, tmp_path: Path, schedule: str
) -> None:
    settings = {"training__schedule": schedule, "training__step_epochs": 2}
    settings |= {"training__plateau_epochs": 1}
    uncut = workflows.train(few, recipe_for(training__epochs=5, **settings), tmp_path, "uncut")
    workflows.train(few, recipe_for(training__epochs=2, **settings), tmp_path, "longer")
    longer = workflows.resume(tmp_path / "longer", epochs=5)

    assert longer is not None
    assert results(longer) == results(uncut)
    assert longer.recipe == uncut.recipe


def test_more_patience_goes_on_whatever_the_schedule(few: Path, tmp_path: Path, capfd) -> None:
    settings = {"training__epochs": 6, "training__lr": 1e-9, "training__schedule": "cosine"}
    uncut = workflows.train(few, recipe_for(**settings, training__patience=4), tmp_path, "uncut")
    workflows.train(few, recipe_for(**settings, training__patience=2), tmp_path, "early")
    early = tmp_path / "early"
    assert len(read_csv(early / "history.csv")) == 3
    assert main(["resume", str(early), "--epochs", "6"]) == 2
    assert f"more patience goes on: resnetlab resume {early} --epochs 6 --patience 4" in (
        capfd.readouterr().err
    )
    assert main(["resume", str(early), "--patience", "4"]) == 0
    assert results(Run(early)) == results(uncut)


@pytest.mark.parametrize("schedule", ["cosine", "linear", "onecycle"])
def test_a_schedule_that_ended_says_what_to_do(run: Run, schedule: str) -> None:
    longer = run.recipe.override({"training.schedule": schedule, "training.epochs": 5})
    with pytest.raises(RecipeError) as caught:
        refuse_longer(run, longer)
    assert f"training.schedule={schedule} ends the learning rate with epoch 3" in str(caught.value)
    assert f"resnetlab train DATA --from {run.folder} --epochs 2" in str(caught.value)


def test_images_that_grow_until_the_last_epoch_make_no_longer_training(run: Run) -> None:
    longer = {"schedule": "constant", "start_size": 12, "epochs": 5}
    with pytest.raises(RecipeError, match="start_size lets the images grow until the last epoch"):
        refuse_longer(run, run.recipe.override({f"training.{k}": v for k, v in longer.items()}))


def test_a_score_of_the_test_split_goes_with_the_network_that_had_it(
    few: Path, tmp_path: Path, capfd
) -> None:
    settings = recipe_for(training__epochs=1, training__schedule="constant")
    done = workflows.train(few, settings, tmp_path)
    workflows.evaluate(done.folder)
    workflows.resume(done.folder, epochs=2)

    assert "Score it again: resnetlab evaluate" in capfd.readouterr().err
    assert "test" not in done.metrics
    assert not done.predictions("test").exists()
    assert not list(done.folder.rglob("*-test*"))
    assert len(done.ledger) == 1  # that it was opened stays written


def test_without_its_images_nothing_of_a_finished_run_goes(few: Path, tmp_path: Path) -> None:
    settings = recipe_for(training__epochs=1, training__schedule="constant")
    data = shutil.copytree(few, tmp_path / "few")
    done = workflows.train(data, settings, tmp_path)
    workflows.evaluate(done.folder)
    before = {file: file.read_bytes() for file in done.folder.rglob("*.json")}
    data.rename(tmp_path / "elsewhere")

    with pytest.raises(DataError, match="is gone"):
        workflows.resume(done.folder, epochs=2)

    assert {file: file.read_bytes() for file in done.folder.rglob("*.json")} == before
    assert done.predictions("test").is_file()


def test_killed_while_it_is_made_longer_it_goes_on(
    few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"training__schedule": "constant"}
    uncut = workflows.train(few, recipe_for(training__epochs=3, **settings), tmp_path, "uncut")
    done = workflows.train(few, recipe_for(training__epochs=2, **settings), tmp_path, "killed")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Run, "write_recipe", killed)  # between environment.json and recipe.yaml
        with pytest.raises(KeyboardInterrupt):
            workflows.resume(done.folder, epochs=3)
    workflows.resume(done.folder)
    assert results(done) == results(uncut)


@pytest.mark.parametrize("epochs", [1, 3])
def test_no_more_epochs_than_are_done_is_refused(run: Run, epochs: int) -> None:
    with pytest.raises(RecipeError, match=f"3 epochs are done; .* Got {epochs}"):
        workflows.resume(run.folder, epochs=epochs)


def test_anyway_is_no_word_for_a_training_made_longer(run: Run) -> None:
    for more in ({"epochs": 5}, {"patience": 5}):
        with pytest.raises(RecipeError, match=r"--anyway goes on with what was cut off; .* leave"):
            workflows.resume(run.folder, anyway=True, **more)


def test_an_unfinished_training_is_finished_first(few: Path, tmp_path: Path) -> None:
    interruption.set_deadline(0)
    with pytest.raises(Exception, match="the time is up"):
        workflows.train(few, recipe_for(training__epochs=2), tmp_path, "cut")
    interruption.reset()
    with pytest.raises(DataError, match="isn't finished; go on with: resnetlab resume"):
        workflows.resume(tmp_path / "cut", epochs=5)
