"""Row 12 of part B, and its share of 11: a cache that lies, or is made by two at once, changes nothing."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.scorecard.conftest import QUICK, Told

# Nothing is left to be measured: the same bits whatever else the machine does.
SAME = ["--device", "cpu", "--set", "training.threads=1", "--set", "training.precision=fp32"]
PLAIN = [*QUICK, *SAME]
FROZEN = ["--model", "cnn", "--freeze", "block1", "--image-size", "16", "--epochs", "2", *SAME]
FROZEN += ["--set", "training.frozen_views=2"]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RESNETLAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def predictions(
    data: Path, tmp_path: Path, tell: Callable[..., Told], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[bytes, list[str]]]:
    """Train; return the predictions' bytes, and what was said of damage."""
    number = 0

    def train(*words: str) -> tuple[bytes, list[str]]:
        nonlocal number
        number += 1
        said = tell("train", data, "--out", tmp_path, "--name", f"run-{number}", *words)
        assert said.code == 0, said.err
        told = [line for line in said.err.splitlines() if "is damaged" in line]
        return (tmp_path / f"run-{number}" / "predictions-val.parquet").read_bytes(), told

    return train


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    """Lose the last third of a file."""
    os.truncate(path, path.stat().st_size * 2 // 3)


CUT = pytest.param(cut, marks=pytest.mark.scorecard)


@pytest.mark.parametrize("harm", [flip, CUT])
@pytest.mark.parametrize("ending", ["bin", "index"])
def test_b12_a_damaged_pixel_cache_is_noticed_and_made_anew(
    cache: Path,
    predictions: Callable[..., tuple[bytes, list[str]]],
    harm: Callable[[Path], None],
    ending: str,
) -> None:
    expected, _ = predictions(*PLAIN)
    harm(next(cache.glob(f"pixels-*.{ending}")))
    found, told = predictions(*PLAIN)

    assert found == expected
    # Without its end an index is still true: what is missing is added as after any cut.
    assert len(told) == (0 if (harm, ending) == (cut, "index") else 1)
    assert predictions(*PLAIN) == (expected, [])


@pytest.mark.parametrize("harm", [flip, CUT])
def test_b12_a_damaged_feature_cache_is_noticed_and_made_anew(
    cache: Path,
    predictions: Callable[..., tuple[bytes, list[str]]],
    harm: Callable[[Path], None],
) -> None:
    expected, _ = predictions(*FROZEN)
    features = list(cache.glob("features-*.bin"))
    for path in features:
        harm(path)
    found, told = predictions(*FROZEN)

    assert len(features) >= 1
    assert found == expected
    assert len(told) == len(features)
    assert predictions(*FROZEN) == (expected, [])


def test_b12_an_image_edited_to_the_same_size_and_time_is_read_again(
    cache: Path,
    data: Path,
    predictions: Callable[..., tuple[bytes, list[str]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before, _ = predictions(*PLAIN)
    for path in data.rglob("*.jpg"):
        content, stat = bytearray(path.read_bytes()), path.stat()
        content[-60:-40] = bytes(20)
        path.write_bytes(content)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    after, told = predictions(*PLAIN)
    monkeypatch.setenv("RESNETLAB_CACHE", f"{cache}-without")

    assert told == []
    assert after != before
    assert after == predictions(*PLAIN)[0]


# Two at once

BUILD = """
import sys, time
from pathlib import Path
from resnetlab.cli.main import main
from resnetlab.data.store import build
from resnetlab.data.store.decode import decode

slow, decoded = len(sys.argv) > 2, 0

def counting(*arguments):
    global decoded
    decoded += 1
    if slow and decoded > 10:
        print("decoding", file=sys.stderr, flush=True)
        time.sleep(600)
    return decode(*arguments)

build.CHUNK = 4
build.decode = counting
code = main(["inspect", sys.argv[1], "--set", "data.workers=1"])
print("decoded", decoded, file=sys.stderr)
sys.exit(code)
"""


def start(data: Path, *words: str) -> subprocess.Popen[str]:
    """Inspect in a process of its own, which says how many images it decoded."""
    return subprocess.Popen(
        [sys.executable, "-c", BUILD, str(data), *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(process: subprocess.Popen[str], pattern: str) -> str:
    """Read what a process says until a line has the pattern; return the line."""
    assert process.stderr is not None
    for line in process.stderr:
        if re.search(pattern, line):
            return line
    raise AssertionError(f"it never said {pattern!r}")


def test_b11_b12_a_second_builder_waits_with_a_word_and_goes_on_where_a_dead_one_ended(
    cache: Path, data: Path
) -> None:
    with start(data, "slow") as first:
        wait_for(first, "decoding")
        with start(data) as second:
            said = wait_for(second, "waiting")
            first.kill()
            rest = second.communicate(timeout=120)[1]

    assert f"waiting for another process ({first.pid} on {socket.gethostname()})" in said
    assert second.returncode == 0, rest
    assert "decoded 16\n" in rest, "two chunks of four were taken over from the first"
