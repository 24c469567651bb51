"""The images that everybody gets: real ones from a folder, or made up on the spot."""

import hashlib
import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.plan import Settings

ENDINGS = {".jpg", ".jpeg", ".png"}
MADE_SIZE = (500, 375)  # px
LARGE_SIZE = (4000, 3000)
LARGE_COUNT = 128  # a piece for each of two threads: a store is built in pieces of 64


def photographs(settings: Settings, count: int = 0) -> Path:
    """Return a folder of class folders with `count` photographs (0: as the settings say)."""
    count = count or settings.count
    if not settings.images:
        return made_up(settings, count, MADE_SIZE, classes=4)
    what = f"photographs {settings.images} {count}"
    return made_once(settings, what, partial(copy_images, Path(settings.images), count))


def copy_images(source: Path, count: int, folder: Path) -> None:
    """Copy images, spread evenly over a folder; where it has fewer, some come more than once."""
    found = files_in(source)
    if not found:
        raise SystemExit(f"{source}: no images in class folders")
    for number, place in enumerate(np.linspace(0, len(found), count, endpoint=False).astype(int)):
        path = found[place]
        target = folder / path.parent.name / f"{number:06d}{path.suffix.lower()}"
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, target)


def spread(files: list[Path], count: int) -> list[Path]:
    """Return so many files, from all over the list."""
    return files[:: max(1, len(files) // count)][:count]


def large_photographs(settings: Settings) -> Path:
    """Return a folder of 12-megapixel JPEG: the photographs, enlarged."""
    sources = spread(files_in(photographs(settings)), LARGE_COUNT)

    def enlarge_all(folder: Path) -> None:
        with ProcessPoolExecutor(2) as pool:
            list(pool.map(partial(enlarge, folder), sources))

    return made_once(settings, f"large {sources}", enlarge_all)


def enlarge(folder: Path, source: Path) -> None:
    """Write one image at LARGE_SIZE, as JPEG of quality 85."""
    cv2.setNumThreads(1)
    image = cv2.resize(cv2.imread(str(source)), LARGE_SIZE, interpolation=cv2.INTER_CUBIC)
    write(folder / source.parent.name / source.with_suffix(".jpg").name, image, 85)


def made_up(settings: Settings, count: int, size: tuple[int, int], classes: int) -> Path:
    """Return a folder of smooth noise as JPEG of quality 90, `size` in px."""

    def make(folder: Path) -> None:
        generator = np.random.default_rng(0)
        for number in range(count):
            coarse = generator.integers(0, 256, (9, 12, 3), dtype=np.uint8)
            image = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
            write(folder / f"class{number % classes:04d}" / f"{number:06d}.jpg", image, 90)

    return made_once(settings, f"made {count} {size} {classes}", make)


def write(path: Path, image: np.ndarray, quality: int) -> None:
    """Write one JPEG."""
    path.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, quality])


def made_once(settings: Settings, what: str, make: Callable[[Path], None]) -> Path:
    """Return the folder that `make` fills, whole or made anew; `what` tells all that decides it."""
    name = f"{what.split()[0]}-{hashlib.sha256(what.encode()).hexdigest()[:12]}"
    folder = Path(settings.work) / name
    if not folder.is_dir():
        unfinished = folder.with_suffix(".part")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        make(unfinished)
        unfinished.rename(folder)
    return folder


def files_in(folder: Path) -> list[Path]:
    """Return the images of class folders, in order."""
    return sorted(path for path in folder.glob("*/*") if path.suffix.lower() in ENDINGS)


def recipe_for(settings: Settings, **values: Any) -> Any:
    """Return our recipe: ResNet-50 from scratch, S0's augmentations, no part held out."""
    from resnetlab.recipe import Recipe

    keys = {
        "data.image_size": settings.size,
        "data.augment": "s0",
        "data.split": [1.0, 0.0, 0.0],
        "data.max_problem_frac": 1.0,  # some collections hold copies under two labels
        "data.workers": 2,
        "model.weights": "none",
        "model.name": "resnet50",
        "model.stem": "imagenet",
        "training.epochs": 30,
        "training.batch_size": 32,
    }
    return Recipe().override(keys | values)


def stored(settings: Settings, folder: Path) -> tuple[Any, Any]:
    """Return catalog and store of a folder, all images in the training split."""
    from resnetlab.data.catalog import objects
    from resnetlab.data.dataset import read_pixels
    from resnetlab.data.sources.source import read_source

    recipe = recipe_for(settings)
    catalog, store = read_pixels(read_source(folder, recipe.data), recipe)
    return catalog.with_columns(split=objects(["train"] * len(catalog))), store
