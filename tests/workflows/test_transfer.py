"""From a folder to a classifier by transfer: a usable model first, then the rest, cut anywhere."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from resnetlab import workflows
from resnetlab.cli.main import main
from resnetlab.errors import StoppedError
from resnetlab.recipe import Recipe
from resnetlab.report.formats import plural
from resnetlab.runs.run import Run
from resnetlab.system import interruption
from resnetlab.system.files import read_csv
from resnetlab.training.checkpoint import read_checkpoint

NETWORK = "lcnet_050"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(3)
    path = tmp_path_factory.mktemp("weights") / "lcnet.safetensors"
    save_file(timm.create_model(NETWORK).state_dict(), path)
    return path


def recipe_for(weights: Path, **values) -> Recipe:
    settings = {
        "model.name": NETWORK,
        "model.weights": str(weights),
        "data.image_size": 32,
        "data.workers": 0,
        "data.augment": "none",
        "training.epochs": 2,
        "training.batch_size": 16,
        "training.precision": "fp32",
        "training.threads": 1,
    }
    return Recipe().override(
        settings | {key.replace("__", "."): value for key, value in values.items()}
    )


@pytest.fixture(scope="module")
def run(digit_folder: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return workflows.train(digit_folder, recipe_for(weights), tmp_path_factory.mktemp("runs"))


def test_every_auto_was_settled_and_is_written_down(run):
    training = run.recipe.training

    assert (training.optimizer, training.layer_decay, training.head_first) == ("adamw", 0.8, True)
    assert json.dumps(run.recipe.model_dump(mode="json")).count('"auto"') == 1, (
        "the stem it has not"
    )


def test_of_few_images_norms_learn_no_statistics(run, weights):
    first, (last, _) = load_file(weights), read_checkpoint(run.checkpoint("last"))

    assert run.recipe.training.freeze_norms is True
    for name, same in (("bn1.running_mean", True), ("bn1.weight", False)):
        (found,) = (tensor for key, tensor in last.items() if key.endswith(f"backbone.net.{name}"))
        assert torch.equal(found, first[name]) is same


def test_the_head_came_first_and_its_figures_are_kept(run):
    head = run.metrics["head"]

    assert 0 <= head["accuracy"] <= 1
    assert 0 <= head["neighbours"] <= 1
    assert len(read_csv(run.folder / "history.csv")) == 2


def test_images_are_normalised_as_the_weights_want_it(run):
    state = load_file(run.bundle / "model.safetensors")

    assert state["mean"].tolist() == pytest.approx([0.485, 0.456, 0.406])


def test_the_better_of_head_and_fine_tuning_is_handed_over(run):
    facts = run.metrics
    best = max(float(row["val_accuracy"]) for row in read_csv(run.folder / "history.csv"))

    assert facts["training"]["head_kept"] == (facts["head"]["accuracy"] >= best)
    assert facts["val"]["accuracy"]["value"] == pytest.approx(max(best, facts["head"]["accuracy"]))


@pytest.mark.parametrize("key", ["model.name", "model.weights"])
def test_training_goes_on_from_a_run_that_names_its_network(run, digit_folder, tmp_path, key):
    settings = {"data.workers": 0, "training.epochs": 0, "training.threads": 1}

    after = workflows.train(
        digit_folder, Recipe().override(settings | {key: str(run.folder)}), tmp_path
    )

    assert after.recipe.model.name == NETWORK
    assert after.recipe.data.image_size == 32
    first, second = (load_file(each.bundle / "model.safetensors") for each in (run, after))
    name = "backbone.net.conv_stem.weight"
    assert torch.equal(first[name], second[name])
    assert second["mean"].tolist() == first["mean"].tolist()


def test_quick_stops_at_the_head(digit_folder, weights, tmp_path, capsys):
    words = ["--model", NETWORK, "--weights", str(weights), "--image-size", "32", "--quick"]
    assert main(["train", str(digit_folder), *words, "--out", str(tmp_path), "--name", "q"]) == 0

    said = capsys.readouterr()
    assert "head alone, on features" in said.err
    assert Run(tmp_path / "q").metrics["training"]["epochs_run"] == 0
    page = (tmp_path / "q" / "report.html").read_text()
    assert "First its head was fitted on the features" in page
    assert "Nothing else was trained." in page
    assert main(["predict", str(tmp_path / "q"), str(digit_folder / "1")]) == 0


def test_who_interrupts_the_rest_has_a_model(digit_folder, weights, tmp_path, monkeypatch):
    def end(ahead_s=0.0):
        raise StoppedError("interrupted", 130)

    monkeypatch.setattr("resnetlab.training.loop.train_epoch", lambda *_: end())
    with pytest.raises(StoppedError):
        workflows.train(digit_folder, recipe_for(weights), tmp_path, "cut")

    answers = workflows.predict(tmp_path / "cut", [digit_folder / "1"])
    assert {row["problem"] for row in answers} == {""}


@pytest.mark.parametrize("steps", [1, 4, 8])
def test_cut_after_any_step_it_goes_on_to_the_same_bits(
    digit_folder, weights, tmp_path, monkeypatch, steps
):
    recipe = recipe_for(weights, training__ema=0.9, data__augment="photo")
    uncut = workflows.train(digit_folder, recipe, tmp_path, "uncut")
    seen = iter(range(1000))

    def requested(ahead_s: float = 0.0) -> bool:
        return next(seen) >= steps

    with monkeypatch.context() as patch:
        patch.setattr("resnetlab.training.checkpoint_manager.interruption.requested", requested)
        patch.setattr("resnetlab.training.checkpoint_manager.interruption.raise_if_requested", stop)
        with pytest.raises(StoppedError):
            workflows.train(digit_folder, recipe, tmp_path, "cut")
    interruption.reset()
    workflows.resume(tmp_path / "cut")

    for name in ("bundle/model.safetensors", "history.csv"):
        assert digest(tmp_path / "cut" / name) == digest(uncut.folder / name), name


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def stop(ahead_s: float = 0.0) -> None:
    raise StoppedError("interrupted", 130)


def test_cut_before_the_first_step_the_head_is_fitted_again(
    digit_folder, weights, tmp_path, monkeypatch
):
    recipe = recipe_for(weights)
    uncut = workflows.train(digit_folder, recipe, tmp_path, "uncut")
    with monkeypatch.context() as patch:
        patch.setattr("resnetlab.training.head.logistic_regression", lambda *_: stop())
        with pytest.raises(StoppedError):
            workflows.train(digit_folder, recipe, tmp_path, "cut")
    workflows.resume(tmp_path / "cut")

    name = "bundle/model.safetensors"
    assert digest(tmp_path / "cut" / name) == digest(uncut.folder / name)


def test_a_budget_decides_the_epochs(digit_folder, weights, tmp_path, capsys):
    recipe = recipe_for(weights, training__epochs="auto")

    run = workflows.train(digit_folder, recipe, tmp_path, "b", budget_s=22.0)

    assert 1 <= run.recipe.training.epochs <= 30
    assert (
        f"plan: {plural(int(run.recipe.training.epochs), 'epoch')} of " in capsys.readouterr().err
    )


def test_a_search_begins_every_fold_with_its_head(digit_folder, weights, tmp_path, monkeypatch):
    from resnetlab.tuning import trial

    fitted = []
    loosen_head = trial.loosen_head
    monkeypatch.setattr(
        trial, "loosen_head", lambda *given: fitted.append(len(given[1])) or loosen_head(*given)
    )
    recipe = recipe_for(
        weights,
        training__epochs=1,
        tuning__folds=2,
        tuning__space={"training.lr": [0.001, 0.002]},
    )
    workflows.tune(digit_folder, recipe, tmp_path, "s", retrain=False)

    assert len(fitted) == 4


def test_the_same_bundle_says_the_same_by_every_runtime(run, digit_folder):
    pytest.importorskip("openvino")
    probs = {
        backend: [
            list(row["probabilities"].values())
            for row in workflows.predict(run.bundle, [digit_folder], backend=backend)
        ]
        for backend in ("torch", "onnx", "openvino")
    }

    for backend in ("onnx", "openvino"):
        torch.testing.assert_close(
            torch.tensor(probs[backend]), torch.tensor(probs["torch"]), atol=1e-4, rtol=0
        )


def test_stages_may_learn_at_their_own_rates(digit_folder, weights, tmp_path, capsys):
    recipe = recipe_for(weights, training__stage_lr={"blocks.0": 1e-5, "blocks.1": 3e-5})

    workflows.train(digit_folder, recipe, tmp_path, "rates")

    said = capsys.readouterr().err
    assert "blocks.0" in said and "lr 1e-05" in said and "lr 3e-05" in said


def test_a_stage_that_is_not_there_is_told_before_any_image_is_read(
    digit_folder, weights, tmp_path
):
    shutil.rmtree(tmp_path / "runs", ignore_errors=True)
    recipe = recipe_for(weights, training__stage_lr={"blocks.99": 1e-5})

    with pytest.raises(Exception, match=r"training\.stage_lr must name stages of the network"):
        workflows.train(digit_folder, recipe, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_of_several_networks_the_one_with_the_best_head_is_fine_tuned(
    digit_folder, tmp_path, capsys, monkeypatch
):
    accuracies = {"lcnet_050": 0.4, "mobilenetv3_small_050": 0.6}
    asked = []

    def measured(classifier, train, folds, recipe):
        asked.append((recipe.model.name, len(train) == len(folds), sorted(set(folds))))
        return accuracies[recipe.model.name]

    monkeypatch.setattr("resnetlab.training.head.cross_validate_head", measured)
    words = ["--model", ",".join(accuracies), "--weights", "none", "--epochs", "0"]
    quick = ["--image-size", "32", "--set", "training.threads=1", "--out", str(tmp_path)]
    assert main(["train", str(digit_folder), *words, *quick, "--name", "c"]) == 0

    assert asked == [(name, True, [0, 1, 2, 3, 4]) for name in accuracies]
    said = capsys.readouterr().err
    assert "head on lcnet_050: 40.0% in 5 folds of training" in said
    assert Run(tmp_path / "c").recipe.model.name == "mobilenetv3_small_050"
    assert Run(tmp_path / "c").recipe.model.candidates == ()


def test_weights_that_one_of_several_networks_lacks_are_told_before_images_are_read(
    digit_folder, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    words = ["--model", "tf_efficientnet_lite0,lcnet_050", "--out", str(tmp_path)]

    assert main(["train", str(digit_folder), *words]) == 5
    assert "--weights none" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
