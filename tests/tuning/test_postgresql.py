"""One search of several processes, as on several machines, in a PostgreSQL database of its own."""

import gc
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from resnetlab.cli.main import main
from resnetlab.system.files import read_json
from resnetlab.tuning import queue, search, study

# A process that leaves a word within its first trial, and waits there to be killed.
HANG = """
import sys, time
from pathlib import Path
from resnetlab.cli.main import main
from resnetlab.tuning import queue, search, study

queue.BEAT_S, study.BEAT_S, study.SILENCE_S = 1, 1, 4
word, take_in = Path(sys.argv.pop(1)), search.Watch.__call__

def hang(*epoch):
    take_in(*epoch)
    word.touch()
    time.sleep(600)

search.Watch.__call__ = hang
sys.exit(main(sys.argv[1:]))
"""
RECIPE = """
data: {image_size: 16, augment: none, workers: 0}
model: {name: mlp}
training: {epochs: 4, batch_size: 16, threads: 1, precision: fp32}
evaluation: {resamples: 100}
tuning:
  folds: 2
  sampler: random
  trials: 4
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
def soon_dead(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Take a process for dead after a few seconds, so that the test needn't wait for long."""
    monkeypatch.setattr(queue, "BEAT_S", 1)
    monkeypatch.setattr(study, "BEAT_S", 1)
    monkeypatch.setattr(study, "SILENCE_S", 4)
    yield
    gc.collect()  # connections, which a process of its own would leave to its end


@pytest.mark.filterwarnings("ignore:.*Connection.* was deleted while still open:ResourceWarning")
def test_two_processes_share_a_search_and_killing_one_loses_nothing(
    database, soon_dead, digit_folder, tmp_path, monkeypatch, capsys
):
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    run_trial = search.run_trial

    def tune(name: str) -> list[str]:
        where = ["--recipe", tmp_path / "recipe.yaml", "--out", tmp_path, "--name", name]
        return [str(word) for word in ("tune", digit_folder, *where, "--storage", database)]

    def while_another_dies(*trial) -> None:
        """Run a trial; after the first one let another process begin one, and kill it within."""
        run_trial(*trial)
        if not (tmp_path / "second").exists():
            killed_within(tmp_path / "within", tune("second"))

    monkeypatch.setattr(search, "run_trial", while_another_dies)
    assert main(tune("first")) == 0
    shared = trials_of(tmp_path / "first")
    finished = [row["values"]["training.lr"] for row in shared if row["state"] == "finished"]
    assert len(finished) == len(set(finished)) == 4  # each to its end, and none twice
    (cut_off,) = [row for row in shared if row["state"] == "failed"]
    assert cut_off["reason"] == "its process ended without a word"
    assert cut_off["values"]["training.lr"] in finished
    assert (tmp_path / "first" / "bundle" / "model.json").is_file()

    # The dead one comes back: all is done, and the first has the network.
    capsys.readouterr()
    assert main(["resume", str(tmp_path / "second")]) == 0
    assert "the network is trained by" in capsys.readouterr().err
    assert trials_of(tmp_path / "second") == shared
    assert not (tmp_path / "second" / "bundle").exists()


def killed_within(word: Path, command: list[str]) -> None:
    """Run a command line in a process of its own, and kill it when it has left the word."""
    with subprocess.Popen([sys.executable, "-c", HANG, str(word), *command]) as process:
        until = time.monotonic() + 120
        while not word.exists():
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.1)
        process.kill()


def trials_of(folder: Path) -> list[dict]:
    rows = read_json(folder / "search.json", dict)["trials"]
    return [row | {"seconds": None} for row in rows]
