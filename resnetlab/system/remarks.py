"""What libraries below Python print for themselves: kept off the terminal, told in one line."""

import contextlib
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from threading import Lock
from typing import IO

from resnetlab.system.progress import log

STDERR = 2  # the file descriptor that libpng, libjpeg and libtiff write to
SHOWN = 3  # different remarks
LONGEST = 120  # characters of a remark
AT_WORK = Lock()  # one at a time: the descriptor belongs to the whole process


class Remarks:
    """What has been collected so far; without a file nothing is."""

    def __init__(self, file: IO[bytes] | None = None) -> None:
        self.file = file
        self.placed: set[str] = set()  # lines of which it is known what they were about

    def written(self) -> int:
        """Return how many bytes were printed so far, by whichever thread."""
        return os.fstat(self.file.fileno()).st_size if self.file else 0

    def during(self, work: Callable[[], object]) -> str:
        """Return what is printed while some work is done alone, each line once, '; ' between them."""
        start = self.written()
        work()
        if self.file is None or self.written() == start:
            return ""
        found = os.pread(self.file.fileno(), self.written() - start, start)
        lines = dict.fromkeys(lines_of(found))
        self.placed.update(lines)
        return "; ".join(lines)


@contextlib.contextmanager
def remarks_collected(what: str) -> Iterator[Remarks]:
    """Collect what decoders print while this lasts, and tell at the end what was not placed, each line once.

    Python's own messages and progress go where they went. Where another thread collects already, or
    there is no such descriptor, nothing is done.
    """
    if not AT_WORK.acquire(blocking=False):
        yield Remarks()
        return
    try:
        with contextlib.ExitStack() as stack:
            try:
                terminal = os.dup(STDERR)
            except OSError:  # it was closed
                yield Remarks()
                return
            stack.callback(os.close, terminal)
            file = stack.enter_context(tempfile.TemporaryFile())
            remarks = Remarks(file)
            try:
                with python_writes_to(terminal):
                    os.dup2(file.fileno(), STDERR)
                    yield remarks
            finally:
                os.dup2(terminal, STDERR)
                file.seek(0)
                lines = lines_of(file.read())
                tell(what, Counter(line for line in lines if line not in remarks.placed))
    finally:
        AT_WORK.release()


def lines_of(printed: bytes) -> list[str]:
    """Return the lines that were printed, without empty ones."""
    lines = printed.decode(errors="replace").splitlines()
    return [line.strip()[:LONGEST] for line in lines if line.strip()]


@contextlib.contextmanager
def python_writes_to(terminal: int) -> Iterator[None]:
    """Let sys.stderr write to a copy of its descriptor, where it is that descriptor's."""
    before = sys.stderr
    try:
        is_own = before.fileno() == STDERR
    except (AttributeError, OSError, ValueError):  # in a notebook or a test it is none
        is_own = False
    if not is_own:
        yield
        return
    before.flush()
    with open(
        terminal,
        "w",
        buffering=1,
        encoding=before.encoding,
        errors="backslashreplace",
        closefd=False,
    ) as copy:
        sys.stderr = copy
        try:
            yield
        finally:
            copy.flush()
            sys.stderr = before


def tell(what: str, remarks: Counter[str]) -> None:
    """Say what was printed, the commonest first."""
    if not remarks:
        return
    shown = "; ".join(f"'{text}' ({count} times)" for text, count in remarks.most_common(SHOWN))
    more = f"; and {len(remarks) - SHOWN} others" if len(remarks) > SHOWN else ""
    log(f"note: {what} remarked {shown}{more}")
