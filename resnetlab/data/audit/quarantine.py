"""What is wrong with the data, found before it can do harm. Nothing of the user's is changed."""

import re
from collections import Counter, defaultdict

import numpy as np

from resnetlab.data.catalog import Catalog
from resnetlab.data.formats import NEEDS, NOT_READ, WITH_EXTRA
from resnetlab.errors import DataError, RecipeError
from resnetlab.recipe import Data

NO_PAIRS = np.empty((0, 2), dtype=np.int64)
KINDS_TOLD = 3  # reasons why images are left out


def audit(
    catalog: Catalog,
    settings: Data,
    near: np.ndarray = NO_PAIRS,
    guessed: np.ndarray | None = None,
) -> Catalog:
    """Return the catalog with copies grouped and what can't be trusted quarantined.

    `near` are pairs of rows, (L, 2), of near-duplicates, `guessed` groups (N,) that nobody declared. An image under two
    labels is quarantined, and so is a copy in a given training split of an image in another split,
    so that the other stays fair; both are fatal where the recipe says so. Raises DataError too where
    too many images can't be used, or a class is left without one.
    """
    catalog = catalog.with_columns(problem=catalog.problem.copy())
    quarantine_small(catalog, settings.min_size)
    refuse_too_many_problems(catalog, settings.max_problem_frac)
    for rows in find_copies(catalog):
        if len(set(catalog.labels[rows])) > 1:
            quarantine_conflict(catalog, rows, settings.conflicts)
    copies = copy_pairs(catalog)
    quarantine_leaks(catalog, copies, "copy", settings.leaks)
    quarantine_leaks(catalog, near, "near-duplicate", settings.leaks)
    for label, name in enumerate(catalog.classes):
        if not (catalog.sound & (catalog.labels == label)).any():
            raise DataError(
                f"class '{name}' has no usable image left: {first_problems(catalog, label)}"
            )
    group = declared_groups(catalog, settings.group_pattern)
    refuse_divided_groups(catalog, group)
    pairs = np.concatenate([copies, near])
    if guessed is not None:
        pairs = np.concatenate([pairs, np.stack([np.arange(len(catalog)), guessed], axis=1)])
    return catalog.with_columns(group=merge_groups(catalog, group, pairs))


def quarantine_small(catalog: Catalog, min_size: int) -> None:
    """Leave out images whose shorter side is below what the recipe asks."""
    small = catalog.sound & (np.minimum(catalog.width, catalog.height) < min_size)
    catalog.problem[small] = f"smaller than {min_size} px"


def find_copies(catalog: Catalog) -> list[np.ndarray]:
    """Return the rows of each image that is there more than once."""
    rows_of = defaultdict(list)
    for row in np.flatnonzero(catalog.sound):
        rows_of[catalog.sha256[row]].append(row)
    return [np.array(rows) for rows in rows_of.values() if len(rows) > 1]


def copy_pairs(catalog: Catalog) -> np.ndarray:
    """Return pairs of rows, (L, 2), that link all copies of an image to one that may stay."""
    kept_in = {"test": 0, "val": 1}
    pairs = [NO_PAIRS]
    for rows in find_copies(catalog):
        rows = rows[
            np.argsort([kept_in.get(split, 2) for split in catalog.split[rows]], kind="stable")
        ]
        pairs.append(np.stack([np.full(len(rows) - 1, rows[0]), rows[1:]], axis=1))
    return np.concatenate(pairs)


def quarantine_conflict(catalog: Catalog, rows: np.ndarray, conflicts: str) -> None:
    """Leave out an image that has two labels: nobody knows which is right."""
    names = " and ".join(catalog.classes[label] for label in sorted(set(catalog.labels[rows])))
    if conflicts == "error":
        pair = ", ".join(catalog.ids[rows])
        raise DataError(
            f"the same image is labelled {names}: {pair}; mend the labels, or leave such images out "
            "with --set data.conflicts=drop"
        )
    catalog.problem[rows] = f"same image labelled {names}"


def quarantine_leaks(catalog: Catalog, pairs: np.ndarray, what: str, leaks: str) -> None:
    """Keep an image in one split only, where the user's own split has copies of it in several.

    The test split keeps its copy, then validation: what is measured on must not shrink.
    """
    for kept_in in ("test", "val"):
        sound = catalog.sound
        pairs = pairs[sound[pairs].all(axis=1)]
        inside = catalog.split[pairs] == kept_in
        across = pairs[inside[:, 0] != inside[:, 1]]
        leaving = across[catalog.split[across] != kept_in]
        if len(leaving) and leaks == "error":
            first, second = catalog.ids[across[0]]
            raise DataError(
                f"{len(set(leaving))} images outside the {kept_in} split have a {what} in it, the first "
                f"two are {first} and {second}; take them apart, or leave them out of training with "
                "--set data.leaks=drop"
            )
        catalog.problem[leaving] = f"{what} of an image in the {kept_in} split"


def declared_groups(catalog: Catalog, pattern: str | None) -> np.ndarray:
    """Return the groups that the user names: those given, or what a pattern finds in the ids."""
    if pattern is None:
        return catalog.group
    try:
        found = [re.search(pattern, name) for name in catalog.ids]
    except re.error as error:
        raise RecipeError(f"data.group_pattern: '{pattern}' is no pattern ({error})") from error
    if not any(found):
        raise DataError(
            f"data.group_pattern: '{pattern}' is found in no path, such as {catalog.ids[0]}"
        )
    first: dict[str, int] = {}
    group = [
        first.setdefault(match[1] if match.re.groups else match[0], row) if match else row
        for row, match in enumerate(found)
    ]
    return np.array(group, dtype=np.int64)


def refuse_divided_groups(catalog: Catalog, group: np.ndarray) -> None:
    """Raise DataError where the user's groups and the user's splits contradict each other."""
    rows = np.flatnonzero(catalog.sound & (catalog.split != ""))
    split_of: dict[int, int] = {}
    for row in rows:
        other = split_of.setdefault(int(group[row]), int(row))
        if catalog.split[row] != catalog.split[other]:
            raise DataError(
                f"{catalog.ids[other]} ({catalog.split[other]}) and {catalog.ids[row]} "
                f"({catalog.split[row]}) are of one group but not in one split; mend the groups or the splits"
            )


def merge_groups(catalog: Catalog, group: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Return the groups (N,) joined wherever a pair of sound rows belongs together.

    A group is named by its first row.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    count = len(catalog)
    pairs = pairs[catalog.sound[pairs].all(axis=1)]
    first = np.concatenate([np.arange(count), pairs[:, 0]])
    second = np.concatenate([group, pairs[:, 1]])
    links = coo_matrix((np.ones(len(first), dtype=bool), (first, second)), shape=(count, count))
    number, joined = connected_components(links, directed=False)
    name = np.full(number, count, dtype=np.int64)
    np.minimum.at(name, joined, np.arange(count))
    merged: np.ndarray = name[joined]
    return merged


def refuse_too_many_problems(catalog: Catalog, max_problem_frac: float) -> None:
    """Raise DataError where more images can't be used than the recipe allows."""
    bad = int((~catalog.sound).sum())
    if bad > max_problem_frac * len(catalog):
        which = "; ".join(unread_formats(catalog)) or first_problems(catalog)
        raise DataError(
            f"{bad} of {len(catalog)} images can't be used, more than the {max_problem_frac:.1%} allowed: "
            f"{which}; mend them, or allow more with --set data.max_problem_frac=0.1"
        )


def unread_formats(catalog: Catalog) -> list[str]:
    """Return for each format that can't be read here how many images it has, and in which classes."""
    found = []
    for why in sorted(set(catalog.problem[~catalog.sound])):
        if not is_unread(why):
            continue
        counts = np.bincount(catalog.labels[catalog.problem == why] + 1)[1:]
        classes = [
            f"{catalog.classes[label]} {counts[label]:,}" for label in np.flatnonzero(counts)
        ]
        listed = ", ".join(classes[:5]) + (", ..." if len(classes) > 5 else "")
        found.append(f"{counts.sum():,} of {len(catalog):,} images ({listed}): {why}")
    return found


def left_out(catalog: Catalog) -> list[str]:
    """Return a sentence on the images that can't be used, the commonest reasons first; none where all can.

    Formats that can't be read here are told by `unread_formats`.
    """
    reasons = Counter(why for why in catalog.problem[~catalog.sound] if not is_unread(why))
    if not reasons:
        return []
    common = reasons.most_common(KINDS_TOLD)
    parts = [f"{why} ({count:,})" for why, count in common]
    rest = reasons.total() - sum(count for _, count in common)
    listed = "; ".join([*parts, f"other reasons ({rest:,})"] if rest else parts)
    return [f"{reasons.total():,} of {len(catalog):,} images can't be used: {listed}"]


def is_unread(problem: str) -> bool:
    """Return whether an image's problem is a format that can't be read here."""
    return any(
        problem.startswith(kind) and (NEEDS in problem or kind in NOT_READ)
        for kind in (*WITH_EXTRA, *NOT_READ)
    )


def first_problems(catalog: Catalog, label: int | None = None, limit: int = 5) -> str:
    """Return the first problems as 'id (reason), ...'."""
    bad = ~catalog.sound if label is None else ~catalog.sound & (catalog.labels == label)
    rows = np.flatnonzero(bad)
    listed = ", ".join(f"{catalog.ids[row]} ({catalog.problem[row]})" for row in rows[:limit])
    return listed + (f", and {len(rows) - limit} more" if len(rows) > limit else "")
