"""Which column of a label table means what."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from resnetlab.data.catalog import printable
from resnetlab.data.sources.tables.rules import split_word
from resnetlab.errors import DataError
from resnetlab.recipe import Columns, did_you_mean

# Customary names of columns, in small letters without blanks, '_' and '-'. The later groups count
# only where no column has a name of the earlier ones: beside 'filename', 'id' is just a number.
IMAGE_NAMES = (
    {"image", "images", "img", "filepaths", "filenames", "files", "paths", "imagepaths",
     "picture", "pic", "photo", "path", "imagepath", "imgpath", "picturepath",
     "file", "filename", "filepath", "fname", "imagefile", "imagename", "imgname", "imagefilename"},
    {"id", "imageid", "imgid", "pictureid", "name"},
)  # fmt: skip
# Names that say a split only where a cell does: HAM10000's 'dataset' is where an image comes from.
MAYBE_SPLIT = {"part", "set", "subset", "dataset"}
LABEL_NAMES = (
    {"label", "labels", "class", "target", "targets", "category", "y", "choice", "gtlabel"},
    {"classname", "labelname", "targetname", "categoryname", "classid", "labelid", "categoryid"},
)
SPLIT_COLUMN_NAMES = ({"split", "splits", *MAYBE_SPLIT},)
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
ROWS_TO_JUDGE = 20  # of a table, to find out whether it labels the images


class Row(dict[str, str]):
    """The cells of a row by the names of their columns; `spot` says where in its file: 'line 3'."""

    def __init__(self, spot: str, cells: Iterable[tuple[str, str]]) -> None:
        super().__init__(cells)
        self.spot = spot


@dataclass(frozen=True)
class Found:
    """Which column plays which role, '' for none; `one_hot` are the classes where no column has labels.

    `notes` say which columns were passed over that could have been meant as a split.
    """

    image: str
    label: str
    split: str
    group: str
    fold: str
    one_hot: tuple[str, ...]
    notes: tuple[str, ...] = ()


def is_header(cells: list[str]) -> bool:
    """Return whether one of the cells is a customary name of the images' column."""
    return any(normal_column(cell) in names for cell in cells for names in IMAGE_NAMES)


def find_columns(
    rows: list[Row], named: Columns, where: str, is_image: Callable[[str], bool] | None = None
) -> Found:
    """Return which column is which: as the user named them, else as they are customarily called.

    Where `is_image` tells what names an image, a column of images is known by its cells, and the
    only other column is the label whatever it is called. Raises DataError where a named column isn't
    there, two could be meant, or none.
    """
    header = list(rows[0]) if rows else []
    vague = [name for name in header if is_vague(name, (row[name].strip() for row in rows))]
    image, label, split, group, fold = (
        find_column(header, role, getattr(named, role), where, vague) for role in CUSTOMARY
    )
    if not image and is_image is not None:
        image = column_of_images(rows, is_image)
    if not image:
        raise unclear(where, header, "no column is known to name the images")
    if not label and is_image is not None:
        left = [name for name in header if name not in (image, split, group, fold)]
        label = left[0] if len(left) == 1 else ""
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
    found = (image, label, split, group, fold)
    unsure = [name for name in vague if name not in found and not split and named.split is None]
    notes = tuple(note for name in unsure if (note := no_split_note(name, rows)))
    return Found(*found, one_hot, notes)


def column_of_images(rows: list[Row], is_image: Callable[[str], bool]) -> str:
    """Return the only column whose first cells all name images, '' for none or several."""
    first = rows[:ROWS_TO_JUDGE]
    fitting = [
        name for name in (rows[0] if rows else ()) if all(is_image(row[name]) for row in first)
    ]
    return fitting[0] if len(fitting) == 1 else ""


def is_vague(name: str, cells: Iterable[str]) -> bool:
    """Return whether a column has the name of one of splits, and no cell that is one."""
    return normal_column(name) in MAYBE_SPLIT and not any(map(split_word, filter(None, cells)))


def cells_of(name: str, rows: list[Row]) -> list[str]:
    """Return what stands in a column, each once, without blanks around it and empty cells."""
    return list(filter(None, dict.fromkeys(row[name].strip() for row in rows)))


def no_split_note(name: str, rows: list[Row]) -> str:
    """Return the note that a column with a name of splits holds none, '' where it is empty."""
    cells = cells_of(name, rows)
    listed = ", ".join(map(printable, cells[:3])) + (", ..." if cells[3:] else "")
    return (
        f"column '{name}' holds no split ({listed}) and was passed over; if it is one, its cells must say "
        "train, val or test"
        if cells
        else ""
    )


def find_column(
    header: list[str], role: str, named: str | None, where: str, vague: Sequence[str] = ()
) -> str:
    """Return the column that plays a role, '' for none, as also the user may have `named` it.

    Those with a `vague` name are not guessed. Raises DataError where it isn't clear.
    """
    if named == "":
        return ""
    if named is not None:
        if named not in header:
            hint = did_you_mean(named, header)
            raise unclear(
                where, header, f"there is no column '{named}' (data.columns.{role}){hint}"
            )
        return named
    for names in CUSTOMARY[role]:
        fitting = [name for name in header if normal_column(name) in names and name not in vague]
        if len(fitting) > 1:
            both = f"'{fitting[0]}' and '{fitting[1]}' could both be the {role} column"
            raise unclear(where, header, f"{both} (data.columns.{role})")
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
