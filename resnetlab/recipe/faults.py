"""What is wrong with a recipe, in sentences that name the key, the rule and the value."""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from resnetlab.recipe.plain_yaml import LETTERS


def describe_fault(fault: Mapping[str, Any], keys: Sequence[str]) -> str:
    """Put one of pydantic's faults into a sentence that names the key, the rule and the value."""
    *sections, last = map(str, fault["loc"])
    words = {word for key in keys for word in key.split(".")}
    # A union adds the name of the branch it tried to the location; keep what is a key.
    location = [step for step in sections if step in words or "." in step]
    if fault["type"] == "extra_forbidden":
        return no_such_key(".".join([*location, last]), keys)
    key = ".".join([*location, last] if last in words else location)
    message = fault["msg"].removeprefix("Value error, ")
    for theirs, ours in WORDING.items():
        message = re.sub(theirs, ours, message)
    full_stop = "" if message.endswith("?") else "."
    return f"{key} {message}{full_stop} Got {fault['input']!r:.{LETTERS}}".lstrip()


# What pydantic says, and what a reader who knows YAML but not Python can do with.
WORDING = {
    "^(Input|Tuple) should": "must",
    "^Keys should": "keys must",
    "^Field required": "must have more values",
    "a valid dictionary or instance of .*": "a mapping of keys to values",
    "a valid tuple": "a list of values",
    " after validation": "",
}


def no_such_key(key: str, keys: Sequence[str]) -> str:
    """Return the sentence about a key that no recipe has, however little of it was given."""
    names = {name: name for name in keys} | OTHER_NAMES
    words = {name.rpartition(".")[2]: meant for name, meant in reversed(names.items())}
    close = difflib.get_close_matches(key, names, n=1) or difflib.get_close_matches(key, words, n=1)
    hint = f", did you mean '{(words | names)[close[0]]}'?" if close else ""
    return f"'{key}' is no key of a recipe{hint}"


def did_you_mean(word: Any, options: Any) -> str:
    """Return ', did you mean ...?' where an option is close, else nothing; a number is no misspelling."""
    if str(word).isdigit():
        return ""
    close = difflib.get_close_matches(str(word), [str(option) for option in options], n=1)
    return f", did you mean '{close[0]}'?" if close else ""


OTHER_NAMES = {"training.learning_rate": "training.lr"}  # what people look for
