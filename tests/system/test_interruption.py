"""An end is asked for by a signal or a deadline, and taken where nothing is lost."""

import os
import signal
import threading
from datetime import datetime

import pytest

from resnetlab.errors import StoppedError
from resnetlab.system import interruption
from resnetlab.system.progress import Progress


@pytest.fixture(autouse=True)
def nothing_asked():
    interruption.reset()
    yield
    interruption.reset()


@pytest.mark.parametrize(
    ("number", "why", "code"),
    [(signal.SIGINT, "interrupted", 130), (signal.SIGTERM, "terminated", 143)],
)
def test_a_signal_asks_and_the_work_ends_where_it_obeys(number, why, code):
    with interruption.handle_signals():
        os.kill(os.getpid(), number)
        assert interruption.requested()
        with pytest.raises(StoppedError, match=why) as caught:
            interruption.raise_if_requested()

    assert caught.value.exit_code == code
    assert not interruption.requested()


def test_the_command_at_work_goes_on_where_nothing_better_is_known():
    with interruption.handle_signals("resnetlab inspect photos"):
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(StoppedError, match=r"go on with: resnetlab inspect photos$"):
            interruption.raise_if_requested()

    interruption.set_deadline(0)
    with pytest.raises(StoppedError, match=r"the time is up; what was finished is kept$"):
        interruption.raise_if_requested()


def test_a_second_interrupt_ends_at_once():
    with interruption.handle_signals(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)


def test_the_handlers_that_were_there_come_back():
    before = [signal.getsignal(each) for each in interruption.REASONS]
    with interruption.handle_signals():
        assert [signal.getsignal(each) for each in interruption.REASONS] != before

    assert [signal.getsignal(each) for each in interruption.REASONS] == before


def test_in_another_thread_nothing_is_arranged():
    found = []

    def work():
        with interruption.handle_signals():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGINT)]


def test_a_deadline_counts_what_lies_ahead():
    interruption.set_deadline(60)

    assert not interruption.requested(50)
    assert interruption.requested(70)
    interruption.raise_if_requested(50)
    with pytest.raises(StoppedError, match="the time is up") as caught:
        interruption.raise_if_requested(70)
    assert caught.value.exit_code == 0


def test_whoever_counts_can_be_ended_unless_another_looks_after_that():
    interruption.set_deadline(0)

    Progress("training", 3, stoppable=False).advance(1)
    with pytest.raises(StoppedError):
        Progress("decoding", 3).advance(1)


def test_the_command_that_goes_on_is_told():
    stop = StoppedError("interrupted", 130).go_on_with("resnetlab resume runs/x")

    assert str(stop) == (
        "interrupted; what was finished is kept, go on with: resnetlab resume runs/x"
    )
    assert stop.exit_code == 130


@pytest.mark.parametrize(
    ("span", "seconds"), [("55m", 3300), ("2h", 7200), ("1h30m", 5400), ("90s", 90), ("1h5s", 3605)]
)
def test_a_span_is_read(span, seconds):
    assert interruption.seconds_of(span) == seconds


@pytest.mark.parametrize("span", ["", "55", "m", "1d", "-5m", "5 m", "1.5h", "30m1h"])
def test_what_is_no_span_is_refused(span):
    with pytest.raises(ValueError):
        interruption.seconds_of(span)


@pytest.mark.parametrize(("clock", "hours"), [("14:30", 2.5), ("11:00", 23.0), ("12:00", 24.0)])
def test_a_time_of_the_day_is_the_next_one(clock, hours):
    noon = datetime(2026, 11, 21, 12, 0)

    assert interruption.seconds_until(clock, noon) == 3600 * hours
