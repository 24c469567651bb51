"""Dotted keys such as training.lr, and values set by them."""

import re
from collections.abc import Sequence
from typing import Any, get_args

from resnetlab.errors import RecipeError
from resnetlab.recipe.base import Section
from resnetlab.recipe.plain_yaml import parse_value


def parse_assignments(assignments: Sequence[str]) -> dict[str, Any]:
    """Turn `training.lr=0.01` into {'training.lr': 0.01}; the value is read as YAML.

    YAML 1.1 takes '1e-3' for a string; a number that Python understands is taken as one.
    """
    values = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise RecipeError(f"--set takes KEY=VALUE. Got '{assignment}'")
        try:
            values[key.strip()] = parse_value(text)
        except ValueError as error:
            raise RecipeError(f"--set {key}: '{text}' is not valid YAML") from error
    return values


def without_index(key: str) -> str:
    """Return a key without the list index that it may end with, as in `model.hidden.0`."""
    return re.sub(r"\.\d+$", "", key)


def set_key(tree: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key of RECIPE_KEYS in a tree of plain values."""
    *sections, last = key.split(".")
    if last.isdecimal():
        set_index(tree, ".".join(sections), int(last), value)
        return
    for section in sections:
        word = tree[section]
        if isinstance(word, str):  # `augment` is a word, and is about to get values of its own
            tree[section] = {} if word == "auto" else {"preset": word}
        tree = tree[section]
    if key == PRESET_KEY:
        tree.clear()  # a preset replaces every value that was there
    tree[last] = value


def set_index(tree: dict[str, Any], key: str, index: int, value: Any) -> None:
    """Set one value of a list in a tree of plain values. Raises RecipeError where it is too short."""
    *sections, last = key.split(".")
    for section in sections:
        tree = tree[section]
    values = tree[last]
    if not isinstance(values, list) or index >= len(values):
        raise RecipeError(f"'{key}.{index}' is no index of {key}, which is {values}")
    tree[last] = [*values[:index], value, *values[index + 1 :]]


def keys_of(section: type[Section], prefix: str = "") -> list[str]:
    """Return the dotted keys of a section and of those within it."""
    keys = []
    for name, field in section.model_fields.items():
        keys.append(prefix + name)
        for option in (field.annotation, *get_args(field.annotation)):
            if isinstance(option, type) and issubclass(option, Section):
                keys += keys_of(option, f"{prefix}{name}.")
    return keys


PRESET_KEY = "data.augment.preset"
