"""Which form DATA has, and from it the Catalog. Start here to add a form."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from resnetlab.data.catalog import Catalog, printable
from resnetlab.data.sources.archives.archive import list_archive
from resnetlab.data.sources.archives.members import is_archive
from resnetlab.data.sources.archives.nested import with_archives
from resnetlab.data.sources.arrays.arrays import array_files, has_arrays, read_arrays
from resnetlab.data.sources.arrays.cifar import has_batches, read_cifar
from resnetlab.data.sources.arrays.idx import has_idx, read_mnist
from resnetlab.data.sources.fetch import fetch_dataset, fetch_torchvision
from resnetlab.data.sources.file_name_labels import labels_from_names
from resnetlab.data.sources.folder import class_folders
from resnetlab.data.sources.given_splits import settle_given_splits
from resnetlab.data.sources.hub import has_image_tables, is_image_table, read_tables
from resnetlab.data.sources.kaggle import fetch_kaggle, is_kaggle, read_kaggle
from resnetlab.data.sources.listing import Listing, list_folder, wrapped
from resnetlab.data.sources.shards import has_shards, read_shards
from resnetlab.data.sources.tables.image_index import ImageIndex
from resnetlab.data.sources.tables.split_tables import find_split_tables, join_split_tables
from resnetlab.data.sources.tables.table import find_label_table, read_label_table
from resnetlab.data.sources.tables.text_table import (
    TABLE_ENDINGS,
    read_table_content,
    read_table_file,
)
from resnetlab.data.sources.together import put_together
from resnetlab.errors import DataError
from resnetlab.recipe import Columns, Data, did_you_mean
from resnetlab.system.files import cache_folder

ARRAYS_LEFT = "were passed over, for images beside have a table; to read them, give them in a folder of their own"
Layout = tuple[Callable[[Listing], bool], Callable[[Listing, Data], Catalog]]
# What a folder may hold beside class folders, in the order in which it is asked.
LAYOUTS: list[Layout] = [
    (has_image_tables, read_tables),
    (has_batches, read_cifar),
    (has_idx, read_mnist),
    (has_shards, read_shards),
    (is_kaggle, read_kaggle),
]
FETCH: dict[str, Callable[[str, Path], None]] = {
    "hf": fetch_dataset,
    "torchvision": fetch_torchvision,
}


def read_source(data: Path, settings: Data) -> Catalog:
    """List the labelled images in whatever DATA is, and in what the recipe puts to it; none of them is decoded.

    A folder, an archive, a label table, a file of arrays, or a name: 'kaggle:cifar-10', 'hf:NAME',
    'torchvision:NAME', which is fetched first. Raises DataError where DATA is none of these or its
    labels make no sense, MachineError where something is missing here to read it.
    """
    catalog = read_one(data, settings)
    for name in settings.more:
        alone: dict[str, Any] = {"images": None}
        if is_table(Path(name)) and settings.unmatched == "error":
            alone["unmatched"] = "named"  # beside it may lie anything, DATA too
        more = read_one(Path(name), settings.model_copy(update=alone))
        catalog = put_together(catalog, more, name)
    require_two(catalog, data)
    return with_classes(settle_given_splits(catalog, settings.unknown_classes), settings.classes)


def require_two(catalog: Catalog, data: Path) -> None:
    """Raise DataError where there are images of fewer than two classes."""
    found = [catalog.classes[label] for label in np.unique(catalog.labels[catalog.labels >= 0])]
    if len(found) < 2:
        only = f"only '{found[0]}'" if found else "none"
        hint = "".join(f"; {note}" for note in catalog.notes if ARRAYS_LEFT in note)
        raise DataError(f"{data}: needs two classes at least, found {only}{hint}")


def read_one(data: Path, settings: Data) -> Catalog:
    """List the labelled images of one source."""
    data = fetched(data)
    if data.is_dir():
        listing = list_folder(data, settings.follow_links)
    elif is_archive(data) and data.is_file() and not has_shards(one_file(data)):
        listing = list_archive(data)
    elif data.is_file():
        listing = one_file(data)
    else:
        raise DataError(f"{data}: no such file or folder")
    return read_table(data, settings) if is_table(data) else read_listing(listing, settings)


def read_listing(listing: Listing, settings: Data) -> Catalog:
    """Return the catalog of a folder or archive by the layout that it has.

    What is no class folders may also lie within one folder around all, or archives within.
    """
    if settings.label_pattern is not None:
        refuse_columns(listing, settings)
        return labels_from_names(with_archives(listing), settings)
    for within in wrapped(listing):
        catalog = read_layout(within, settings)
        if catalog is not None:
            return catalog
    opened = with_archives(listing)
    catalog = read_layout(opened, settings) if opened is not listing else None
    if catalog is None:
        refuse_columns(listing, settings)
        catalog = class_folders(opened, settings)
    return catalog


def refuse_columns(listing: Listing, settings: Data) -> None:
    """Raise DataError where columns are named for images that no table labels: nobody would read them.

    Beside further sources they may be those of another's table.
    """
    named = [role for role in Columns.model_fields if getattr(settings.columns, role)]
    if named and not settings.more:
        raise DataError(
            f"{listing.where}: data.columns.{named[0]} names a column of a label table, and no table labels these "
            "images; leave it away, or give the table as DATA with its images by --set data.images=..."
        )


def read_layout(listing: Listing, settings: Data) -> Catalog | None:
    """Return the catalog of a folder or archive that holds something else than class folders, else None."""
    for is_it, read in LAYOUTS:
        if is_it(listing):
            if read is not read_tables:
                refuse_columns(listing, settings)
            return read(listing, settings)
    catalog = read_table_beside(listing, settings)
    if not has_arrays(listing):
        return catalog
    if catalog is None:
        refuse_columns(listing, settings)
        return read_arrays(listing, settings)
    names = array_files(listing)  # perhaps embeddings of the images
    listed = ", ".join(map(printable, names[:3])) + (", ..." if names[3:] else "")
    return catalog.with_columns(notes=(*catalog.notes, f"arrays {listed} {ARRAYS_LEFT}"))


def read_table_beside(listing: Listing, settings: Data) -> Catalog | None:
    """Return the catalog of the images that label tables of a folder or archive name, None without such tables."""
    tables = find_split_tables(listing)
    if tables:
        rows = join_split_tables(listing, tables, settings.columns)
        joined = settings.model_copy(update={"columns": Columns()})
        return read_label_table(rows, listing.where, listing, joined)
    table = find_label_table(listing)
    if table is None:
        return None
    where = listing.where / table
    rows = read_table_content(listing.read(table), where, ImageIndex(listing).is_image)
    return read_label_table(rows, where, listing, settings)


def read_table(file: Path, settings: Data) -> Catalog:
    """Return the catalog of a label table that is DATA itself, with the images beside it or elsewhere."""
    place = file.parent if settings.images is None else Path(settings.images)
    listing = (
        list_archive(place) if is_archive(place) else list_folder(place, settings.follow_links)
    )
    listing = with_archives(listing)
    rows = read_table_file(file, ImageIndex(listing).is_image)
    return read_label_table(rows, file, listing, settings)


def is_table(file: Path) -> bool:
    """Return whether a file is a table of labels rather than one with images in it."""
    return file.is_file() and file.suffix.lower() in TABLE_ENDINGS and not is_image_table(file)


def one_file(file: Path) -> Listing:
    """Return the listing of a single file in its folder."""
    root = file.parent.resolve()
    return Listing(file, root, "", (file.name,), (), (), lambda name: (root / name).read_bytes())


def fetched(data: Path) -> Path:
    """Return where DATA lies, after fetching it where it is a name such as 'kaggle:cifar-10'."""
    kind, _, name = str(data).partition(":")
    if kind == "kaggle" and name:
        return fetch_kaggle(name, cache_folder())
    if kind not in FETCH or not name:
        return data
    folder = cache_folder() / f"{kind}-{name.replace('/', '--')}"
    if not folder.is_dir():
        FETCH[kind](name, folder)
    return folder


def with_classes(catalog: Catalog, classes: tuple[str, ...] | None) -> Catalog:
    """Return the catalog with the classes in the order that the recipe gives.

    Raises DataError for a class that is not among them.
    """
    if classes is None or classes == catalog.classes:
        return catalog
    for name in catalog.classes:
        if name not in classes:
            raise DataError(
                f"{catalog.root}: class '{name}' is none of the {len(classes)} in data.classes"
                f"{did_you_mean(name, classes)}"
            )
    place = np.array([classes.index(name) for name in catalog.classes])
    return catalog.with_columns(classes=classes, labels=place[catalog.labels])
