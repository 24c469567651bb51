"""One search of several processes, as on several machines, in a PostgreSQL database of its own."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from resnetlab.system.files import read_json

# A process that is taken for dead after a few seconds, so that the test needn't wait for long.
PROGRAM = """
import sys
from resnetlab.tuning import queue
from resnetlab.tuning import study
queue.BEAT_S, study.BEAT_S, study.SILENCE_S = 1, 1, 6
from resnetlab.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
RECIPE = """
data: {image_size: 16, augment: none, workers: 0}
model: {name: mlp}
training: {epochs: 80, batch_size: 16, threads: 1, precision: fp32}
evaluation: {resamples: 100}
tuning:
  folds: 2
  sampler: random
  trials: 6
  pruner: none
  space:
    training.lr: {low: 1e-4, high: 1e-1, log: true}
"""


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """The address of a database on the loopback address, gone after the tests."""
    pytest.importorskip("psycopg", reason="needs psycopg: pip install 'resnetlab[postgresql]'")
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))  # Debian's are not in PATH
    control = str(places[-1]) if places else shutil.which("pg_ctl")
    if control is None:
        pytest.skip("needs PostgreSQL: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="resnetlab-postgresql-"))
    folder.chmod(0o755)  # another user must enter it, which pytest's own folders don't allow
    as_user: list[str] = []
    if os.geteuid() == 0:  # it refuses to run as root
        shutil.chown(folder, "postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def run(*words: str) -> None:
        line = [*as_user, control, "-D", str(folder / "data"), "-s", "-w", *words]
        subprocess.run(line, check=True, stdout=subprocess.DEVNULL, cwd="/")

    run("initdb", "-o", "-A trust -U resnetlab --no-sync")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    run("start", "-l", str(folder / "log"), "-o", options)
    yield f"postgresql+psycopg://resnetlab@127.0.0.1:{port}/postgres"
    run("stop", "-m", "immediate")
    shutil.rmtree(folder)


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start a command line in a process of its own; what it says goes into NAME.log."""
    begun: list[subprocess.Popen[bytes]] = []

    def start(name: str, *words: object) -> subprocess.Popen[bytes]:
        with (tmp_path / f"{name}.log").open("a") as log:
            line = [sys.executable, "-c", PROGRAM, *map(str, words)]
            begun.append(subprocess.Popen(line, stderr=log, stdout=log))
        return begun[-1]

    yield start
    for process in begun:
        process.kill()
        process.wait()


def test_two_processes_share_a_search_and_killing_one_loses_nothing(
    database, begin, digit_folder, tmp_path
):
    (tmp_path / "recipe.yaml").write_text(RECIPE)

    def tune(name: str, *words: str) -> subprocess.Popen[bytes]:
        where = ["--recipe", tmp_path / "recipe.yaml", "--out", tmp_path, "--name", name]
        return begin(name, "tune", digit_folder, *where, *words)

    def has_trained(name: str) -> bool:
        return bool(list((tmp_path / name).glob("trials/*/fold-0/history.csv")))

    first = tune("first", "--storage", database)
    wait_for(lambda: has_trained("first"))
    second = tune("second", "--storage", database)
    wait_for(lambda: has_trained("second"))
    second.kill()  # within a trial, which the first one must run again when it falls silent

    assert first.wait(timeout=300) == 0, (tmp_path / "first.log").read_text()
    shared = trials_of(tmp_path / "first")
    finished = [row["values"]["training.lr"] for row in shared if row["state"] == "finished"]
    assert len(finished) == len(set(finished)) == 6  # each to its end, and none twice
    (cut_off,) = [row for row in shared if row["state"] == "failed"]
    assert cut_off["reason"] == "its process ended without a word"
    assert cut_off["values"]["training.lr"] in finished
    assert (tmp_path / "first" / "bundle" / "model.json").is_file()

    # The dead one comes back: all is done, and the first has the network.
    assert begin("second", "resume", tmp_path / "second").wait(timeout=120) == 0
    assert "the network is trained by" in (tmp_path / "second.log").read_text()
    assert trials_of(tmp_path / "second") == shared
    assert not (tmp_path / "second" / "bundle").exists()


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.1)


def trials_of(folder: Path) -> list[dict]:
    rows = read_json(folder / "search.json", dict)["trials"]
    return [row | {"seconds": None} for row in rows]
