"""Real small images that every test may read, a cache of its own for each session, and blank figures."""

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Two tests run side by side, each on a thread of its own: with more they would wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from hypothesis import settings
from matplotlib.figure import Figure
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

# The same examples in every run, and no clock: a busy machine fails no test.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.load_profile("steady")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep stores out of the user's cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESNETLAB_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


SAVE_FIGURE = Figure.savefig


def save_blank(figure: Figure, file: Path, format: str, **settings: Any) -> None:
    """Write a figure of its format with nothing on it: drawing is most of a small training's time."""
    buffer = io.BytesIO()
    Image.new("L", (1, 1)).save(buffer, "PNG")
    svg = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"></svg>'
    Path(file).write_bytes({"png": buffer.getvalue(), "svg": svg}[format])


@pytest.fixture(scope="session", autouse=True)
def blank_figures() -> Iterator[None]:
    """Draw nothing, but for tests that look at figures and ask for `drawn_figures`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", save_blank)
        yield


@pytest.fixture(scope="module")
def drawn_figures() -> Iterator[None]:
    """Draw figures as users get them, in a module that says `usefixtures("drawn_figures")`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", SAVE_FIGURE)
        yield


@pytest.fixture(scope="session")
def digit_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 scanned digits of 8×8 px as PNG, in the class folders 0, 1, 2 and 3; to be read only."""
    folder = tmp_path_factory.mktemp("data") / "digits"
    digits = load_digits(n_class=4)
    for label in range(4):
        (folder / str(label)).mkdir(parents=True)
        for number, image in enumerate(digits.images[digits.target == label][:30]):
            pixels = np.rint(image * 255 / 16).astype(np.uint8)
            Image.fromarray(pixels).save(folder / str(label) / f"{number:03d}.png")
    return folder


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 JPEG crops of 160×120 px from two photographs, in the class folders china and flower."""
    folder = tmp_path_factory.mktemp("data") / "photos"
    for name, photo in zip(("china", "flower"), load_sample_images().images, strict=True):
        (folder / name).mkdir(parents=True)
        for number in range(12):
            top, left = 90 * (number // 4), 140 * (number % 4)
            crop = photo[top : top + 120, left : left + 160]
            Image.fromarray(crop).save(folder / name / f"{number:02d}.jpg", quality=90)
    return folder
