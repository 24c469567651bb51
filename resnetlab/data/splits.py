"""Train, validation and test splits, and folds: stratified, seeded, by group, decided by content."""

import hashlib
import re
from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from resnetlab.data.catalog import SPLITS, Catalog, Split
from resnetlab.data.sources.listing import natural_key
from resnetlab.errors import DataError, RecipeError

TRAIN: Split = "train"
KEPT_APART: tuple[Split, ...] = ("test", "val")
Units = list[list[int]]  # rows that go together, in the order in which they are dealt


def split(
    catalog: Catalog,
    fractions: tuple[float, float, float],
    seed: int,
    known: Mapping[str, str] | None = None,
) -> Catalog:
    """Return the catalog with every sound sample in 'train', 'val' or 'test'.

    `fractions` are for those three and sum to 1. Splits that the user's folders give are kept; a
    split they lack is taken from their training split. Each class is divided by itself; samples of
    one group go together. Which go where depends on the seed and the images' content alone, not
    on names or order. An image in `known` (content: split), an earlier split, stays where it was.
    Raises DataError for a class with too few images.
    """
    wanted = wanted_splits(catalog, fractions)
    assigned = catalog.split.copy()
    pool = catalog.sound & ((assigned == "") | (assigned == "train"))
    units = units_by_class(catalog, np.flatnonzero(pool), seed)
    mixed = in_mixed_groups(catalog, units)
    for label, name in enumerate(catalog.classes):
        if label in mixed and label not in units:
            continue
        stays, free = keep_known(catalog, units.get(label, []), wanted, known or {})
        for split, rows in deal(name, free, wanted, stays).items():
            assigned[rows] = split
    catalog = catalog.with_columns(split=assigned)
    if mixed:
        refuse_missing(catalog, wanted, "the groups")
    return catalog


def in_mixed_groups(catalog: Catalog, units: dict[int, Units]) -> set[int]:
    """Return the classes whose images are in groups that are dealt with another class's, its first image's."""
    return {
        int(label)
        for own, groups in units.items()
        for members in groups
        for label in catalog.labels[members]
        if label != own
    }


def refuse_missing(catalog: Catalog, wanted: Mapping[Split, float], what: str) -> None:
    """Raise DataError where a split that was made by something else than classes lacks one."""
    for split in wanted:
        missing = np.flatnonzero(catalog.counts(split) == 0)
        if len(missing):
            raise DataError(
                f"{what}: class '{catalog.classes[missing[0]]}' has no image in the {split} "
                "split; use other fractions, or leave the class out"
            )


def wanted_splits(catalog: Catalog, fractions: tuple[float, float, float]) -> dict[Split, float]:
    """Return the splits that are to be made, with their fractions; given ones are there already."""
    given = {split for split in SPLITS if (catalog.split == split).any()}
    return {
        split: fraction
        for split, fraction in zip(SPLITS, fractions, strict=True)
        if split == "train" or (fraction > 0 and split not in given)
    }


def units_by_class(catalog: Catalog, rows: np.ndarray, seed: int) -> dict[int, Units]:
    """Return, for each class, its groups of rows in the order that seed and content decide."""
    drawn = defaultdict(list)
    for members in groups_of(catalog, rows):
        # Of one member, not the smallest of all lots: large groups must not come first.
        lot = draw_lot(seed, min(catalog.sha256[members]))
        drawn[int(catalog.labels[members[0]])].append((lot, members))
    return {label: [members for _, members in sorted(drawn[label])] for label in sorted(drawn)}


def groups_of(catalog: Catalog, rows: np.ndarray) -> Units:
    """Return the rows of each group."""
    groups = defaultdict(list)
    for row in rows:
        groups[catalog.group[row]].append(int(row))
    return list(groups.values())


def draw_lot(seed: int, digest: str) -> str:
    """Return a lot for an image: a hash of seed and content, so that it stays when others come."""
    return hashlib.sha256(f"{seed}:{digest}".encode()).hexdigest()


def keep_known(
    catalog: Catalog, units: Units, wanted: Mapping[Split, float], known: Mapping[str, str]
) -> tuple[dict[Split, list[int]], Units]:
    """Return the rows of units that an earlier split had, by split, and the units that are new.

    Where a unit has images of several splits, because one came that links them, test wins, then
    validation.
    """
    stays: dict[Split, list[int]] = {split: [] for split in wanted}
    free = []
    for members in units:
        before = {known.get(catalog.sha256[row]) for row in members}
        split = next(
            (split for split in (*KEPT_APART, TRAIN) if split in before and split in stays), None
        )
        if split is None:
            free.append(members)
        else:
            stays[split] += members
    return stays, free


def deal(
    name: str,
    units: Units,
    wanted: Mapping[Split, float],
    stays: Mapping[Split, list[int]] | None = None,
) -> dict[Split, list[int]]:
    """Deal the units of the class `name`: test first, then validation, what is left trains.

    Each split gets its share to the nearest whole image, and at least one unit; `stays` are rows
    that have their split already.
    """
    dealt = {split: list((stays or {}).get(split, [])) for split in wanted}
    if len(units) < sum(not rows for rows in dealt.values()):
        fewer = len(units) > 1 and len(wanted) > 2
        instead = "use fewer splits, such as --split 0.8 0 0.2" if fewer else "leave the class out"
        raise DataError(
            f"class '{name}' has {different(units)}, too few for {len(wanted)} splits "
            f"({', '.join(wanted)}); add some, or {instead}"
        )
    total = sum(map(len, units)) + sum(map(len, dealt.values()))
    whole = sum(wanted.values())
    remaining = list(units)
    others = [split for split in KEPT_APART if split in wanted]
    for index, split in enumerate(others):
        target = round(total * wanted[split] / whole)
        rows = dealt[split]
        # Units that the splits still to come need at least.
        keep = sum(not dealt[later] for later in (*others[index + 1 :], "train"))
        while len(remaining) > keep and (not rows or len(rows) + len(remaining[0]) / 2 <= target):
            rows += remaining.pop(0)
    dealt["train"] += [row for unit in remaining for row in unit]
    return dealt


def different(units: Units) -> str:
    """Say how many images there are that may be parted: one of each group."""
    count = sum(map(len, units))
    if count == len(units):
        return f"{count} different images"
    groups = "1 group" if len(units) == 1 else f"{len(units)} groups"
    return f"{count} images in {groups} (copies, near-duplicates, or groups that you or their names give)"


def split_by_time(
    catalog: Catalog,
    fractions: tuple[float, float, float],
    pattern: str,
    known: Mapping[str, str] | None = None,
) -> Catalog:
    """Return the catalog split by age: the newest test, the ones before validate, the oldest train.

    `pattern` finds the time in an id; its groups, or all it matches, are compared in natural order.
    Images of one time or one group stay together; those in `known` stay where they were. Raises
    RecipeError for no pattern, DataError where it isn't found, or a split would lack a class.
    """
    wanted = wanted_splits(catalog, fractions)
    if len(wanted) < sum(fraction > 0 for fraction in fractions):
        raise DataError(
            "data.time_pattern: these images are in splits already; take one of the two"
        )
    rows = catalog.rows("all")
    times = {int(row): time_of(catalog.ids[row], pattern) for row in rows}
    units: dict[str, list[int]] = defaultdict(list)
    for members in groups_of(catalog, rows):
        units[max((times[row] for row in members), key=natural_key)] += members
    newest_first = [units[time] for time in sorted(units, key=natural_key, reverse=True)]
    stays, free = keep_known(catalog, newest_first, wanted, known or {})
    assigned = catalog.split.copy()
    for split, members in deal("all together", free, wanted, stays).items():
        assigned[members] = split
    catalog = catalog.with_columns(split=assigned)
    refuse_missing(catalog, wanted, "data.time_pattern")
    return catalog


def time_of(name: str, pattern: str) -> str:
    """Return what a pattern finds in an id."""
    try:
        found = re.search(pattern, name)
    except re.error as error:
        raise RecipeError(f"data.time_pattern: '{pattern}' is no pattern ({error})") from error
    if not found:
        raise DataError(f"data.time_pattern: '{pattern}' is not found in {name}")
    return " ".join(text or "" for text in found.groups()) if found.re.groups else found[0]


def folds(catalog: Catalog, count: int, seed: int, repeat: int = 0) -> np.ndarray:
    """Return the fold, 0 to count - 1, of each sample that is not tested on, (N,) int64; else -1.

    Stratified, groups together, decided by seed, repeat and content; every fold has each class.
    Folds that the data names are kept as they are. Raises DataError for a class with too few images.
    """
    rows = catalog.rows("all")
    rows = rows[catalog.split[rows] != "test"]
    if (catalog.fold[rows] >= 0).any():
        return given_folds(catalog, rows, count)
    result = np.full(len(catalog), -1, dtype=np.int64)
    for label, units in units_by_class(catalog, rows, seed + 2**32 * repeat).items():
        if len(units) < count:
            raise DataError(
                f"class '{catalog.classes[label]}' has {different(units)} outside the test split, too few "
                f"for {count} folds; at most --set data.folds={max(2, len(units))} would do, or add some"
            )
        sizes = np.zeros(count, dtype=np.int64)
        # Large groups first, each to the smallest fold: a greedy balance. Equal ones by lot.
        for members in sorted(units, key=len, reverse=True):
            smallest = int(sizes.argmin())
            result[members] = smallest
            sizes[smallest] += len(members)
    return result


def given_folds(catalog: Catalog, rows: np.ndarray, count: int) -> np.ndarray:
    """Return the folds that the data names. Raises DataError where they are not as the recipe says."""
    found = sorted(set(catalog.fold[rows].tolist()))
    if found != list(range(count)):
        raise DataError(
            f"the data names the folds {', '.join(map(str, found))}, the recipe {count} from 0 on; "
            f"use --set data.folds={len(found)}, or number them from 0 in the table"
        )
    result = np.full(len(catalog), -1, dtype=np.int64)
    result[rows] = catalog.fold[rows]
    for members in groups_of(catalog, rows):
        if len(set(result[members])) > 1:
            raise DataError(
                f"{', '.join(catalog.ids[members][:2])} show the same image or are of one group, but "
                "the data puts them into different folds; mend its folds"
            )
    return result


def validate_on(catalog: Catalog, fold: int) -> Catalog:
    """Return the catalog with one fold as the validation split and the others for training."""
    assigned = catalog.split.copy()
    assigned[catalog.fold >= 0] = "train"
    assigned[catalog.fold == fold] = "val"
    return catalog.with_columns(split=assigned)
