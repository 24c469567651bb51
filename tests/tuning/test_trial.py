import numpy as np
import pytest
import torch
from PIL import Image

from resnetlab.data.dataset import divide, read_data
from resnetlab.data.store.moments import moments
from resnetlab.recipe import Recipe
from resnetlab.training.defaults import FROM_SCRATCH
from resnetlab.training.history import read_history
from resnetlab.training.initial import initial_classifier
from resnetlab.tuning.trial import make_folds, row_of, score_of, train_fold

VALUES = {f"training.{key}": value for key, value in FROM_SCRATCH.items()} | {
    "model.freeze": "none",
    "training.start_size": None,
    "training.head_first": False,
    "training.monitor": "accuracy",
    "training.reconstruction": 0.0,
    "data.image_size": 16,
    "data.workers": 0,
    "data.augment": "none",
    "data.normalize": "train",
    "model.name": "cnn",
    "model.weights": "none",
    "training.epochs": 2,
    "training.lr": 0.01,
    "training.precision": "fp32",
    "training.device": "cpu",
    "training.threads": 1,
    "training.frozen_views": 0,
    "tuning.folds": 3,
}


def quiet(history, line) -> None:
    """Say nothing about an epoch."""


@pytest.fixture(scope="module")
def images(digit_folder):
    return read_data(digit_folder, Recipe().override(VALUES))


def folds_of(images, **values):
    recipe = images.recipe.override({k.replace("__", "."): v for k, v in values.items()})
    catalog = divide(images.catalog, recipe.override({"data.split": [0.8, 0.0, 0.2]}))
    return make_folds(catalog, recipe), recipe


def test_each_image_but_the_tests_validates_once_and_trains_otherwise(images):
    folds, _ = folds_of(images)
    catalog = folds[0].catalog
    validated = np.concatenate([fold.catalog.rows("val") for fold in folds])
    assert sorted(validated) == sorted(np.flatnonzero(catalog.split != "test"))
    for fold in folds:
        assert not set(fold.catalog.rows("train")) & set(fold.catalog.rows("val"))
        assert (fold.catalog.rows("test") == catalog.rows("test")).all()


@pytest.mark.parametrize("index", range(3))
def test_a_fold_is_normalised_by_its_own_training_split_alone(images, index):
    folds, recipe = folds_of(images)
    fold, store = folds[index], images.store
    classifier = initial_classifier(recipe, fold.catalog, store)

    rows = store.rows_of(fold.catalog)
    own, _ = moments(store, rows[fold.catalog.rows("train")])
    everything, _ = moments(store, rows[fold.catalog.rows("all")])
    validated, _ = moments(store, rows[fold.catalog.rows("val")])
    assert classifier.mean.tolist() == pytest.approx(own.tolist(), abs=1e-6)
    assert np.abs(own - everything).max() > 1e-4
    assert np.abs(own - validated).max() > 1e-4


def test_what_a_fold_learns_does_not_depend_on_the_images_that_it_validates_on(
    digit_folder, tmp_path
):
    """Those of one fold are turned into their negatives: it learns the same, and answers others."""
    recipe = Recipe().override(VALUES)
    before = read_data(digit_folder, recipe)
    fold = folds_of(before)[0][1]
    for number, row in enumerate(range(len(before.catalog))):
        path = before.catalog.paths[row]
        copy = tmp_path / "data" / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.asarray(Image.open(before.catalog.root / path))
        Image.fromarray(255 - pixels if number in fold.catalog.rows("val") else pixels).save(copy)
    after = read_data(tmp_path / "data", recipe)
    spoilt = before.catalog.with_columns(sha256=after.catalog.sha256)
    spoilt = spoilt.with_columns(split=fold.catalog.split)
    changed = type(fold)(fold.index, spoilt, fold.seed)

    one = train_fold(fold, before.store, recipe_of(before), tmp_path / "one", quiet, "")
    two = train_fold(changed, after.store, recipe_of(before), tmp_path / "two", quiet, "")
    assert [row["train_loss"] for row in one] == [row["train_loss"] for row in two]
    assert [row["val_loss"] for row in one] != [row["val_loss"] for row in two]
    first = initial_classifier(recipe_of(before), fold.catalog, before.store)
    second = initial_classifier(recipe_of(before), changed.catalog, after.store)
    assert torch.equal(first.mean, second.mean)
    assert torch.equal(first.std, second.std)


def recipe_of(images) -> Recipe:
    return images.recipe


def test_the_second_fold_is_what_it_is_without_the_first(images, tmp_path):
    """A network, an optimiser or a random number carried over would show."""
    folds, recipe = folds_of(images)
    train_fold(folds[0], images.store, recipe, tmp_path / "a" / "0", quiet, "")
    after = train_fold(folds[1], images.store, recipe, tmp_path / "a" / "1", quiet, "")
    alone = train_fold(folds[1], images.store, recipe, tmp_path / "b" / "1", quiet, "")
    assert after == alone


def test_a_fold_that_is_done_is_read_back_and_not_trained_again(images, tmp_path):
    folds, recipe = folds_of(images)
    told: list[str] = []
    for _ in range(2):
        history = train_fold(
            folds[2], images.store, recipe, tmp_path, lambda history, line: told.append(line), ""
        )
        assert [row["fold"] for row in history] == [2, 2]
    assert len(told) == 2
    assert [row["epoch"] for row in read_history(tmp_path / "history.csv")] == [1, 2]


def test_the_last_epoch_counts_and_with_patience_the_best():
    rows = [
        {"epoch": n, "val_accuracy": score, "val_loss": 1.0}
        for n, score in enumerate((0.5, 0.9, 0.7), 1)
    ]
    recipe = Recipe().override({"training.monitor": "accuracy"})
    assert score_of(rows, recipe) == 0.7
    patient = recipe.override({"training.patience": 5})
    assert score_of(rows, patient) == 0.9
    assert row_of(rows, patient)["epoch"] == 2


def test_averaged_weights_answer_where_an_average_is_kept(images, tmp_path):
    folds, recipe = folds_of(images, training__ema=0.9)
    history = train_fold(folds[0], images.store, recipe, tmp_path, quiet, "")
    from resnetlab.evaluation.predictions import Predictions

    answers = Predictions.load(tmp_path / "predictions.parquet")
    assert float((answers.predicted == answers.labels).mean()) == pytest.approx(
        history[-1]["val_accuracy"]
    )
