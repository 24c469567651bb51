"""What lies in the cache folder and can be made again: who uses it, how large it is, how to remove it."""

import fcntl
import json
import os
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from xxhash import xxh3_64_digest

from resnetlab.errors import MachineError
from resnetlab.system.files import whole

KINDS = {"pixels": "decoded images", "features": "features"}  # by the beginning of their names
USED = ".used"  # ends the file whose time says when it was last used, and whose lines for what
CHECKSUM_BYTES = 8
LOCK = ".lock"  # ends the file that is held while an entry is made
RUN: ContextVar[Path | None] = ContextVar("run", default=None)  # at work


@dataclass(frozen=True)
class Entry:
    """Files in the cache that belong together: `base` is their common path without an ending.

    `size` in bytes, `used` in seconds since 1970, `users` are folders of images and of runs.
    """

    base: Path
    kind: str
    size: int
    used: float
    users: tuple[str, ...]
    in_use: bool


def keep(path: Path, content: bytes) -> None:
    """Write a small file of the cache whole, with a checksum before it."""
    with whole(path) as temporary:
        temporary.write_bytes(xxh3_64_digest(content) + content)


def kept(path: Path) -> bytes | None:
    """Return the content of a file that `keep` wrote, None where it isn't there or a bit is wrong."""
    try:
        written = path.read_bytes()
    except OSError:
        return None
    content = written[CHECKSUM_BYTES:]
    return content if written[:CHECKSUM_BYTES] == xxh3_64_digest(content) else None


@contextmanager
def used_by(run: Path) -> Iterator[None]:
    """Name a run as a user of all that is used while this lasts."""
    before = RUN.set(run)
    try:
        yield
    finally:
        RUN.reset(before)


def keep_table(path: Path, table: Mapping[str, str]) -> None:
    """Write a table of texts as `keep` writes content."""
    keep(path, json.dumps(table).encode())


def kept_table(path: Path) -> dict[str, str]:
    """Return a table that `keep_table` wrote, an empty one where it isn't there or a bit is wrong."""
    content = kept(path)
    table: dict[str, str] = {} if content is None else json.loads(content)
    return table


class Use:
    """Marks an entry as used, by images and by the run at work, for as long as this object lives."""

    def __init__(self, base: Path, images: Path | None = None) -> None:
        self.handle = os.open(base.with_suffix(USED), os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        weakref.finalize(self, os.close, self.handle)
        known = base.with_suffix(USED).read_bytes().splitlines(keepends=True)
        for user in filter(None, (images, RUN.get())):
            line = os.fsencode(user.resolve()) + b"\n"
            if line not in known:
                os.write(self.handle, line)
        os.utime(self.handle)
        with suppress(OSError):  # a file system without locks
            fcntl.flock(self.handle, fcntl.LOCK_SH | fcntl.LOCK_NB)


def entries(folder: Path) -> list[Entry]:
    """Return what is in the cache folder and can be removed, the least recently used first."""
    bases = {
        path.with_suffix("")
        for path in files_in(folder)
        if path.suffix != LOCK and path.name.partition("-")[0] in KINDS
    }
    return sorted(map(entry, bases), key=lambda each: (each.used, each.base))


def entry(base: Path) -> Entry:
    """Look at one entry."""
    files = [path for path in parts(base) if path.suffix not in (USED, LOCK)]
    stats = [path.stat() for path in files]
    note = base.with_suffix(USED)
    users: Sequence[str] = ()
    if note.is_file():
        stats.append(note.stat())
        users = [os.fsdecode(line) for line in note.read_bytes().splitlines() if line]
    return Entry(
        base,
        KINDS[base.name.partition("-")[0]],
        sum(each.st_size for each in stats),
        max(each.st_mtime for each in stats),
        tuple(user for user in users if Path(user).exists()),
        not is_free(base),
    )


def parts(base: Path) -> list[Path]:
    """Return the files of an entry."""
    return [path for path in files_in(base.parent) if path.with_suffix("") == base]


def files_in(folder: Path) -> list[Path]:
    """Return the files in a folder, none where it isn't there."""
    try:
        return sorted(path for path in folder.iterdir() if path.is_file())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise MachineError(f"{folder}: can't be read ({error.strerror or error})") from error


def hold(base: Path, stack: ExitStack) -> bool:
    """Hold an entry so that nobody can make or use it; return whether that was possible."""
    for path in (base.with_suffix(LOCK), base.with_suffix(USED)):
        if path.is_file():
            file = stack.enter_context(path.open("rb"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:  # also where there are no locks: then nothing proves that it is free
                return False
    return True


def is_free(base: Path) -> bool:
    """Return whether nobody makes or uses an entry."""
    with ExitStack() as stack:
        return hold(base, stack)


def remove(base: Path) -> bool:
    """Remove the files of an entry; return whether it was free. Raises MachineError for a failing disk."""
    with ExitStack() as stack:
        if not hold(base, stack):
            return False
        for path in parts(base):
            if path.suffix != LOCK:  # somebody may wait for it
                try:
                    path.unlink()
                except OSError as error:
                    raise MachineError(
                        f"{path}: can't be removed ({error.strerror or error})"
                    ) from error
    return True


def surplus(found: Sequence[Entry], unused_since: float | None, most: float | None) -> list[Entry]:
    """Return which entries should go: those last used before a moment, and the oldest above a size."""
    going = [each for each in found if unused_since is not None and each.used < unused_since]
    left = [each for each in found if each not in going]
    total = sum(each.size for each in left)
    for each in left:
        if most is None or total <= most:
            break
        if not each.in_use:
            going.append(each)
            total -= each.size
    return [each for each in going if not each.in_use]
