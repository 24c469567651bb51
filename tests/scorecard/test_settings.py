"""Bad input, rows 44 to 47: recipes that are wrong, rates that are too high, batches of one."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from resnetlab.evaluation.predictions import Predictions
from resnetlab.runs.run import Run
from resnetlab.system.files import read_csv
from resnetlab.training.checkpoint import read_checkpoint
from resnetlab.training.optim import learner, losses
from tests.scorecard.conftest import QUICK, Told


@pytest.fixture
def refused(data: Path, tmp_path: Path, tell: Callable[..., Told]) -> Callable[[str], str]:
    """Train by a recipe of this text, which must be refused before anything is made."""

    def train(text: str) -> str:
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        said = tell("train", data, "--recipe", path, "--out", tmp_path / "runs")
        assert said.code == 2
        assert said.error.startswith(f"resnetlab: {path}: ")
        assert not (tmp_path / "runs").exists()
        return said.error.removeprefix(f"resnetlab: {path}: ")

    return train


# Row 44


@pytest.mark.parametrize(
    ("text", "key", "meant"),
    [
        ("training: {lerning_rate: 0.1}", "training.lerning_rate", "training.lr"),
        ("lerning_rate: 0.1", "lerning_rate", "training.lr"),
        ("training: {learning_rate: 0.1}", "training.learning_rate", "training.lr"),
        ("epochs: 3", "epochs", "training.epochs"),
        ("trainnig: {epochs: 3}", "trainnig", "training"),
        ("data: {augment: {rotation: 3}}", "data.augment.rotation", "data.augment.rotation_deg"),
    ],
)
def test_row_44_a_misspelt_key_is_refused_with_the_one_that_is_meant(refused, text, key, meant):
    assert refused(text) == f"'{key}' is no key of a recipe, did you mean '{meant}'?"


def test_row_44_a_misspelt_key_on_the_command_line_too(data, tell):
    said = tell("train", data, "--set", "lerning_rate=0.1")

    assert said.code == 2
    assert said.error == (
        "resnetlab: 'lerning_rate' is no key of a recipe, did you mean 'training.lr'?"
    )


# Row 45


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("training: {epochs: many}", "training.epochs must be a valid integer"),
        ("training: {epochs: 3.5}", "training.epochs must be a valid integer"),
        ("training: {epochs: [3]}", "training.epochs must be a valid integer"),
        ("training: {epochs: -1}", "training.epochs must be greater than or equal to 0. Got -1"),
        ("training: {lr: -1}", "training.lr must be greater than 0. Got -1"),
        ("training: {lr: .nan}", "training.lr must be a finite number. Got nan"),
        ("training: 3", "training must be a mapping of keys to values. Got 3"),
        ("data: {split: [0.5, 0.1, 0.1]}", "data.split must be three fractions"),
        ("model: {name: 50}", "model.name must be a valid string. Got 50"),
        ("model: {weights: no}", "model.weights must not be true or false, which is also how"),
        ("data: {augment: no}", "data.augment must not be true or false"),
        ("seed: yes", "seed must not be true or false"),
        ("data: {classes: [no, yes]}", "data.classes must be a valid string. Got False"),
        ("- training", "must be a mapping of keys to values. Got list"),
    ],
)
def test_row_45_a_value_of_the_wrong_type_or_range_is_refused_by_its_key(refused, text, sentence):
    assert sentence in refused(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("training:\n  lr: 0.1\n  epochs: 2\n  lr: 0.2", "key 'lr' stands twice, keep one"),
        ("seed: 1\ndata: {}\nseed: 1", "key 'seed' stands twice, keep one"),
        ("seed: !!int many", "invalid literal for int()"),
        ("seed: !!timestamp many", ""),
        ("seed: 2026-99-99", "month must be in 1..12"),
        ("seed: " + "9" * 5000, "Exceeds the limit"),
        ("seed: " + "[" * 5000, "recursion"),
        ("data: &all {fit: crop}\ntraining: *all", "references (*) are not allowed"),
        ("seed: [1", "expected ',' or ']'"),
        ("seed: 1\n---\nseed: 2", "expected a single document"),
    ],
)
def test_row_45_what_no_recipe_can_be_is_refused(refused, text, why):
    error = refused(text)

    assert error.startswith("not valid YAML (")
    assert why in error


@pytest.mark.parametrize(
    "tag", ["object/apply:os.mkdir", "object/new:os.mkdir", "name:os.mkdir", "module:os"]
)
def test_row_45_a_tag_that_would_run_code_is_refused(refused, tmp_path, tag):
    assert "could not determine a constructor for the tag" in refused(
        f"seed: !!python/{tag} ['{tmp_path / 'canary'}']"
    )
    assert not (tmp_path / "canary").exists()


# Row 46


def tensors_of(run: Run) -> dict[str, dict[str, torch.Tensor]]:
    """Return the tensors of all checkpoints, which must be sound, by the file's name."""
    files = sorted((run.folder / "checkpoints").glob("*.safetensors"))
    return {path.stem: read_checkpoint(path)[0] for path in files}


def are_finite(tensors: dict[str, torch.Tensor]) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in tensors.values())


@pytest.mark.parametrize("policy", ["stop", "restart"])
def test_row_46_a_rate_far_too_high_stops_and_no_checkpoint_is_ruined(data, tmp_path, tell, policy):
    more = ["--lr", "1e30", "--set", f"training.on_divergence={policy}", "--epochs", "3"]
    said = tell("train", data, *QUICK, *more, "--out", tmp_path, "--name", "wild")

    assert said.code == 6
    assert "epoch 1, step " in said.error
    assert "the loss is no longer a finite number" in said.error
    assert "lower training.lr (" in said.error
    assert all(are_finite(tensors) for tensors in tensors_of(Run(tmp_path / "wild")).values())


def test_row_46_after_a_loss_that_is_no_number_the_last_good_checkpoint_stands(
    data, tmp_path, tell, monkeypatch
):
    sound = learner.cross_entropy
    told = []

    def turn_bad(logits, labels, smoothing, weights=None):
        told.append(len(labels))
        late = sum(told) > 4 * 20  # two looks a step, 20 images an epoch
        return sound(logits, labels, smoothing, weights) * (torch.nan if late else 1)

    for module in (learner, losses):
        monkeypatch.setattr(module, "cross_entropy", turn_bad)
    more = ["--epochs", "9", "--batch-size", "4", "--set", "training.on_divergence=stop"]
    said = tell("train", data, *QUICK, *more, "--out", tmp_path, "--name", "late")

    run = Run(tmp_path / "late")
    checkpoints = tensors_of(run)
    assert said.code == 6
    assert "epoch 3, step 1: the loss is no longer a finite number" in said.error
    assert len(read_csv(run.folder / "history.csv")) == 2
    assert {"last", "best"} <= checkpoints.keys()
    assert all(are_finite(tensors) for tensors in checkpoints.values())

    for module in (learner, losses):
        monkeypatch.setattr(module, "cross_entropy", sound)
    assert tell("train", "--resume", run.folder).code == 0
    assert len(read_csv(run.folder / "history.csv")) == 9


# Row 47

# Its last map is a single value a channel, so that a batch of one has nothing to be normed by.
ONE_VALUE = ["--model", "resnet18", "--set", "model.stem=imagenet", "--image-size", "32"]
ONCE = ["--epochs", "1", "--weights", "none"]


@pytest.mark.parametrize(
    "network",
    [
        ["--model", "resnet18", "--image-size", "32"],
        ONE_VALUE,
    ],
)
def test_row_47_a_batch_of_one_can_be_learned_from(data, tmp_path, tell, network):
    words = [*network, *ONCE, "--batch-size", "1", "--out", tmp_path, "--name", "ones"]
    said = tell("train", data, *words)

    assert said.code == 0, said.err
    assert tensors_of(Run(tmp_path / "ones")).keys() >= {"best"}


@pytest.mark.parametrize("batch_size", [18, 2])
def test_row_47_a_last_batch_of_one_can_be_learned_from(data, tmp_path, tell, batch_size):
    (data / "china" / "00.jpg").unlink()
    more = [*ONCE, "--batch-size", batch_size, "--set", "data.split=[0.8, 0.2, 0]"]
    said = tell("train", data, *ONE_VALUE, *more, "--out", tmp_path, "--name", "odd")
    trained = Run(tmp_path / "odd").metrics["dataset"]["counts"]["train"]

    assert said.code == 0, said.err
    assert sum(trained) % batch_size == 1


def test_row_47_every_image_is_counted_once_in_evaluation_and_prediction(
    digit_folder, data, tmp_path, tell
):
    """65 are a batch of evaluation and one more; 33 are one of prediction and one more."""
    for path in [path for label in "0123" for path in sorted(digit_folder.glob(f"{label}/*"))[:17]]:
        copy = tmp_path / "digits" / path.parent.name / path.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    for number in range(3):
        (tmp_path / "digits" / "3" / f"{number:03}.png").unlink()
    assert tell("train", digit_folder, *QUICK, "--out", tmp_path, "--name", "run").code == 0
    words = ["evaluate", tmp_path / "run", "--data", tmp_path / "digits", "--out", tmp_path / "out"]
    assert tell(*words).code == 0
    (run,) = map(Run, (tmp_path / "out").iterdir())
    expected = {f"{path.parent.name}/{path.name}" for path in (tmp_path / "digits").rglob("*.png")}

    assert len(expected) == run.metrics["test"]["samples"] == 65
    ids = Predictions.load(run.predictions("test")).ids
    assert len(ids) == 65
    assert set(ids) == expected

    files = sorted((tmp_path / "digits").rglob("*.png"))[:33]
    files[7].write_bytes(b"no image")
    answers = tmp_path / "answers.csv"
    assert tell("predict", tmp_path / "run", *files, "--out", answers).code == 0
    rows = read_csv(answers)
    assert [row["file"] for row in rows] == [str(path) for path in files]
    assert [path for path, row in zip(files, rows, strict=True) if row["problem"]] == [files[7]]
