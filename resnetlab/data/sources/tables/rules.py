"""What labels, splits and folds of a table must hold."""

import re
from collections.abc import Collection
from pathlib import Path

from resnetlab.data.sources.folder import SPLIT_NAMES
from resnetlab.data.sources.listing import natural_key
from resnetlab.errors import DataError
from resnetlab.recipe import did_you_mean


def require_two(found: Collection[str], where: Path) -> None:
    """Raise DataError where there are fewer than two classes."""
    if len(found) < 2:
        only = f"only '{next(iter(found))}'" if found else "none"
        raise DataError(f"{where}: needs two classes at least, found {only}")


def split_of_cell(word: str, spot: str) -> str:
    """Return the split that a split column's cell means. Raises DataError where it is none."""
    if word and word.lower() not in SPLIT_NAMES:
        raise DataError(
            f"{spot}: split '{word}' is none of train, val, test{did_you_mean(word, SPLIT_NAMES)}"
        )
    return SPLIT_NAMES[word.lower()] if word else ""


def fold_number(text: str, spot: str) -> int:
    """Return a fold's number. Raises DataError where it is no whole number from 0."""
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise DataError(f"{spot}: fold '{text}' must be a whole number, counted from 0")
    return int(text)


def check_splits(splits: list[str], labels: list[str], places: list[str], where: Path) -> None:
    """Raise DataError where a split leaves images undecided, or the training split lacks a class."""
    classes = {split: set[str]() for split in sorted(set(splits))}
    if set(classes) == {""}:
        return
    if "" in classes:
        raise DataError(
            f"{places[splits.index('')]}: has no split, other rows have one; name a split in every row"
        )
    if "train" not in classes:
        raise DataError(f"{where}: the split has {', '.join(classes)} but no train")
    for split, label in zip(splits, labels, strict=True):
        classes[split].add(label)
    for split, here in classes.items():
        extra = sorted(here - classes["train"], key=natural_key)
        if extra:
            raise DataError(
                f"{where}: train and {split} have different classes: {', '.join(extra[:5])} in {split} only"
            )
