"""Labels that stand in the names of files: 'cat.0.jpg', 'rose_12.jpg', '0003_dog.jpg'."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from resnetlab.data.catalog import printable
from resnetlab.errors import RecipeError

AUTO = "auto"
# The usual forms of a file's name, the first group is the label: beside a number, or before or after a hyphen.
NUMBERED = (
    r"^(.*?[^\d\W_])[ ._-]*\(?\d+\)?\.\w+$",  # label_12.jpg, label.12.jpg, label12.jpg, label (12).jpg
    r"^\d+[ ._-]+(.*[^\d\W_].*?)\.\w+$",  # 12_label.jpg
)
PARTED = (
    r"^([^._-]+)[._-].+\.\w+$",  # label-xyz.jpg
    r"^.+[._-]([^._-]+)\.\w+$",  # xyz-label.jpg
)
FEWEST = 2  # images of a label, on average
MOST_ALONE = 0.1  # share of labels that one image alone has


def label_in_name(pattern: str, path: str) -> str:
    """Return what a pattern's first group, or all of it, finds in a file's name; '' for nothing.

    A pattern with '/' looks at the whole path below DATA.
    """
    text = path if "/" in pattern else PurePosixPath(path).name
    found = re.search(pattern, text)
    return (found[1] if found.re.groups else found[0]) or "" if found else ""


def checked_pattern(pattern: str) -> str:
    """Return a pattern. Raises RecipeError where it is none."""
    try:
        re.compile(pattern)
    except re.error as error:
        raise RecipeError(f"data.label_pattern: '{pattern}' is no pattern ({error})") from error
    return pattern


def usual_pattern(paths: Sequence[str]) -> str | None:
    """Return the usual form by which the names give every image one of a few labels, None for none.

    Where the label may stand before or after a hyphen, it is where fewer labels are found.
    """
    for pattern in NUMBERED:
        if number_of_labels(pattern, paths):
            return pattern
    numbers = {pattern: number_of_labels(pattern, paths) for pattern in PARTED}
    fitting = [pattern for pattern in PARTED if numbers[pattern]]
    return min(fitting, key=lambda pattern: numbers[pattern], default=None)


def number_of_labels(pattern: str, paths: Sequence[str]) -> int:
    """Return how many labels a pattern finds, 0 where they are no labels: missing, one, or too many."""
    often = Counter(label_in_name(pattern, path) for path in paths)
    alone = sum(number == 1 for number in often.values())
    fits = 2 <= len(often) <= len(paths) / FEWEST and alone <= MOST_ALONE * len(often)
    return len(often) if fits and "" not in often else 0


def offer(paths: Sequence[str]) -> str:
    """Return the end of a message on class folders that aren't there: what the names offer instead."""
    pattern = usual_pattern(paths)
    if pattern is None:
        return (
            "; put the images into a folder for each class, or name the labels by a table or by --set "
            "data.label_pattern=PATTERN"
        )
    labels = Counter(label_in_name(pattern, path) for path in paths)
    return (
        f"; the file names seem to carry labels ({found_labels(labels)}): take them by --label-from-name, or make a "
        "folder for each class"
    )


def found_labels(labels: Counter[str]) -> str:
    """Return 'cat 12,500, dog 12,500', at most five."""
    shown = [f"{printable(name)} {number:,}" for name, number in sorted(labels.items())[:5]]
    return ", ".join(shown) + (f" and {len(labels) - 5} more" if len(labels) > 5 else "")
