"""Mean and standard deviation of any set of images, from stored sums: exact, at once, no leak."""

from typing import Any

import numpy as np

from resnetlab.data.catalog import Catalog
from resnetlab.data.store.pixels import PixelStore


def moments(store: PixelStore, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each channel, (3,) and (3,), in 0..1.

    Over all pixels, at store resolution, of the images whose records are `rows`; each image
    counts with its pixels. Raises ValueError where there is none.
    """
    if not len(rows):
        raise ValueError("no image to take statistics of")
    records = store.index[rows]
    # Python integers: the sums of millions of images stay exact.
    count = sum(
        int(height) * int(width)
        for height, width in zip(records["height"], records["width"], strict=True)
    )
    sums = [sum(map(int, records["sums"][:, channel])) for channel in range(3)]
    squares = [sum(map(int, records["squares"][:, channel])) for channel in range(3)]
    mean = np.array([value / count for value in sums])
    # count·Σx² - (Σx)² in integers: no cancellation, never negative.
    spread = [count * square - value * value for square, value in zip(squares, sums, strict=True)]
    deviation = np.array([value**0.5 / count for value in spread])
    return mean / 255.0, deviation / 255.0


def describe_moments(catalog: Catalog, store: PixelStore, split: str) -> dict[str, Any]:
    """Return mean and deviation of a split and of each of its classes, as plain numbers."""
    rows = store.rows_of(catalog)
    members = catalog.rows(split)
    by_class = {
        name: _plain(*moments(store, rows[members[catalog.labels[members] == label]]))
        for label, name in enumerate(catalog.classes)
        if (catalog.labels[members] == label).any()
    }
    return {split: _plain(*moments(store, rows[members])), "per_class": by_class}


def _plain(mean: np.ndarray, deviation: np.ndarray) -> dict[str, list[float]]:
    return {"mean": mean.tolist(), "std": deviation.tolist()}
