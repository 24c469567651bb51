"""Images without labels, to be predicted: files, folders, archives, patterns, tables, standard input."""

import glob
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from resnetlab.data.sources.archives.archive import list_archive
from resnetlab.data.sources.archives.members import is_archive
from resnetlab.data.sources.archives.nested import with_archives
from resnetlab.data.sources.listing import Listing, list_folder, natural_key
from resnetlab.data.sources.tables.columns import column_of_images, find_column
from resnetlab.data.sources.tables.image_index import ImageIndex
from resnetlab.data.sources.tables.text_table import TABLE_ENDINGS, read_table_file
from resnetlab.errors import DataError

Read = Callable[[], bytes]
Item = tuple[Path, Read]

STANDARD_INPUT = Path("-")
PIECE = 1 << 16  # bytes taken at once from standard input


def read_unlabelled(paths: Sequence[Path]) -> dict[Path, Read]:
    """Return the images meant by files, folders, archives, patterns and tables, with what reads each.

    Folders and archives are searched to the bottom, in natural order; 'photos.zip/test' is a folder
    within one; 'photos/*.jpg' is a pattern where no file has that name; a table names images in a
    column. Raises DataError for a path that isn't there, or where no image is found.
    """
    images: dict[Path, Read] = {}
    for path in paths:
        images |= images_at(path)
    if not images:
        raise DataError(f"{', '.join(map(str, paths))}: no image found")
    return images


def images_at(path: Path) -> dict[Path, Read]:
    """Return the images that one path means."""
    if path.is_dir():
        return listed(path, with_archives(list_folder(path)))
    if path.is_file() and is_archive(path):
        return listed(path, with_archives(list_archive(path)))
    if path.is_file() and path.suffix.lower() in TABLE_ENDINGS:
        return in_table(path)
    if path.is_file():
        return {path: path.read_bytes}
    if glob.has_magic(str(path)):
        found = sorted(glob.glob(str(path), recursive=True), key=natural_key)  # noqa: PTH207 (absolute ones too)
        if not found:
            raise DataError(f"{path}: no file matches this pattern")
        images: dict[Path, Read] = {}
        for each in found:
            images |= images_at(Path(each))
        return images
    return within_archive(path)


def listed(place: Path, listing: Listing) -> dict[Path, Read]:
    """Return the images of a listing, under the place that the user named."""
    names = sorted(listing.images(), key=natural_key)
    return {place / name: partial(listing.read, name) for name in names}


def in_table(path: Path) -> dict[Path, Read]:
    """Return the images that a table's rows name, by their paths below its folder.

    A row without an image stays: reading it says so. Raises DataError where no column is known to
    name images.
    """
    listing = list_folder(path.parent)
    index = ImageIndex(listing)
    rows = read_table_file(path, index.is_image)
    header = list(rows[0]) if rows else []
    column = find_column(header, "image", None, str(path)) or column_of_images(rows, index.is_image)
    if not column:
        raise DataError(
            f"{path}: no column is known to name images; call it 'path'. Its columns are "
            f"{', '.join(header) or 'none'}"
        )
    index.learn_foreign(row[column] for row in rows)
    images: dict[Path, Read] = {}
    for row in rows:
        name = index.find(row[column], f"{path}, {row.spot}")
        place = path.parent / (row[column] if name is None else name)
        images[place] = place.read_bytes
    return images


def within_archive(path: Path) -> dict[Path, Read]:
    """Return the images below a path that leads into an archive: 'photos.zip/test', 'photos.zip/1.jpg'.

    Raises DataError where there are none.
    """
    archive = next((p for p in path.parents if p.is_file() and is_archive(p)), None)
    if archive is None:
        raise DataError(f"{path}: no such file or folder")
    listing = with_archives(list_archive(archive))
    names = [
        name for name in listing.images() if f"{listing.place_of(name)}/".startswith(f"{path}/")
    ]
    if not names:
        raise DataError(f"{path}: no image of this name in {archive}")
    names.sort(key=natural_key)
    return {listing.place_of(name): partial(listing.read, name) for name in names}


def from_standard_input() -> Iterator[Item]:
    """Give the images that lines of standard input name (as `find` writes them, also by -print0).

    They are taken as they come, so that their number does not matter; a file that isn't there is
    told when it is read. Folders are passed over: `find` names what lies in them too.
    """
    for name in names_from(partial(os.read, sys.stdin.fileno())):
        path = Path(os.fsdecode(name))
        if not path.is_dir():
            yield path, path.read_bytes


def names_from(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """Give the names in a stream of bytes: divided by NUL where there is one, else by line ends."""
    rest, mark = b"", b""
    while piece := read(PIECE):
        rest += piece
        mark = mark or (b"\0" if b"\0" in rest else b"\n" if b"\n" in rest else b"")
        if not mark:
            continue
        *names, rest = rest.split(mark)
        yield from (name for each in names if (name := trimmed(each, mark)))
    if name := trimmed(rest, mark):
        yield name


def trimmed(name: bytes, mark: bytes) -> bytes:
    """Return a name without the CR that programs of Windows put before the line's end."""
    return name if mark == b"\0" else name.removesuffix(b"\r")
