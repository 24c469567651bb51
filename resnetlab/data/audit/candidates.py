"""Which images may be near-duplicates of each other: nearest neighbours by a short descriptor.

A descriptor holds the gradients of a 12×12 grey thumbnail, which neither brightness nor contrast
changes. Only descriptors in the same cells are compared, so that the work grows little faster than
the number of images.
"""

from collections.abc import Iterator

import numpy as np
from scipy.fft import dct

THUMB = 12  # px: side of the thumbnail that a descriptor is computed from
CANDIDATE = 0.6  # cosine similarity of two descriptors
NEIGHBOURS = 24  # candidates kept for each image: a chain of copies still hangs together
CELLS_EACH = 7  # cells that a descriptor is put into
ITERATIONS = 3  # of k-means
CHUNK = 4000  # descriptors processed at a time, so that memory stays bounded
BLOCK = 400  # the same, where each is compared with a whole cell


def descriptors(greys: np.ndarray) -> np.ndarray:
    """Return descriptors of norm 1, (M, THUMB²) float32, of grey images (M, S, S).

    They are the thumbnail's cosine transform, each coefficient weighted by the gradient of its wave:
    their dot products are those of the gradients between neighbouring px, in half the numbers, and
    flipping an image only changes the sign of some. A flat image has a descriptor of smaller norm.
    """
    basis = gradient_basis(greys.shape[-1])
    vectors = [np.empty((0, THUMB**2), dtype=np.float32)]
    for chunk in chunks_of(greys):
        found = chunk.astype(np.float32).reshape(len(chunk), -1) @ basis
        vectors.append(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1))
    return np.concatenate(vectors)


def gradient_basis(side: int) -> np.ndarray:
    """Return the matrix (side², THUMB²) that maps images of `side` px to descriptors."""
    edges = np.arange(THUMB + 1) * side / THUMB
    px = np.arange(side)
    within = np.minimum(edges[1:, None], px + 1) - np.maximum(edges[:-1, None], px)
    reduce = within.clip(0) * THUMB / side  # area by area, (THUMB, side)
    waves = dct(reduce, axis=0, norm="ortho")
    # The cosine transform makes the sum of squared differences of neighbours a weighted sum.
    steepness = 2 - 2 * np.cos(np.pi * np.arange(THUMB) / THUMB)
    weights = np.sqrt(steepness[:, None] + steepness)
    weighted: np.ndarray = np.kron(waves, waves).T * weights.ravel()
    return weighted.astype(np.float32)


def horizontal_flip(vectors: np.ndarray) -> np.ndarray:
    """Return the descriptors of the flipped images: every other horizontal wave changes its sign."""
    return vectors * np.tile(np.array([1, -1], dtype=np.float32), THUMB**2 // 2)


def candidates(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs with a cosine above CANDIDATE, and those that have it where one is flipped.

    Both are arrays (L, 2) of rows with first < second, in order.
    """
    if len(vectors) < 2:
        return np.empty((0, 2), dtype=np.int64), np.empty((0, 2), dtype=np.int64)
    centres = cell_centres(vectors)
    members, flipped = cells(vectors, centres), horizontal_flip(vectors)
    return (
        close_pairs(vectors, vectors, members, members),
        close_pairs(vectors, flipped, members, cells(flipped, centres)),
    )


def close_pairs(
    vectors: np.ndarray,
    others: np.ndarray,
    members: list[np.ndarray],
    other_members: list[np.ndarray],
) -> np.ndarray:
    """Return the pairs of `vectors` and `others` that share a cell and are close, (L, 2) in order."""
    found = [np.empty((0, 2), dtype=np.int64)]
    strengths = [np.empty(0, dtype=np.float32)]
    for inside, beside in zip(members, other_members, strict=True):
        for start in range(0, len(inside), BLOCK):
            block = inside[start : start + BLOCK]
            later = beside[np.searchsorted(beside, block[0]) :]  # each pair once: first < second
            cosines = vectors[block] @ others[later].T
            row, column = np.divmod(np.flatnonzero(cosines > CANDIDATE), max(len(later), 1))
            near = block[row] < later[column]
            row, column = row[near], column[near]
            # At once: all pairs of a set of look-alikes would fill the memory.
            few = nearest(row, cosines[row, column], NEIGHBOURS)
            row, column = row[few], column[few]
            found.append(np.stack([block[row], later[column]], axis=1))
            strengths.append(cosines[row, column])
    pairs, strength = np.concatenate(found), np.concatenate(strengths)
    _, once = np.unique(pairs @ [len(vectors), 1], return_index=True)  # they may share many cells
    pairs, strength = pairs[once], strength[once]
    few = np.sort(nearest(pairs[:, 0], strength, NEIGHBOURS))
    return np.take(pairs, few, axis=0)


def closest(pairs: np.ndarray, vectors: np.ndarray, others: np.ndarray, count: int) -> np.ndarray:
    """Return the pairs (L, 2) of `vectors` and `others` that are among the `count` closest of their first."""
    cosines = np.einsum("ld,ld->l", vectors[pairs[:, 0]], others[pairs[:, 1]])
    return np.take(pairs, np.sort(nearest(pairs[:, 0], cosines, count)), axis=0)


def nearest(rows: np.ndarray, cosines: np.ndarray, count: int) -> np.ndarray:
    """Return where the `count` highest cosines of each row are; `rows` and `cosines` are (L,)."""
    order = np.lexsort((-cosines, rows))
    rank = np.arange(len(rows)) - np.searchsorted(rows[order], rows[order])
    return order[rank < count]


def cell_centres(vectors: np.ndarray) -> np.ndarray:
    """Return cluster centres of the descriptors, (C, D): a few iterations of spherical k-means.

    There are twice the square root of their number, so that cells stay small.
    """
    count = min(len(vectors), int(2 * len(vectors) ** 0.5))
    start = np.random.Generator(np.random.Philox(0)).choice(len(vectors), count, replace=False)
    centres = vectors[np.sort(start)]
    for _ in range(ITERATIONS):
        sums = np.zeros_like(centres)
        for chunk in chunks_of(vectors):
            np.add.at(sums, (chunk @ centres.T).argmax(axis=1), chunk)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(lengths > 0, sums / np.maximum(lengths, 1e-9), centres)
    return centres


def cells(vectors: np.ndarray, centres: np.ndarray) -> list[np.ndarray]:
    """Return for each centre the rows that have it among their CELLS_EACH nearest, in order."""
    each = min(CELLS_EACH, len(centres))
    near = np.concatenate(
        [
            np.argpartition(-(chunk @ centres.T), each - 1, axis=1)[:, :each]
            for chunk in chunks_of(vectors)
        ]
    )
    order = np.argsort(near.ravel(), kind="stable")
    ends = np.searchsorted(near.ravel()[order], np.arange(1, len(centres)))
    return np.split(order // each, ends)


def chunks_of(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Give an array CHUNK rows at a time."""
    for start in range(0, len(rows), CHUNK):
        yield rows[start : start + CHUNK]
