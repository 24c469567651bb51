"""The bytes of a catalog's images, whatever they lie in."""

from pathlib import Path
from threading import Lock
from typing import Protocol

from resnetlab.data.catalog import MEMBER
from resnetlab.data.sources.archives.archive import open_archive
from resnetlab.data.sources.archives.members import is_archive
from resnetlab.data.sources.archives.nested import inner_file
from resnetlab.data.sources.arrays.arrays import ARRAY_ENDINGS, Arrays
from resnetlab.data.sources.arrays.cifar import Batch, is_batch
from resnetlab.data.sources.arrays.idx import Idx, is_idx
from resnetlab.data.sources.hub import IMAGE_TABLE_ENDINGS, Table
from resnetlab.errors import DataError


class Container(Protocol):
    """One file that holds many images. Threads may read from it side by side."""

    def read(self, member: str) -> bytes:
        """Return the bytes of an image file; OSError or KeyError where there is none."""
        ...


class Reader:
    r"""Gives the bytes of images by their catalog paths below `root`; threads may share it.

    A path is a file's, 'cat/1.jpg', or that of a member, 'photos.zip\0cat/1.jpg', also of an archive
    within another. What holds bare pixels gives them as the bytes of a PPM or PGM file.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._opened: dict[str, Container] = {}
        self._lock = Lock()

    def __call__(self, path: str) -> bytes:
        """Return an image file's bytes. Raises OSError with the reason where it can't be read."""
        file, inside, member = path.rpartition(MEMBER)
        if not inside:
            return (self.root / path).read_bytes()
        with self._lock:
            if file not in self._opened:
                outer, within, inner = file.partition(MEMBER)
                place = inner_file(self.root / outer, inner) if within else self.root / file
                self._opened[file] = open_container(place)
        try:
            return self._opened[file].read(member)
        except KeyError as error:
            raise FileNotFoundError(2, "no such member", file) from error


def open_container(file: Path) -> Container:
    """Open a file that holds many images. Raises DataError where it is damaged."""
    if is_archive(file):
        return open_archive(file)
    if file.suffix.lower() in ARRAY_ENDINGS:
        return Arrays(file)
    if file.suffix.lower() in IMAGE_TABLE_ENDINGS:
        return Table(file)
    if is_idx(file.name):
        return Idx(file)
    if is_batch(file):
        return Batch(file)
    raise DataError(f"{file}: holds no images that can be read from here")
