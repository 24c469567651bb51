"""Files that are either whole or not there."""

import csv
import errno
import fcntl
import io
import json
import os
import socket
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from resnetlab.errors import CheckpointError, MachineError, one_line
from resnetlab.system import interruption

DISK_TROUBLES = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}  # said by some network file systems
TEMPORARY = ".tmp"  # ends the name of a file that is not whole yet
POLL_S = 0.1  # between two tries to take a lock


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a temporary path in the same folder; on success it becomes `path`, whole and on disk.

    A reader sees the old file or the new one, never half of one, also after a power cut. Raises
    MachineError where the disk is full or can't be written; then the old file stands.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{path.name[:80]}.", suffix=TEMPORARY, dir=path.parent
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
            raise unwritable(path, str(error.strerror)) from error
        raise
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def unwritable(path: Path, why: str) -> MachineError:
    """Return the error about a file that could not be written whole."""
    return MachineError(
        f"{path}: can't be written ({why}); what was there stands. Make room, then go on"
    )


class InUse:
    """A file that is mapped into memory, and must not become shorter meanwhile.

    The system ends a program that reads mapped bytes which are gone (SIGBUS), without a word.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.handle = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self.handle)
        self.size = os.fstat(self.handle).st_size

    def require_whole(self) -> None:
        """Raise MachineError where another program has cut the file."""
        if os.fstat(self.handle).st_size < self.size:
            raise cut_meanwhile(self.path)


def cut_meanwhile(path: Path) -> MachineError:
    """Return the error about a file of the cache that became shorter while it was read."""
    return MachineError(
        f"{path}: another program cut it while it was in use; what was finished is kept. Going on makes "
        "the missing part again; leave the cache to 'resnetlab cache'"
    )


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


def read_json(path: Path, kind: type = object) -> Any:
    """Read a JSON file that holds a value of this kind. Raises CheckpointError where it is damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(path, one_line(error)) from error
    if not isinstance(value, kind):
        raise damaged(path, f"holds no {kind.__name__}, but {type(value).__name__}")
    return value


def damaged(path: Path, why: str) -> CheckpointError:
    """Return the error about a file that was written whole and is so no more."""
    return CheckpointError(f"{path}: is damaged ({why}); bring back a copy of it")


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
    """Read a table as one mapping a row; every value is text, an empty one ''.

    Raises CheckpointError where it is not as `write_csv` left it: whole lines, all as long as the first.
    """
    try:
        text = path.read_bytes().decode("utf-8")
        if not text.endswith("\n"):
            raise ValueError("its end is missing")
        header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
        if any(len(row) != len(header) for row in rows):
            raise ValueError("its lines differ in length")
        return [dict(zip(header, row, strict=True)) for row in rows]
    except (OSError, ValueError, csv.Error) as error:
        raise damaged(path, one_line(error)) from error


def cache_folder() -> Path:
    """Return where what can be made again is kept: RESNETLAB_CACHE, else the user's cache folder."""
    chosen = os.environ.get("RESNETLAB_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "resnetlab"


@contextmanager
def exclusive(path: Path, log: Callable[[str], None] = lambda text: None) -> Iterator[None]:
    """Hold a lock file; the system releases it when the process ends, however it ends.

    Where another process holds it, `log` gets one line that names it, and this one waits. Raises
    StoppedError where an end is asked for meanwhile.
    """
    with path.open("a+b", buffering=0) as file:
        if not take(file, log):
            log(f"waiting for {holder(file)}, which is making {path.stem} in {path.parent}")
            while not take(file, log):
                interruption.raise_if_requested()
                time.sleep(POLL_S)
        yield


def take(file: io.FileIO, log: Callable[[str], None]) -> bool:
    """Take a lock file, open for reading and appending, and write into it who holds it.

    Returns whether it could be had. Where the file system has no locks, `log` gets a note.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        log(
            f"note: {Path(os.fsdecode(file.name)).parent}: no lock is to be had there "
            f"({error.strerror}); see to it that one process at a time works in it"
        )
        return True
    try:
        file.truncate(0)
        file.write(f"{os.getpid()} {socket.gethostname()}".encode())
    except OSError:
        pass  # a full disk: the lock holds without it
    return True


def holder(file: io.FileIO) -> str:
    """Return who holds a lock file, as far as it is written there."""
    file.seek(0)
    process, _, host = file.read().decode(errors="replace").partition(" ")
    return f"another process ({process} on {host})" if host else "another process"
