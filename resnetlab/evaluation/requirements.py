"""What is required of a figure: 'accuracy.low>=0.9', so that a pipeline can stop a worse model."""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from resnetlab.errors import RecipeError, RequirementError
from resnetlab.recipe import did_you_mean

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
FORM = re.compile(r"\s*(?P<key>.+?)\s*(?P<operator>>=|<=|>|<)\s*(?P<limit>\S+)\s*")


@dataclass(frozen=True)
class Requirement:
    """A figure by its dotted key, an operator, and the limit."""

    key: str
    operator: str
    limit: float

    def __str__(self) -> str:
        return f"{self.key} {self.operator} {self.limit:g}"


def parse(texts: Sequence[str]) -> list[Requirement]:
    """Return requirements from text. Raises RecipeError for one that is none."""
    return [_parse(text) for text in texts]


def _parse(text: str) -> Requirement:
    found = FORM.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        return Requirement(found["key"], found["operator"], float(found["limit"]))
    except ValueError as error:
        raise RecipeError(
            f"--require must be a figure, one of {' '.join(OPERATORS)} and a number, as 'accuracy.low>=0.9'. "
            f"Got {text!r}"
        ) from error


def require(scores: Mapping[str, Any], requirements: Sequence[Requirement]) -> None:
    """Raise RequirementError that names every figure that is not as required.

    Raises RecipeError for a key that names no figure.
    """
    found = [(each, figure(scores, each.key)) for each in requirements]
    failed = [
        f"{each}, found {value:.4g}"
        for each, value in found
        if not OPERATORS[each.operator](value, each.limit)
    ]
    if failed:
        raise RequirementError(f"not as required: {'; '.join(failed)}")


def figure(scores: Mapping[str, Any], key: str) -> float:
    """Return a figure by its dotted key; an interval stands for its value, a class for its name.

    'accuracy', 'accuracy.low', 'per_class.cat.recall.low', 'calibration.calibrated.ece.high'.
    Raises RecipeError where there is none.
    """
    place: Any = scores
    parts = key.split(".")
    while parts:
        names = _names(place)
        # A class may have a dot in its name: the longest that fits is taken.
        fitting = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
        name = next((name for name in fitting if name in names), None)
        if name is None:
            raise RecipeError(
                f"--require: there is no figure '{key}'; there are "
                f"{', '.join(sorted(names)) or 'none below it'}{did_you_mean(parts[0], list(names))}"
            )
        place = names[name]
        parts = parts[name.count(".") + 1 :]
    if isinstance(place, Mapping) and "value" in place:
        place = place["value"]
    if isinstance(place, bool) or not isinstance(place, int | float):
        raise RecipeError(f"--require: '{key}' is no figure here: it {_what(place)}")
    return float(place)


def _names(place: Any) -> dict[str, Any]:
    """Return what can be named at a place: keys, or the classes of a list of classes."""
    if isinstance(place, Mapping):
        return dict(place)
    if isinstance(place, list) and place and isinstance(place[0], Mapping) and "class" in place[0]:
        return {str(row["class"]): row for row in place}
    return {}


def _what(place: Any) -> str:
    if place is None:
        return "was not measured"
    return f"has parts: {', '.join(_names(place))}" if _names(place) else f"is {place!r:.50}"
