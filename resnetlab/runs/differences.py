"""What differs between two recipes, or two descriptions of a machine, one line a key."""

import json
from collections.abc import Iterator
from typing import Any

from resnetlab.recipe import Recipe

# They decide no result, so they may change at any time.
FREE_KEYS = frozenset({"data.workers", "training.checkpoint_minutes", "training.log"})


def differences(before: Recipe, after: Recipe) -> list[str]:
    """Return 'training.lr: 0.1 -> 0.2' for each key that decides a result and differs."""
    found = tree_differences(before.model_dump(mode="json"), after.model_dump(mode="json"))
    return [line for key, line in found if key not in FREE_KEYS]


def tree_differences(
    before: dict[str, Any], after: dict[str, Any], above: str = ""
) -> Iterator[tuple[str, str]]:
    """Give each dotted key whose value differs between two trees of plain values, with its line.

    What one of them lacks counts as null there.
    """
    for name in before | after:
        key, old, new = above + name, before.get(name), after.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from tree_differences(old, new, f"{key}.")
        elif old != new:
            yield key, f"{key}: {to_text(old)} -> {to_text(new)}"


def to_text(value: Any) -> str:
    """Return a plain value as a recipe shows it."""
    return value if isinstance(value, str) else json.dumps(value)
