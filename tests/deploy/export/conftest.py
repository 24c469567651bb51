"""A small run's bundle exported once to ONNX."""

from pathlib import Path

import pytest

from resnetlab.cli.main import main


@pytest.fixture(scope="session")
def onnx_folder(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("folder") / "onnx"
    assert main(["export", str(run), "--out", str(folder)]) == 0
    return folder
