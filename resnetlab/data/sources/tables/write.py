"""A catalog written as a label table."""

from pathlib import Path

import numpy as np

from resnetlab.data.catalog import MEMBER, Catalog, printable
from resnetlab.data.sources.archives.members import is_archive
from resnetlab.data.sources.tables.image_index import as_cell
from resnetlab.errors import DataError
from resnetlab.system.files import write_csv


def write_label_table(path: Path, catalog: Catalog) -> Path:
    """Write a table from which the same catalog can be read; return where its images lie.

    Samples with a problem have no label there. Raises DataError where class names differ by blanks
    alone, which a table doesn't keep, or where the images are no files.
    """
    rows = np.flatnonzero(catalog.labels >= 0)
    names = [as_cell(name).strip() for name in catalog.classes]
    for number, name in enumerate(names):
        if not name or name in names[:number]:
            raise DataError(
                f"{catalog.root}: class '{printable(catalog.classes[number])}' can't be told from another "
                "in a table, which keeps no blanks around a name; rename the class"
            )
    place, prefix = image_place(catalog)
    sizes: dict[int, int] = {}
    for group in catalog.group[rows]:
        sizes[group] = sizes.get(group, 0) + 1
    columns: dict[str, list[str]] = {
        "path": [as_cell(name.removeprefix(prefix)) for name in catalog.paths[rows]],
        "label": [names[catalog.labels[row]] if catalog.sound[row] else "" for row in rows],
        "split": list(catalog.split[rows]),
        "group": [str(group) if sizes[group] > 1 else "" for group in catalog.group[rows]],
    }
    kept = [name for name in columns if name in ("path", "label") or any(columns[name])]
    write_csv(path, kept, list(zip(*(columns[name] for name in kept), strict=True)))
    return place


def image_place(catalog: Catalog) -> tuple[Path, str]:
    """Return the folder or archive of a catalog's images, and what goes before a name in its paths.

    Raises DataError where they lie in several archives, or in files that hold bare pixels.
    """
    files = {name.rpartition(MEMBER)[0] for name in catalog.paths}
    if files == {""}:
        return catalog.root, ""
    file = min(files)
    if len(files) > 1 or MEMBER in file or not is_archive(Path(file)):
        raise DataError(
            f"{catalog.root / printable(file)}: a table can name image files in one folder or archive only; "
            "train with --export-split to get such a folder"
        )
    return catalog.root / file, file + MEMBER
