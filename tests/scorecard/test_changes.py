"""Row 48 and its neighbours: what was cut off goes on to the same, and not on other data or settings."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from resnetlab.cli.main import main
from resnetlab.data.augment import offline
from resnetlab.data.catalog import Catalog
from resnetlab.runs.run import Run
from resnetlab.system import interruption
from resnetlab.workflows.evidence import measuring
from tests.scorecard.conftest import Told, tree

SETTINGS = {
    "data.image_size": 16,
    "data.split": "[0.5, 0.25, 0.25]",
    "data.near_duplicates": "ignore",
    "model.name": "mlp",
    "training.epochs": 3,
    "training.batch_size": 4,
    "training.lr": 0.01,
    "training.precision": "fp32",
    "training.threads": 1,
}
SET = [f"--set={key}={value}" for key, value in SETTINGS.items()]
RESULTS = ("history.csv", "predictions-val.parquet", "bundle/model.safetensors")
Tell = Callable[..., Told]


def terminate(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def then_terminate(work: Callable[..., Any]) -> Callable[..., Any]:
    """Return work with a signal at its end."""

    def run(*args: Any, **named: Any) -> Any:
        result = work(*args, **named)
        terminate()
        return result

    return run


def results(run: Path, *names: str) -> dict[str, bytes]:
    return {name: (run / name).read_bytes() for name in names or RESULTS}


@pytest.fixture(scope="module")
def finished(photo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody disturbed; to be read only."""
    out = tmp_path_factory.mktemp("finished")
    assert main(["train", str(photo_folder), "--out", str(out), "--name", "run", *SET]) == 0
    return out / "run"


@pytest.fixture
def uncut(finished: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(finished, tmp_path / "uncut")


@pytest.fixture
def cut(tell: Tell, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same training on `data`, terminated after its first epoch."""
    with monkeypatch.context() as patch:
        patch.setattr("resnetlab.workflows.training.Stopwatch.end_epoch", terminate)
        told = tell("train", data, "--out", tmp_path, "--name", "cut", *SET)
    run = tmp_path / "cut"
    assert told.code == 143
    assert told.error == (
        f"resnetlab: terminated; what was finished is kept, go on with: resnetlab resume {run}"
    )
    return run


def rows_of(run: Path, split: str) -> list[str]:
    catalog = Catalog.load(Run(run).catalog_file)
    return list(catalog.ids[catalog.rows(split)])


def change(image: Path) -> None:
    Image.open(image).rotate(180).save(image)


def edit(recipe: Path, key: str, value: object) -> None:
    text = recipe.read_text()
    assert re.search(rf"^  {key}: ", text, re.MULTILINE)
    recipe.write_text(re.sub(rf"^  {key}: .*$", f"  {key}: {value}", text, flags=re.MULTILINE))


# Going on


@pytest.mark.parametrize("command", [("resume",), ("train", "--resume")])
def test_a_training_goes_on_to_the_same_bits(
    tell: Tell, uncut: Path, cut: Path, command: tuple[str, ...]
) -> None:
    told = tell(*command, cut)

    assert told.code == 0
    assert "validation, " in told.out and f"run     {cut}" in told.out
    assert results(cut) == results(uncut)


def test_a_training_cut_while_it_read_the_images_goes_on(
    tell: Tell, uncut: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tell("train", data, "--out", tmp_path, "--name", "cut", "--budget", "0s", *SET)
    run = tmp_path / "cut"
    assert (told.code, told.out) == (0, "")
    assert f"the time is up; what was finished is kept, go on with: resnetlab resume {run}" in (
        told.error
    )
    assert {path.name for path in run.iterdir()} == {"unfinished.json", ".lock"}

    monkeypatch.chdir(tmp_path.parent)
    assert tell("resume", run).code == 0
    assert results(run) == results(uncut)
    assert not (run / "unfinished.json").exists()


def test_a_relative_data_folder_is_found_from_elsewhere(
    tell: Tell, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data.parent)
    tell("train", data.name, "--out", tmp_path, "--name", "cut", "--budget", "0s", *SET)

    monkeypatch.chdir("/")
    assert tell("resume", tmp_path / "cut").code == 0


def test_a_mistake_that_shows_while_reading_leaves_no_run(
    tell: Tell, data: Path, tmp_path: Path
) -> None:
    for number in range(2):
        (data / "china" / f"bad{number}.jpg").write_text("no image")
    assert tell("train", data, "--out", tmp_path / "runs", *SET).code == 3
    assert not (tmp_path / "runs").exists()


def test_a_finished_run_is_left_alone_in_one_line(tell: Tell, uncut: Path) -> None:
    before = tree(uncut)
    told = tell("resume", uncut)

    assert (told.code, told.out, told.err) == (0, "", f"{uncut} is finished\n")
    assert tree(uncut) == before


def test_what_is_no_run_is_refused(tell: Tell, data: Path, tmp_path: Path) -> None:
    for folder in (data, tmp_path / "nothing"):
        told = tell("resume", folder)
        assert told.code == 3
        assert told.error == f"resnetlab: {folder}: no run here, nor anything else to go on with"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "unfinished.json: is damaged (names no verb with its arguments)"),
        ('{"verb": "dream", "arguments": {}}', "can't go on with 'dream'; update resnetlab"),
    ],
)
def test_a_verb_that_can_not_be_read_or_is_not_known_is_told(
    tell: Tell, cut: Path, text: str, message: str
) -> None:
    (cut / "unfinished.json").write_text(text)
    told = tell("resume", cut)
    assert told.code == 4 and message in told.error


@pytest.mark.parametrize("split", ["val", "test"])
def test_an_evaluation_goes_on_and_is_one_look(
    tell: Tell, uncut: Path, split: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(measuring, "score", then_terminate(measuring.score))
        told = tell("evaluate", uncut, "--split", split)
    assert told.code == 143
    assert f"go on with: resnetlab resume {uncut}" in told.error

    assert tell("resume", uncut).code == 0
    assert len(Run(uncut).ledger) == (split == "test")
    assert Run(uncut).metrics[split]["samples"] == 6
    assert tell("resume", uncut).err == f"{uncut} is finished\n"
    assert tell("evaluate", uncut, "--split", split).code == 0
    assert len(Run(uncut).ledger) == 2 * (split == "test")


def test_a_cut_training_is_not_measured(tell: Tell, cut: Path) -> None:
    told = tell("evaluate", cut)
    assert told.code == 3
    assert told.error.endswith(
        f"{cut}: its training isn't finished; go on with: resnetlab resume {cut}"
    )


def test_scoring_other_images_goes_on(
    tell: Tell, uncut: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = ("evaluate", uncut, "--data", data, "--out")
    assert tell(*args, tmp_path / "whole").code == 0
    (whole,) = (tmp_path / "whole").iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(measuring, "score", then_terminate(measuring.score))
        assert tell(*args, tmp_path / "cut").code == 143
    (run,) = (tmp_path / "cut").iterdir()

    told = tell("resume", run)
    assert told.code == 0 and "all images, 24 images" in told.out
    names = ("predictions-test.parquet", "metrics.json", "recipe.yaml")
    assert results(run, *names) == results(whole, *names)
    assert len(Run(run).ledger) == 1


def test_augmented_copies_go_on_to_the_same_files(
    tell: Tell, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = ("--copies", 2, "--image-size", 16, "--set=data.workers=0", "--augment", "s0")
    assert tell("augment", data, tmp_path / "uncut", *args).code == 0
    written = cut_augmenting(tell, data, tmp_path / "cut", args, monkeypatch)
    times = {path: path.stat().st_mtime_ns for path in written}

    told = tell("resume", tmp_path / "cut")
    assert (told.code, told.out) == (0, f"images with their label table: {tmp_path / 'cut'}\n")
    assert files(tmp_path / "cut") == files(tmp_path / "uncut")
    assert times == {path: path.stat().st_mtime_ns for path in written}
    assert tell("resume", tmp_path / "cut").err == f"{tmp_path / 'cut'} is finished\n"


def cut_augmenting(
    tell: Tell, data: Path, out: Path, args: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> list[Path]:
    """Terminate the making of copies after the tenth; return those that were written."""
    write_image, written = offline.write_image, []

    def write(samples: object, row: int, view: object, path: Path) -> None:
        write_image(samples, row, view, path)
        written.append(path)
        if len(written) == 10:
            terminate()
            while not interruption.requested():  # until the main thread has got the signal
                time.sleep(0.01)

    with monkeypatch.context() as patch:
        patch.setattr(offline, "write_image", write)
        told = tell("augment", data, out, *args)
    assert told.code == 143
    assert told.error.endswith(f"go on with: resnetlab resume {out}")
    assert len(written) == 10, "it went on with the image"
    return written


def files(folder: Path) -> dict[Path, str]:
    """Return the content of all files but the lock, by path below the folder."""
    return {
        path.relative_to(folder): content
        for path, content in tree(folder).items()
        if path.name != ".lock"
    }


# Row 48: the recipe has changed


def test_row_48_a_recipe_edited_by_hand_is_told(tell: Tell, cut: Path) -> None:
    edit(cut / "recipe.yaml", "lr", 0.2)
    edit(cut / "recipe.yaml", "schedule", "step")
    before = tree(cut)
    told = tell("resume", cut)

    assert told.code == 2
    assert told.error == (
        f"resnetlab: {cut / 'recipe.yaml'}: was changed since the run began: "
        "training.lr: 0.01 -> 0.2; training.schedule: cosine -> step; put it back, or go on by it "
        f"all the same: resnetlab resume {cut} --anyway"
    )
    assert {path for path in tree(cut).items() if path[0].name != ".lock"} == {
        path for path in before.items() if path[0].name != ".lock"
    }


def test_row_48_going_on_with_an_edited_recipe_is_recorded(
    tell: Tell, cut: Path, uncut: Path
) -> None:
    edit(cut / "recipe.yaml", "lr", 0.2)
    assert tell("train", "--resume", cut, "--anyway").code == 0

    (entry,) = Run(cut).environment["went_on_anyway"]
    assert entry["changes"] == ["training.lr: 0.01 -> 0.2"]
    assert entry["time"].startswith("20")
    assert "training.lr: 0.01 -&gt; 0.2" in (cut / "report.html").read_text()
    assert results(cut, "history.csv") != results(uncut, "history.csv")
    assert "went_on_anyway" not in Run(uncut).environment


def test_row_48_what_decides_no_result_may_change(tell: Tell, cut: Path, uncut: Path) -> None:
    edit(cut / "recipe.yaml", "workers", 0)
    edit(cut / "recipe.yaml", "checkpoint_minutes", 1.5)
    assert tell("resume", cut).code == 0

    assert "went_on_anyway" not in Run(cut).environment
    assert results(cut) == results(uncut)


def test_row_48_a_recipe_that_is_none_any_more_is_told(tell: Tell, cut: Path) -> None:
    edit(cut / "recipe.yaml", "lr", "fast")
    told = tell("resume", cut)
    assert told.code == 2 and "recipe.yaml: training.lr must be" in told.error


# Row 48: the data has changed


def test_row_48_images_changed_and_gone_are_told_apart(tell: Tell, cut: Path, data: Path) -> None:
    first, second, third = rows_of(cut, "train")[:3]
    change(data / first)
    change(data / second)
    (data / third).unlink()
    told = tell("resume", cut)

    assert told.code == 3
    assert told.error == (
        f"resnetlab: {data}: not the images with which {cut} began: 2 changed, the first is "
        f"{first}; 1 gone, the first is {third}; bring them back, or go on without them: "
        f"resnetlab resume {cut} --anyway"
    )


def test_row_48_going_on_without_them_is_recorded(tell: Tell, cut: Path, data: Path) -> None:
    changed, gone, *others = rows_of(cut, "train")
    change(data / changed)
    (data / gone).unlink()
    assert tell("resume", cut, "--anyway").code == 0

    (entry,) = Run(cut).environment["went_on_anyway"]
    assert entry["changes"] == [
        f"images: 1 changed, the first is {changed}",
        f"images: 1 gone, the first is {gone}",
    ]
    assert rows_of(cut, "train") == others
    dataset = Run(cut).metrics["dataset"]
    assert dataset["problems"] == [
        {"id": changed, "problem": "changed since the run began"},
        {"id": gone, "problem": "gone since the run began"},
    ]
    assert sum(dataset["counts"]["train"]) == len(others)
    assert gone in (cut / "report.html").read_text()


@pytest.mark.parametrize("split", ["val", "test"])
@pytest.mark.parametrize("anyway", [[], ["--anyway"]])
def test_row_48_what_is_measured_on_must_stay(
    tell: Tell, cut: Path, data: Path, split: str, anyway: list[str]
) -> None:
    (data / rows_of(cut, split)[0]).unlink()
    told = tell("resume", cut, *anyway)

    assert told.code == 3
    name = {"val": "validation", "test": "test"}[split]
    assert f"1 of them belong to the {name} split, which is measured on" in told.error
    assert "--anyway" not in told.error


def test_row_48_a_class_without_an_image_left_can_not_be_learned(
    tell: Tell, cut: Path, data: Path
) -> None:
    for name in rows_of(cut, "train"):
        if name.startswith("china"):
            (data / name).unlink()
    told = tell("resume", cut, "--anyway")
    assert told.code == 3 and "class 'china' has none left to train on" in told.error


def test_row_48_a_data_folder_that_is_gone_is_named(tell: Tell, cut: Path, data: Path) -> None:
    data.rename(data.with_name("elsewhere"))
    told = tell("resume", cut)
    assert (told.code, told.error) == (
        3,
        f"resnetlab: {data}: is gone, with the images of {cut}; bring it back",
    )


def test_row_48_a_quarantined_image_may_change(tell: Tell, data: Path, tmp_path: Path) -> None:
    (data / "china" / "bad.jpg").write_text("no image")
    args = [*SET, "--set=data.max_problem_frac=0.1"]
    assert tell("train", data, "--out", tmp_path, "--name", "run", *args).code == 0
    (data / "china" / "bad.jpg").write_text("mended, perhaps")

    assert tell("evaluate", tmp_path / "run").code == 0


def test_row_48_copies_of_other_images_are_not_mixed_in(
    tell: Tell, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = ("--copies", 2, "--image-size", 16, "--set=data.workers=0")
    cut_augmenting(tell, data, tmp_path / "out", args, monkeypatch)
    change(data / "china" / "03.jpg")
    (data / "flower" / "00.jpg").unlink()
    before = files(tmp_path / "out")

    for command in (
        ("resume", tmp_path / "out", "--anyway"),
        ("augment", data, tmp_path / "out", *args),
    ):
        told = tell(*command)
        assert told.code == 3
        assert (
            "1 changed, the first is china/03.jpg; 1 gone, the first is flower/00.jpg" in told.error
        )
        assert "choose a new folder for the copies" in told.error
    assert files(tmp_path / "out") == before


# The same with real processes and signals


class Command:
    """A command line in a process of its own."""

    def __init__(self, *words: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "resnetlab", *map(str, words)],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def terminate_when(self, ready: Callable[[], bool]) -> str:
        """Send SIGTERM as soon as something holds; return what was said, within 10 s."""
        while not ready():
            assert self.process.poll() is None, "it came to its end before it was told to"
            time.sleep(0.05)
        self.process.terminate()
        said, _ = self.process.communicate(timeout=10)
        assert self.process.returncode == 143, said
        return said

    def finish(self) -> str:
        said, _ = self.process.communicate(timeout=300)
        assert self.process.returncode == 0, said
        return said


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 crops of 150×150 px from two photographs."""
    folder = tmp_path_factory.mktemp("many") / "crops"
    for name, photo in zip(("china", "flower"), load_sample_images().images, strict=True):
        (folder / name).mkdir(parents=True)
        for number in range(200):
            top, left = 9 * (number // 20), 20 * (number % 20)
            crop = Image.fromarray(photo[top : top + 150, left : left + 150])
            crop.save(folder / name / f"{number:03d}.jpg")
    return folder


@pytest.mark.scorecard
def test_b5_sigterm_in_evaluation_and_it_goes_on_to_the_same_bits(
    many: Path, tmp_path: Path
) -> None:
    settings = SETTINGS | {
        "data.image_size": 128,
        "data.split": "[0.04, 0.02, 0.94]",
        "model.name": "resnet18",
        "model.weights": "none",
        "training.epochs": 1,
    }
    words = [f"--set={key}={value}" for key, value in settings.items()]
    Command("train", many, "--out", tmp_path, "--name", "cut", *words).finish()
    run, uncut = Run(tmp_path / "cut"), Run(tmp_path / "uncut")
    shutil.copytree(run.folder, uncut.folder)

    evaluation = Command("evaluate", run.folder)
    reading = (run.folder / "unfinished.json").is_file
    said = evaluation.terminate_when(lambda: reading() and not time.sleep(1))
    assert said.endswith(f"go on with: resnetlab resume {run.folder}\n")
    assert not run.predictions("test").exists()
    Command("resume", run.folder).finish()
    Command("evaluate", uncut.folder).finish()

    name = "predictions-test.parquet"
    assert results(run.folder, name) == results(uncut.folder, name)
    assert len(run.ledger) == len(uncut.ledger) == 1


@pytest.mark.scorecard
def test_b5_sigterm_in_augmenting_and_it_goes_on_to_the_same_files(
    photo_folder: Path, tmp_path: Path
) -> None:
    words = ("--copies", 30, "--image-size", 128)
    out = tmp_path / "cut"
    said = Command("augment", photo_folder, out, *words).terminate_when(
        lambda: len(list(out.glob("*/*.png"))) > 50
    )
    assert said.endswith(f"go on with: resnetlab resume {out}\n")
    assert len(list(out.glob("*/*.png"))) < 24 * 31
    Command("resume", out).finish()
    Command("augment", photo_folder, tmp_path / "uncut", *words).finish()

    assert files(out) == files(tmp_path / "uncut")


@pytest.mark.scorecard
def test_augmenting_killed_goes_on_to_the_same_files(photo_folder: Path, tmp_path: Path) -> None:
    words = ("--copies", 30, "--image-size", 128)
    out = tmp_path / "cut"
    command = Command("augment", photo_folder, out, *words)
    for number in (50, 300):
        while len(list(out.glob("*/*.png"))) < number:
            assert command.process.poll() is None, "it came to its end before it was killed"
            time.sleep(0.05)
        command.process.kill()
        command.process.communicate()
        command = Command("resume", out)
    command.finish()
    Command("augment", photo_folder, tmp_path / "uncut", *words).finish()

    assert files(out) == files(tmp_path / "uncut")
