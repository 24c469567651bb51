"""Which images may be near-duplicates of each other: neighbours by a short fingerprint.

A fingerprint says how a 12×12 grey thumbnail slopes, which brightness doesn't change, nor contrast.
Only fingerprints that fall into the same cells are compared, so that the work grows little faster
than the number of images.
"""

from collections.abc import Iterator

import numpy as np
from scipy.fft import dct

THUMB = 12  # px: side of what a fingerprint is made of
CANDIDATE = 0.6  # cosine of two fingerprints
NEIGHBOURS = 24  # candidates looked at for each image: a chain of copies still hangs together
CELLS_EACH = 7  # cells that a fingerprint is put into
LOOKS = 3  # rounds of k-means
PART = 4000  # fingerprints treated at a time, so that memory stays bounded
BLOCK = 400  # the same, where each is compared with a whole cell


def descriptors(greys: np.ndarray) -> np.ndarray:
    """Return fingerprints of length 1, (M, THUMB²) float32, of grey images (M, S, S).

    They are the thumbnail's cosine transform, each wave weighted by its slope: their products are
    those of the slopes between neighbouring px, in half the numbers, and mirroring an image only
    turns the sign of some. An image that is flat, up to rounding, has a shorter one.
    """
    waves = slope_waves(greys.shape[-1])
    prints = [np.empty((0, THUMB**2), dtype=np.float32)]
    for start in range(0, len(greys), PART):
        part = greys[start : start + PART].astype(np.float32)
        found = part.reshape(len(part), -1) @ waves
        prints.append(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1))
    return np.concatenate(prints)


def slope_waves(side: int) -> np.ndarray:
    """Return what makes fingerprints of images with that many px a side, (side², THUMB²)."""
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


def horizontal_flip(prints: np.ndarray) -> np.ndarray:
    """Return the fingerprints of the horizontal flip: every other wave from left to right turns."""
    return prints * np.tile(np.array([1, -1], dtype=np.float32), THUMB**2 // 2)


def candidates(prints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the pairs that point almost the same way, and those that do where one is flipped.

    Both are arrays (L, 2) with first < second, in order.
    """
    if len(prints) < 2:
        return np.empty((0, 2), dtype=np.int64), np.empty((0, 2), dtype=np.int64)
    centres = cell_centres(prints)
    members, flipped = cells(prints, centres), horizontal_flip(prints)
    return (
        close_pairs(prints, prints, members, members),
        close_pairs(prints, flipped, members, cells(flipped, centres)),
    )


def close_pairs(
    prints: np.ndarray,
    others: np.ndarray,
    members: list[np.ndarray],
    other_members: list[np.ndarray],
) -> np.ndarray:
    """Return the pairs of `prints` and `others` that share a cell and are close, (L, 2) in order."""
    found = [np.empty((0, 2), dtype=np.int64)]
    strengths = [np.empty(0, dtype=np.float32)]
    for inside, beside in zip(members, other_members, strict=True):
        for start in range(0, len(inside), BLOCK):
            block = inside[start : start + BLOCK]
            later = beside[np.searchsorted(beside, block[0]) :]  # each pair once: first < second
            cosines = prints[block] @ others[later].T
            row, column = np.divmod(np.flatnonzero(cosines > CANDIDATE), max(len(later), 1))
            near = block[row] < later[column]
            row, column = row[near], column[near]
            few = nearest(row, cosines[row, column])  # at once: look-alikes would fill the memory
            row, column = row[few], column[few]
            found.append(np.stack([block[row], later[column]], axis=1))
            strengths.append(cosines[row, column])
    pairs, strength = np.concatenate(found), np.concatenate(strengths)
    _, once = np.unique(pairs @ [len(prints), 1], return_index=True)  # they may share many cells
    pairs, strength = pairs[once], strength[once]
    few = np.sort(nearest(pairs[:, 0], strength))
    return np.take(pairs, few, axis=0)


def nearest(rows: np.ndarray, cosines: np.ndarray) -> np.ndarray:
    """Return where the NEIGHBOURS highest cosines of each row are; both arguments are (L,)."""
    order = np.lexsort((-cosines, rows))
    rank = np.arange(len(rows)) - np.searchsorted(rows[order], rows[order])
    return order[rank < NEIGHBOURS]


def cell_centres(prints: np.ndarray) -> np.ndarray:
    """Return the directions, (C, D), around which fingerprints gather: a short spherical k-means.

    As many as twice the root of their number, so that a cell's work stays small.
    """
    count = min(len(prints), int(2 * len(prints) ** 0.5))
    start = np.random.Generator(np.random.Philox(0)).choice(len(prints), count, replace=False)
    centres = prints[np.sort(start)]
    for _ in range(LOOKS):
        sums = np.zeros_like(centres)
        for part in parts_of(prints):
            np.add.at(sums, (part @ centres.T).argmax(axis=1), part)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(lengths > 0, sums / np.maximum(lengths, 1e-9), centres)
    return centres


def cells(prints: np.ndarray, centres: np.ndarray) -> list[np.ndarray]:
    """Return for each centre the fingerprints that have it among their nearest, in order."""
    each = min(CELLS_EACH, len(centres))
    near = np.concatenate(
        [
            np.argpartition(-(part @ centres.T), each - 1, axis=1)[:, :each]
            for part in parts_of(prints)
        ]
    )
    order = np.argsort(near.ravel(), kind="stable")
    ends = np.searchsorted(near.ravel()[order], np.arange(1, len(centres)))
    return np.split(order // each, ends)


def parts_of(prints: np.ndarray) -> Iterator[np.ndarray]:
    """Give the fingerprints some thousand at a time."""
    for start in range(0, len(prints), PART):
        yield prints[start : start + PART]
