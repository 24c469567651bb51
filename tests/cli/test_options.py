"""What the words of a command line mean."""

import pytest

from resnetlab.cli.options import spread_values, with_searched
from resnetlab.errors import RecipeError
from resnetlab.recipe import Choice, Recipe


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("tune d --lr 0.1 0.2", "tune d --lr 0.1 --lr 0.2"),
        ("tune --lr 0.1 1e-2 photos", "tune --lr 0.1 --lr 1e-2 photos"),
        (
            "tune d --optimizer sgd adam --folds 2",
            "tune d --optimizer sgd --optimizer adam --folds 2",
        ),
        ("tune d --epochs 7 12 --batch-size 16", "tune d --epochs 7 --epochs 12 --batch-size 16"),
        ("tune d --model resnet18 cnn", "tune d --model resnet18 --model cnn"),
        ("tune d --model a.b_c x/y.z --lr 1", "tune d --model a.b_c --model x/y.z --lr 1"),
        ("tune --model cnn mlp kaggle:cats", "tune --model cnn --model mlp kaggle:cats"),
        ("tune --model cnn mlp gone/", "tune --model cnn --model mlp gone/"),
        ("train d --lr 0.1 --epochs 3", "train d --lr 0.1 --epochs 3"),
        ("train --model cnn gone", "train --model cnn gone"),
        ("train --epochs 3 photos", "train --epochs 3 photos"),
        ("tune d --lr", "tune d --lr"),
        ("tune d --lr soon", "tune d --lr soon"),  # the parser will say what is wrong
    ],
)
def test_an_option_takes_several_values_and_the_data_is_none_of_them(given, meant):
    assert spread_values(given.split()) == meant.split()


def test_a_folder_after_networks_is_the_data(tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    given = "tune --model resnet18 convnext_tiny photos"
    assert spread_values(given.split())[3:] == ["--model", "convnext_tiny", "photos"]


def test_one_value_is_set_and_several_are_searched():
    recipe = with_searched(
        Recipe(), {"training.lr": [0.1, 0.2], "training.epochs": [7], "model.name": None}
    )
    assert recipe.tuning.space == {"training.lr": Choice(choices=(0.1, 0.2))}
    assert recipe.training.epochs == 7


def test_the_command_line_counts_more_than_the_recipes_space():
    given = Recipe().override({"tuning.space": {"training.lr": [1, 2], "training.epochs": [1, 2]}})
    recipe = with_searched(given, {"training.lr": [0.1, 0.2], "training.epochs": [9]})
    assert list(recipe.tuning.space) == ["training.lr"]
    assert recipe.tuning.space["training.lr"] == Choice(choices=(0.1, 0.2))
    assert recipe.training.epochs == 9


def test_a_single_value_that_is_wrong_is_told():
    with pytest.raises(
        RecipeError, match=r"training\.batch_size must be greater than or equal to 1"
    ):
        with_searched(Recipe(), {"training.batch_size": [0]})
