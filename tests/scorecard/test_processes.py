"""Rows of part B: several processes on one run, workers that fail, output that nobody takes."""

import errno
import fcntl
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from resnetlab.data.store import build
from resnetlab.data.store.decode import DecodedImage, decode
from resnetlab.runs.run import Run
from resnetlab.system import files
from tests.scorecard.conftest import QUICK, Told

# In a process of its own the machine would be tried out again.
ALONE = [*QUICK, "--set", "training.precision=fp32"]
HOLD = """
import sys, time
from pathlib import Path
from resnetlab.runs.run import Run

with Run(Path(sys.argv[1])).held():
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def run(data: Path, tmp_path: Path, tell: Callable[..., Told]) -> Run:
    assert tell("train", data, "--out", tmp_path, "--name", "run", *QUICK).code == 0
    return Run(tmp_path / "run")


@pytest.fixture
def holder(run: Run) -> Iterator[subprocess.Popen[str]]:
    """Another process at work on the run."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run.folder)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


# Row 11: two processes on one run folder


def test_b11_a_second_process_is_refused_by_name_and_a_dead_ones_lock_is_taken_over(
    run: Run, holder: subprocess.Popen[str], tell: Callable[..., Told]
) -> None:
    said = tell("evaluate", run.folder, "--split", "val")
    assert said.code == 5
    assert said.error == (
        f"resnetlab: {run.folder}: another process ({holder.pid} on {socket.gethostname()}) is at "
        "work on this run"
    )

    holder.kill()
    holder.wait()

    assert (run.folder / ".lock").read_text().startswith(f"{holder.pid} ")
    assert tell("evaluate", run.folder, "--split", "val").code == 0
    assert (run.folder / ".lock").read_text() == f"{os.getpid()} {socket.gethostname()}"


@pytest.mark.parametrize("number", sorted(files.NO_LOCKS))
def test_b11_without_locks_it_is_said_and_the_work_is_done(
    data: Path,
    tmp_path: Path,
    tell: Callable[..., Told],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    def refuse(file: object, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    said = tell("train", data, "--out", tmp_path, "--name", "run", *QUICK)

    assert said.code == 0
    assert said.err.count(f"note: {tmp_path / 'run'}: no lock is to be had there (") == 1
    assert "see to it that one process at a time works in it" in said.err


# Rows 7 and 8: the workers are threads. None can be killed alone; one that fails ends the work.


def test_b7_what_breaks_a_reading_thread_names_the_image(
    data: Path, tmp_path: Path, tell: Callable[..., Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = (data / "flower" / "05.jpg").read_bytes()

    def breaking(content: bytes, *settings: int) -> DecodedImage:
        if content == victim:
            raise RuntimeError("a bug in a decoder")
        return decode(content, *settings)

    monkeypatch.setenv("RESNETLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(build, "decode", breaking)
    said = tell("inspect", data)

    assert said.code == 3
    assert said.error == (
        "resnetlab: flower/05.jpg: can't be decoded (RuntimeError: a bug in a decoder); leave it "
        "out, and tell us"
    )
    monkeypatch.setattr(build, "decode", decode)
    assert tell("inspect", data).code == 0


def test_b7_what_breaks_a_thread_that_makes_batches_ends_the_training_at_once(
    run: Run, data: Path, tell: Callable[..., Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = threading.active_count()

    read = os.preadv

    def failing(handle: int, buffers: list[memoryview], offset: int) -> int:
        if Path(f"/proc/self/fd/{handle}").readlink().suffix == ".bin":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(handle, buffers, offset)

    monkeypatch.setattr(os, "preadv", failing)
    monkeypatch.setattr("resnetlab.data.store.pixels.MAPPED_BYTES", 0)
    monkeypatch.setattr("resnetlab.data.store.pixels.drop_damaged", lambda *_: None)
    begun = time.monotonic()
    said = tell("train", data, "--out", run.folder.parent, *QUICK, "--set", "data.workers=3")

    assert time.monotonic() - begun < 30
    assert said.code == 5
    assert "pixels-" in said.error
    assert "can't be read (Input/output error)" in said.error
    assert threading.active_count() == before


# Row 8: a worker that hangs

HANG = """
import sys, threading, time
from resnetlab.cli.main import entry_point
from resnetlab.system import threads as ours
from resnetlab.data.batches import Samples
from resnetlab.data.sources.reader import Reader

ours.PATIENCE_S = 1.0
where, name = (Reader, "__call__") if sys.argv.pop(1) == "reading" else (Samples, "batch")
work = getattr(where, name)

def hang(*rest):
    if threading.current_thread() is not threading.main_thread():
        time.sleep(600)
    return work(*rest)

setattr(where, name, hang)
sys.argv[0] = "resnetlab"
entry_point()
"""


@pytest.mark.parametrize("where", ["reading", "learning"])
def test_b8_a_thread_that_hangs_is_told_and_not_waited_for(
    data: Path, tmp_path: Path, where: str
) -> None:
    began = time.monotonic()
    words = ["train", data, "--out", tmp_path, "--name", "run", *ALONE, "--set", "data.workers=2"]
    process = subprocess.run(
        [sys.executable, "-c", HANG, where, *map(str, words)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert process.returncode == 5, process.stderr
    assert "no image could be read for 1 s: the disk or network folder" in process.stderr
    assert "Traceback" not in process.stderr
    assert time.monotonic() - began < 60


# Row 17: nobody takes the output

FULL = "resnetlab: standard output: can't be written (No space left on device)\n"


def start(out: Path, data: Path, *words: object, **streams: object) -> subprocess.Popen[str]:
    """Train in a process of its own whose output goes where the streams say."""
    words = ("train", data, "--out", out, "--name", "run", *ALONE, *words)
    return subprocess.Popen(
        [sys.executable, "-m", "resnetlab", *map(str, words)], text=True, **streams
    )


def test_b17_training_goes_on_when_the_reader_of_both_streams_has_gone(
    data: Path, tmp_path: Path
) -> None:
    process = start(tmp_path, data, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    # As `| head -1` does; on a busy machine a note about that comes first.
    assert process.stdout.readline().startswith(("network ", "note: "))
    process.stdout.close()

    assert process.wait(timeout=120) == 0
    assert (tmp_path / "run" / "report.html").is_file()


def test_b17_results_that_a_full_disk_cannot_take_are_told() -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            [sys.executable, "-m", "resnetlab", "recipes"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )

    assert (done.returncode, done.stderr) == (5, FULL)


@pytest.mark.scorecard
def test_b17_training_goes_on_when_output_is_a_full_disk_and_only_then_says_so(
    data: Path, tmp_path: Path
) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123
        process = start(tmp_path, data, stdout=full, stderr=subprocess.PIPE)
        _, said = process.communicate(timeout=120)

    assert process.returncode == 5
    assert said.endswith(FULL)
    assert "Traceback" not in said
    assert (tmp_path / "run" / "report.html").is_file()


@pytest.mark.scorecard
@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-", ">&- 2>&-"])
def test_b17_training_goes_on_without_standard_error(
    data: Path, tmp_path: Path, redirection: str
) -> None:
    words = [sys.executable, "-m", "resnetlab", "train", data, "--out", tmp_path, "--name", "run"]
    line = f'exec "$@" {redirection}'
    done = subprocess.run(
        ["sh", "-c", line, "sh", *map(str, [*words, *ALONE])],
        stdout=subprocess.PIPE,
        check=False,
        timeout=120,
    )

    assert done.returncode == 0
    assert (tmp_path / "run" / "report.html").is_file()
