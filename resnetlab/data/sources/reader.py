"""The bytes of a catalog's pictures, whatever they lie in."""

from pathlib import Path
from threading import Lock
from typing import Protocol

# Between a file and what lies inside it, in a catalog's paths: no file's name can hold it.
MEMBER = "\0"


class Container(Protocol):
    """One file that holds many pictures. Threads may read from it side by side."""

    def read(self, member: str) -> bytes:
        """Return the bytes of a picture file; OSError or KeyError where there is none."""
        ...


class Reader:
    r"""Gives the bytes of pictures by their catalog paths below `root`; threads may share it.

    A path is a file's, 'cat/1.jpg', or that of a member, 'photos.zip\0cat/1.jpg'. What holds bare
    pixels gives them as the bytes of a PPM or PGM file.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._opened: dict[str, Container] = {}
        self._lock = Lock()

    def __call__(self, path: str) -> bytes:
        """Return a picture file's bytes. Raises OSError with the reason where it can't be read."""
        file, inside, member = path.partition(MEMBER)
        if not inside:
            return (self.root / file).read_bytes()
        with self._lock:
            if file not in self._opened:
                self._opened[file] = open_container(self.root / file)
        try:
            return self._opened[file].read(member)
        except KeyError as error:
            raise FileNotFoundError(2, "no such member", file) from error


def open_container(file: Path) -> Container:
    """Open a file that holds many pictures. Raises DataError where it is damaged."""
    from resnetlab.data.sources.archive import open_archive

    return open_archive(file)
