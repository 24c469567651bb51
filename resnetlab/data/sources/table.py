"""A label table beside pictures: which row means which picture, and what it says about it."""

import io
import re
from collections.abc import Collection
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from resnetlab.data.catalog import MEMBER, Catalog, new_catalog, printable
from resnetlab.data.sources.archive_members import is_archive
from resnetlab.data.sources.folder import SPLIT_NAMES, note
from resnetlab.data.sources.listing import Listing, natural_key
from resnetlab.data.sources.picture_index import PictureIndex, as_cell
from resnetlab.data.sources.text_table import parquet_rows, text_rows
from resnetlab.errors import DataError
from resnetlab.files import write_csv
from resnetlab.recipe import Columns, Data, did_you_mean

Row = dict[str, str]

# Customary names of columns, in small letters without blanks, '_' and '-'. The later groups count
# only where no column has a name of the earlier ones: beside 'filename', 'id' is just a number.
IMAGE_NAMES = (
    {"image", "images", "img", "picture", "pic", "photo", "path", "imagepath", "imgpath", "picturepath",
     "file", "filename", "filepath", "fname", "imagefile", "imagename", "imgname", "imagefilename"},
    {"id", "imageid", "imgid", "pictureid", "name"},
)  # fmt: skip
LABEL_NAMES = (
    {"label", "labels", "class", "target", "targets", "category", "y"},
    {"classname", "labelname", "targetname", "categoryname", "classid", "labelid", "categoryid"},
)
SPLIT_COLUMN_NAMES = ({"split", "part", "set", "subset"},)
GROUP_NAMES = ({"group", "groups", "groupid"},)
FOLD_NAMES = ({"fold", "folds", "kfold"},)
CUSTOMARY = {
    "image": IMAGE_NAMES,
    "label": LABEL_NAMES,
    "split": SPLIT_COLUMN_NAMES,
    "group": GROUP_NAMES,
    "fold": FOLD_NAMES,
}
ONE_HOT = {"0": False, "0.0": False, "False": False, "1": True, "1.0": True, "True": True}
ROWS_TO_JUDGE = 20


@dataclass(frozen=True)
class Found:
    """Which column plays which part, '' for none; `one_hot` are the classes where no column has labels."""

    image: str
    label: str
    split: str
    group: str
    fold: str
    one_hot: tuple[str, ...]


@dataclass(frozen=True)
class Meaning:
    """What one row says about its picture."""

    label: str
    split: str
    group: str
    fold: str


def find_label_table(listing: Listing) -> str | None:
    """Return the name of the label table at the top of a listing, None where there is none.

    It has columns for pictures and labels, and among its first rows some name pictures of the
    listing. Raises DataError where two are such tables.
    """
    tables = [
        name
        for name in listing.files
        if "/" not in name
        and name.lower().endswith((".csv", ".tsv", ".parquet"))
        and not normal_column(name).startswith("samplesubmission")
    ]
    if not tables:
        return None
    index = PictureIndex(listing)
    fitting = [name for name in tables if names_pictures(first_rows(listing, name), index)]
    if len(fitting) > 1:
        raise DataError(
            f"{listing.where}: both '{printable(fitting[0])}' and '{printable(fitting[1])}' are tables "
            "with labels of these pictures; name one of them as the data, or make one of them, with a "
            "column 'split' where they are parts"
        )
    return fitting[0] if fitting else None


def first_rows(listing: Listing, name: str) -> list[Row]:
    """Return the first rows of a table, as many as can be read: its faults are told later."""
    rows: list[Row] = []
    path = listing.where / name
    try:
        if not name.lower().endswith(".parquet"):
            rows.extend(islice(text_rows(listing.read(name), str(path)), ROWS_TO_JUDGE))
            return rows
        # On disk, so that of a large file that holds pictures itself only the head is read.
        with path.open("rb") if path.is_file() else io.BytesIO(listing.read(name)) as file:
            rows.extend(islice(parquet_rows(file, str(path)), ROWS_TO_JUDGE))
    except (DataError, OSError, KeyError):
        pass
    return rows


def names_pictures(rows: list[Row], index: PictureIndex) -> bool:
    """Return whether rows have columns of pictures and labels, and one of them names a picture."""
    try:
        column = find_columns(rows, Columns(), "").image if rows else ""
    except DataError:
        return False
    return bool(column) and any(index.candidates(row[column]) for row in rows)


def read_label_table(rows: list[Row], where: Path, listing: Listing, settings: Data) -> Catalog:
    """Return the catalog of the pictures of a listing that a table's rows label.

    Line numbers in messages count the header as line 1 and know of no blank lines. Raises DataError
    where the columns aren't clear, a row leads out of the pictures' folder, rows and pictures don't
    match, or rows contradict each other.
    """
    columns = find_columns(rows, settings.columns, str(where))
    row_of, notes = match_rows(rows, columns, where, PictureIndex(listing), settings)
    meanings = {
        name: meaning(rows[row], columns, place(where, row)) for name, row in row_of.items()
    }
    unlabelled = [name for name, said in meanings.items() if not said.label]
    notes += note("pictures have no label in the table and were left out", unlabelled)
    notes += note("files or links were passed over", list(listing.passed_over))
    names = sorted(name for name, said in meanings.items() if said.label)
    said = [meanings[name] for name in names]
    labels = [item.label for item in said]
    places = [place(where, row_of[name]) for name in names]
    classes = agreed_classes(labels, places, columns, where, settings)
    parts = [split_part(item.split, spot) for item, spot in zip(said, places, strict=True)]
    check_parts(parts, labels, places, where)
    number = {name: row for row, name in enumerate(classes)}
    return new_catalog(
        listing.root,
        classes,
        [listing.prefix + name for name in names],
        [number[label] for label in labels],
        parts,
        tuple(notes),
        [item.group for item in said],
        [fold_number(item.fold, spot) for item, spot in zip(said, places, strict=True)]
        if columns.fold
        else None,
    )


def place(where: Path, row: int) -> str:
    """Return the place of a row, counted from 0, as a message names it."""
    return f"{where}, line {row + 2}"


# Columns


def find_columns(rows: list[Row], named: Columns, where: str) -> Found:
    """Return which column is which: as the user named them, else as they are customarily called.

    Raises DataError where a named column isn't there, two could be meant, or none.
    """
    header = list(rows[0]) if rows else []
    image, label, split, group, fold = (
        find_column(header, role, getattr(named, role), where) for role in CUSTOMARY
    )
    if not image:
        raise unclear(where, header, "no column is known to name the pictures")
    one_hot: tuple[str, ...] = ()
    if not label:
        known = set().union(*(group for groups in CUSTOMARY.values() for group in groups))
        taken = {
            image,
            split,
            group,
            fold,
            *(name for name in header if normal_column(name) in known),
        }
        one_hot = tuple(name for name in header if name not in taken)
        if len(one_hot) < 2 or any(
            row[name].strip() not in ONE_HOT for row in rows for name in one_hot
        ):
            missing = (
                "no column is known to hold labels, nor is there one of 0 and 1 for each class"
            )
            raise unclear(where, header, missing)
    return Found(image, label, split, group, fold, one_hot)


def find_column(header: list[str], role: str, named: str | None, where: str) -> str:
    """Return the column that plays a role, '' for none. Raises DataError where it isn't clear."""
    if named is not None:
        if named not in header:
            hint = did_you_mean(named, header)
            raise unclear(
                where, header, f"there is no column '{named}' (data.columns.{role}){hint}"
            )
        return named
    for names in CUSTOMARY[role]:
        fitting = [name for name in header if normal_column(name) in names]
        if len(fitting) > 1:
            raise unclear(
                where, header, f"'{fitting[0]}' and '{fitting[1]}' could both be the {role} column"
            )
        if fitting:
            return fitting[0]
    return ""


def normal_column(name: str) -> str:
    """Return a column's name in small letters, without what people put between words."""
    return re.sub(r"[\s_-]+", "", name).lower()


def unclear(where: str, header: list[str], what: str) -> DataError:
    """Return the error for columns that aren't clear; it says how to name them."""
    listed = ", ".join(f"'{name}'" for name in header[:20]) + (", ..." if len(header) > 20 else "")
    return DataError(
        f"{where}: {what}; its columns are {listed or 'none'}. Name them: --set data.columns.image=... "
        "--set data.columns.label=..."
    )


# Rows


def meaning(row: Row, columns: Found, spot: str) -> Meaning:
    """Return what a row says. Raises DataError for a one-hot row without one single 1."""
    if columns.one_hot:
        marked = [name for name in columns.one_hot if ONE_HOT[row[name].strip()]]
        if len(marked) != 1:
            listed = f" ({', '.join(marked[:5])})" if marked else ""
            raise DataError(
                f"{spot}: {len(marked)} classes have a 1{listed}; each picture needs exactly one, "
                "several labels for a picture (multi-label) are not supported"
            )
        label = marked[0]
    else:
        label = row[columns.label].strip()
    split, group, fold = (
        row[name].strip() if name else "" for name in (columns.split, columns.group, columns.fold)
    )
    return Meaning(label, split, group, fold)


def match_rows(
    rows: list[Row], columns: Found, where: Path, index: PictureIndex, settings: Data
) -> tuple[dict[str, int], list[str]]:
    """Return the row of each picture that has one, and notes.

    Raises DataError where rows contradict each other, or rows and pictures don't match.
    """
    row_of: dict[str, int] = {}
    repeated: list[str] = []
    lost: list[str] = []
    for number, row in enumerate(rows):
        name = index.find(row[columns.image], place(where, number))
        if name is None:
            lost.append(f"'{printable(row[columns.image])}' in line {number + 2}")
        elif name in row_of:
            check_repeated(rows, columns, where, name, (row_of[name], number))
            repeated.append(name)
        else:
            row_of[name] = number
    left = [name for name in index.pictures if name not in row_of]
    if not row_of:
        raise DataError(
            f"{where}: no row names a picture of {index.where}, the first is {lost[0]}; is this the "
            "right column (data.columns.image) and the right folder (data.pictures)?"
        )
    if (lost or left) and settings.unmatched == "error":
        raise DataError(
            f"{where}: {counted(lost, 'rows without a picture')}, "
            f"{counted(left, 'pictures without a row')}; mend the table, or leave them out with "
            "--set data.unmatched=drop"
        )
    notes = note("rows have no picture and were left out", lost)
    notes += note("pictures have no row and were left out", left)
    return row_of, notes + note("rows repeat a picture and say the same", repeated)


def check_repeated(
    rows: list[Row], columns: Found, where: Path, name: str, numbers: tuple[int, int]
) -> None:
    """Raise DataError where two rows of one picture don't say the same."""
    first, second = (meaning(rows[number], columns, place(where, number)) for number in numbers)
    for field in ("label", "split", "group", "fold"):
        one, other = getattr(first, field), getattr(second, field)
        if one != other:
            raise DataError(
                f"{where}, lines {numbers[0] + 2} and {numbers[1] + 2}: picture '{printable(name)}' has "
                f"{field} '{one}' and '{other}'; keep one of these rows"
            )


def counted(names: list[str], what: str) -> str:
    """Return how many there are, with the first five."""
    listed = f" ({', '.join(map(printable, names[:5]))}{', ...' if names[5:] else ''})"
    return f"{len(names)} {what}{listed if names else ''}"


def agreed_classes(
    labels: list[str], places: list[str], columns: Found, where: Path, settings: Data
) -> tuple[str, ...]:
    """Return the classes: as set, else as the one-hot columns stand, else in natural order.

    Raises DataError for a label that isn't allowed, or fewer than two classes.
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
    require_two(found, where)
    return classes


def require_two(found: Collection[str], where: Path) -> None:
    """Raise DataError where there are fewer than two classes."""
    if len(found) < 2:
        only = f"only '{next(iter(found))}'" if found else "none"
        raise DataError(f"{where}: needs two classes at least, found {only}")


def split_part(word: str, spot: str) -> str:
    """Return the part that a split column's cell means. Raises DataError where it is none."""
    if word and word.lower() not in SPLIT_NAMES:
        raise DataError(
            f"{spot}: split '{word}' is none of train, val, test{did_you_mean(word, SPLIT_NAMES)}"
        )
    return SPLIT_NAMES[word.lower()] if word else ""


def fold_number(text: str, spot: str) -> int:
    """Return a fold's number. Raises DataError where it is no whole number from 0."""
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise DataError(f"{spot}: fold '{text}' must be a whole number, counted from 0")
    return int(text)


def check_parts(parts: list[str], labels: list[str], places: list[str], where: Path) -> None:
    """Raise DataError where a split leaves pictures undecided, or the training part lacks a class."""
    classes = {part: set[str]() for part in sorted(set(parts))}
    if set(classes) == {""}:
        return
    if "" in classes:
        raise DataError(
            f"{places[parts.index('')]}: has no split, other rows have one; name a part in every row"
        )
    if "train" not in classes:
        raise DataError(f"{where}: the split has {', '.join(classes)} but no train")
    for part, label in zip(parts, labels, strict=True):
        classes[part].add(label)
    for part, here in classes.items():
        extra = sorted(here - classes["train"], key=natural_key)
        if extra:
            raise DataError(
                f"{where}: train and {part} have different classes: {', '.join(extra[:5])} in {part} only"
            )


# Writing


def write_label_table(path: Path, catalog: Catalog) -> Path:
    """Write a table from which the same catalog can be read; return where its pictures lie.

    Samples with a problem have no label there. Raises DataError where class names differ by blanks
    alone, which a table doesn't keep, or where the pictures are no files.
    """
    rows = np.flatnonzero(catalog.labels >= 0)
    names = [as_cell(name).strip() for name in catalog.classes]
    for number, name in enumerate(names):
        if not name or name in names[:number]:
            raise DataError(
                f"{catalog.root}: class '{printable(catalog.classes[number])}' can't be told from another "
                "in a table, which keeps no blanks around a name; rename the class"
            )
    place, prefix = picture_place(catalog)
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


def picture_place(catalog: Catalog) -> tuple[Path, str]:
    """Return the folder or archive of a catalog's pictures, and what goes before a name in its paths.

    Raises DataError where they lie in several archives, or in files that hold bare pixels.
    """
    files = {name.partition(MEMBER)[0] if MEMBER in name else "" for name in catalog.paths}
    if files == {""}:
        return catalog.root, ""
    file = min(files)
    if len(files) > 1 or not is_archive(Path(file)):
        raise DataError(
            f"{catalog.root / file}: a table can name picture files in one folder or archive only; "
            "train with --export-split to get such a folder"
        )
    return catalog.root / file, file + MEMBER
