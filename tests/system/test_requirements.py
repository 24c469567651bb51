"""What would stop the work stops it before any image is read."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from resnetlab.cli.main import main
from resnetlab.data import dataset
from resnetlab.errors import MachineError
from resnetlab.runs.run import Run
from resnetlab.system.requirements import require_empty, require_outside, require_package

QUICK = ["--model", "mlp", "--epochs", "1", "--image-size", "16"]
Told = tuple[int, str]


@pytest.fixture
def told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Told]:
    """Run a command that must not come to read an image; return code and error."""
    monkeypatch.setattr(dataset, "read_images", lambda *_: pytest.fail("images were read"))

    def run(*words: object) -> Told:
        capsys.readouterr()
        return main([str(word) for word in words]), capsys.readouterr().err

    return run


@pytest.fixture
def no_tensorboard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)


@pytest.fixture
def no_rights(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Have the system refuse writing into a folder, as it does for others than root."""
    access = os.access

    def refuse(folder: Path) -> None:
        monkeypatch.setattr(
            "os.access", lambda path, mode: Path(path) != folder and access(path, mode)
        )

    return refuse


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--model", "resnet51"], 2, "did you mean 'resnet50'?"),
        (["--freeze", "layer9"], 2, "model.freeze"),
        (["--weights", "no-such.safetensors"], 4, "no-such.safetensors is no file"),
        (["--set", "training.start_size=8"], 2, "training.start_size must be data.image_size"),
    ],
)
def test_a_network_that_can_not_be_had_is_told_first(
    told, digit_folder, tmp_path, words, code, message
):
    found = told("train", digit_folder, "--out", tmp_path, *QUICK, *words)

    assert found[0] == code and message in found[1]
    assert not list(tmp_path.iterdir()), "a run was begun"


def test_a_gpu_that_is_not_there_is_told_first(told, digit_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    code, error = told("train", digit_folder, "--out", tmp_path, *QUICK, "--device", "cuda")

    assert code == 5 and "PyTorch sees no GPU here" in error


def test_a_package_that_is_not_installed_is_told_first(
    told, digit_folder, tmp_path, no_tensorboard
):
    code, error = told("train", digit_folder, "--out", tmp_path, *QUICK, "--log", "tensorboard")

    assert code == 5
    assert error == (
        "resnetlab: training.log=tensorboard needs the package tensorboard: "
        "pip install 'resnetlab[tensorboard]'\n"
    )
    assert not list(tmp_path.iterdir())


def test_going_on_asks_for_the_package_too(digit_folder, tmp_path, monkeypatch, capsys):
    words = ["train", str(digit_folder), "--out", str(tmp_path), "--name", "run", *QUICK]
    assert main([*words, "--log", "tensorboard", "--budget", "0s"]) == 0
    monkeypatch.setitem(sys.modules, "tensorboard", None)

    assert main(["resume", str(tmp_path / "run")]) == 5
    assert "pip install 'resnetlab[tensorboard]'" in capsys.readouterr().err


def test_an_out_folder_without_rights_is_told_first(told, digit_folder, tmp_path, no_rights):
    no_rights(tmp_path)
    code, error = told("train", digit_folder, *QUICK, "--out", tmp_path / "runs")

    assert code == 5 and f"{tmp_path / 'runs'}: can't be written" in error


def test_a_cache_without_rights_is_told_before_reading(
    told, digit_folder, tmp_path, no_rights, monkeypatch
):
    cache = tmp_path / "cache"
    cache.mkdir()
    monkeypatch.setenv("RESNETLAB_CACHE", str(cache))
    no_rights(cache)
    code, error = told("inspect", digit_folder)

    assert code == 5
    assert f"{cache}: can't be written" in error and "set RESNETLAB_CACHE" in error


def test_a_full_disk_is_told_before_reading(told, digit_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    code, error = told("train", digit_folder, "--out", tmp_path, *QUICK)

    assert code == 5 and "the checkpoints need" in error


def test_a_folder_for_the_parts_that_holds_something_is_told_first(told, digit_folder, tmp_path):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "precious").write_text("mine")
    words = ("train", digit_folder, "--out", tmp_path / "runs", *QUICK, "--export-split")

    code, error = told(*words, tmp_path / "parts")
    assert code == 5 and "parts: is not empty" in error
    code, error = told(*words, digit_folder / "parts")
    assert code == 5 and "lies inside the data" in error
    assert not (digit_folder / "parts").exists()


def test_copies_of_other_settings_are_told_first(told, digit_folder, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("mine")
    code, error = told("augment", digit_folder, tmp_path / "out")

    assert code == 5 and "out: holds other things" in error


def test_a_class_that_the_model_does_not_know_is_told_first(
    digit_folder, photo_folder, tmp_path, request
):
    assert main(["train", str(digit_folder), "--out", str(tmp_path), "--name", "run", *QUICK]) == 0
    told = request.getfixturevalue("told")
    words = ("evaluate", tmp_path / "run", "--data", photo_folder, "--out", tmp_path / "scored")
    code, error = told(*words)

    assert code == 3 and "doesn't know class 'china'" in error
    assert not (tmp_path / "scored").exists(), "a run was begun"


def test_a_part_that_is_empty_is_told_first(digit_folder, tmp_path, request):
    words = ["--out", str(tmp_path), "--name", "run", *QUICK, "--split", "0.8", "0.2", "0"]
    assert main(["train", str(digit_folder), *words]) == 0
    code, error = request.getfixturevalue("told")("evaluate", tmp_path / "run")

    assert code == 3 and "has no test split" in error
    assert not (Run(tmp_path / "run").folder / "unfinished.json").exists()


def test_what_holds_is_let_through(tmp_path):
    require_package("numpy", "arithmetic", "none")
    require_empty(tmp_path)
    require_empty(tmp_path / "new")
    require_outside(tmp_path / "out", tmp_path / "data")
    with pytest.raises(
        MachineError, match=r"x needs the package nonesuch: pip install 'resnetlab\[y\]'"
    ):
        require_package("nonesuch", "x", "y")
