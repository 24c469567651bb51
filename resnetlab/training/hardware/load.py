"""How much of the processors other programs take while this one computes."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from resnetlab.system.progress import log

WINDOW_S = 10.0  # over which it is measured
LOOK_S = 1.0  # between two looks
CLEARLY = 0.5  # cores, of those that the threads need, that others must take to count
IN_A_ROW = 2  # windows that must agree before anything is said
# Columns of /proc/stat that are work: user, nice, system, irq, softirq, stolen by other machines.
WORK = (1, 2, 3, 6, 7, 8)


@dataclass(frozen=True)
class Reading:
    """Seconds: of the clock, of work on these processors by all programs, and by this one."""

    clock: float
    all_work: float
    own_work: float


def read_load() -> Reading:
    """Return where the counters stand; where a system doesn't count, its load average counts."""
    clock, own = time.monotonic(), time.process_time()
    try:
        lines = Path("/proc/stat").read_text().splitlines()
    except OSError:
        return Reading(clock, clock * os.getloadavg()[0], own)
    ours = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    counted = [words for words in map(str.split, lines) if words[0] in ours]
    ticks = sum(int(words[column]) for words in counted for column in WORK)
    return Reading(clock, ticks / os.sysconf("SC_CLK_TCK"), own)


def processors() -> int:
    """Return how many processors this program may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class LoadWatch:
    """Sees whether other programs take processors that `threads` threads of a training need.

    It counts between `begin` and `end` alone, step by step, and says in one line when that begins,
    and when it is over. `turned` tells that it has changed since it was last set back.
    """

    def __init__(
        self,
        threads: int,
        images: float,
        way_out: str,
        read: Callable[[], Reading] = read_load,
        cores: int | None = None,
    ) -> None:
        self.threads, self.images = threads, images  # a step
        self.way_out, self.read, self.cores = way_out, read, cores or processors()
        self.crowded = self.turned = False
        self.others = self.before = 0.0  # cores that others take; images a second without them
        self.row = 0  # windows in a row that say otherwise
        self.steps, self.seconds, self.taken = 0, 0.0, 0.0  # of this window
        self.since = read()
        self.pending = 0  # steps since then

    def begin(self) -> None:
        """Count from here on."""
        self.since, self.pending = self.read(), 0

    def step(self) -> None:
        """Count a step."""
        self.pending += 1
        if time.monotonic() - self.since.clock >= LOOK_S:
            self.end()

    def end(self) -> None:
        """Take in what was counted."""
        before, self.since = self.since, self.read()
        span = self.since.clock - before.clock
        work = self.since.all_work - before.all_work
        self.taken += max(work - (self.since.own_work - before.own_work), 0.0)
        self.seconds += span
        self.steps += self.pending
        self.pending = 0
        if self.seconds >= WINDOW_S:
            self.judge(self.taken / self.seconds, self.steps * self.images / self.seconds)
            self.steps, self.seconds, self.taken = 0, 0.0, 0.0

    def judge(self, others: float, rate: float) -> None:
        """Take in a window: the cores that others took, and the images a second."""
        self.others = others
        crowded = others > self.cores - self.threads + CLEARLY
        if not crowded and not self.crowded:
            self.before = max(self.before, rate)
        self.row = self.row + 1 if crowded != self.crowded else 0
        if self.row < IN_A_ROW:
            return
        self.crowded, self.turned, self.row = crowded, True, 0
        if crowded:
            instead = f" instead of {self.before:,.0f}" if self.before else ""
            log(
                f"note: other programs take {others:.1f} of {self.cores} cores: {rate:,.0f} images/s"
                f"{instead}; {self.way_out}"
            )
        else:
            log(f"note: the {self.cores} cores are free again: {rate:,.0f} images/s")
