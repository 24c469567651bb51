"""What is searched is checked with the rest of the recipe."""

import pytest

from resnetlab.errors import RecipeError
from resnetlab.recipe import Choice, Recipe, validate


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"low": 0.1, "high": 0.01}, "low must be below high (0.01)"),
        ({"low": 0, "high": 1, "log": True}, "low must be above 0 where log is true"),
        ({"low": 1, "high": 9, "log": True, "step": 2}, "step must be left out where log is true"),
        ([0.1, 1, 0.1], "must name each value once, 0.1 stands twice"),
    ],
)
def test_a_range_or_list_that_makes_no_sense_is_refused(setting, message):
    with pytest.raises(RecipeError) as caught:
        validate({"tuning": {"space": {"training.lr": setting}}}, "my.yaml")

    assert message in str(caught.value)
    assert "tuning.space" in str(caught.value)


def test_a_list_is_a_choice_and_1e_3_a_number():
    recipe = Recipe().override({"tuning.space": {"training.lr": ["1e-3", 0.1]}})

    assert recipe.tuning.space == {"training.lr": Choice(choices=(0.001, 0.1))}
