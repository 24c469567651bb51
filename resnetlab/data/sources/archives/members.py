"""What is let out of an archive: nothing that it says about itself is trusted.

Every member is checked before any is used: its name stays inside, it is a plain file, and all
together are no bomb.
"""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from resnetlab.data.catalog import printable
from resnetlab.errors import DataError, MachineError, ResnetlabError

# fmt: off
KINDS = {
    ".zip": "zip", ".tar": "tar", ".7z": "7z", ".tar.bz2": "tar.bz2",
    ".tar.gz": "tar.gz", ".tgz": "tar.gz", ".tar.xz": "tar.xz", ".txz": "tar.xz",
}
# fmt: on
GIB = 2**30
MAX_MEMBERS = 5_000_000
MAX_MEMBER_BYTES = GIB  # of a file that is read at once, unlike an archive within
MAX_NAME = 4096  # letters; no system takes a longer path
MAX_RATIO = 200  # unpacked to packed, once more than RATIO_FREE_BYTES come out
RATIO_FREE_BYTES = 256 * 2**20

Kind = Literal["file", "folder", "other"]


def is_archive(path: Path) -> bool:
    """Return whether a file's name ends like an archive's."""
    return kind_of(path) != ""


def kind_of(path: Path) -> str:
    """Return the kind of archive that a file's name speaks of, '' for none."""
    name = path.name.lower()
    return next((kind for ending, kind in KINDS.items() if name.endswith(ending)), "")


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn whatever a damaged archive does to those who read it into a DataError."""
    try:
        yield
    except ResnetlabError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise MachineError(
                f"{path}: no room left to unpack it ({error.strerror}); free some, or set "
                "RESNETLAB_CACHE to a folder on a larger disk"
            ) from error
        why = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
        raise DataError(
            f"{path}: not a {kind_of(path)} archive that can be read ({printable(why)})"
        ) from error


class Members:
    """The members of one archive, each checked as it is added."""

    def __init__(self, archive: Path) -> None:
        self.archive = archive
        self.archive_bytes = archive.stat().st_size
        self.files: set[str] = set()
        self.folders: set[str] = set()
        self.count = 0
        self.total = 0  # bytes, unpacked, as declared

    def names(self) -> list[str]:
        """Return all names, those of folders with '/' at the end."""
        return [*self.files, *(f"{name}/" for name in self.folders)]

    def add(self, name: str, size: int, kind: Kind) -> str:
        """Return the name of a member without './' and the like.

        Raises DataError where the name leads out of the archive or is there twice, the member is a
        link or a device, or the archive is a bomb.
        """
        parts = re.split(r"[/\\]", name)
        drive = re.match("[A-Za-z]:", name)
        if drive or name[:1] in ("/", "\\") or ".." in parts or "\0" in name:
            raise self.refused(name, "has a name that leads elsewhere")
        if len(name) > MAX_NAME:
            raise self.refused(f"{name[:40]}...", f"has a name of {len(name)} letters")
        if kind == "other":
            raise self.refused(name, "is a link, a device or a sparse file")
        inside = "/".join(part for part in name.split("/") if part not in ("", "."))
        self.count += 1
        self.total += size
        if size > MAX_MEMBER_BYTES and not is_archive(Path(name)):
            raise self.refused(name, f"has {size / GIB:.1f} GiB, the limit is 1 GiB")
        if self.count > MAX_MEMBERS:
            raise self.refused(name, f"is one too many, the limit is {MAX_MEMBERS:,}")
        self.check_ratio(self.total)
        if kind == "file":
            if not inside or inside in self.files:
                raise self.refused(name, "is there twice" if inside else "has no name")
            self.files.add(inside)
        folder = inside if kind == "folder" else inside.rpartition("/")[0]
        while folder and folder not in self.folders:
            self.folders.add(folder)
            folder = folder.rpartition("/")[0]
        return inside

    def check_ends(self) -> None:
        """Raise DataError where a name is a file's and a folder's: it can't be both on a disk."""
        for name in self.files & self.folders:
            raise self.refused(name, "is both a file and a folder")

    def check_ratio(self, total: int) -> None:
        """Raise DataError where so many bytes can't honestly come out of an archive of this size."""
        if total > RATIO_FREE_BYTES and total > MAX_RATIO * self.archive_bytes:
            raise DataError(
                f"{self.archive}: {self.archive_bytes:,} bytes that unpack to {total:,} or more, over "
                f"{MAX_RATIO} times as many, are a trap or damaged; unpack it yourself if you trust it"
            )

    def refused(self, name: str, why: str) -> DataError:
        """Return the error about one member."""
        return DataError(
            f"{self.archive}: member '{printable(name)}' {why}; nothing of this archive is used, "
            "pack the images again as plain files in folders"
        )
