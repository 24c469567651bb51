"""Files that are either whole or not there."""

import csv
import errno
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from resnetlab.errors import MachineError

DISK_TROUBLES = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a temporary path in the same folder; on success it becomes `path`, whole and on disk.

    A reader sees the old file or the new one, never a part, also after a power cut. Raises
    MachineError where the disk is full or can't be written; then the old file stands.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{path.name[:80]}.", suffix=".tmp", dir=path.parent
        )
        os.close(handle)
        temporary = Path(name)
        yield temporary
        sync(temporary)
        temporary.chmod(0o644)  # mkstemp gives 0600; a result is there to be read by others
        temporary.replace(path)
        sync(path.parent)
    except OSError as error:
        if error.errno in DISK_TROUBLES:
            raise MachineError(
                f"{path}: can't be written ({error.strerror}); what was there stands. Make room, "
                "then go on"
            ) from error
        raise
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file or a folder's list of names is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole, as UTF-8; what a file name holds beside text becomes its escape."""
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, whole. NaN is refused: it is no JSON."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Write a table as CSV, whole, quoted where needed. Floats keep every digit."""
    with (
        whole(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        # The writer quotes what is in its line end: CR and LF. On disk a line ends with LF alone.
        writer = csv.writer(LineFeeds(file), lineterminator="\r\n")
        writer.writerow(header)
        writer.writerows(rows)


class LineFeeds:
    """Passes on lines that end with CR and LF, with LF alone."""

    def __init__(self, file: TextIO) -> None:
        self.file = file

    def write(self, line: str) -> int:
        """Write one line."""
        return self.file.write(line.removesuffix("\r\n") + "\n")


def read_csv(path: Path) -> list[dict[str, str]]:
    """Read a table as one mapping a row; every value is text, an empty one ''."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def cache_folder() -> Path:
    """Return where what can be made again is kept: RESNETLAB_CACHE, else the user's cache folder."""
    chosen = os.environ.get("RESNETLAB_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "resnetlab"


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold a lock file; the system releases it when the process ends, however it ends."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
