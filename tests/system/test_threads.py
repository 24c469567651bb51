"""Threads are waited for as long as images come, and no longer."""

import os
import signal
import subprocess
import threading
import time

import pytest

from resnetlab.system import threads as module
from resnetlab.system.threads import HungError, in_order, sign_of_life, threads


@pytest.fixture(autouse=True)
def little_patience(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_S", 0.15)
    monkeypatch.setattr(module, "LOOK_S", 0.05)


def test_a_batch_may_take_longer_than_an_image_may():
    def batch(count: int) -> int:
        for _ in range(count):
            time.sleep(0.05)
            sign_of_life()
        return count

    with threads(1) as pool:
        assert list(in_order(pool, batch, [8, 8], 1)) == [8, 8]  # each 0.4 s


def test_an_image_that_does_not_come_is_told_although_others_did():
    free = threading.Event()

    def batch(count: int) -> int:
        for _ in range(count):
            time.sleep(0.01)
            sign_of_life()
        free.wait(30)
        return count

    began = time.monotonic()
    try:
        with (
            pytest.raises(HungError, match="no image could be read for 0 s: the disk or network"),
            threads(2) as pool,
        ):
            list(in_order(pool, batch, [3, 3], 2))
    finally:
        free.set()
    assert time.monotonic() - began < 10


def test_the_work_s_own_timeout_is_not_taken_for_a_thread_that_hangs():
    def batch(_: int) -> int:
        raise TimeoutError("the work's own")

    with threads(1) as pool, pytest.raises(TimeoutError, match="the work's own"):
        list(in_order(pool, batch, [1], 1))


def test_what_was_done_long_ago_does_not_count_against_the_next():
    """A step of training may take longer than the patience: nobody reads meanwhile."""
    with threads(1) as pool:
        stream = in_order(pool, lambda item: item, range(4), 1)
        found = [next(stream)]
        time.sleep(0.3)
        assert [*found, *stream] == [0, 1, 2, 3]


def test_a_process_that_was_stopped_meanwhile_has_not_waited():
    def item(number: int) -> int:
        words = ["sh", "-c", f"sleep 0.6; kill -CONT {os.getpid()}"]
        with subprocess.Popen(words):
            os.kill(os.getpid(), signal.SIGSTOP)  # as Ctrl+Z does, for all threads
        time.sleep(0.05)
        return number

    with threads(1) as pool:
        assert list(in_order(pool, item, [7], 1)) == [7]
