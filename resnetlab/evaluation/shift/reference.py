"""Out-of-distribution detection: how far an image lies from the training images in feature space.

A classifier names one of its classes for any image, often with a high probability. What it has never
seen lies far from all that it has learned from. Source: Sun et al. 2022, 'Out-of-Distribution Detection
with Deep Nearest Neighbors', ICML; here with the first neighbour, which did best (docs/experiments.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import floor

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

REFUSED = 0.05  # share of familiar images that may be called unlike the training images
MOST = 2000  # training images, and validation images, that stand for all
MOST_BYTES = 16_000_000  # of their features, at two bytes a number
AT_ONCE = 1024  # images compared in one product


@dataclass(frozen=True, eq=False)
class Pictures:
    """What M training images look like: labels (M,), as numbers of classes, and small JPEGs."""

    labels: NDArray[np.int64]
    jpegs: Sequence[bytes]


@dataclass(frozen=True, eq=False)
class Reference:
    """What a model has been trained on, in short: M training images and n validation images.

    `features` (M, D) have length 1. `distances` (n,) are those of the validation images to the
    nearest of them, `confidences` (n,) the highest probabilities that the model gave them.
    """

    features: NDArray[np.float16]
    distances: NDArray[np.float32]
    confidences: NDArray[np.float32]
    pictures: Pictures | None = None  # only where they were asked for

    @cached_property
    def threshold(self) -> float:
        """The distance from which on an image is called unlike the training images."""
        return threshold_for(self.distances)

    @cached_property
    def training(self) -> NDArray[np.float32]:
        """The features as they are computed with: turned into fp32 once, not for every image asked."""
        return self.features.astype(np.float32)

    def distances_of(self, features: Floats) -> NDArray[np.float32]:
        """Return the cosine distance (B,) of features (B, D) to the nearest training image."""
        return nearest(features, self.training)[1]

    def nearest(self, features: Floats, count: int) -> NDArray[np.int64]:
        """Return the places (B, `count`) in `features` of the nearest training images, nearest first."""
        similar = unit(features) @ self.training.T
        return np.argsort(-similar, axis=1, kind="stable")[:, :count]


def threshold_for(distances: Floats) -> float:
    """Return the distance that familiar images exceed at most with a chance of REFUSED.

    `distances` (n,) are those of familiar images, as many as `images_needed` at least. The rank is
    that of split conformal prediction, so the promise holds on average whatever the distribution.
    """
    n = len(distances)
    above = floor(REFUSED * (n + 1) + 1e-9)  # of n + 1 images, so many may lie higher
    assert above >= 1, "too few images for the promise"
    return float(np.sort(distances)[n - above])


def images_needed() -> int:
    """Return how many familiar images a threshold takes at least."""
    return round(1 / REFUSED) - 1


def nearest(features: Floats, training: Floats) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the place (B,) of the nearest training feature (M, D) of length 1, and the cosine distance (B,)."""
    places = np.empty(len(features), dtype=np.int64)
    distances = np.empty(len(features), dtype=np.float32)
    columns = training.astype(np.float32, copy=False).T
    for start in range(0, len(features), AT_ONCE):
        similar = unit(features[start : start + AT_ONCE]) @ columns
        rows = slice(start, start + len(similar))
        places[rows] = similar.argmax(axis=1)
        distances[rows] = 1 - similar.max(axis=1)
    return places, distances


def unit(features: Floats) -> NDArray[np.float32]:
    """Return features (B, D) at length 1; zeros stay zeros."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.maximum(lengths, 1e-12), dtype=np.float32)


def representatives(labels: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """Return the rows of M at most MOST images that stand for all, in order; each class equally often.

    `labels` (N,) are in an order that tells nothing, `width` is that of the features. Of a rare class all
    are taken, so that it does not look unfamiliar.
    """
    count = min(MOST, max(len(np.unique(labels)), MOST_BYTES // (2 * width)))
    order = np.argsort(labels, kind="stable")
    _, first, size = np.unique(labels[order], return_index=True, return_counts=True)
    rank = np.empty(len(labels), dtype=np.int64)
    rank[order] = np.arange(len(labels)) - np.repeat(first, size)  # within the class
    return np.sort(np.lexsort((labels, rank))[:count])
