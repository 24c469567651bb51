"""Rows of part B: real processes of the command line, killed and told to end."""

import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from resnetlab.cli.main import main
from resnetlab.runs.run import Run

SETTINGS = {
    "data.image_size": 16,
    "data.augment": "photo",
    "data.workers": 2,
    "model.name": "fastcnn",
    "model.dropout": 0.3,
    "training.batch_size": 4,
    "training.accumulate": 2,
    "training.optimizer": "muon",
    "training.mixup": 0.3,
    "training.ema": 0.9,
    "training.schedule": "onecycle",
    "training.precision": "fp32",
    "training.threads": 1,
    "training.checkpoint_minutes": 0.0001,  # after every step: kills hit the saving too
}
RESULTS = ("history.csv", "predictions-val.parquet", "bundle/model.safetensors")


class Trainer:
    """The command line in a process of its own, on one set and one folder of runs."""

    def __init__(self, data: Path, out: Path, epochs: int) -> None:
        self.data, self.run = data, Run(out / "runs" / "photos")
        self.environment = os.environ | {
            "RESNETLAB_CACHE": str(out / "cache"),
            "OMP_NUM_THREADS": "1",
        }
        self.settings: dict[str, object] = SETTINGS | {"training.epochs": epochs}

    def command(self) -> list[str]:
        """Return what begins the run, or goes on with it where there is one to go on with."""
        if (self.run.folder / "unfinished.json").is_file():
            return ["train", "--resume", str(self.run.folder)]
        shutil.rmtree(self.run.folder, ignore_errors=True)  # killed before it could be resumed
        words = [str(self.data), "--out", str(self.run.folder.parent), "--name", self.run.name]
        return ["train", *words, *(f"--set={key}={value}" for key, value in self.settings.items())]

    def start(self, *more: str) -> subprocess.Popen[str]:
        """Do so in a process of its own, which can be killed."""
        return subprocess.Popen(
            [sys.executable, "-m", "resnetlab", *self.command(), *more],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finish(self) -> None:
        """Run to the end, here."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RESNETLAB_CACHE", self.environment["RESNETLAB_CACHE"])
            assert main(self.command()) == 0

    def results(self) -> dict[str, str]:
        """Return the SHA-256 of what the run came to."""
        return {
            name: hashlib.sha256((self.run.folder / name).read_bytes()).hexdigest()
            for name in RESULTS
        }


def wait_for(process: subprocess.Popen[str], pattern: str) -> str:
    """Read what a process says until a line has the pattern; return the line."""
    assert process.stdout is not None
    for line in process.stdout:
        if re.search(pattern, line):
            return line
    raise AssertionError(f"it never said {pattern!r}")


@pytest.fixture(scope="module")
def uncut(photo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    trainer = Trainer(photo_folder, tmp_path_factory.mktemp("uncut"), epochs=3)
    trainer.finish()
    return trainer


@pytest.mark.parametrize(
    ("number", "code", "why"),
    [
        (signal.SIGTERM, 143, "terminated"),
        pytest.param(signal.SIGINT, 130, "interrupted", marks=pytest.mark.scorecard),
    ],
)
def test_b5_b6_a_signal_ends_it_saved_and_it_goes_on_to_the_same_bits(
    uncut: Trainer, data: Path, tmp_path: Path, number: int, code: int, why: str
) -> None:
    cut = Trainer(data, tmp_path / "cut", epochs=3)
    process = cut.start()
    wait_for(process, r"^epoch +1/3")
    told = time.monotonic()
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)

    assert time.monotonic() - told < 10
    assert process.returncode == code, said
    assert f"resnetlab: {why}; what was finished is kept, go on with: resnetlab resume" in said
    assert "Traceback" not in said
    cut.finish()
    assert cut.results() == uncut.results()


@pytest.mark.scorecard
def test_a_budget_ends_it_saved_with_a_word_on_how_to_go_on(
    uncut: Trainer, data: Path, tmp_path: Path
) -> None:
    cut = Trainer(data, tmp_path / "cut", epochs=3)
    process = cut.start("--budget", "1s")
    said, _ = process.communicate(timeout=120)

    assert process.returncode == 0, said
    assert "the time is up; what was finished is kept" in said
    cut.finish()
    assert cut.results() == uncut.results()


@pytest.mark.scorecard
def test_b1_killed_at_a_random_moment_it_comes_to_the_same_bits(
    uncut: Trainer, data: Path, tmp_path: Path
) -> None:
    cut = Trainer(data, tmp_path / "cut", epochs=3)
    process = cut.start()
    wait_for(process, r"^epoch +1/3")
    time.sleep(random.Random(1).uniform(0, 1))
    process.kill()
    process.communicate()

    cut.finish()
    assert cut.results() == uncut.results()


@pytest.mark.parametrize(
    ("kills", "epochs", "longest_s"),
    [
        pytest.param(30, 300, 12, marks=pytest.mark.scorecard),
        pytest.param(200, 400, 8, marks=pytest.mark.soak),
    ],
)
def test_b1_b3_killed_again_and_again_it_comes_to_the_same_bits(
    data: Path, tmp_path: Path, kills: int, epochs: int, longest_s: float
) -> None:
    uncut = Trainer(data, tmp_path / "uncut", epochs)
    uncut.settings["training.checkpoint_minutes"] = (
        5  # it decides no result, and takes most of the time
    )
    uncut.finish()
    cut = Trainer(data, tmp_path / "cut", epochs)
    chance = random.Random(kills)
    for _ in range(kills):
        process = cut.start()
        time.sleep(chance.uniform(0.5, longest_s))  # while it starts, reads, learns, saves
        assert process.poll() is None, "it came to its end before it was killed often enough"
        process.kill()
        process.communicate()

    cut.finish()
    assert cut.results() == uncut.results()
