"""Row B13: what befalls a search. Its storage locked, its process killed, once and often."""

import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from resnetlab.cli.main import main
from resnetlab.system.files import read_json

RECIPE = """
data: {image_size: 16, augment: small, workers: 0}
model: {name: cnn, dropout: 0.2}
training: {epochs: 4, batch_size: 16, optimizer: adamw, threads: 1, precision: fp32}
evaluation: {resamples: 100}
tuning:
  folds: 2
  sampler: tpe
  trials: 7
  pruner: median
  space:
    training.lr: {low: 1e-4, high: 1e-1, log: true}
    training.label_smoothing: {low: 0.0, high: 0.3}
"""
KILLS = 5


@pytest.fixture
def search(digit_folder: Path, tmp_path: Path) -> list[str]:
    """The command of a search with everything that might be lost: TPE, pruning, dropout."""
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    where = ["--recipe", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path)]
    return ["tune", str(digit_folder), *where]


def begin(words: list[str]) -> subprocess.Popen[bytes]:
    """Start a command line in a process of its own."""
    line = [sys.executable, "-m", "resnetlab", *words]
    return subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def table_of(folder: Path) -> list[dict]:
    """Everything about the trials but how long they took."""
    return [row | {"seconds": None} for row in read_json(folder / "search.json", dict)["trials"]]


def same_results(one: Path, other: Path) -> None:
    assert table_of(one) == table_of(other)
    for name in ("history.csv", "bundle/model.safetensors", "predictions-val.parquet"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


@contextmanager
def locked(path: Path, seconds: float) -> Iterator[None]:
    """Hold an SQLite file for a while, as a backup or a curious reader would."""

    def hold() -> None:
        connection = sqlite3.connect(path, timeout=30)
        connection.execute("BEGIN EXCLUSIVE")
        begun.set()
        time.sleep(seconds)
        connection.close()

    begun = threading.Event()
    thread = threading.Thread(target=hold)
    thread.start()
    assert begun.wait(60)
    yield
    thread.join()


def test_b13_a_trial_killed_and_the_storage_locked(search, tmp_path):
    assert main([*search, "--name", "whole"]) == 0
    process = begin([*search, "--name", "cut"])
    trials = tmp_path / "cut" / "trials"
    until = time.monotonic() + 120
    while len(list(trials.glob("*/fold-*"))) < 4 and process.poll() is None:
        assert time.monotonic() < until
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert (tmp_path / "cut" / "unfinished.json").is_file()

    with locked(tmp_path / "cut" / "study.db", seconds=2):
        assert main(["resume", str(tmp_path / "cut")]) == 0
    same_results(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.scorecard
def test_a_search_killed_five_times_at_random_ends_with_the_same_table(search, tmp_path):
    process = begin([*search, "--name", "whole"])
    begun = wait_for_work(tmp_path / "whole", since=0.0)
    assert process.wait() == 0
    seconds = time.time() - begun
    dice = random.Random(0)
    words = [*search, "--name", "cut"]
    for _ in range(KILLS):
        started = time.time()
        process = begin(words)
        wait_for_work(tmp_path / "cut", started)
        time.sleep(dice.uniform(0, seconds / KILLS))
        assert process.poll() is None, "it was done before it could be killed"
        process.kill()
        process.wait()
        words = ["resume", str(tmp_path / "cut")]
    assert begin(words).wait() == 0
    same_results(tmp_path / "whole", tmp_path / "cut")


def wait_for_work(run: Path, since: float) -> float:
    """Wait until a search has written into its storage; return when that was."""
    until = time.monotonic() + 300
    while True:
        written = [path.stat().st_mtime for path in run.glob("study.db")]
        if written and written[0] > since:
            return written[0]
        assert time.monotonic() < until, "the search does not begin"
        time.sleep(0.02)
