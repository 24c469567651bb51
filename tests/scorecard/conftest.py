"""A sound data set to be spoilt, and the command line as a user sees it."""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image

from resnetlab.cli.main import main

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


def rows_of(test: str) -> set[str]:
    """Return the rows of the scorecard that a test's name tells: row_07, rows_16_and_17, b1_b3."""
    found = re.match(r"test_rows?_(\d+)(?:_(to|and)_(\d+))?", test)
    if found is None:
        return {f"B{number}" for number in re.findall(r"(?<=[_])b(\d+)(?=_)", test)}
    first, link, last = int(found[1]), found[2], int(found[3] or found[1])
    return {f"A{row}" for row in (range(first, last + 1) if link == "to" else (first, last))}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many rows of the scorecard were tried and how many passed: all tests of a row count."""
    outcome: dict[str, set[str]] = {"passed": set(), "failed": set(), "error": set()}
    for kind, rows in outcome.items():
        for report in terminalreporter.stats.get(kind, []):
            rows |= rows_of(report.nodeid.partition("::")[2])
    failed = outcome["failed"] | outcome["error"]
    passed = outcome["passed"] - failed
    if passed or failed:
        terminalreporter.write_line(
            f"scorecard: {len(passed)} rows passed, {len(failed)} failed"
            + (f" ({', '.join(sorted(failed))})" if failed else "")
        )
