"""Other programs on the same processors are seen, and told in one line a change."""

import time

import pytest

from resnetlab.training.hardware import load as module
from resnetlab.training.hardware.load import LoadWatch, Reading, read_load


class Machine:
    """Two cores on which a training and other programs work; its clock is moved by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = self.all_work = self.own_work = 0.0
        monkeypatch.setattr(time, "monotonic", lambda: self.clock)

    def read(self) -> Reading:
        return Reading(self.clock, self.all_work, self.own_work)

    def run(self, watch: LoadWatch, seconds: int, own: float, others: float, steps: int) -> None:
        """Train for some seconds, so many steps in each, while both take so many cores."""
        for _ in range(seconds):
            for _ in range(steps):
                self.clock += 1 / steps
                self.own_work += own / steps
                self.all_work += (own + others) / steps
                watch.step()


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def watch_of(machine: Machine, threads: int = 2) -> LoadWatch:
    watch = LoadWatch(threads, 8.0, "what to do", machine.read, cores=2)
    watch.begin()
    return watch


def test_it_is_told_once_when_it_begins_and_once_when_it_is_over(machine, capsys):
    watch = watch_of(machine)
    machine.run(watch, 60, own=2.0, others=0.0, steps=3)
    assert capsys.readouterr().err == ""
    machine.run(watch, 120, own=1.0, others=1.0, steps=1)
    assert capsys.readouterr().err == (
        "note: other programs take 1.0 of 2 cores: 8 images/s instead of 24; what to do\n"
    )
    assert watch.turned
    machine.run(watch, 120, own=2.0, others=0.1, steps=3)
    assert capsys.readouterr().err == "note: the 2 cores are free again: 24 images/s\n"


def test_where_it_was_never_alone_no_rate_is_compared(machine, capsys):
    machine.run(watch_of(machine), 60, own=1.0, others=1.0, steps=1)
    assert "of 2 cores: 8 images/s; what to do" in capsys.readouterr().err


def test_a_moment_is_not_told(machine, capsys):
    watch = watch_of(machine)
    for _ in range(5):
        machine.run(watch, 10, own=1.0, others=1.0, steps=1)
        machine.run(watch, 30, own=2.0, others=0.0, steps=3)
    assert capsys.readouterr().err == ""
    assert not watch.turned


def test_what_leaves_the_threads_their_cores_is_not_told(machine, capsys):
    machine.run(watch_of(machine, threads=1), 120, own=1.0, others=1.0, steps=1)
    assert capsys.readouterr().err == ""


def test_epochs_shorter_than_a_look_are_counted_too(machine, capsys):
    watch = watch_of(machine)
    for _ in range(400):
        machine.clock += 5  # a validation: not counted
        watch.begin()
        machine.clock += 0.1
        machine.own_work, machine.all_work = machine.own_work + 0.1, machine.all_work + 0.2
        watch.step()
        watch.end()
    assert "other programs take 1.0 of 2 cores: 80 images/s" in capsys.readouterr().err


def test_the_system_counts_what_this_program_does():
    before = read_load()
    until = time.process_time() + 0.3
    while time.process_time() < until:
        pass
    after = read_load()
    assert after.own_work - before.own_work >= 0.3
    # Whatever others did, all of it holds our own; a tick is a hundredth of a second.
    assert after.all_work - before.all_work >= 0.25
    assert after.clock > before.clock


def test_where_the_system_counts_nothing_its_load_average_counts(monkeypatch):
    monkeypatch.setattr(module.Path, "read_text", lambda self: (_ for _ in ()).throw(OSError()))
    monkeypatch.setattr(module.os, "getloadavg", lambda: (3.0, 0.0, 0.0))
    monkeypatch.setattr(time, "monotonic", lambda: 10.0)
    assert read_load().all_work == 30.0
