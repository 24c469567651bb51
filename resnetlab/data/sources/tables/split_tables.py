"""One label table for each split, joined: train.csv and test.csv, or a table in each split's folder."""

from dataclasses import asdict
from itertools import product
from pathlib import PurePosixPath

from resnetlab.data.sources.layout.names import BESIDE, SPLIT_NAMES, parse
from resnetlab.data.sources.listing import Listing
from resnetlab.data.sources.tables.columns import Row, find_columns
from resnetlab.data.sources.tables.image_index import ImageIndex
from resnetlab.data.sources.tables.table import FOUND_ENDINGS, first_rows, meaning, names_images
from resnetlab.data.sources.tables.text_table import read_table_content
from resnetlab.recipe import Columns

SAID = BESIDE | {"class", "classes", "list", "coco"}  # beside a split in the name of its table
COLUMNS = ("image", "label", "split", "group", "fold")


def find_split_tables(listing: Listing) -> dict[str, str]:
    """Return the split of each table, {} where there are not several, one of them for training."""
    index = ImageIndex(listing)
    for depth, endings in product((1, 0), FOUND_ENDINGS):
        found = {
            name: split
            for name in listing.files
            if name.count("/") == depth
            and name.lower().endswith(endings)
            and (split := split_of(name))
            and names_images(first_rows(listing, name, index.is_image), index)
        }
        splits = set(found.values())
        if len(found) > 1 and len(splits) == len(found) and "train" in splits:
            return found
    return {}


def split_of(name: str) -> str:
    """Return the split of a table: its folder's, or of one without folder what its name says."""
    path = PurePosixPath(name)
    said = parse(path.parent.name or path.stem)
    known = said.kind in SPLIT_NAMES.values() and set(said.rest) <= SAID
    return said.kind if known else ""


def join_split_tables(listing: Listing, tables: dict[str, str], named: Columns) -> list[Row]:
    """Return the rows of all tables with the same columns; a row's own split counts.

    In the folder of a split an image's name counts from there first. Raises DataError as a single
    table does.
    """
    index = ImageIndex(listing)
    files = frozenset(listing.files)
    rows = []
    for name, split in tables.items():
        where = listing.where / name
        own = read_table_content(listing.read(name), where, index.is_image)
        columns = find_columns(own, named, str(where), index.is_image)
        folder = name.rpartition("/")[0]
        for row in own:
            image = f"{folder}/{row[columns.image].strip()}"
            cells = asdict(meaning(row, columns, f"{where}, {row.spot}"))
            cells["image"] = image if image in files else row[columns.image]
            cells["split"] = cells["split"] or split
            rows.append(Row(f"{name}, {row.spot}", cells.items()))
    kept = [role for role in COLUMNS if any(row[role] for row in rows)]
    return [Row(row.spot, ((role, row[role]) for role in kept)) for row in rows]
