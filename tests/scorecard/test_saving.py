"""Rows of part B: whatever cuts the saving off, what stood before or what was to come stands whole."""

import errno
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save

from resnetlab.cli.main import main
from resnetlab.data.store import pixels
from resnetlab.runs.run import Run
from resnetlab.system import files, interruption
from resnetlab.system.files import read_csv
from resnetlab.training import checkpoint, checkpoint_manager
from resnetlab.training.checkpoint_manager import START, CheckpointManager
from tests.scorecard.conftest import Told

SETTINGS = {
    "data.image_size": 16,
    "data.augment": "photo",
    "data.workers": 1,
    "model.name": "mlp",
    "training.batch_size": 8,
    "training.epochs": 3,
    "training.lr": 0.0001,
    "training.device": "cpu",
    "training.precision": "fp32",
    "training.threads": 1,
}
RESULTS = ("history.csv", "predictions-val.parquet", "bundle/model.safetensors")
FILE_EVENTS = {"open", "os.link", "os.rename", "os.remove", "os.chmod", "os.mkdir", "os.truncate"}
Files = dict[str, bytes]
When = Callable[[str, Callable[[], None]], None]


def train(data: Path, out: Path) -> tuple[Run, int]:
    """Train as the command line does; return the run and the exit code."""
    words = [str(data), "--out", str(out), "--name", "run"]
    code = main(["train", *words, *(f"--set={key}={value}" for key, value in SETTINGS.items())])
    return Run(out / "run"), code


def results(run: Run) -> dict[str, bytes]:
    """Return what a run came to."""
    return {name: (run.folder / name).read_bytes() for name in RESULTS}


def contents(folder: Path) -> Files:
    """Return all files of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def uncut(photo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    run, code = train(photo_folder, tmp_path_factory.mktemp("uncut"))
    assert code == 0
    return run


@pytest.fixture
def when(monkeypatch: pytest.MonkeyPatch) -> When:
    """Have something happen whenever a file of a name is begun."""
    begin = tempfile.mkstemp

    def arrange(name: str, what: Callable[[], None]) -> None:
        def begin_and(**options: Any) -> tuple[int, str]:
            if options["prefix"] == f".{name}.":
                what()
            return begin(**options)

        monkeypatch.setattr(files.tempfile, "mkstemp", begin_and)

    return arrange


# Rows 2 and 18: killed


def killed(step: int, work: Callable[[], None]) -> bool:
    """Do the work in a process of its own, killed before it opens, renames, removes ... for the time `step`.

    Returns whether there was such a time.
    """
    times = 0

    def watch(event: str, _: object) -> None:
        nonlocal times
        if event in FILE_EVENTS:
            times += 1
            if times > step:
                os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        signal.alarm(60)
        sys.addaudithook(watch)
        try:
            work()
            os._exit(0)
        finally:  # never back into the tests
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in (0, -signal.SIGKILL)
    return os.WIFSIGNALED(status)


def write_a_split(share: float) -> Callable[..., None]:
    """Return what writes a share of a checkpoint's bytes, then is killed."""

    def write(tensors: Any, path: Path, metadata: Any) -> None:
        content = save(tensors, metadata)
        path.write_bytes(content[: int(len(content) * share)])
        os.kill(os.getpid(), signal.SIGKILL)

    return write


def cut_everywhere(folder: Path, work: Callable[[], None]) -> Iterator[tuple[Files, Files, Files]]:
    """Do the work again and again, killed a little later each time, in the end not at all.

    Gives what the folder held before, after the kill, and after the whole work; it is as before again.
    """
    before = contents(folder)

    def attempt(step: int) -> tuple[bool, Files]:
        died = killed(step, work)
        left = contents(folder)
        shutil.rmtree(folder)
        folder.mkdir()
        for name, content in before.items():
            (folder / name).write_bytes(content)
        return died, left

    _, after = attempt(10**9)
    for share in (0.0, 0.5, 0.99):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(checkpoint, "save_file", write_a_split(share))
            yield before, attempt(10**9)[1], after
    for step in count():
        died, left = attempt(step)
        yield before, left, after
        if not died:
            break


@pytest.mark.parametrize(
    "epoch", [3, *(pytest.param(n, marks=pytest.mark.scorecard) for n in (1, 2))]
)
def test_b2_b18_killed_at_any_step_of_saving_a_good_checkpoint_is_there(
    photo_folder: Path, uncut: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epoch: int
) -> None:
    found: list[tuple[Files, Files, Files]] = []
    really = CheckpointManager.end_epoch

    def end_under_fire(self: CheckpointManager, is_best: bool) -> None:
        if len(self.history) == epoch:
            for work in (
                partial(self.save, START, "best"),
                partial(really, self, is_best=True),
                partial(really, self, is_best=False),
            ):
                found.extend(cut_everywhere(self.checkpoints, work))
        really(self, is_best)

    monkeypatch.setattr(CheckpointManager, "end_epoch", end_under_fire)
    run, code = train(photo_folder, tmp_path)

    assert code == 0
    assert results(run) == results(uncut)
    for before, left, after in found:
        best = "best.safetensors"
        assert left.get(best) in (before.get(best), after.get(best))
        assert goes_on_from(left) in (goes_on_from(before), goes_on_from(after))
        others = set(left) - {best, "last.safetensors", "before.safetensors"}
        assert all(name.endswith((".tmp", ".link")) for name in others)
    assert len(found) >= 30
    assert sum(any(name.endswith(".tmp") for name in left) for _, left, _ in found) >= 10


def goes_on_from(checkpoints: Files) -> bytes | None:
    """Return the checkpoint that a training takes."""
    return checkpoints.get("last.safetensors", checkpoints.get("before.safetensors"))


def test_what_a_killed_process_left_half_written_is_removed(uncut: Run, tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    shutil.copytree(uncut.folder, run.folder)
    before = {path.relative_to(run.folder) for path in run.folder.rglob("*")}
    killed(3, lambda: files.write_text(run.checkpoint("last"), "new"))
    assert list(run.folder.rglob(".*.tmp"))
    with run.held():
        pass

    assert {path.relative_to(run.folder) for path in run.folder.rglob("*")} == before


# Row 4: the disk is full


def no_second_names(*arguments: object) -> None:
    """Refuse to give a file a second name, as some file systems do."""
    raise OSError(errno.EPERM, "Operation not permitted")


@contextmanager
def disk_full_at(name: str, when: When) -> Iterator[None]:
    """Let no file grow any more once one of a name is begun: the system refuses, nothing stands in."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    when(name, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1])))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        when("no file", lambda: None)


@pytest.mark.parametrize(
    "name",
    [
        "metrics.json",
        "best.safetensors",
        "last.safetensors",
        "history.csv",
        "curves.png",
        "report.html",
        *(
            pytest.param(name, marks=pytest.mark.scorecard)
            for name in (
                "predictions-val.parquet",
                "model.safetensors",
                "model.json",
                "classes.png",
                "confusion-val.png",
            )
        ),
    ],
)
def test_b4_a_full_disk_ends_it_with_the_old_state_whole_and_it_goes_on_once_there_is_room(
    photo_folder: Path,
    uncut: Run,
    tmp_path: Path,
    when: When,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    if name == "last.safetensors":  # else it is another name of the best
        monkeypatch.setattr(checkpoint_manager.os, "link", no_second_names)
    with disk_full_at(name, when):
        run, code = train(photo_folder, tmp_path)

    said = capsys.readouterr().err
    assert code == 5, said
    assert f"{name}: can't be written (" in said.splitlines()[-1]
    assert not list(run.folder.rglob(".*.tmp"))
    if (run.folder / "recipe.yaml").is_file():
        assert main(["train", "--resume", str(run.folder)]) == 0
    else:  # it hadn't begun
        shutil.rmtree(run.folder, ignore_errors=True)
        assert train(photo_folder, tmp_path)[1] == 0
    assert results(run) == results(uncut)


def test_b4_a_full_disk_under_tensorboard_ends_in_one_line(
    photo_folder: Path, tmp_path: Path, when: When, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard")
    words = ["train", str(photo_folder), "--out", str(tmp_path), "--name", "run"]
    words += [f"--set={key}={value}" for key, value in SETTINGS.items()]
    name = "events.out.tfevents.0000000002.resnetlab"
    with disk_full_at(name, when):
        assert main([*words, "--log", "tensorboard"]) == 5

    said = capsys.readouterr().err
    assert f"{name}: can't be written (" in said.splitlines()[-1]
    assert "Traceback" not in said and "Exception in thread" not in said
    assert main(["resume", str(tmp_path / "run")]) == 0
    assert len(list((tmp_path / "run" / "tensorboard").iterdir())) == 3


# Row 10: the clock


def test_b10_a_clock_that_jumps_back_changes_no_order_and_no_duration(
    photo_folder: Path,
    uncut: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    when: When,
    capsys: pytest.CaptureFixture[str],
) -> None:
    begun = time.time()
    days = count(1)
    monkeypatch.setattr(time, "time", lambda: begun - 86400 * next(days))  # a day back each time
    run = cut_after_two_epochs(photo_folder, tmp_path, when)
    assert run.checkpoint("before").is_file()
    run.checkpoint("before").write_bytes(b"taken by nobody, although the clock says it is newer")
    os.utime(run.checkpoint("last"), (begun - 10**6, begun - 10**6))
    capsys.readouterr()
    assert main(["train", "--resume", str(run.folder)]) == 0
    assert "the one before is taken" not in capsys.readouterr().err

    assert results(run) == results(uncut)
    assert 0 < run.metrics["training"]["seconds"] < 600
    assert run.times == sorted(run.times)
    assert len(run.times) == len(read_csv(run.folder / "history.csv"))
    assert run.metrics["training"]["seconds"] >= run.times[-1], "over both sittings"
    assert run.metrics["training"]["images_per_second"] > 0


def cut_after_two_epochs(data: Path, out: Path, when: When) -> Run:
    """Train two epochs and a step, and end there as the budget would."""
    epochs = count(1)

    def end_at_the_second() -> None:
        if next(epochs) == 2:
            interruption.set_deadline(0)

    when("history.csv", end_at_the_second)
    run, _ = train(data, out)
    assert not run.bundle.exists()
    return run


# Row 15: the images go


def test_b15_images_that_go_while_it_trains_are_not_missed(
    data: Path, uncut: Run, tmp_path: Path, when: When
) -> None:
    when("history.csv", lambda: shutil.rmtree(data, ignore_errors=True))
    run, code = train(data, tmp_path / "runs")

    assert code == 0
    assert not data.exists()
    assert results(run) == results(uncut)


def test_b15_an_image_that_went_before_going_on_is_named_and_the_checkpoint_stands(
    data: Path, uncut: Run, tmp_path: Path, when: When, tell: Callable[..., Told]
) -> None:
    run = cut_after_two_epochs(data, tmp_path / "runs", when)
    checkpoints = contents(run.folder / "checkpoints")
    lost = data / "flower" / "07.jpg"
    content = lost.read_bytes()
    lost.unlink()
    said = tell("train", "--resume", run.folder)

    assert said.code == 3
    assert str(data) in said.error
    assert "flower/07.jpg" in said.error
    assert contents(run.folder / "checkpoints") == checkpoints

    lost.write_bytes(content)
    assert tell("train", "--resume", run.folder).code == 0
    assert results(run) == results(uncut)


def test_b15_an_image_that_goes_while_it_is_read_is_named(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hash_files = pixels.hash_files

    def hash_then_lose(*arguments: Any) -> Any:
        digests = hash_files(*arguments)
        (data / "china" / "03.jpg").unlink()
        return digests

    monkeypatch.setenv("RESNETLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pixels, "hash_files", hash_then_lose)

    assert main(["inspect", str(data)]) == 3
    assert capsys.readouterr().err == (
        "resnetlab: china/03.jpg: changed or went away while it was read; start again\n"
    )
