"""A small run on real photographs, trained once, and its bundle exported once to ONNX."""

from pathlib import Path

import pytest

from resnetlab.cli.main import main

SMALL = ["--model", "cnn", "--weights", "none", "--epochs", "15", "--image-size", "32"]


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, photo_folder: Path) -> Path:
    out = tmp_path_factory.mktemp("exported")
    args = ["train", str(photo_folder), "--out", str(out), "--name", "photos", "--device", "cpu"]
    assert main([*args, *SMALL, "--split", "0.5", "0.3", "0.2"]) == 0
    return out / "photos"


@pytest.fixture(scope="session")
def onnx_folder(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("folder") / "onnx"
    assert main(["export", str(run), "--out", str(folder)]) == 0
    return folder
