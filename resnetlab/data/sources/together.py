"""Several sources put together into one Catalog."""

import os
from pathlib import Path

import numpy as np

from resnetlab.data.catalog import COLUMNS, MEMBER, Catalog, objects, printable
from resnetlab.data.sources.listing import natural_key


def put_together(catalog: Catalog, more: Catalog, name: str) -> Catalog:
    """Return a catalog of the images of both; `name` is what notes call the second.

    Paths are below the folder that holds both. An image that both name has the label that the second gives it,
    in its place. Where either is divided into splits, images that have none are training's.
    """
    root = Path(os.path.commonpath([catalog.root.resolve(), more.root.resolve()]))
    new = sorted(set(more.classes) - set(catalog.classes), key=natural_key)
    classes = (*catalog.classes, *new)
    first, second = (below(each, root, classes) for each in (catalog, more))
    again = set(second.paths)
    kept = np.array([path not in again for path in first.paths], dtype=bool)
    columns = {
        column: np.concatenate([getattr(first, column)[kept], getattr(second, column)])
        for column in COLUMNS
        if column != "group"
    }
    # Names of groups, unlike each other in the two, as the first row of each will be another.
    names = np.concatenate([first.group[kept], second.group + len(first)])
    order = sorted(range(len(names)), key=lambda row: columns["paths"][row])
    columns = {column: values[order] for column, values in columns.items()}
    _, rows, of_row = np.unique(names[order], return_index=True, return_inverse=True)
    if (columns["split"] != "").any():
        columns["split"] = objects([split or "train" for split in columns["split"]])
    notes = [*catalog.notes, *more.notes, *differences(catalog, more, name, int((~kept).sum()))]
    return Catalog(root, classes, group=rows[of_row], notes=tuple(notes), **columns)


def below(catalog: Catalog, root: Path, classes: tuple[str, ...]) -> Catalog:
    """Return a catalog with another root, above its own, and more classes."""
    inside = os.path.relpath(catalog.root.resolve(), root)
    prefix = "" if inside == "." else inside + "/"
    paths = [with_prefix(prefix, path) for path in catalog.paths]
    place = np.array([*(classes.index(name) for name in catalog.classes), -1])  # -1: unlabelled
    return catalog.with_columns(
        root=root,
        classes=classes,
        paths=objects(paths),
        ids=objects([printable(path) for path in paths]),
        labels=place[catalog.labels],
    )


def with_prefix(prefix: str, path: str) -> str:
    """Return a catalog's path below a root that lies higher; what it names within an archive stays."""
    file, inside, member = path.partition(MEMBER)
    return os.path.normpath(prefix + file) + inside + member


def differences(catalog: Catalog, more: Catalog, name: str, again: int) -> list[str]:
    """Return sentences on what the second source changes or adds that one should know of."""
    notes = [f"{len(more):,} images of {name} were put to {len(catalog):,}"]
    if again:
        notes[0] += f"; {again:,} of them are the same files, whose labels are now those of {name}"
    new = [each for each in more.classes if each not in catalog.classes]
    if new:
        notes.append(f"{name} adds {'a class' if len(new) == 1 else 'classes'}: {', '.join(new)}")
    return notes
