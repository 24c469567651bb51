import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnetlab.errors import RecipeError
from resnetlab.recipe import Recipe, validate
from resnetlab.tuning.space import as_name, check_space, drawn, grid, is_whole, most

S0 = {
    "training.lr": [0.001, 0.01],
    "training.batch_size": [16, 32],
    "training.epochs": [7, 12],
    "training.optimizer": ["sgd", "adam"],
}
MIXED = {
    "training.optimizer": ["sgd", "adam"],
    "training.momentum": {"low": 0.5, "high": 0.99, "when": {"training.optimizer": "sgd"}},
    "training.lr": {"low": 1e-5, "high": 1e-3, "log": True},
    "training.epochs": {"low": 5, "high": 20, "step": 5},
    "model.hidden.0": {"low": 128, "high": 1024},
}


def recipe_for(space, **tuning) -> Recipe:
    tree = {"tuning": {"space": space, **tuning}, "model": {"hidden": [128, 64]}}
    return validate(tree, "recipe")


def test_a_grid_is_every_combination():
    cells = grid(recipe_for(S0))

    wanted = [dict(zip(S0, row, strict=True)) for row in itertools.product(*S0.values())]
    assert cells == wanted
    assert len(cells) == 16


def test_cells_that_differ_in_what_does_not_matter_are_one():
    space = {
        "training.optimizer": ["sgd", "adam"],
        "training.momentum": {"choices": [0.8, 0.9], "when": {"training.optimizer": ["sgd"]}},
    }
    assert grid(recipe_for(space)) == [
        {"training.optimizer": "sgd", "training.momentum": 0.8},
        {"training.optimizer": "sgd", "training.momentum": 0.9},
        {"training.optimizer": "adam"},
    ]


def test_a_range_with_a_step_has_its_points_in_a_grid():
    cells = grid(recipe_for({"training.epochs": {"low": 5, "high": 20, "step": 5}}))
    assert [cell["training.epochs"] for cell in cells] == [5, 10, 15, 20]


@pytest.mark.parametrize("sampler", ["random", "qmc"])
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 12))
def test_whatever_is_drawn_lies_in_its_bounds_and_makes_a_recipe(sampler, seed, count):
    recipe = recipe_for(MIXED, sampler=sampler).override({"seed": seed})
    for values in drawn(recipe, count):
        recipe.override(values)
        assert ("training.momentum" in values) == (values["training.optimizer"] == "sgd")
        assert 1e-5 <= values["training.lr"] <= 1e-3
        assert values["training.epochs"] in (5, 10, 15, 20)
        assert isinstance(values["model.hidden.0"], int)
        assert 128 <= values["model.hidden.0"] <= 1024


@pytest.mark.parametrize("sampler", ["random", "qmc"])
def test_a_set_depends_on_seed_and_number_alone(sampler):
    recipe = recipe_for(MIXED, sampler=sampler)
    assert drawn(recipe, 3) == drawn(recipe, 9)[:3]
    assert drawn(recipe, 3) != drawn(recipe.override({"seed": 1}), 3)


def test_a_logarithmic_range_gives_each_order_of_magnitude_its_share():
    recipe = recipe_for({"training.lr": {"low": 1e-5, "high": 1e-1, "log": True}}, sampler="random")
    rates = [values["training.lr"] for values in drawn(recipe, 2000)]
    for low in (1e-5, 1e-4, 1e-3, 1e-2):
        assert sum(low <= rate < 10 * low for rate in rates) == pytest.approx(500, abs=70)


def test_whole_bounds_give_whole_numbers_where_the_recipe_takes_no_others():
    recipe = recipe_for(
        {
            "training.epochs": {"low": 2, "high": 9},
            "training.clip_norm": {"low": 1, "high": 5},
        }
    )
    assert is_whole(recipe, "training.epochs")
    assert not is_whole(recipe, "training.clip_norm")


def test_both_ends_of_a_whole_range_are_drawn():
    recipe = recipe_for({"training.epochs": {"low": 2, "high": 4}}, sampler="random")
    assert {values["training.epochs"] for values in drawn(recipe, 60)} == {2, 3, 4}


@pytest.mark.parametrize("space", [{}, {"training.epochs": [0, 5]}])
def test_a_search_needs_epochs_to_compare(space):
    recipe = recipe_for(space).override({"training.epochs": 0})
    with pytest.raises(RecipeError, match="--freeze all --epochs 10"):
        check_space(recipe)


@pytest.mark.parametrize(
    ("space", "complaint"),
    [
        (
            {"training.lrr": [1, 2]},
            "'training.lrr' is no key of a recipe, did you mean 'training.lr'?",
        ),
        ({"seed": [1, 2]}, "'seed' can't be searched: every trial gets the same seeds"),
        ({"data.split": [[1, 0, 0]]}, "'data.split' can't be searched: it decides which images"),
        ({"training.monitor": ["loss"]}, "'training.monitor' can't be searched"),
        ({"training.lr": {"low": -1, "high": 1}}, "training.lr must be greater than 0. Got -1"),
        ({"training.optimizer": ["sgd", "lamb"]}, "training.optimizer must be 'sgd', 'adam'"),
        ({"model.hidden.7": [64, 128]}, "'model.hidden.7' is no index of model.hidden"),
        (
            {"training.momentum": {"low": 0, "high": 0.9, "when": {"training.optimizer": "sgd"}}},
            "'training.momentum' depends on 'training.optimizer', which is not searched",
        ),
        (
            {
                "training.optimizer": ["adam", "adamw"],
                "training.momentum": {
                    "low": 0,
                    "high": 0.9,
                    "when": {"training.optimizer": "sgd"},
                },
            },
            "waits for training.optimizer to be 'sgd', which it never is",
        ),
    ],
)
def test_what_can_not_be_searched_is_told_before_any_work(space, complaint):
    with pytest.raises(RecipeError) as caught:
        check_space(recipe_for(space))
    assert complaint in str(caught.value)


def test_settings_that_wait_for_each_other_are_told():
    space = {
        "training.lr": {"choices": [0.1, 0.2], "when": {"training.epochs": [1]}},
        "training.epochs": {"choices": [1, 2], "when": {"training.lr": [0.1]}},
    }
    with pytest.raises(RecipeError, match="wait for each other"):
        check_space(recipe_for(space))


def test_a_grid_of_a_range_without_end_is_refused():
    with pytest.raises(RecipeError, match=r"'training\.lr' is a range without a step"):
        check_space(recipe_for({"training.lr": {"low": 0.1, "high": 1}}, sampler="grid"))


def test_all_faults_are_told_at_once():
    with pytest.raises(RecipeError) as caught:
        check_space(recipe_for({"seed": [1, 2], "training.lrr": [1, 2]}))
    assert "seed" in str(caught.value)
    assert "training.lrr" in str(caught.value)


def test_augmentation_and_size_may_be_searched():
    check_space(recipe_for({"data.augment": ["none", "photo"], "data.image_size": [32, 64]}))


def test_a_list_is_stored_by_its_text():
    assert as_name([128, 64]) == "[128, 64]"
    assert as_name(0.5) == 0.5


def test_the_most_is_that_of_any_trial():
    assert most(recipe_for(S0), "training.epochs") == 12
    assert most(recipe_for(MIXED), "training.epochs") == 20
    assert most(recipe_for({}).override({"training.epochs": 4}), "training.epochs") == 4
