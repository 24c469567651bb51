"""From files or store to normalised batches, and building the store against bare decoding."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from benchmarks.images import files_in, large_photographs, photographs, recipe_for, stored
from benchmarks.plan import Comparison, Metrics, Settings

BATCH, WORKERS = 32, 2
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def comparisons(settings: Settings) -> tuple[Comparison, ...]:
    """Return what is compared here."""
    return (
        Comparison(
            f"Input pipeline at {settings.size}, S0's augmentations, {WORKERS} workers each",
            {
                "resnetlab, store built": lambda s: second_pass(Batches(s)),
                "torchvision v1 on Pillow": partial(by_folder, torchvision_v1),
                "torchvision v2": partial(by_folder, torchvision_v2),
                "timm (it has no rotation)": partial(by_folder, timm_transform),
                "albumentations + OpenCV": albumentations,
            },
            "Second pass over all images, workers kept, until the float batch is there.",
        ),
        building("Building the store from the photographs", photographs),
        building("Building the store from 12-megapixel JPEG", large_photographs),
    )


def building(title: str, folder: Callable[[Settings], Path]) -> Comparison:
    """Return the comparison of building a store with decoding alone."""
    return Comparison(
        title,
        {
            "resnetlab: read, hash, decode, reduce, write": lambda s: build_store(s, folder(s)),
            "Pillow, bare full decode in 2 processes": lambda s: decode_all(by_pillow, folder(s)),
            "OpenCV, bare full decode in 2 processes": lambda s: decode_all(by_opencv, folder(s)),
        },
    )


def prepare(settings: Settings) -> None:
    """Make the images and the store."""
    large_photographs(settings)
    stored(settings, photographs(settings))


def second_pass(loader: Any) -> Metrics:
    """Return the rate of the second pass, in which workers and caches are warm."""
    for _ in loader:
        pass
    started, count = time.perf_counter(), 0
    for images, _ in loader:
        count += len(images)
    return {"images/s": count / (time.perf_counter() - started)}


class Batches:
    """Our batches, up to the float tensor that the network makes of them."""

    def __init__(self, settings: Settings) -> None:
        import torch

        from resnetlab.data.batches import samples_of
        from resnetlab.models import build

        torch.set_num_threads(1)  # the two workers are busy; PyTorch's own workers have one, too
        catalog, store = stored(settings, photographs(settings))
        self.samples = samples_of(catalog, store, "train")
        self.recipe = recipe_for(settings)
        self.classifier = build("resnet18", len(catalog.classes), settings.size)
        self.epoch = -1

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        from resnetlab.data.batches import batches, plan_epoch
        from resnetlab.training.inputs import training_view
        from resnetlab.training.predict import as_images

        self.epoch += 1
        plan = plan_epoch(len(self.samples), BATCH, 0, self.epoch)
        view = training_view(self.recipe, self.epoch)
        for batch in batches(self.samples, plan, view, WORKERS):
            yield self.classifier.normalise(as_images(batch.images)), batch.labels


def by_folder(transform: Callable[[int], Any], settings: Settings) -> Metrics:
    """Measure a transform of Pillow's images, as everybody uses it."""
    from torchvision.datasets import ImageFolder

    return second_pass(loader_of(ImageFolder(photographs(settings), transform(settings.size))))


def loader_of(dataset: Any, shuffle: bool = True) -> Any:
    """Return PyTorch's loader with processes that stay."""
    from torch.utils.data import DataLoader

    return DataLoader(dataset, BATCH, shuffle, num_workers=WORKERS, persistent_workers=True)


def torchvision_v1(size: int) -> Any:
    """S0's own steps."""
    from torchvision import transforms as t

    return t.Compose(
        [
            t.RandomResizedCrop(size, scale=(0.08, 1.0)),
            t.RandomHorizontalFlip(),
            t.RandomRotation(30),
            t.ColorJitter(0.2, 0.2, 0.2, 0.2),
            t.ToTensor(),
            t.Normalize(MEAN, STD),
        ]
    )


def torchvision_v2(size: int) -> Any:
    """Its documentation's order: a uint8 tensor first, floats last."""
    import torch
    from torchvision.transforms import v2 as t

    return t.Compose(
        [
            t.ToImage(),
            t.RandomResizedCrop(size, scale=(0.08, 1.0), antialias=True),
            t.RandomHorizontalFlip(),
            t.RandomRotation(30),
            t.ColorJitter(0.2, 0.2, 0.2, 0.2),
            t.ToDtype(torch.float32, scale=True),
            t.Normalize(MEAN, STD),
        ]
    )


def timm_transform(size: int) -> Any:
    """The closest that its own transform comes."""
    from timm.data import create_transform

    return create_transform(size, is_training=True, color_jitter=(0.2, 0.2, 0.2, 0.2))


def albumentations(settings: Settings) -> Metrics:
    """Read by OpenCV, as its documentation shows."""
    import albumentations as a
    from albumentations.pytorch import ToTensorV2
    from torchvision.datasets import ImageFolder

    size = settings.size
    steps = a.Compose(
        [
            a.RandomResizedCrop((size, size), scale=(0.08, 1.0)),
            a.HorizontalFlip(p=0.5),
            a.Rotate(limit=30, border_mode=cv2.BORDER_CONSTANT, p=1),
            a.ColorJitter((0.8, 1.2), (0.8, 1.2), (0.8, 1.2), (-0.2, 0.2), p=1),
            a.Normalize(MEAN, STD),
            ToTensorV2(),
        ]
    )
    cv2.setNumThreads(0)  # its workers are processes already
    folder = ImageFolder(
        photographs(settings),
        transform=lambda image: steps(image=image)["image"],
        loader=lambda path: cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB),
    )
    return second_pass(loader_of(folder))


def build_store(settings: Settings, folder: Path) -> Metrics:
    """Measure building a store that isn't there yet, until it is on the disk."""
    from resnetlab.data.sources.source import read_source
    from resnetlab.data.store.pixels import read_images, short_side_for
    from resnetlab.recipe import Data

    cache = Path(settings.work) / "cache-built"
    shutil.rmtree(cache, ignore_errors=True)
    os.environ["RESNETLAB_CACHE"] = str(cache)
    started = time.perf_counter()
    catalog = read_source(folder, Data())
    read_images(catalog, short_side_for(settings.size), Data().max_pixels, workers=2)
    seconds = time.perf_counter() - started
    shutil.rmtree(cache)
    return {"images/s": len(catalog) / seconds}


def decode_all(decode: Callable[[Path], None], folder: Path) -> Metrics:
    """Measure decoding alone by two processes that are there already."""
    paths = files_in(folder)
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(decode, paths[:4]))
        started = time.perf_counter()
        list(pool.map(decode, paths, chunksize=8))
        return {"images/s": len(paths) / (time.perf_counter() - started)}


def by_pillow(path: Path) -> None:
    """Decode in full."""
    np.asarray(Image.open(path).convert("RGB"))


def by_opencv(path: Path) -> None:
    """Decode in full, by one thread."""
    cv2.setNumThreads(1)
    cv2.imread(str(path))
