"""Everything that decides a result: settings, what may be wrong with them, and what they are written in."""

from resnetlab.recipe.augment import AUGMENT_PRESETS, Augment
from resnetlab.recipe.faults import did_you_mean, no_such_key
from resnetlab.recipe.keys import parse_assignments, without_index
from resnetlab.recipe.loading import load_recipe, recipe_folder, recipe_names
from resnetlab.recipe.schema import (
    RECIPE_KEYS,
    Columns,
    Data,
    Evaluation,
    Model,
    Recipe,
    Training,
    evaluation_size,
    largest_size,
    validate,
)
from resnetlab.recipe.tuning import Choice, Range, Tuning

__all__ = [
    "AUGMENT_PRESETS",
    "RECIPE_KEYS",
    "Augment",
    "Choice",
    "Columns",
    "Data",
    "Evaluation",
    "Model",
    "Range",
    "Recipe",
    "Training",
    "Tuning",
    "did_you_mean",
    "evaluation_size",
    "largest_size",
    "load_recipe",
    "no_such_key",
    "parse_assignments",
    "recipe_folder",
    "recipe_names",
    "validate",
    "without_index",
]
