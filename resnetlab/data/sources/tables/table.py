"""A label table beside images: which row means which image, and what it says about it."""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from resnetlab.data.catalog import Catalog, new_catalog, printable
from resnetlab.data.sources.folder import note
from resnetlab.data.sources.listing import Listing, natural_key
from resnetlab.data.sources.tables.columns import (
    ONE_HOT,
    ROWS_TO_JUDGE,
    Found,
    Row,
    find_columns,
    normal_column,
)
from resnetlab.data.sources.tables.image_index import ImageIndex
from resnetlab.data.sources.tables.rules import (
    check_splits,
    fold_number,
    require_some,
    split_of_cell,
)
from resnetlab.data.sources.tables.text_table import (
    TABLE_ENDINGS,
    parquet_rows,
    read_table_content,
    text_rows,
)
from resnetlab.errors import DataError
from resnetlab.recipe import Columns, Data, did_you_mean

# Of tables that need not be named: plain text, which may be anything, only where no other is one.
FOUND_ENDINGS = (tuple(TABLE_ENDINGS - {".txt"}), (".txt",))


@dataclass(frozen=True)
class Meaning:
    """What one row says about its image."""

    label: str
    split: str
    group: str
    fold: str


def find_label_table(listing: Listing) -> str | None:
    """Return the name of the label table at the top of a listing, None where there is none.

    It has columns for images and labels, and among its first rows some name images of the
    listing. Raises DataError where two are such tables.
    """
    at_top = [name for name in listing.files if "/" not in name]
    for endings in FOUND_ENDINGS:
        tables = [
            name
            for name in at_top
            if name.lower().endswith(endings)
            and not normal_column(name).startswith("samplesubmission")
        ]
        fitting = those_that_name_images(listing, tables)
        if fitting:
            break
    if len(fitting) > 1:
        raise DataError(
            f"{listing.where}: both '{printable(fitting[0])}' and '{printable(fitting[1])}' are tables "
            "with labels of these images; name one of them as the data, or join them into one, with "
            "a column 'split' where they are splits"
        )
    return fitting[0] if fitting else None


def those_that_name_images(listing: Listing, tables: list[str]) -> list[str]:
    """Return which tables of a listing have labels of its images."""
    if not tables:
        return []
    index = ImageIndex(listing)
    return [
        name for name in tables if names_images(first_rows(listing, name, index.is_image), index)
    ]


def first_rows(listing: Listing, name: str, is_image: Callable[[str], bool]) -> list[Row]:
    """Return the first rows of a table, as many as can be read: its faults are reported later."""
    rows: list[Row] = []
    path = listing.where / name
    try:
        if name.lower().endswith(".json"):
            return read_table_content(listing.read(name), path, is_image)[:ROWS_TO_JUDGE]
        if not name.lower().endswith(".parquet"):
            rows.extend(islice(text_rows(listing.read(name), str(path), is_image), ROWS_TO_JUDGE))
            return rows
        # On disk, so that of a large file that holds images itself only the head is read.
        with path.open("rb") if path.is_file() else io.BytesIO(listing.read(name)) as file:
            rows.extend(islice(parquet_rows(file, str(path)), ROWS_TO_JUDGE))
    except (DataError, OSError, KeyError):
        pass
    return rows


def names_images(rows: list[Row], index: ImageIndex) -> bool:
    """Return whether rows have columns of images and labels, and one of them names an image.

    Columns of unknown names count only beside images that no class folders divide.
    """
    try:
        known = index.is_image if index.is_flat else None
        column = find_columns(rows, Columns(), "", known).image if rows else ""
    except DataError:
        return False
    if not column:
        return False
    index.learn_foreign(row[column] for row in rows)
    return any(index.candidates(row[column]) for row in rows)


def read_label_table(rows: list[Row], where: Path, listing: Listing, settings: Data) -> Catalog:
    """Return the catalog of the images of a listing that a table's rows label.

    Raises DataError where the columns aren't clear, a row leads out of the images' folder, rows and
    images don't match, or rows contradict each other.
    """
    index = ImageIndex(listing)
    columns = find_columns(rows, settings.columns, str(where), index.is_image)
    index.learn_foreign(row[columns.image] for row in rows)
    row_of, notes = match_rows(rows, columns, where, index, settings)
    notes += columns.notes
    if index.foreign:
        notes.append(f"paths in {where.name} are taken without '{printable(index.foreign)}'")
    meanings = {name: meaning(row, columns, place(where, row)) for name, row in row_of.items()}
    unlabelled = [name for name, said in meanings.items() if not said.label]
    notes += note("images have no label in the table and were left out", unlabelled)
    notes += note("files or links were passed over", list(listing.passed_over))
    names = sorted(name for name, said in meanings.items() if said.label)
    said = [meanings[name] for name in names]
    labels = whole_numbers([item.label for item in said])
    places = [place(where, row_of[name]) for name in names]
    classes = agreed_classes(labels, places, columns, where, settings)
    splits = [split_of_cell(item.split, spot) for item, spot in zip(said, places, strict=True)]
    check_splits(splits, places, where)
    number = {name: row for row, name in enumerate(classes)}
    return new_catalog(
        listing.root,
        classes,
        [listing.path_of(name) for name in names],
        [number[label] for label in labels],
        splits,
        tuple(notes),
        [item.group for item in said],
        [fold_number(item.fold, spot) for item, spot in zip(said, places, strict=True)]
        if columns.fold
        else None,
    )


def whole_numbers(labels: list[str]) -> list[str]:
    """Return labels as whole numbers where all are such, some written as programs do: '1.0'."""
    if all(re.fullmatch(r"-?[0-9]+(\.0+)?", label) for label in labels):
        return [label.partition(".")[0] for label in labels]
    return labels


def place(where: Path, row: Row) -> str:
    """Return the place of a row as a message names it."""
    return f"{where}, {row.spot}"


def meaning(row: Row, columns: Found, spot: str) -> Meaning:
    """Return what a row says. Raises DataError for a one-hot row without one single 1."""
    if columns.one_hot:
        marked = [name for name in columns.one_hot if ONE_HOT[row[name].strip()]]
        if len(marked) != 1:
            listed = f" ({', '.join(marked[:5])})" if marked else ""
            raise DataError(
                f"{spot}: {len(marked)} classes have a 1{listed}; each image needs exactly one, "
                "several labels for an image (multi-label) are not supported"
            )
        label = marked[0]
    else:
        label = row[columns.label].strip()
    split, group, fold = (
        row[name].strip() if name else "" for name in (columns.split, columns.group, columns.fold)
    )
    return Meaning(label, split, group, fold)


def match_rows(
    rows: list[Row], columns: Found, where: Path, index: ImageIndex, settings: Data
) -> tuple[dict[str, Row], list[str]]:
    """Return the row of each image that has one, and notes.

    Raises DataError where rows contradict each other, or rows and images don't match.
    """
    row_of: dict[str, Row] = {}
    repeated: list[str] = []
    lost: list[str] = []
    for row in rows:
        name = index.find(row[columns.image], place(where, row))
        if name is None:
            lost.append(f"'{printable(row[columns.image])}' in {row.spot}")
        elif name in row_of:
            check_repeated((row_of[name], row), columns, where, name)
            repeated.append(name)
        else:
            row_of[name] = row
    named = settings.unmatched == "named"
    left = [name for name in index.images if name not in row_of and not named]
    if not row_of:
        raise DataError(
            f"{where}: no row names an image of {index.where}, the first is {lost[0]}; is this the "
            "right column (data.columns.image) and the right folder (data.images)?"
        )
    if (lost or left) and settings.unmatched != "drop":
        raise DataError(
            f"{where}: {counted(lost, 'rows without an image')}, "
            f"{counted(left, 'images without a row')}; mend the table, or leave them out with "
            "--set data.unmatched=drop"
        )
    notes = note("rows have no image and were left out", lost)
    notes += note("images have no row and were left out", left)
    return row_of, notes + note("rows repeat an image and say the same", repeated)


def check_repeated(rows: tuple[Row, Row], columns: Found, where: Path, name: str) -> None:
    """Raise DataError where two rows of one image don't say the same."""
    first, second = (meaning(row, columns, place(where, row)) for row in rows)
    for field in ("label", "split", "group", "fold"):
        one, other = getattr(first, field), getattr(second, field)
        if one != other:
            raise DataError(
                f"{where}, {both_spots(*rows)}: image '{printable(name)}' has "
                f"{field} '{one}' and '{other}'; keep one of these rows"
            )


def both_spots(one: Row, other: Row) -> str:
    """Return where two rows are: 'lines 5 and 26' of one file."""
    lines = [row.spot.removeprefix("line ") for row in (one, other)]
    if all(line.isdigit() for line in lines):
        return f"lines {lines[0]} and {lines[1]}"
    return f"{one.spot} and {other.spot}"


def counted(names: list[str], what: str) -> str:
    """Return how many there are, with the first five."""
    listed = f" ({', '.join(map(printable, names[:5]))}{', ...' if names[5:] else ''})"
    return f"{len(names)} {what}{listed if names else ''}"


def agreed_classes(
    labels: list[str], places: list[str], columns: Found, where: Path, settings: Data
) -> tuple[str, ...]:
    """Return the classes: as set, else as the one-hot columns stand, else in natural order.

    Raises DataError for a label that isn't allowed.
    """
    found = dict.fromkeys(labels)
    classes = columns.one_hot or tuple(sorted(found, key=natural_key))
    if settings.classes is not None:
        classes = tuple(dict.fromkeys(settings.classes))
        allowed = set(classes)
        for label, spot in zip(labels, places, strict=True):
            if label not in allowed:
                raise DataError(
                    f"{spot}: label '{label}' is none of the {len(classes)} in data.classes"
                    f"{did_you_mean(label, classes)}"
                )
    require_some(found, where)
    return classes
