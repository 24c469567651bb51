"""Two recipes are told apart key by key, in the words of the recipe."""

import pytest

from resnetlab.recipe import RECIPE_KEYS, Recipe
from resnetlab.runs.differences import FREE_KEYS, differences, tree_differences


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("training.lr", 0.2, "training.lr: auto -> 0.2"),
        ("training.clip_norm", 1, "training.clip_norm: auto -> 1.0"),
        ("training.schedule", "step", "training.schedule: cosine -> step"),
        ("data.split", (0.5, 0.5, 0), "data.split: [0.8, 0.1, 0.1] -> [0.5, 0.5, 0.0]"),
        ("evaluation.horizontal_flip", True, "evaluation.horizontal_flip: auto -> true"),
        ("data.columns.label", "kind", "data.columns.label: null -> kind"),
        ("seed", 3, "seed: 0 -> 3"),
    ],
)
def test_a_difference_is_told_with_both_values(key, value, line):
    recipe = Recipe()

    assert differences(recipe, recipe.override({key: value})) == [line]


def test_an_augmentation_is_compared_value_by_value():
    small, shift = (Recipe().override({"data.augment": name}) for name in ("small", "shift"))

    assert differences(small, shift) == [
        "data.augment.flip: auto -> 0.0",
        "data.augment.rotation_deg: 0.0 -> 10.0",
    ]


def test_what_decides_no_result_is_no_difference():
    other = {"data.workers": 7, "training.checkpoint_minutes": 9.0, "training.log": "tensorboard"}

    assert other.keys() == FREE_KEYS <= set(RECIPE_KEYS)
    assert differences(Recipe(), Recipe().override(other)) == []


def test_what_one_tree_lacks_counts_as_null():
    before, after = {"torch": "2.10", "git": {"commit": "a"}}, {"git": {"commit": "b"}, "gpu": "x"}

    assert dict(tree_differences(before, after)) == {
        "torch": "torch: 2.10 -> null",
        "git.commit": "git.commit: a -> b",
        "gpu": "gpu: null -> x",
    }
