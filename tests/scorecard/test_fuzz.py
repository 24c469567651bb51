"""Fuzz: sound files, spoilt by chance in every way; only our own errors come out, within 2 seconds.

`pytest -m scorecard tests/scorecard/test_fuzz.py` spoils files of each kind 2,000 times in each way.
A failure names what the same file is made from again.
"""

import random
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from resnetlab.data.store.decode import ImageProblem
from resnetlab.errors import ResnetlabError
from tests.scorecard.seeds import KINDS

SECONDS = 2.0  # of a processor, for one file
OWN_ERRORS = (ResnetlabError, ImageProblem)
HEAD = 4096  # bytes of a file in which its words are, if any
ODD_BYTES = (b"\x00", b"\xff", b"\x7f\xff\xff\xff", b"\xff" * 8, bytes(64))
ODD_WORDS = (b"-1", b"1e999", b"nan", b"null", b"no", b"..", b"*a", b"!!int", b"9" * 30, b"[", b'"')
Chance = random.Random


def flip(chance: Chance, content: bytes, other: bytes) -> bytes:
    """Turn up to 16 bits, half of them near the beginning, where headers are."""
    spoilt = bytearray(content)
    for _ in range(chance.choice((1, 2, 4, 16))):
        end = chance.choice((len(spoilt), min(len(spoilt), 64)))
        spoilt[chance.randrange(end)] ^= 1 << chance.randrange(8)
    return bytes(spoilt)


def cut(chance: Chance, content: bytes, other: bytes) -> bytes:
    """Leave out the end, or a piece in the middle."""
    start = chance.randrange(len(content))
    return content[:start] + chance.choice((b"", content[start + chance.randrange(1, 64) :]))


def splice(chance: Chance, content: bytes, other: bytes) -> bytes:
    """Go on as another file does."""
    return content[: chance.randrange(len(content))] + other[chance.randrange(len(other)) :]


def insert(chance: Chance, content: bytes, other: bytes) -> bytes:
    """Put in, or write over, what stands for extreme numbers, or noise."""
    start = chance.randrange(len(content))
    odd = chance.choice((*ODD_BYTES, chance.randbytes(8)))
    return content[:start] + odd + content[start + chance.choice((0, len(odd))) :]


def swap(chance: Chance, content: bytes, other: bytes) -> bytes:
    """Let two words change places, or put an odd one in their places."""
    words = re.findall(rb"\w+|\W", content[:HEAD])
    first, second = chance.randrange(len(words)), chance.randrange(len(words))
    odd = chance.choice(ODD_WORDS)
    words[first], words[second] = chance.choice(((words[second], words[first]), (odd, odd)))
    return b"".join(words) + content[HEAD:]


WAYS = (flip, cut, splice, insert, swap)


class TooSlow(BaseException):
    """Nobody who catches errors catches this one."""


@contextmanager
def in_time() -> Iterator[None]:
    """Raise TooSlow where the processor is kept busy for too long."""

    def stop(*_: object) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@pytest.fixture
def photos(photo: Image.Image) -> list[Image.Image]:
    """Three pieces of a photograph, 40×30 px."""
    return [photo.crop((x, 20, x + 40, 50)) for x in (0, 50, 100)]


@pytest.mark.parametrize("count", [12, pytest.param(2000, marks=pytest.mark.scorecard)])
@pytest.mark.parametrize("kind", KINDS)
def test_of_a_spoilt_file_only_our_own_errors_come_out_and_soon(
    tmp_path: Path,
    photos: list[Image.Image],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    count: int,
) -> None:
    monkeypatch.setenv("RESNETLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("os.sync", lambda: None)  # of all that the machine has to write
    (tmp_path / kind).mkdir()
    sounds = KINDS[kind](tmp_path / kind, photos)
    contents = [sound.file.read_bytes() for sound in sounds]
    for sound in sounds:
        sound.read()
    refused = 0
    for way in WAYS:
        for number in range(count):
            chance = random.Random(f"{kind} {way.__name__} {number}")
            which = chance.randrange(len(sounds))
            file, read = sounds[which]
            file.write_bytes(way(chance, contents[which], chance.choice(contents)))
            try:
                with in_time():
                    read()
            except OWN_ERRORS:
                refused += 1
            except BaseException as error:
                error.add_note(f"{kind}, {way.__name__}, {number}: {file.name}")
                raise
            finally:
                file.write_bytes(contents[which])

    assert refused > count / 10, "nothing was spoilt"
