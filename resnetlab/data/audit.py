"""What is wrong with the data, found before it can do harm. Nothing of the user's is changed."""

from collections import defaultdict
from typing import Any

import numpy as np

from resnetlab.data.catalog import PARTS, Catalog
from resnetlab.errors import DataError


def audit(catalog: Catalog, conflicts: str, max_problem_frac: float) -> Catalog:
    """Return the catalog with copies grouped and what can't be trusted quarantined.

    A picture under two labels is quarantined (or fatal where `conflicts` is 'error'). A copy in a
    given training part of a picture in another part is quarantined, so that the other stays fair.
    Raises DataError above `max_problem_frac`, or where a class is left without a picture.
    """
    catalog = catalog.with_columns(problem=catalog.problem.copy(), group=catalog.group.copy())
    copies = find_copies(catalog)
    for rows in copies:
        catalog.group[rows] = rows[0]
        if len(set(catalog.labels[rows])) > 1:
            quarantine_conflict(catalog, rows, conflicts)
        else:
            quarantine_leak(catalog, rows)
    refuse_too_many_problems(catalog, max_problem_frac)
    for label, name in enumerate(catalog.classes):
        if not (catalog.sound & (catalog.labels == label)).any():
            raise DataError(
                f"class '{name}' has no usable picture left: {first_problems(catalog, label)}"
            )
    return catalog


def find_copies(catalog: Catalog) -> list[np.ndarray]:
    """Return the rows of each picture that is there more than once, byte for byte."""
    rows_of = defaultdict(list)
    for row in np.flatnonzero(catalog.sound):
        rows_of[catalog.sha256[row]].append(row)
    return [np.array(rows) for rows in rows_of.values() if len(rows) > 1]


def quarantine_conflict(catalog: Catalog, rows: np.ndarray, conflicts: str) -> None:
    """Leave out a picture that has two labels: nobody knows which is right."""
    names = " and ".join(catalog.classes[label] for label in sorted(set(catalog.labels[rows])))
    if conflicts == "error":
        pair = ", ".join(catalog.ids[rows])
        raise DataError(
            f"the same picture is labelled {names}: {pair}; mend the labels, or leave such pictures out "
            "with --set data.conflicts=drop"
        )
    catalog.problem[rows] = f"same picture labelled {names}"


def quarantine_leak(catalog: Catalog, rows: np.ndarray) -> None:
    """Keep a copy in one part only, where the user's own split has it in several.

    The test part keeps its copy first, then validation: what is measured on must not shrink.
    """
    for keeper in ("test", "val"):
        inside = catalog.split[rows] == keeper
        if inside.any():
            catalog.problem[rows[~inside]] = f"copy of a picture in the {keeper} part"
            return


def refuse_too_many_problems(catalog: Catalog, max_problem_frac: float) -> None:
    """Raise DataError where more pictures are quarantined than the recipe allows."""
    bad = int((~catalog.sound).sum())
    if bad > max_problem_frac * len(catalog):
        raise DataError(
            f"{bad} of {len(catalog)} pictures can't be used, more than the {max_problem_frac:.1%} allowed: "
            f"{first_problems(catalog)}; mend them, or allow more with --set data.max_problem_frac=0.1"
        )


def first_problems(catalog: Catalog, label: int | None = None, limit: int = 5) -> str:
    """Return the first problems as 'id (reason), ...'."""
    bad = ~catalog.sound if label is None else ~catalog.sound & (catalog.labels == label)
    rows = np.flatnonzero(bad)
    listed = ", ".join(f"{catalog.ids[row]} ({catalog.problem[row]})" for row in rows[:limit])
    return listed + (f", and {len(rows) - limit} more" if len(rows) > limit else "")


def describe(catalog: Catalog, name: str) -> dict[str, Any]:
    """Return what a reader should know about the data, as plain values for JSON."""
    sound = catalog.part("all")
    split = any(catalog.split[sound])
    parts: tuple[str, ...] = PARTS if split else ("all",)
    copies = find_copies(catalog)
    conflicts = [problem for problem in catalog.problem if problem.startswith("same picture")]
    return {
        "name": name,
        "pictures": len(catalog),
        "used": len(sound),
        "problems": [
            {"id": catalog.ids[row], "problem": catalog.problem[row]}
            for row in np.flatnonzero(~catalog.sound)
        ],
        "notes": list(catalog.notes),
        "classes": list(catalog.classes),
        "counts": {part: catalog.counts(part).tolist() for part in parts},
        "sizes": {side: spread(getattr(catalog, side)[sound]) for side in ("width", "height")},
        "duplicates": sum(len(rows) - 1 for rows in copies),
        "conflicts": len(conflicts),
    }


def spread(values: np.ndarray) -> list[int]:
    """Return smallest, median and largest."""
    return [int(values.min()), int(np.median(values)), int(values.max())]
