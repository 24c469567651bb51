"""Batches: which images come together, in which order, drawn by threads that can't change a bit."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Protocol, TypeVar

import cv2
import numpy as np

from resnetlab.data.augment.draw import PLAIN, Variations, draw
from resnetlab.data.augment.render import render_all
from resnetlab.data.catalog import Catalog
from resnetlab.data.store.pixels import PixelStore
from resnetlab.recipe import Augment
from resnetlab.system import ranks
from resnetlab.system.threads import in_order, threads

SHOWING = np.uint64(0x9E3779B97F4A7C15)  # added to a sample's key for each showing before
SHOWING_BITS = 40  # of a row, above which stands how often it was shown before
cv2.setNumThreads(1)  # the threads here already take all cores


@dataclass(frozen=True)
class Batch:
    """B images: `images` uint8 (B, S, S, 3), `labels` int64 (B,), `rows` of the samples (B,).

    A source may give something else as images: feature maps of a frozen network, or a tensor on a GPU.
    Where processes share a batch, `own` are those that this one learns from, and `shared` (N,) the
    labels of the whole batch where these images are a part of it.
    """

    images: Any
    labels: np.ndarray
    rows: np.ndarray
    own: slice = field(default_factory=lambda: slice(None))
    shared: np.ndarray | None = None

    @property
    def all_labels(self) -> np.ndarray:
        """Return the labels of the whole batch, which all processes learn from together."""
        return self.labels if self.shared is None else self.shared


@dataclass(frozen=True)
class View:
    """How images are shown: plain for evaluation, augmented by (seed, epoch) for training."""

    image_size: int
    fit: str
    augment: Augment | None = None
    seed: int = 0
    epoch: int = 0

    def draw(self, keys: np.ndarray, aspects: np.ndarray) -> Variations:
        """Return how the images with these keys (B,) vary; `aspects` (B,) is width over height."""
        if self.augment is None:
            return PLAIN
        return draw(self.augment, self.seed, self.epoch, keys, aspects)


@dataclass(frozen=True)
class Samples:
    """The images of one split, bound to the store: M samples, ordered by content.

    `ids` (M,), `labels` (M,), `records` of the store (M,), `keys` that address their randomness.
    A row may tell of a further showing of a sample in the same epoch, see `resampled`.
    """

    store: PixelStore
    ids: np.ndarray
    labels: np.ndarray
    records: np.ndarray
    keys: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def render(self, row: int, view: View, out: np.ndarray) -> None:
        """Write one view of one sample into `out`, uint8 (S, S, 3)."""
        self._render_all(np.array([row]), view, out[None])

    def batch(self, rows: np.ndarray, view: View) -> Batch:
        """Return one view of each of these samples."""
        images = np.empty((len(rows), view.image_size, view.image_size, 3), dtype=np.uint8)
        self._render_all(rows, view, images)
        rows, _ = showings(rows)
        return Batch(images, self.labels[rows], rows)

    def vary(self, rows: np.ndarray, view: View) -> tuple[np.ndarray, Variations]:
        """Return the mean colours (B, 3) of these samples, in 0..255, and how a view varies each."""
        rows, showing = showings(rows)
        records, index = self.records[rows], self.store.index
        widths = index["width"][records].astype(np.int64)
        heights = index["height"][records].astype(np.int64)
        means = index["sums"][records] / (widths * heights)[:, None]
        keys = self.keys[rows] + showing.astype(np.uint64) * SHOWING
        return means, view.draw(keys, widths / heights)

    def _render_all(self, rows: np.ndarray, view: View, out: np.ndarray) -> None:
        means, variations = self.vary(rows, view)
        images = self.store.images(self.records[showings(rows)[0]].tolist())
        render_all(images, variations, means, view.fit, out)


class Source(Protocol):
    """Anything that gives batches: samples, or what a frozen network made of them."""

    @property
    def ids(self) -> np.ndarray:
        """Return the names of the samples, (M,)."""
        ...

    @property
    def labels(self) -> np.ndarray:
        """Return their classes, (M,)."""
        ...

    def __len__(self) -> int: ...

    def batch(self, rows: np.ndarray, view: View) -> Batch:
        """Return one view of each of these samples."""
        ...


Shown = TypeVar("Shown", bound=Source)


@dataclass(frozen=True)
class Reshown(Generic[Shown]):
    """The samples of another source: their names, classes and number are its own, their batches are not."""

    samples: Shown

    @property
    def ids(self) -> np.ndarray:
        """Return the names of the samples, (M,)."""
        return self.samples.ids

    @property
    def labels(self) -> np.ndarray:
        """Return their classes, (M,)."""
        return self.samples.labels

    def __len__(self) -> int:
        return len(self.samples)


@dataclass(frozen=True)
class SharedSource(Reshown[Source]):
    """A source of which each process gives its part of every batch; or, where images are mixed, all of it."""

    mixed: bool

    def batch(self, rows: np.ndarray, view: View) -> Batch:
        """Return one view of each of these samples that this process needs."""
        own = ranks.part(len(rows), least=2)  # a norm over a single image learns nothing
        if self.mixed:  # another's image may shine through
            return replace(self.samples.batch(rows, view), own=own)
        shared = self.labels[showings(rows)[0]]
        return replace(self.samples.batch(rows[own], view), shared=shared)


def samples_of(catalog: Catalog, store: PixelStore, split: str) -> Samples:
    """Bind a split to its pixels. Sorted by content, so that file names decide nothing."""
    rows = catalog.rows(split)
    rows = rows[np.lexsort((catalog.ids[rows], catalog.sha256[rows]))]
    return Samples(
        store=store,
        ids=catalog.ids[rows],
        labels=catalog.labels[rows],
        records=store.rows_of(catalog)[rows],
        keys=catalog.sample_keys()[rows],
    )


def plan_epoch(count: int, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """Return the rows of each batch of a training epoch: a function of (seed, epoch).

    Every sample once. The batches are as equal as can be, at most `batch_size`. None is left with a
    single image, which batch norm can't use: where batches of two leave one over, one has three.
    """
    batch_count = -(-count // batch_size)
    if batch_size > 1:
        batch_count = min(batch_count, max(1, count // 2))
    generator = np.random.Generator(np.random.Philox(key=[seed, 0], counter=[0, 0, epoch, 1]))
    return np.array_split(generator.permutation(count), batch_count)


def resampled(labels: np.ndarray, sampler: str, seed: int, epoch: int) -> np.ndarray:
    """Return which of N samples an epoch shows, (N,): a function of (seed, epoch) and their labels.

    'balanced' shows each class equally often, 'square_root' in proportion to the square root of its
    number of samples. All of a class are shown before one is again, and then varied anew: how often
    a row was shown before stands in its upper bits, see `showings`.
    """
    count = len(labels)
    classes, numbers = np.unique(labels, return_counts=True)
    shares = numbers**0.5 if sampler == "square_root" else np.ones(len(classes))
    ends = np.rint(np.cumsum(shares) / shares.sum() * count).astype(int)
    shown = []
    for label, quota in zip(classes, np.diff(ends, prepend=0), strict=True):
        generator = np.random.Generator(
            np.random.Philox(key=[seed, 1], counter=[0, int(label), epoch, 1])
        )
        rows = generator.permutation(np.flatnonzero(labels == label))
        places = np.arange(quota)
        shown.append(rows[places % len(rows)] + (places // len(rows) << SHOWING_BITS))
    return np.concatenate(shown)


def showings(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the samples that rows (B,) of a plan mean, and how often each was shown before."""
    return rows & ((1 << SHOWING_BITS) - 1), rows >> SHOWING_BITS


def plan_evaluation(count: int, batch_size: int) -> list[np.ndarray]:
    """Return the rows of each batch in order, every sample once."""
    return [
        np.arange(start, min(start + batch_size, count)) for start in range(0, count, batch_size)
    ]


def batches(source: Source, plan: list[np.ndarray], view: View, workers: int) -> Iterator[Batch]:
    """Give the batches of a plan in order, made ahead by `workers` threads (0: by the caller).

    A thread makes a whole batch. With the one that the caller holds, 2 * workers + 1 are in memory.
    Who stops early waits for the batches that are being made, at most one a thread.
    """
    if workers == 0:
        yield from (source.batch(rows, view) for rows in plan)
        return
    with threads(workers, "batches") as pool:
        yield from in_order(pool, lambda rows: source.batch(rows, view), plan, 2 * workers - 1)
