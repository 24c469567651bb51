"""Who learns and who examines: stratified, seeded, by group, decided by content."""

import hashlib
import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np

from resnetlab.data.catalog import PARTS, Catalog, Part
from resnetlab.errors import DataError, MachineError


def split(catalog: Catalog, fractions: tuple[float, float, float], seed: int) -> Catalog:
    """Return the catalog with every sound sample in 'train', 'val' or 'test'.

    `fractions` are for those three and sum to 1. Parts that the user's folders give are kept; a
    part they lack is taken from their training part. Each class is divided by itself; samples of
    one group go together. Which go where depends on the seed and the pictures' content alone, not
    on names or order. Raises DataError for a class with too few pictures.
    """
    given = {part for part in PARTS if (catalog.split == part).any()}
    wanted: dict[Part, float] = {
        part: fraction
        for part, fraction in zip(PARTS, fractions, strict=True)
        if part == "train" or (fraction > 0 and part not in given)
    }
    assigned = catalog.split.copy()
    pool = catalog.sound & ((assigned == "") | (assigned == "train"))
    units = units_by_class(catalog, np.flatnonzero(pool), seed)
    for label, name in enumerate(catalog.classes):
        for part, rows in deal(name, units.get(label, []), wanted).items():
            assigned[rows] = part
    return catalog.with_columns(split=assigned)


def units_by_class(catalog: Catalog, rows: np.ndarray, seed: int) -> dict[int, list[list[int]]]:
    """Return, for each class, its groups of rows in the order that seed and content decide."""
    groups = defaultdict(list)
    for row in rows:
        groups[catalog.group[row]].append(int(row))
    units = defaultdict(list)
    for members in groups.values():
        lot = min(draw_lot(seed, catalog.sha256[row]) for row in members)
        units[int(catalog.labels[members[0]])].append((lot, members))
    return {
        label: [members for _, members in sorted(drawn)] for label, drawn in sorted(units.items())
    }


def draw_lot(seed: int, digest: str) -> str:
    """Return a lot for a picture: a hash of seed and content, so that it stays when others come."""
    return hashlib.sha256(f"{seed}:{digest}".encode()).hexdigest()


def deal(name: str, units: list[list[int]], wanted: dict[Part, float]) -> dict[Part, list[int]]:
    """Deal the units of the class `name`: test first, then validation, what is left trains.

    Each part gets its share to the nearest whole picture, and at least one unit.
    """
    if len(units) < len(wanted):
        raise DataError(
            f"class '{name}' has {len(units)} different pictures, too few for {len(wanted)} parts "
            f"({', '.join(wanted)}); add some, or use fewer parts, such as --split 0.8 0 0.2"
        )
    total = sum(map(len, units))
    whole = sum(wanted.values())
    dealt: dict[Part, list[int]] = {}
    remaining = list(units)
    others = [part for part in ("test", "val") if part in wanted]
    for index, part in enumerate(others):
        target = round(total * wanted[part] / whole)
        keep = len(others) - index  # units that the parts still to come need at least
        rows: list[int] = []
        while len(remaining) > keep and (not rows or len(rows) + len(remaining[0]) / 2 <= target):
            rows += remaining.pop(0)
        dealt[part] = rows
    dealt["train"] = [row for unit in remaining for row in unit]
    return dealt


def export_split(catalog: Catalog, out: Path) -> None:
    """Copy every part into out/<part>/<class>/, for tools that want it so; the originals stay.

    Raises MachineError where the folder is not empty or can't be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise MachineError(f"{out}: is not empty; choose a new folder for the copies")
        for part in PARTS:
            for row in catalog.part(part):
                target = out / part / catalog.classes[catalog.labels[row]]
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy2(
                    catalog.root / catalog.paths[row], free_name(target, catalog.paths[row])
                )
    except OSError as error:
        raise MachineError(f"{out}: can't be written ({error.strerror})") from error


def free_name(folder: Path, path: str) -> Path:
    """Return a file name that is not taken: pictures of one class may come from several folders."""
    name = Path(path)
    target, count = folder / name.name, 1
    while target.exists():
        count += 1
        target = folder / f"{name.stem}-{count}{name.suffix}"
    return target
