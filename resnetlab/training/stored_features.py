"""What the frozen stages of a network make of the images, computed once and stored like pixels."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from xxhash import xxh3_64_digest

from resnetlab.data.batches import Batch, Samples, View, batches, plan_evaluation, showings
from resnetlab.errors import MachineError
from resnetlab.models.classifier import Classifier
from resnetlab.recipe import Augment
from resnetlab.system.cache import Use
from resnetlab.system.files import InUse, cache_folder, exclusive, sync
from resnetlab.system.progress import Progress, log
from resnetlab.system.requirements import nearest, require_space, size
from resnetlab.training.checkpoint import digest_of
from resnetlab.training.predict import as_images

Precision = Literal["fp32", "bf16"]

FROZEN_VERSION = 1  # raised whenever the same settings give other maps: augmentation, too
CHUNK = 64  # images computed at once, and between two checksums: what a cut-off build loses
SUMS = ".sums"  # the ending of the file of checksums
SUM_BYTES = 8
MOST_VIEWS = 5
DISK_SHARE = 0.2  # of the free disk, at most, that 'auto' takes


@dataclass(frozen=True)
class StoredFeatures:
    """The output of a classifier's frozen stages for V views of M samples: a Source of batches.

    `maps` (V, M, H, W, C), or (V, M, D) behind the last pool: float32, or bf16's bits as uint16.
    `view` is the first of the views; the others are those of the epochs after it.
    """

    maps: np.ndarray
    view: View
    ids: np.ndarray
    labels: np.ndarray
    in_use: Use | None = None  # keeps it in the cache
    mapped: InUse | None = None  # its file, where that is mapped into memory

    def __len__(self) -> int:
        return len(self.ids)

    def batch(self, rows: np.ndarray, view: View) -> Batch:
        """Return these samples as the view's epoch shows them; past the last view the first follows.

        A further showing of a sample in an epoch takes a view further on. Raises MachineError where
        somebody cut the file.
        """
        assert replace(view, epoch=0) == self.view, "stored for another view"
        if self.mapped is not None:
            self.mapped.require_whole()
        rows, showing = showings(rows)
        if not showing.any():
            return Batch(self.maps[view.epoch % len(self.maps)][rows], self.labels[rows], rows)
        return Batch(
            self.maps[(view.epoch + showing) % len(self.maps), rows], self.labels[rows], rows
        )


class Rest(nn.Module):
    """The part of a classifier behind its frozen stages, which takes what StoredFeatures gives."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, maps: Tensor) -> Tensor:
        """Turn maps (N, C, H, W), or features (N, D), into logits (N, K); uint16 is bf16's bits."""
        bits = maps.dtype == torch.uint16
        return self.classifier.rest(maps.view(torch.bfloat16) if bits else maps)


def store_features(
    classifier: Classifier,
    samples: Samples,
    view: View,
    views: int,
    precision: Precision,
    workers: int,
) -> StoredFeatures:
    """Return what the frozen stages make of the samples in the epochs 0 to `views` - 1.

    With as many views as epochs, training on the rest sees what it would have seen without the
    store; with fewer they are repeated in turn. Where nothing is varied one view is all there is.
    Computed in `precision`, as the rest would have got it, on the classifier's device; kept in the
    cache folder. Raises MachineError where that can't be written.
    """
    shown = [replace(view, epoch=epoch) for epoch in range(views_kept(view, views))]
    classifier.to(memory_format=torch.channels_last)  # as in training: the same kernels
    one = compute(classifier, black(view.image_size), precision)
    path = cache_folder() / f"features-{key_of(classifier, samples, shown, precision)}.bin"
    plan = plan_evaluation(len(samples), CHUNK)
    lengths = [len(rows) * one.nbytes for rows in plan] * len(shown)

    def make(done: int) -> Iterator[np.ndarray]:
        for number, each in enumerate(shown):
            left = plan[max(0, done - number * len(plan)) :]
            for batch in batches(samples, left, each, workers):
                yield compute(classifier, batch.images, precision)

    ensure(path, lengths, make, len(samples) * len(shown))
    in_use = Use(path.with_suffix(""))
    shape = (len(shown), len(samples), *one.shape[1:])
    mapped = InUse(path) if len(samples) else None  # an empty file can't be mapped
    maps = np.memmap(path, one.dtype, "r", shape=shape) if mapped else np.empty(shape)
    # A plain array on the mapped file: memmap's own indexing costs more than small rows do.
    facts = shown[0], samples.ids, samples.labels, in_use, mapped
    return StoredFeatures(np.asarray(maps), *facts)


def views_kept(view: View, views: int) -> int:
    """Return how many views differ, of so many that are asked for."""
    return 1 if view.augment in (None, Augment()) else views


def compute(classifier: Classifier, images: np.ndarray, precision: Precision) -> np.ndarray:
    """Run the frozen stages on uint8 images (B, S, S, 3); return maps as StoredFeatures has them."""
    device = classifier.mean.device
    fast = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
    with torch.inference_mode(), fast:
        maps = classifier.prefix(as_images(images).to(device))
    maps = maps.movedim(1, -1).contiguous().cpu()  # channels last, as images are
    return (maps.view(torch.uint16) if maps.dtype == torch.bfloat16 else maps).numpy()


def black(image_size: int) -> np.ndarray:
    """Return one black image, by which the shape of its map is found."""
    return np.zeros((1, image_size, image_size, 3), dtype=np.uint8)


def key_of(
    classifier: Classifier, samples: Samples, views: Sequence[View], precision: Precision
) -> str:
    """Return a digest of all that decides the maps: weights, stages, enlargement, images, views, precision."""
    stages = list(classifier.backbone.stages().items())[: classifier.frozen]
    names = classifier.frozen_names() | {"mean", "std"}
    weights = {name: each for name, each in classifier.state_dict().items() if name in names}
    device = classifier.mean.device.type
    facts = [FROZEN_VERSION, torch.__version__, device, precision, repr(views), identity(samples)]
    network = [classifier.upsample, str(stages)]
    return digest_of(weights, json.dumps([*facts, *network]))[:24]


def identity(samples: Samples) -> str:
    """Return a digest of the samples in their order: content, stored pixels, what varies them."""
    store = samples.store
    records = store.index[samples.records]
    digest = hashlib.sha256(store.beside.name.encode() if store.beside else b"")
    for name in ("identity", "height", "width", "sums", "squares"):
        digest.update(records[name].tobytes())
    digest.update(samples.keys.tobytes())
    return digest.hexdigest()


def ensure(
    path: Path, lengths: Sequence[int], make: Callable[[int], Iterator[np.ndarray]], count: int
) -> None:
    """Have the file at `path` hold its chunks of these `lengths` (bytes), `count` maps in all.

    `make` gives the chunks from a number on. A file that was begun is completed; from the first
    damaged chunk on it is made again.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(path.with_suffix(".lock"), log):  # a second builder waits, finds it done
            done = whole_chunks(path, lengths)
            if done < len(lengths):
                append(path, lengths, done, make(done), count)
    except OSError as error:
        raise MachineError(
            f"{path.parent}: what the frozen stages give can't be stored ({error.strerror}); free "
            "some space, set RESNETLAB_CACHE to another folder, or training.frozen_views=0"
        ) from error


def whole_chunks(path: Path, lengths: Sequence[int]) -> int:
    """Return how many chunks, from the first on, are there with the checksum they were given."""
    sums_file = path.with_suffix(SUMS)
    if not (path.is_file() and sums_file.is_file()):
        return 0
    sums = sums_file.read_bytes()
    written = min(len(sums) // SUM_BYTES, len(lengths))
    with path.open("rb") as file, Progress("checking", written, "chunks") as progress:
        for number, length in enumerate(lengths[:written]):
            expected = sums[SUM_BYTES * number : SUM_BYTES * (number + 1)]
            if xxh3_64_digest(file.read(length)) != expected:
                log(f"note: {path}: is damaged (a checksum differs); what follows is computed anew")
                return number
            progress.advance(1)
    return written


def append(
    path: Path, lengths: Sequence[int], done: int, chunks: Iterator[np.ndarray], count: int
) -> None:
    """Write the chunks after the first `done`, each before its checksum."""
    sums_file = path.with_suffix(SUMS)
    path.touch()
    sums_file.touch()
    os.truncate(path, sum(lengths[:done]))
    os.truncate(sums_file, SUM_BYTES * done)
    require_space(path.parent, sum(lengths[done:]), "the stored features")
    before = count * sum(lengths[:done]) // sum(lengths)
    with (
        path.open("ab") as maps,
        sums_file.open("ab") as sums,
        Progress("features", count, done=before) as progress,
    ):
        for chunk in chunks:
            maps.write(chunk.data)
            maps.flush()
            sums.write(xxh3_64_digest(chunk.data))
            sums.flush()
            progress.advance(len(chunk))
    sync(path)
    sync(sums_file)


def image_bytes(classifier: Classifier, image_size: int, precision: Precision) -> int:
    """Return what one view of one image takes behind the frozen stages of a classifier."""
    return compute(classifier, black(image_size), precision).nbytes


def suggest_views(epochs: int, bytes_per_image: int, count: int) -> int:
    """Return how many views of `count` images to store: up to 5, in a fifth of the free disk.

    0 where two don't fit, or where a single epoch would read them once.
    """
    free = shutil.disk_usage(nearest(cache_folder())).free
    each = bytes_per_image * count
    views = min(epochs, MOST_VIEWS, int(free * DISK_SHARE / max(each, 1)))
    if views >= 2:
        return views
    if epochs > 1:
        log(
            f"note: the frozen stages run in every epoch: two views of what they give need "
            f"{size(2 * each)}, more than a fifth of the {size(free)} free in {cache_folder()}"
        )
    return 0
