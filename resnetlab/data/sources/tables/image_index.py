"""Which image a cell of a table means."""

import os
import posixpath
import re
import unicodedata
from collections.abc import Callable, Iterable
from functools import cached_property, lru_cache

from resnetlab.data.catalog import printable
from resnetlab.data.sources.layout.names import parse
from resnetlab.data.sources.listing import Listing
from resnetlab.errors import DataError


class ImageIndex:
    """Finds the image that a table's cell means among the names of a listing; opens nothing."""

    def __init__(self, listing: Listing) -> None:
        self.where = listing.where
        self.foreign = ""  # what every path of the table begins with, but no image's path here
        self.images = listing.images()
        self._files = frozenset(listing.files)
        self._base = os.path.join(os.path.abspath(listing.where), "")  # noqa: PTH100, PTH118 (text, with its '/')
        self._aliases = {listing.where.name, listing.where.stem}
        tops = {name.partition("/")[0] if "/" in name else "" for name in self.images}
        self._top = f"{tops.pop()}/" if len(tops) == 1 else ""

    def find(self, cell: str, spot: str) -> str | None:
        """Return the name of the image that a cell means, None where there is none.

        Raises DataError that names the `spot` for an empty cell, one that leads out of the folder,
        and one that could mean several images.
        """
        names = self.candidates(cell)
        if len(names) == 1:
            return names[0]
        if names:
            listed = ", ".join(map(printable, names[:5])) + (", ..." if names[5:] else "")
            raise DataError(
                f"{spot}: '{printable(cell)}' could be any of {len(names)} images ({listed}); give "
                "its path"
            )
        if not cell.strip():
            raise DataError(f"{spot}: names no image; fill the cell or remove the row")
        if self._inside(cell) is None:
            raise DataError(
                f"{spot}: '{printable(cell)}' leads out of {self.where}; name images by their paths "
                "below it"
            )
        return None

    def candidates(self, cell: str) -> list[str]:
        """Return the images that a cell could mean: those of the strictest reading that has any."""
        if cell in self._files:
            return [cell]
        if self.foreign:
            cell = slashed(cell).removeprefix(self.foreign)
        inside = self._inside(cell) or ""
        first, _, below = inside.partition("/")
        for key in (cell, inside, below if first in self._aliases else ""):
            for reading in self._exact:
                if key in reading:
                    return reading[key]
            key = normal_text(key)
            for reading in self._normal:
                if key in reading:
                    return reading[key]
        return []

    def learn_foreign(self, cells: Iterable[str]) -> None:
        """See whether all cells are paths of another place or machine: `foreign` is what they share.

        Only where none names an image as it stands, and as little as possible is left away: the rest
        must be the path of an image here from the top, for half of the cells at least. A single cell
        proves nothing.
        """
        self.foreign = ""
        paths = {slashed(cell) for cell in cells}
        if len(paths) < 2 or any(".." in path.split("/") for path in paths):
            return
        if any(self.candidates(path) for path in paths):
            return
        whole = {*self.images, *(name.removeprefix(self._top) for name in self.images)}
        first = min(paths)
        for slash in re.finditer("/", first):
            start = first[: slash.end()]
            if not all(path.startswith(start) for path in paths):
                return
            if 2 * sum(path.removeprefix(start) in whole for path in paths) >= len(paths):
                self.foreign = start
                return

    @property
    def is_flat(self) -> bool:
        """Whether the images lie in one folder, or in one for each split."""
        folders = {posixpath.dirname(name) for name in self.images}
        return len(folders) == 1 or all(parse(posixpath.basename(each)).kind for each in folders)

    def is_image(self, cell: str) -> bool:
        """Return whether a cell could name an image, perhaps by its path on another machine."""
        return bool(self.candidates(cell) or self.candidates(posixpath.basename(slashed(cell))))

    def _inside(self, cell: str) -> str | None:
        """Return the path below the listing's place that a cell gives, None where it leads out."""
        path = slashed(cell)
        if re.match("[A-Za-z]:/", path):  # a path of Windows
            return None
        inside = posixpath.normpath(posixpath.join(self._base, path))
        if path.startswith("/") and not inside.startswith(self._base):
            folder, name = posixpath.split(inside)  # perhaps it goes through a link
            inside = posixpath.join(real_folder(folder), name)
        return inside.removeprefix(self._base) if inside.startswith(self._base) else None

    @cached_property
    def _exact(self) -> list[dict[str, list[str]]]:
        """The readings of a name as it is, the strictest first."""
        return self._readings(lambda text: text)

    @cached_property
    def _normal(self) -> list[dict[str, list[str]]]:
        """The readings of a name whose letters are composed and whose odd bytes are escaped."""
        return self._readings(normal_text)

    def _readings(self, form: Callable[[str], str]) -> list[dict[str, list[str]]]:
        """Return dictionaries from what a cell may hold to the images it may mean."""
        below = [name.removeprefix(self._top) for name in self.images]
        last = [name.rpartition("/")[2] for name in self.images]
        return [
            self._keyed(form(key) for key in keys)
            for names in (self.images, below, last)
            for keys in (names, map(stem, names))
        ]

    def _keyed(self, keys: Iterable[str]) -> dict[str, list[str]]:
        """Return the images by a key of each."""
        found: dict[str, list[str]] = {}
        for key, name in zip(keys, self.images, strict=True):
            found.setdefault(key, []).append(name)
        return found


def slashed(cell: str) -> str:
    """Return a cell as a path whose folders are divided by '/', as on Windows they aren't."""
    return cell.strip().replace("\\", "/")


def stem(name: str) -> str:
    """Return a name without its ending."""
    return os.path.splitext(name)[0]  # noqa: PTH122 (a hundred thousand names)


@lru_cache(maxsize=1024)
def real_folder(folder: str) -> str:
    """Return a folder's path without links."""
    return os.path.realpath(folder)


def normal_text(name: str) -> str:
    """Return a name as tables hold it: letters composed (NFC), odd bytes and CR as escapes."""
    return (
        name if name.isascii() and "\r" not in name else unicodedata.normalize("NFC", as_cell(name))
    )


def as_cell(text: str) -> str:
    """Return text fit for a CSV: what is no UTF-8 as its escape, and so a CR, which would end the row."""
    return printable(text).replace("\r", "\\r")
