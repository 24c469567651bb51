"""How much memory training takes with 100,000 images, and how the cost of the audit grows."""

import hashlib
import os
import re
import shutil
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.images import made_up, photographs, recipe_for, stored
from benchmarks.plan import Comparison, Metrics, Settings
from benchmarks.train import timed

MANY = 100_000
GROWTH = (  # images, side in px, classes
    (1_000, 64, 10),
    (10_000, 64, 10),
    (100_000, 64, 10),
    (10_000, 64, 2),
    (10_000, 64, 100),
    (10_000, 64, 1_000),
    (10_000, 128, 10),
    (10_000, 224, 10),
)


def comparisons(settings: Settings) -> tuple[Comparison, ...]:
    """Return what is measured here."""
    share = max(1, 1000 // settings.count)  # a trial with fewer images is smaller here too
    many, sets = MANY // share, [(count // share, *rest) for count, *rest in GROWTH]
    return (
        Comparison(
            f"Memory of training ResNet-50 at {settings.size} with {many:,} images",
            {"resnetlab": partial(training_memory, many)},
            "The most that the process had resident. The store is as large as said, but sparse: the "
            "pixels of the first images are real, the rest reads as black. One pass over all of "
            "them without the network, then steps of training.",
            repeat=False,
        ),
        Comparison(
            "Cost of reading, audit and split",
            {
                f"{count:,} images of {side} px, {classes:,} classes": partial(
                    growth, count, side, classes
                )
                for count, side, classes in sets
            },
            "Made-up images. Reading: list, hash, decode, store. Audit and split: problems, copies, "
            "near-duplicates, parts.",
            repeat=False,
        ),
    )


def prepare(settings: Settings) -> None:
    """Build the store that is repeated; the made-up images are made by who needs them."""
    stored(settings, photographs(settings))


def training_memory(count: int, settings: Settings) -> Metrics:
    """Train from a store of `count` images."""
    from resnetlab.data.batches import batches, plan_evaluation, samples_of
    from resnetlab.runs.run import create_run
    from resnetlab.training.defaults import resolve_training
    from resnetlab.training.inputs import training_view
    from resnetlab.workflows.training import finish_training

    catalog, store = repeated(settings, count)
    recipe = resolve_training(recipe_for(settings), catalog.counts("train"))
    samples = samples_of(catalog, store, "train")
    for _ in batches(samples, plan_evaluation(count, 32), training_view(recipe, 0), 2):
        pass
    passed = peak_gb()
    with tempfile.TemporaryDirectory(dir=settings.work) as out:
        run = create_run(Path(out), "memory")
        timed(settings, lambda: finish_training(run, catalog, store, recipe))
    return {"peak of the pass, GB": passed, "peak with training, GB": peak_gb()}


def repeated(settings: Settings, count: int) -> tuple[Any, Any]:
    """Return catalog and store of `count` records, each with a place of its own in a sparse file."""
    from resnetlab.data.catalog import new_catalog, objects
    from resnetlab.data.store.file_bytes import FileBytes
    from resnetlab.data.store.pixels import PixelStore
    from resnetlab.data.store.resize import THUMBNAIL_PX

    real, store = stored(settings, photographs(settings))
    index = np.resize(store.index, count)
    digests = [hashlib.sha256(str(row).encode()).hexdigest() for row in range(count)]
    index["sha256"] = index["identity"] = np.array(digests, dtype="S64")
    ends = np.cumsum(index["length"])
    index["offset"] = ends - index["length"]
    file = Path(settings.work) / "memory.bin"
    shutil.copyfile(store.beside.with_suffix(".bin"), file)
    os.truncate(file, int(ends[-1]))
    labels = [row % len(real.classes) for row in range(count)]
    names = [f"{row:06d}" for row in range(count)]
    catalog = new_catalog(file.parent, real.classes, names, labels, ["train"] * count)
    catalog = catalog.with_columns(sha256=objects(digests))
    thumbnails = np.broadcast_to(np.uint8(0), (count, THUMBNAIL_PX, THUMBNAIL_PX))
    return catalog, PixelStore(FileBytes(file), index, thumbnails)


def growth(count: int, side: int, classes: int, settings: Settings) -> Metrics:
    """Measure what a new data set costs before training, in a cache of its own."""
    from resnetlab.data.audit.near_duplicates import near_duplicates
    from resnetlab.data.audit.quarantine import audit
    from resnetlab.data.dataset import divide, read_pixels
    from resnetlab.data.defaults import resolve_data
    from resnetlab.data.sources.source import read_source
    from resnetlab.recipe import Recipe

    folder = made_up(settings, count, (side, side), classes)
    cache = Path(settings.work) / "cache-growth"
    shutil.rmtree(cache, ignore_errors=True)
    os.environ["RESNETLAB_CACHE"] = str(cache)
    started = time.perf_counter()
    recipe = Recipe()
    catalog = read_source(folder, recipe.data)
    recipe = resolve_data(recipe, catalog)
    catalog, store = read_pixels(catalog, recipe)
    read = time.perf_counter()
    near = near_duplicates(catalog, store, 2)
    pairs = np.stack([near["first"], near["second"]], axis=1)
    divide(audit(catalog, recipe.data, pairs), recipe)
    done = time.perf_counter()
    shutil.rmtree(cache)
    return {"reading, s": read - started, "audit and split, s": done - read, "peak, GB": peak_gb()}


def peak_gb() -> float:
    """Return the most that this process had resident so far."""
    status = Path("/proc/self/status").read_text()  # getrusage counts what the parent had, too
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 2**20
