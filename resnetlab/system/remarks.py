"""What libraries below Python print for themselves: kept off the terminal, told in one line."""

import contextlib
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from threading import Lock

from resnetlab.system.progress import log

STDERR = 2  # the file descriptor that libpng, libjpeg and libtiff write to
SHOWN = 3  # different remarks
LONGEST = 120  # characters of a remark
AT_WORK = Lock()  # one at a time: the descriptor belongs to the whole process


@contextlib.contextmanager
def remarks_collected(what: str) -> Iterator[None]:
    """Collect what decoders print while this lasts, and tell it at the end, each remark once.

    Python's own messages and progress go where they went. Where another thread collects already, or
    there is no such descriptor, nothing is done.
    """
    if not AT_WORK.acquire(blocking=False):
        yield
        return
    try:
        with contextlib.ExitStack() as stack:
            try:
                terminal = os.dup(STDERR)
            except OSError:  # it was closed
                yield
                return
            stack.callback(os.close, terminal)
            file = stack.enter_context(tempfile.TemporaryFile())
            try:
                with python_writes_to(terminal):
                    os.dup2(file.fileno(), STDERR)
                    yield
            finally:
                os.dup2(terminal, STDERR)
                file.seek(0)
                lines = file.read().decode(errors="replace").splitlines()
                tell(what, Counter(line.strip()[:LONGEST] for line in lines if line.strip()))
    finally:
        AT_WORK.release()


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
