"""Long work shows that it goes on, and never fails because nobody is looking."""

import io

import pytest

from resnetlab.system import progress
from resnetlab.system.progress import Progress, duration, log


class Clock:
    """Time that passes when told to."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


class Gone(io.StringIO):
    """A pipe whose reader has gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_messages_go_to_standard_error_and_leave_standard_output_to_results(capsys):
    log("reading")

    captured = capsys.readouterr()
    assert captured.err == "reading\n"
    assert captured.out == ""


def test_short_work_leaves_no_line(clock, capsys):
    with Progress("reading", 10) as work:
        clock.now += 19
        work.advance(10)

    assert capsys.readouterr().err == ""


def test_long_work_leaves_a_plain_line_every_20_seconds_where_there_is_no_terminal(clock, capsys):
    with Progress("reading", 1200) as work:
        for _ in range(12):
            clock.now += 5
            work.advance(100)

    assert capsys.readouterr().err == (
        "reading   33%  400/1,200  20 images/s  40 s left\n"
        "reading   67%  800/1,200  20 images/s  20 s left\n"
        "reading  100%  1,200/1,200  20 images/s  0 s left\n"
    )


def test_on_a_terminal_one_line_is_drawn_over_and_wiped_in_the_end(clock, monkeypatch):
    screen = Screen()
    monkeypatch.setattr(progress.sys, "stderr", screen)

    with Progress("reading", 4, unit="files") as work:
        clock.now += 1
        work.advance(1)
        clock.now += 0.01  # too soon to be seen
        work.advance(1)

    drawn, wiped = screen.getvalue().split("\r\033[K")[1:]
    assert drawn == "reading  ━━━━━━╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌  1/4  1 files/s  3 s left"
    assert wiped == ""


def test_what_was_done_before_counts_as_done_but_not_for_the_rate(clock):
    work = Progress("decoding", 100, done=50)
    clock.now += 10
    work.advance(25)

    assert work.done == 75
    assert work.rate == pytest.approx(2.5)
    assert "75/100  2 images/s  10 s left" in str(work)


def test_work_of_nothing_can_be_shown():
    assert "0/0" in str(Progress("reading", 0))


def test_work_goes_on_when_nobody_reads_any_more(clock, monkeypatch):
    monkeypatch.setattr(progress.sys, "stderr", Gone())

    log("reading")
    with Progress("reading", 2) as work:
        clock.now += 30
        work.advance(2)

    assert work.done == 2


def test_work_goes_on_where_standard_error_is_closed(clock, monkeypatch):
    monkeypatch.setattr(progress.sys, "stderr", None)

    log("reading")
    with Progress("reading", 2) as work:
        clock.now += 30
        work.advance(2)

    assert work.done == 2


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "0 s"),
        (8, "8 s"),
        (59.6, "1 min 0 s"),
        (250, "4 min 10 s"),
        (3599.6, "1 h 0 min"),
        (7500, "2 h 5 min"),
    ],
)
def test_a_time_span_is_told_as_people_say_it(seconds, words):
    assert duration(seconds) == words
