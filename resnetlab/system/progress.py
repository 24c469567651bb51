"""How long work shows that it goes on: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from types import TracebackType
from typing import Self

from resnetlab.system import interruption, ranks

PLAIN_LINE_SECONDS = 20.0


def log(text: str) -> None:
    """Print one line of what is being done, to standard error: standard output is for results."""
    put(f"{text}\n")


def put(text: str) -> None:
    """Write to standard error, of many processes the main one alone."""
    if ranks.is_main():
        write(text)


def write(text: str) -> None:
    """Write to standard error. Where it is closed, full or read by nobody, the work goes on."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        pass


class Progress:
    """Counts images (or other things) done, with rate and time left.

    On a terminal a line is drawn over and over; elsewhere a line appears every 20 seconds, so that
    short work leaves none. Where it counts, long work can be ended. A `total` of None is not known.
    """

    def __init__(
        self,
        title: str,
        total: int | None,
        unit: str = "images",
        done: int = 0,
        stoppable: bool = True,
    ) -> None:
        self.title, self.total, self.unit = title, total, unit
        self.done = self.done_before = done
        self.started = self.shown = time.monotonic()
        self.live = sys.stderr is not None and sys.stderr.isatty()
        self.stoppable = stoppable

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.live:
            put("\r\033[K")

    def advance(self, count: int) -> None:
        """Count `count` more as done, and show it where it is time to.

        Raises StoppedError where an end is asked for, unless someone else looks after that. Processes
        that work together agree on their end, elsewhere.
        """
        if self.stoppable and ranks.world() == 1:
            interruption.raise_if_requested()
        self.done += count
        now = time.monotonic()
        if now - self.shown >= (0.1 if self.live else PLAIN_LINE_SECONDS):
            self.shown = now
            put(f"\r\033[K{self}" if self.live else f"{self}\n")

    @property
    def rate(self) -> float:
        """Return the number done per second since this object was made."""
        return (self.done - self.done_before) / max(time.monotonic() - self.started, 1e-9)

    def __str__(self) -> str:
        if self.total is None:
            return f"{self.title}  {self.done:,}  {self.rate:,.0f} {self.unit}/s"
        left = (self.total - self.done) / max(self.rate, 1e-9)
        share = self.done / max(self.total, 1)
        bar = f"{'━' * round(24 * share):╌<24}" if self.live else f"{share:4.0%}"
        counted = f"{self.done:,}/{self.total:,}  {self.rate:,.0f} {self.unit}/s"
        return f"{self.title}  {bar}  {counted}  {duration(left)} left"


def duration(seconds: float) -> str:
    """Return a time span as people say it: '8 s', '4 min 10 s', '2 h 5 min'."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
