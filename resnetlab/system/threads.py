"""Work by threads: given in order, done a little ahead, and never waited for without end."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from resnetlab.errors import MachineError

PATIENCE_S = 120.0  # longer than any image takes; a disk that doesn't answer takes for ever

# One for all threads of the process: where any of them gets an image, the disk answers.
_sign_of_life = time.monotonic()

Item = TypeVar("Item")
Result = TypeVar("Result")


class HungError(MachineError):
    """A thread gives no answer. It can't be ended, so the process must end without it."""


def sign_of_life() -> None:
    """Tell that an image, of however many to be done at once, is done."""
    global _sign_of_life
    _sign_of_life = time.monotonic()


@contextmanager
def threads(count: int, name: str = "") -> Iterator[ThreadPoolExecutor]:
    """Give a pool of threads; at the end drop what they have not begun, and wait for the rest."""
    pool = ThreadPoolExecutor(count, thread_name_prefix=name)
    hung = False
    try:
        yield pool
    except HungError:
        hung = True
        raise
    finally:
        pool.shutdown(wait=not hung, cancel_futures=True)


def in_order(
    pool: ThreadPoolExecutor,
    work: Callable[[Item], Result],
    items: Iterable[Item],
    ahead: int,
) -> Iterator[Result]:
    """Give the results of work in order, made up to `ahead` items early, so that memory is bounded."""
    begun: deque[Future[Result]] = deque()
    for item in items:
        begun.append(pool.submit(work, item))
        if len(begun) > ahead:
            yield finished(begun.popleft())
    while begun:
        yield finished(begun.popleft())


def finished(future: Future[Result]) -> Result:
    """Wait for a thread's result, as long as images come. Raises HungError where none does any more."""
    sign_of_life()  # the wait begins now
    while True:
        left = _sign_of_life + PATIENCE_S - time.monotonic()
        try:
            return future.result(max(left, 0.0))
        except TimeoutError as error:
            if future.done():  # the work's own error
                raise
            if time.monotonic() < _sign_of_life + PATIENCE_S:
                continue
            raise HungError(
                f"no image could be read for {PATIENCE_S:.0f} s: the disk or network folder they "
                "are in does not answer; bring it back, then go on"
            ) from error
