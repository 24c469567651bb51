"""A polite end: a signal or a deadline asks for it, and loops stop where nothing is lost."""

import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from types import FrameType

from resnetlab.errors import StoppedError
from resnetlab.system import ranks

REASONS = {signal.SIGINT: ("interrupted", 130), signal.SIGTERM: ("terminated", 143)}
TIME_UP = "the time is up", 0

# Signals concern a process, so what they ask for is kept once for all of it.
_signal: signal.Signals | None = None
_repeat = ""  # the command that goes on, where the work knows none that is better
_deadline = float("inf")  # by time.monotonic, which no change of the clock moves


@contextmanager
def handle_signals(repeat: str = "") -> Iterator[None]:
    """Let SIGINT and SIGTERM ask for an end instead of making one; a second SIGINT ends at once.

    `repeat` is the command at work, which goes on where nothing better is known. Only the main
    thread can arrange signals; in another nothing changes.
    """
    global _repeat
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _repeat = repeat
    before = {each: signal.signal(each, _note) for each in REASONS}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        reset()


def _note(number: int, _: FrameType | None) -> None:
    global _signal
    if _signal is not None and number == signal.SIGINT:
        raise KeyboardInterrupt
    _signal = signal.Signals(number)


def set_deadline(seconds: float) -> None:
    """Ask for an end so many seconds from now, if none is asked for sooner."""
    global _deadline
    _deadline = min(_deadline, time.monotonic() + seconds)


def reset() -> None:
    """Take back whatever was asked for."""
    global _signal, _deadline, _repeat
    _signal, _deadline, _repeat = None, float("inf"), ""


def requested(ahead_s: float = 0.0) -> bool:
    """Return whether an end is asked for, or would be before another `ahead_s` seconds are over."""
    return _signal is not None or time.monotonic() + ahead_s >= _deadline


def raise_if_requested(ahead_s: float = 0.0) -> None:
    """Raise StoppedError where an end is asked for."""
    if _signal is not None:
        raise StoppedError(*REASONS[_signal], _repeat)
    if requested(ahead_s):
        raise StoppedError(*TIME_UP, _repeat)


def asked_of_any(ahead_s: float = 0.0) -> StoppedError | None:
    """Return the error with which all processes that work together end, where one is asked to; else None."""
    number = ranks.most(int(requested(ahead_s)) if _signal is None else int(_signal))
    reasons = {int(each): why for each, why in REASONS.items()}
    return StoppedError(*reasons.get(number, TIME_UP), _repeat) if number else None


def seconds_of(span: str) -> float:
    """Return the seconds in a span such as '55m', '2h', '1h30m', '90s'. Raises ValueError."""
    found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", span)
    if not span or found is None:
        raise ValueError(span)
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return 3600.0 * hours + 60 * minutes + seconds


def seconds_until(clock: str, now: datetime) -> float:
    """Return the seconds from `now` until the next time that a clock shows 'HH:MM'. Raises ValueError."""
    then = datetime.strptime(clock, "%H:%M")
    moment = now.replace(hour=then.hour, minute=then.minute, second=0, microsecond=0)
    if moment <= now:
        moment += timedelta(days=1)
    return (moment - now).total_seconds()
