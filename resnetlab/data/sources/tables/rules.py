"""What labels, splits and folds of a table must hold."""

import re
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path

from resnetlab.data.catalog import Split
from resnetlab.data.sources.layout.names import SPLIT_NAMES, parse
from resnetlab.errors import DataError
from resnetlab.recipe import did_you_mean


def require_some(found: Collection[str], where: Path) -> None:
    """Raise DataError where no class was found; that there are two is asked once all sources are put together."""
    if not found:
        raise DataError(f"{where}: needs two classes at least, found none")


@lru_cache(maxsize=1024)
def split_word(cell: str) -> Split | None:
    """Return the split that a cell means by itself, 'train', 'Training Set', 'test_data'; None where it is none."""
    said = parse(cell.lower())
    known = {"train", "val", "test"} if not said.rest else set()
    return SPLIT_NAMES[said.word] if said.kind in known else None


def split_of_cell(word: str, spot: str) -> str:
    """Return the split that a split column's cell means. Raises DataError where it is none."""
    split = split_word(word)
    if word and split is None:
        raise DataError(
            f"{spot}: split '{word}' is none of train, val, test{did_you_mean(word, SPLIT_NAMES)}; where the column "
            "is no split, say so: --set \"data.columns.split=''\""
        )
    return split or ""


def fold_number(text: str, spot: str) -> int:
    """Return a fold's number. Raises DataError where it is no whole number from 0."""
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise DataError(f"{spot}: fold '{text}' must be a whole number, counted from 0")
    return int(text)


def check_splits(splits: list[str], places: list[str], where: Path) -> None:
    """Raise DataError where a split leaves images undecided, or there is no training split."""
    found = sorted(set(splits))
    if found == [""]:
        return
    if "" in found:
        raise DataError(
            f"{places[splits.index('')]}: has no split, other rows have one; name a split in every row"
        )
    if "train" not in found:
        raise DataError(f"{where}: the split has {', '.join(found)} but no train")
