"""A small set of images that can be learned, and a network trained on it, without any file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from resnetlab.data.batches import Samples
from resnetlab.data.store.pixels import PixelStore
from resnetlab.data.store.record import RECORD, fill_from_pixels
from resnetlab.models import Classifier, build
from resnetlab.models.classifier import freeze
from resnetlab.recipe import Recipe
from resnetlab.training.defaults import FROM_SCRATCH
from resnetlab.training.hardware.device import make_fabric
from resnetlab.training.history import History
from resnetlab.training.loop import fit

CLASSES = ("high", "middle", "low")
SIDE = 18
# Resolved: no 'auto' that the loop would meet.
RESOLVED = {f"training.{key}": value for key, value in FROM_SCRATCH.items()} | {
    "model.freeze": "none",
    "training.start_size": None,
    "training.head_first": False,
    "training.monitor": "accuracy",
    "training.reconstruction": 0.0,
    "training.feature_precision": "fp32",
    "evaluation.horizontal_flip": False,
}
SETTINGS = {
    "data.image_size": 16,
    "data.augment": "none",
    "data.workers": 0,
    "model.name": "mlp",
    "training.epochs": 3,
    "training.batch_size": 8,
    "training.optimizer": "adamw",
    "training.lr": 0.003,
    "training.precision": "fp32",
    "training.device": "cpu",
    "training.frozen_views": 0,
}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def make_samples() -> Callable[..., Samples]:
    """Images of noise in which the height of a bright band tells the class."""

    def make(count: int, seed: int = 0) -> Samples:
        generator = np.random.default_rng(seed)
        images = generator.integers(0, 120, (count, SIDE, SIDE, 3), dtype=np.uint8)
        labels = np.arange(count) % len(CLASSES)
        index = np.zeros(count, dtype=RECORD)
        for row, (image, label) in enumerate(zip(images, labels, strict=True)):
            band = SIDE // len(CLASSES)
            image[label * band : (label + 1) * band] += 130
            fill_from_pixels(index[row], image)
            index[row]["offset"] = row * image.size
            index[row]["length"] = image.size
        return Samples(
            store=PixelStore(images.reshape(-1), index, index["small"]),
            ids=np.array([f"image-{row:03}" for row in range(count)], dtype=object),
            labels=labels,
            records=np.arange(count),
            keys=generator.integers(0, 2**63, count, dtype=np.uint64),
        )

    return make


@pytest.fixture(scope="session")
def make_recipe() -> Callable[..., Recipe]:
    """Return the recipe of a tiny network, with other values by dotted key."""
    return lambda **values: Recipe().override(
        RESOLVED | SETTINGS | {key.replace("__", "."): value for key, value in values.items()}
    )


@pytest.fixture(scope="session")
def make_classifier() -> Callable[[Recipe], Classifier]:
    """Return the fresh network of a recipe, its weights decided by the seed."""

    def make(recipe: Recipe) -> Classifier:
        torch.manual_seed(recipe.seed)
        model = recipe.model
        size = int(recipe.data.image_size)
        horizontal_flip = recipe.evaluation.horizontal_flip
        classifier = build(
            model.name,
            len(CLASSES),
            size,
            model.stem,
            model.dropout,
            horizontal_flip=horizontal_flip is True,
        )
        freeze(classifier, model.freeze)
        return classifier

    return make


@pytest.fixture
def train(make_samples, make_classifier, tmp_path) -> Callable[..., tuple[Classifier, History]]:
    """Train a recipe on 24 images, with 9 others to validate on; go on where there is a run."""

    def run(recipe: Recipe, folder: Path = tmp_path, **parts: Any) -> tuple[Classifier, History]:
        classifier = make_classifier(recipe)
        fabric = make_fabric("cpu", str(recipe.training.precision))
        samples = {"train": make_samples(24), "val": make_samples(9, seed=1)} | parts
        history = fit(fabric, classifier, samples["train"], samples["val"], CLASSES, recipe, folder)
        return classifier, history

    return run
