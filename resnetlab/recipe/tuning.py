"""The settings of a search: which values are tried, and how."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from resnetlab.recipe.base import Positive, Section
from resnetlab.recipe.plain_yaml import as_number


class Setting(Section):
    """A setting to be searched; `when` names others, with the values for which this one matters."""

    # Other searched settings by their key, with the values for which this one matters.
    when: dict[str, tuple[Any, ...]] = {}

    @field_validator("when", mode="before")
    @classmethod
    def one_value_is_enough(cls, value: Any) -> Any:
        """Take `training.optimizer: sgd` for a list of one."""
        if isinstance(value, Mapping):
            return {
                key: each if isinstance(each, list | tuple) else [each]
                for key, each in value.items()
            }
        return value


class Choice(Setting):
    """One of several values."""

    choices: Annotated[tuple[Any, ...], Field(min_length=1)]  # a list alone says the same

    @field_validator("choices")
    @classmethod
    def numbers_are_numbers(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        """Take '1e-3', which YAML reads as a word, for the number it is; refuse one that stands twice."""
        value = tuple(as_number(each) for each in value)
        twice = [each for each in value if value.count(each) > 1]
        if twice:
            raise ValueError(f"must name each value once, {twice[0]} stands twice")
        return value


class Range(Setting):
    """A number between two bounds, both possible; whole where both are whole."""

    low: int | float  # the smallest
    high: int | float  # the largest
    log: bool = False  # drawn evenly over orders of magnitude
    step: Annotated[float, Field(gt=0)] | None = None  # between values, from low

    @model_validator(mode="after")
    def bounds_are_in_order(self) -> "Range":
        """A range needs room, and one over orders of magnitude begins above 0."""
        if self.low >= self.high:
            raise ValueError(f"low must be below high ({self.high})")
        if self.log and self.low <= 0:
            raise ValueError("low must be above 0 where log is true")
        if self.log and self.step:
            raise ValueError("step must be left out where log is true")
        return self


def kind_of_setting(value: Any) -> str:
    """Return which of the two a searched setting is meant to be."""
    choices = isinstance(value, Choice) or (isinstance(value, Mapping) and "choices" in value)
    return "choice" if choices else "range"


class Tuning(Section):
    """The search for the best settings. It decides nothing in a training by itself."""

    # By dotted key: a list of values, or a mapping with low and high.
    space: dict[
        str,
        Annotated[
            Annotated[Choice, Tag("choice")] | Annotated[Range, Tag("range")],
            Discriminator(kind_of_setting),
        ],
    ] = {}
    folds: Positive = 5  # of the cross-validation; 1: the validation split of data.split
    repeats: Positive = 1  # of it, each with other folds and the next seed of the training
    # None: grid where every setting is a list and no number of trials is given, else tpe.
    sampler: Literal["grid", "random", "tpe", "qmc"] | None = None
    trials: Positive | None = None  # None: the whole grid, else 20
    # How hopeless trials are given up early; None: halving, but none in a grid without a budget.
    pruner: Literal["none", "median", "halving", "hyperband"] | None = None
    select: Literal["best", "one-se"] = "best"  # one-se: the cheapest within one standard error

    @field_validator("space", mode="before")
    @classmethod
    def a_list_is_a_choice(cls, value: Any) -> Any:
        """Take a list for the values to choose from."""
        if isinstance(value, Mapping):
            return {
                key: {"choices": each} if isinstance(each, list | tuple) else each
                for key, each in value.items()
            }
        return value
