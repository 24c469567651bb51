"""Work by threads: given in order, done a little ahead, and never waited for without end."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from resnetlab.errors import MachineError

PATIENCE_S = 120.0  # longer than any image takes; a disk that doesn't answer takes for ever
LOOK_S = 1.0  # between two looks at whether images come

# One for all threads of the process: where any of them gets an image, the disk answers.
_signs_of_life = 0

Item = TypeVar("Item")
Result = TypeVar("Result")


class HungError(MachineError):
    """A thread gives no answer. It can't be ended, so the process must end without it."""


def sign_of_life() -> None:
    """Tell that an image, of however many to be done at once, is done."""
    global _signs_of_life
    _signs_of_life += 1


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
    """Wait for a thread's result, as long as images come. Raises HungError where none does any more.

    What is counted are looks, not the clock: a process that was itself stopped (Ctrl+Z) has not waited.
    """
    seen, silent_s = _signs_of_life, 0.0
    while silent_s < PATIENCE_S:
        look_s = min(LOOK_S, PATIENCE_S)
        try:
            return future.result(look_s)
        except TimeoutError:
            if future.done():  # the work's own error
                raise
        silent_s = silent_s + look_s if _signs_of_life == seen else 0.0
        seen = _signs_of_life
    raise HungError(
        f"no image could be read for {PATIENCE_S:.0f} s: the disk or network folder they are in does not "
        "answer; bring it back, then go on"
    )
