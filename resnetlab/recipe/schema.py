"""Everything that decides a result, as one validated tree: YAML outside, pydantic inside."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError

from resnetlab.errors import RecipeError
from resnetlab.recipe.base import Auto, Section
from resnetlab.recipe.data import Data
from resnetlab.recipe.faults import describe_fault, no_such_key
from resnetlab.recipe.keys import PRESET_KEY, keys_of, set_key, without_index
from resnetlab.recipe.model import Model
from resnetlab.recipe.training import Training
from resnetlab.recipe.tuning import Tuning


class Evaluation(Section):
    """How predictions are made and scored."""

    image_size: Annotated[int, Field(ge=8, le=2048)] | None = None  # side, px; None: as in training
    # Predictions are the mean over an image and its flip; if_better: where the loss on validation
    # clearly falls by it. auto: that, where training starts from published weights.
    horizontal_flip: bool | Literal["if_better"] | Auto = "auto"
    # Taken off the trained logits: this much of the classes' log frequency in training; fit: as much as is
    # best for balanced accuracy on validation (Menon et al. 2021)
    logit_adjustment: Annotated[float, Field(ge=0)] | Literal["fit"] = 0.0
    # Small pictures of training images (at most 2,000) go into the bundle, so that `serve` can show the nearest
    thumbnails: bool = False
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95  # of all intervals
    resamples: Annotated[int, Field(ge=100)] = 2000  # drawings of the bootstrap


class Recipe(Section):
    """Everything that decides a result."""

    # Decides split, order, augmentation, dropout and initial weights.
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    data: Data = Data()
    model: Model = Model()
    training: Training = Training()
    tuning: Tuning = Tuning()
    evaluation: Evaluation = Evaluation()

    def to_yaml(self) -> str:
        """Return the whole tree as YAML, defaults included."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)

    def override(self, values: Mapping[str, Any]) -> "Recipe":
        """Return a copy in which `values`, by dotted key, replace what was there.

        Raises RecipeError for an unknown key or a value of the wrong type or range.
        """
        unknown = [
            no_such_key(key, RECIPE_KEYS) for key in values if without_index(key) not in RECIPE_KEYS
        ]
        if unknown:
            raise RecipeError("; ".join(unknown))
        tree = self.model_dump(mode="json")
        # A section before the keys inside it, so that the order in which they were given decides nothing.
        for key in sorted(values, key=lambda key: (key.count("."), key != PRESET_KEY)):
            set_key(tree, key, values[key])
        return validate(tree, "recipe")


def evaluation_size(recipe: Recipe) -> int:
    """Return the side (px) of the images in evaluation, of a recipe whose training size is settled."""
    return recipe.evaluation.image_size or int(recipe.data.image_size)


def largest_size(recipe: Recipe) -> int:
    """Return the largest side (px) at which the network ever sees an image."""
    return max(int(recipe.data.image_size), evaluation_size(recipe))


def validate(tree: Any, origin: str) -> Recipe:
    """Check a tree of plain values. Raises RecipeError that lists every fault at once."""
    if not isinstance(tree, dict):
        raise RecipeError(
            f"{origin}: must be a mapping of keys to values. Got {type(tree).__name__}"
        )
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        # What may be a number or a word is refused twice; the sentence about the word adds nothing.
        faults = dict.fromkeys(
            describe_fault(fault, RECIPE_KEYS)
            for fault in error.errors()
            if fault.get("ctx", {}).get("expected") not in ("'auto'", "'alternate'")
        )
        raise RecipeError(f"{origin}: " + "; ".join(faults)) from error


RECIPE_KEYS = [*keys_of(Recipe), PRESET_KEY]
