"""A sound data set to be spoilt, and the command line as a user sees it."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image

from resnetlab.cli import main

QUICK = ["--model", "mlp", "--image-size", "16", "--epochs", "1", "--batch-size", "16"]


class Told(NamedTuple):
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line about the error."""
        lines = [line for line in self.err.splitlines() if line.startswith("resnetlab: ")]
        assert len(lines) == 1, self.err
        return lines[0]


@pytest.fixture
def data(photo_folder: Path, tmp_path: Path) -> Path:
    """A copy of 24 sound photographs in two classes, `china` and `flower`."""
    folder = tmp_path / "photos"
    for path in photo_folder.rglob("*.jpg"):
        copy = folder / path.parent.name / path.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    return folder


@pytest.fixture
def photo(photo_folder: Path) -> Image.Image:
    """One of them, 160×120 px."""
    return Image.open(photo_folder / "china" / "05.jpg").convert("RGB")


@pytest.fixture
def tell(data: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Told]:
    """Run a command line; whatever it does, no traceback is shown and the user's data stays."""

    def run(*words: object) -> Told:
        before = tree(data)
        capfd.readouterr()
        code = main([str(word) for word in words])
        said = Told(code, *capfd.readouterr())
        assert "Traceback" not in said.err + said.out
        assert "fault in resnetlab" not in said.err
        assert tree(data) == before, "the user's data was changed"
        return said

    return run


def tree(folder: Path) -> dict[Path, str]:
    """Return the content of all files below a folder, by path."""
    return {
        path: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }
