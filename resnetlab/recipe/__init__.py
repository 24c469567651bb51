"""Everything that decides a result: settings, what may be wrong with them, and what they are written in."""

from resnetlab.recipe.augment import AUGMENT_PRESETS, Augment
from resnetlab.recipe.data import Columns, Data
from resnetlab.recipe.faults import did_you_mean, no_such_key
from resnetlab.recipe.keys import parse_assignments, without_index
from resnetlab.recipe.loading import load_recipe, recipe_folder, recipe_names
from resnetlab.recipe.model import Lora, Model
from resnetlab.recipe.schema import (
    RECIPE_KEYS,
    Evaluation,
    Recipe,
    evaluation_size,
    largest_size,
    validate,
)
from resnetlab.recipe.training import Training
from resnetlab.recipe.tuning import Choice, Range, Tuning

__all__ = [
    "AUGMENT_PRESETS",
    "RECIPE_KEYS",
    "Augment",
    "Choice",
    "Columns",
    "Data",
    "Evaluation",
    "Lora",
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
