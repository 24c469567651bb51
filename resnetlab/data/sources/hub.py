"""Arrow and Parquet tables with images in them, as Hugging Face's datasets keep them."""

import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from resnetlab.data.catalog import MEMBER, Catalog
from resnetlab.data.sources.folder import note
from resnetlab.data.sources.listing import Listing, natural_key
from resnetlab.data.sources.tables.cell import to_text
from resnetlab.data.sources.tables.columns import (
    IMAGE_NAMES,
    find_column,
    is_vague,
    normal_column,
)
from resnetlab.data.sources.tables.json_table import several
from resnetlab.data.sources.tables.labelled import labelled_catalog, row_number, split_of
from resnetlab.data.sources.tables.rules import fold_number, split_of_cell
from resnetlab.errors import DataError, one_line
from resnetlab.recipe import Data, did_you_mean

IMAGE_TABLE_ENDINGS = frozenset({".arrow", ".parquet"})
LABEL_COLUMNS = ("label", "labels", "class", "target", "fine_label")
# Customary names of columns of images' bytes, the usual first; other names of images count after them.
IMAGE_COLUMNS = ("image", "img", "jpg", "jpeg", "png", "webp", "picture", "photo")
KEPT_GROUPS = 4  # row groups of Parquet files in memory at once


class Table:
    """The images in one Arrow or Parquet file.

    A member is a row's number, with its column before it ('mask/17') where that isn't the usual one.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        with readable(file):
            self.schema = schema_of(file)
            self.columns = image_columns(self.schema)
            if not self.columns:
                raise DataError(
                    f"{file}: has no column of images' bytes; its columns are {', '.join(self.schema.names)}"
                )
            self.arrow = None if is_parquet(file) else read_arrow(file)
            if self.arrow is None:
                facts = pq.read_metadata(file)
                counts = (facts.row_group(group).num_rows for group in range(facts.num_row_groups))
                self.ends = list(accumulate(counts))
            else:
                self.ends = [len(self.arrow)]

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def read(self, member: str) -> bytes:
        """Return an image file's bytes. Raises KeyError without such a row, OSError without bytes."""
        named, _, number = member.rpartition("/")
        column = named or usual_column(self.columns)
        row = row_number(number, len(self))
        if column not in self.columns:
            raise KeyError(member)
        try:
            if self.arrow is not None:
                content = bytes_of(self.arrow[column].slice(row, 1))[0].as_py()
            else:
                group = bisect_right(self.ends, row)
                before = self.ends[group - 1] if group else 0
                content = row_group(self, group, column)[row - before].as_py()
        except (pa.ArrowException, ValueError) as error:
            raise OSError(f"row {row} can't be read ({one_line(error)})") from error
        if not isinstance(content, bytes):
            raise OSError(f"row {row} holds no bytes of an image, only where it once lay")
        return content


@lru_cache(maxsize=KEPT_GROUPS)
def row_group(table: Table, group: int, column: str) -> Any:
    """Return the images of one row group of a Parquet file."""
    with pq.ParquetFile(table.file) as file:
        return bytes_of(file.read_row_group(group, columns=[column])[column])


def is_image_table(file: Path) -> bool:
    """Return whether a file is an Arrow or Parquet table with images in it."""
    if file.suffix.lower() not in IMAGE_TABLE_ENDINGS:
        return False
    try:
        return bool(image_columns(schema_of(file)))
    except (pa.ArrowException, OSError, ValueError):
        return False


def has_image_tables(listing: Listing) -> bool:
    """Return whether a folder holds tables with images in them."""
    names = table_names(listing)
    return not listing.prefix and bool(names) and is_image_table(listing.root / names[0])


def table_names(listing: Listing) -> list[str]:
    """Return the names of the tables in natural order, without what `datasets` keeps for itself."""
    names = [PurePosixPath(name) for name in listing.files]
    own = ("cache-", "indices")
    found = [
        str(name)
        for name in names
        if name.suffix.lower() in IMAGE_TABLE_ENDINGS and not name.name.startswith(own)
    ]
    return sorted(found, key=natural_key)


def read_tables(listing: Listing, settings: Data) -> Catalog:
    """Return the catalog of Arrow or Parquet tables with a column of images and one of labels.

    Names of classes are those in the file's own description, in its order. Columns of splits, groups
    and folds count as in a label table; without one of splits, a word in the name of a file or its
    folder is the split. Raises DataError where a table is damaged, or columns aren't clear.
    """
    names = table_names(listing)
    paths: list[str] = []
    labels: list[str] = []
    splits: list[str] = []
    groups: list[str] = []
    folds: list[int] = []
    classes: list[str] = []
    beside: list[str] = []
    for name in names:
        file = listing.root / name
        table = Table(file)
        column = label_column(table.schema, settings.columns.label, file)
        images = image_column(table, settings.columns.image, column)
        prefix = "" if images == usual_column(table.columns) else f"{images}/"
        beside += [each for each in table.columns if each not in (images, column, *beside)]
        here = class_names(table.schema, column)
        if name != names[0] and here != classes:
            raise DataError(f"{file}: names its classes otherwise than {names[0]}")
        classes = here
        paths += [f"{name}{MEMBER}{prefix}{row}" for row in range(len(table))]
        values = read_column(file, column)
        if lists := [value for value in values if isinstance(value, list)]:
            if any(len(value) != 1 for value in lists):
                raise several(str(file), max(lists, key=len))
            values = [value[0] if isinstance(value, list) else value for value in values]
        labels += [label_text(value, classes, file) for value in values]
        said = {
            role: cells(table, role, column, getattr(settings.columns, role))
            for role in ("split", "group", "fold")
        }
        spots = [f"{file}, row {row}" for row in range(len(table))]
        splits += (
            [split_of_cell(cell, spot) for cell, spot in zip(said["split"], spots, strict=True)]
            if said["split"]
            else [split_of(name)] * len(table)
        )
        groups += said["group"] or [""] * len(table)
        folds += [fold_number(cell, spot) for cell, spot in zip(said["fold"], spots, strict=False)]
    if folds and len(folds) < len(paths):
        raise DataError(f"{listing.where}: only some of its tables have a column of folds")
    others = [name for name in listing.files if name not in names and not name.endswith(".json")]
    notes = note("files or links were passed over", others + list(listing.passed_over))
    notes += note("further columns of files' bytes were passed over", beside)
    return labelled_catalog(listing, paths, labels, splits, settings, classes, notes, groups, folds)


def cells(table: Table, role: str, label: str, named: str | None) -> list[str]:
    """Return the cells of the column of splits, groups or folds as text, none where there is no such column.

    A column of a name such as 'subset' is one of splits only where its cells say so.
    """
    columns = [name for name in table.schema.names if name not in (*table.columns, label)]
    vague = [name for name in columns if is_vague(name, texts(table, name))]
    column = find_column(columns, role, named, str(table.file), vague)
    return list(texts(table, column)) if column else []


def texts(table: Table, column: str) -> Iterator[str]:
    """Give the cells of a column as text, those that number described names as these names."""
    classes = class_names(table.schema, column)
    for value in read_column(table.file, column):
        yield label_text(value, classes, table.file).strip()


def label_column(schema: Any, named: str | None, file: Path) -> str:
    """Return the name of the column of labels: as set, customary, or the only one with classes."""
    columns = list(map(str, schema.names))
    if named is not None:
        if named in columns:
            return named
        raise DataError(f"{file}: has no column '{named}'{did_you_mean(named, columns)}")
    customary = [name for name in LABEL_COLUMNS if name in columns]
    described = [name for name in columns if class_names(schema, name)]
    if customary or len(described) == 1:
        return (customary or described)[0]
    raise DataError(
        f"{file}: which column is the label? Its columns are {', '.join(columns)}; name it with --set "
        "data.columns.label=..."
    )


def image_column(table: Table, named: str | None, label: str) -> str:
    """Return the name of the column of images: as set, the usual one, or the only one that is no label."""
    columns = [name for name in table.columns if name != label]
    if named is not None and named not in columns:
        raise DataError(
            f"{table.file}: column '{named}' (data.columns.image) holds no images' bytes; those that do are "
            f"{', '.join(columns) or 'none'}{did_you_mean(named, columns)}"
        )
    usual = usual_column(columns)
    if named is None and not usual:
        raise DataError(
            f"{table.file}: which column holds the images? Bytes are in {', '.join(columns) or 'none'}; name it "
            "with --set data.columns.image=..."
        )
    return named or usual


def usual_column(columns: Sequence[str]) -> str:
    """Return the only column of images, or the one with the most usual name; '' where none is."""
    for usual in IMAGE_COLUMNS if len(columns) > 1 else ():
        fitting = [name for name in columns if normal_column(name) == usual]
        if fitting:
            return usual if usual in fitting else fitting[0]
    customary = [name for name in columns if normal_column(name) in IMAGE_NAMES[0]]
    return next((found[0] for found in (columns, customary) if len(found) == 1), "")


def class_names(schema: Any, column: str) -> list[str]:
    """Return the names of a column's classes from the table's own description, none without."""
    try:
        facts = json.loads((schema.metadata or {})[b"huggingface"])
        feature = facts["info"]["features"][column]
        feature = feature.get("feature", feature)  # of lists: that of what is in them
        names = feature["names"] if feature["_type"] == "ClassLabel" else []
        return [str(name) for name in names]
    except (KeyError, TypeError, ValueError, AttributeError):
        return []


def label_text(value: Any, classes: Sequence[str], file: Path) -> str:
    """Return a label as text, '' for none, which with named classes may be -1."""
    if not classes or isinstance(value, str | bytes) or value is None:
        return to_text(value)
    if value == -1:
        return ""
    if not isinstance(value, int) or not 0 <= value < len(classes):
        raise DataError(f"{file}: label {value!r:.40} is no number from 0 to {len(classes) - 1}")
    return classes[value]


# Files


@contextmanager
def readable(file: Path) -> Iterator[None]:
    """Turn what Arrow says about a damaged file into a DataError that names it."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise DataError(
            f"{file}: is no {file.suffix} file that can be read ({one_line(error)})"
        ) from error


def is_parquet(file: Path) -> bool:
    """Return whether a table is Parquet by its name; the other kind is Arrow."""
    return file.suffix.lower() == ".parquet"


def schema_of(file: Path) -> Any:
    """Return a table's columns and its own description."""
    if is_parquet(file):
        return pq.read_schema(file)
    with pa.memory_map(str(file)) as source:
        return pa.ipc.open_stream(source).schema


def read_arrow(file: Path) -> Any:
    """Map an Arrow file, and check that nothing in it points outside."""
    table = pa.ipc.open_stream(pa.memory_map(str(file))).read_all()
    table.validate(full=True)
    return table


def read_column(file: Path, column: str) -> list[Any]:
    """Read one column of a table."""
    with readable(file):
        table = pq.read_table(file, columns=[column]) if is_parquet(file) else read_arrow(file)
        values: list[Any] = table[column].to_pylist()
        return values


def image_columns(schema: Any) -> list[str]:
    """Return the columns that hold files' bytes, alone or with their path, and are not called a label."""
    found = []
    for field in schema:
        kind = field.type
        if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            kind = kind.field("bytes").type
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            found.append(str(field.name))
    return [name for name in found if name not in LABEL_COLUMNS]


def bytes_of(column: Any) -> Any:
    """Return a column of files' bytes, taken out of the structure that holds their path too."""
    return pc.struct_field(column, "bytes") if pa.types.is_struct(column.type) else column
