"""Altered copies of a picture: scaled, cropped, compressed anew, recoloured, mirrored.

First candidates, by a fingerprint of each picture: the slopes of its 12×12 grey thumbnail, which
brightness and contrast don't change. Only fingerprints that fall into the same cells are compared,
so that the work grows little faster than the number of pictures. Then each pair is laid one over the
other and compared block by block. Thresholds were set on CIFAR-10 by looking: docs/experiments.md.
"""

from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import cv2
import numpy as np
from scipy.sparse import coo_matrix

from resnetlab.data.catalog import Catalog
from resnetlab.data.pixels import PixelStore
from resnetlab.files import whole
from resnetlab.progress import Progress

VERSION = 1  # raised whenever other pairs are found
SMALLEST = 24  # px: below, different pictures agree by chance
THUMB = 12  # px: side of what a fingerprint is made of
CANDIDATE = 0.6  # cosine of two fingerprints
CHUNK = 512  # pairs compared at a time
NEIGHBOURS = 8  # candidates looked at for each picture: a chain of copies still hangs together
CELLS_EACH = 5  # cells that a fingerprint is put into
LOOKS = 3  # rounds of k-means
BLOCKS = 4  # by this many of a picture: a strong frame or outline alone must not decide
SLOPE = 2.0  # grey levels a px: what a block needs to have a say
SAME = 0.86  # agreement of the slopes of two copies
SURE = 0.98  # the same, where less proves nothing: in a set of look-alikes, and ...
DETAIL = 0.15  # ... where less than this is fine: broad strokes agree by chance
PARTNERS = 2.0  # where pictures have more on average, and ...
CLOSED = 0.5  # ... fewer of these are alike among themselves, all are look-alikes
TILT, STRETCH = 0.08, 0.35  # how far one may be turned or skewed, and scaled, against the other
TILT_COST = 0.5  # whatever had to be turned to fit must fit the better
OTHER_LABEL = 0.3  # share of pairs with two labels from which on likeness proves nothing here
FEWEST = 10  # pairs, below which that share says nothing

# Two records of a store or two rows of a catalog (first < second), how well they agree, and whether
# one is the mirror image of the other.
PAIR = np.dtype([("first", "<i8"), ("second", "<i8"), ("agreement", "<f4"), ("mirrored", "?")])


def near_duplicates(catalog: Catalog, store: PixelStore, workers: int) -> np.ndarray:
    """Return the pairs of sound rows that show the same picture, altered: an array of PAIR in order.

    They are searched once for each store and kept beside it.
    """
    found = search_once(store, workers)
    rows_of = defaultdict(list)
    for row, record in enumerate(store.rows_of(catalog)):
        if catalog.sound[row]:
            rows_of[record].append(row)
    pairs = [
        (min(one, other), max(one, other), pair["agreement"], pair["mirrored"])
        for pair in found
        for one in rows_of[pair["first"]]
        for other in rows_of[pair["second"]]
    ]
    result = np.sort(np.array(pairs, dtype=PAIR), order=["first", "second", "mirrored"])
    return result[result["agreement"] >= SURE] if labels_differ(catalog, result) else result


def search_once(store: PixelStore, workers: int) -> np.ndarray:
    """Return what `search` finds in a store, from the file where that is kept if it is there."""
    if store.beside is None:
        return search(store, workers)
    kept = store.beside.with_suffix(f".pairs-{VERSION}")
    try:
        pairs: np.ndarray = np.load(kept)
        return pairs
    except (OSError, ValueError, EOFError):  # not there, or damaged
        pairs = search(store, workers)
    with whole(kept) as temporary, temporary.open("wb") as file:
        np.save(file, pairs)
    return pairs


def labels_differ(catalog: Catalog, pairs: np.ndarray) -> bool:
    """Return whether so many pairs have two labels that they can hardly be the same pictures."""
    unsure = pairs[pairs["agreement"] < SURE]
    different = catalog.labels[unsure["first"]] != catalog.labels[unsure["second"]]
    return bool(different.sum() > max(FEWEST, OTHER_LABEL * len(unsure)))


def search(store: PixelStore, workers: int) -> np.ndarray:
    """Return the pairs of records that show the same picture, an array of PAIR."""
    rows, prints = fingerprints(store)
    found = [np.empty(0, dtype=PAIR)]
    for mirrored in (False, True):
        pairs = rows[candidates(prints, mirrored)]
        chunks = [pairs[start : start + CHUNK] for start in range(0, len(pairs), CHUNK)]
        title = "comparing mirrored" if mirrored else "comparing"
        with (
            ThreadPoolExecutor(workers or 1) as pool,
            Progress(title, len(pairs), "pairs") as progress,
        ):
            for chunk, copies in zip(
                chunks, pool.map(partial(compare, store, mirrored), chunks), strict=True
            ):
                found.append(copies)
                progress.advance(len(chunk))
    result = np.concatenate(found)
    return result[result["agreement"] >= SURE] if look_alikes(result, len(rows)) else result


def look_alikes(pairs: np.ndarray, count: int) -> bool:
    """Return whether pictures of this set resemble each other without being copies, as digits do.

    Copies of copies are copies of each other; what resembles two others need not join them.
    """
    if 2 * len(pairs) <= PARTNERS * count:
        return False
    _, ends = np.unique([pairs["first"], pairs["second"]], return_inverse=True)
    first, second = ends.reshape(2, -1)
    size = int(ends.max()) + 1
    links = coo_matrix((np.ones(len(pairs)), (first, second)), shape=(size, size)).tocsr()
    links = ((links + links.T) > 0).astype(np.float64)
    partners = np.asarray(links.sum(axis=1)).ravel()
    triangles = (links @ links).multiply(links).sum()
    return bool(triangles < CLOSED * (partners * (partners - 1)).sum())


def fingerprints(store: PixelStore) -> tuple[np.ndarray, np.ndarray]:
    """Return the records that can be compared (M,), and their fingerprints, (M, 2, T, T) float32.

    A fingerprint has the slopes from left to right and from top to bottom, and length 1. Pictures
    that show too little to be told apart have none.
    """
    index = store.index
    large = np.minimum(index["full_height"], index["full_width"]) >= SMALLEST
    rows = np.flatnonzero(large & (index["problem"] == b""))
    rows = rows[[speaking_blocks(small) for small in index["small"][rows]]]
    prints = np.zeros((len(rows), 2, THUMB, THUMB), dtype=np.float32)
    for row, small in zip(prints, index["small"][rows], strict=True):
        thumb = cv2.resize(small, (THUMB, THUMB), interpolation=cv2.INTER_AREA).astype(np.float32)
        row[0, :, :-1] = np.diff(thumb, axis=1)
        row[1, :-1] = np.diff(thumb, axis=0)
        row /= max(float(np.sqrt(np.square(row).sum())), 1e-6)
    return rows, prints


def speaking_blocks(small: np.ndarray) -> bool:
    """Return whether enough blocks of a thumbnail show something for a comparison to pass."""
    power = block_means(slopes(small.astype(np.float32)) ** 2)
    return bool((power > (0.7 * SLOPE) ** 2).sum() >= BLOCKS * BLOCKS / 2)


def candidates(prints: np.ndarray, mirrored: bool) -> np.ndarray:
    """Return pairs of fingerprints that point almost the same way, (L, 2) with first < second."""
    if len(prints) < 2:
        return np.empty((0, 2), dtype=np.int64)
    centres = cell_centres(prints)
    pairs = [np.empty((0, 2), dtype=np.int64)]
    for inside, beside in zip(
        cells(prints, centres, False), cells(prints, centres, mirrored), strict=True
    ):
        others = flat(prints[beside], mirrored)
        for start in range(0, len(inside), 1000):
            block = inside[start : start + 1000]
            cosines = flat(prints[block], False) @ others.T
            cosines[block[:, None] >= beside[None]] = 0  # each pair once, none with itself
            if cosines.shape[1] > NEIGHBOURS:
                least = np.partition(cosines, -NEIGHBOURS, axis=1)[:, -NEIGHBOURS, None]
                cosines[cosines < least] = 0
            first, second = np.nonzero(cosines > CANDIDATE)
            pairs.append(np.stack([block[first], beside[second]], axis=1))
    return np.unique(np.concatenate(pairs), axis=0)


def flat(prints: np.ndarray, mirrored: bool) -> np.ndarray:
    """Return fingerprints, or those of the mirror images, as rows (M, D)."""
    return (mirror(prints) if mirrored else prints).reshape(len(prints), 2 * THUMB**2)


def mirror(prints: np.ndarray) -> np.ndarray:
    """Return the fingerprints of the mirror images."""
    turned = np.zeros_like(prints)
    turned[:, 0, :, :-1] = -prints[:, 0, :, -2::-1]
    turned[:, 1] = prints[:, 1, :, ::-1]
    return turned


def cell_centres(prints: np.ndarray) -> np.ndarray:
    """Return the directions, (C, D), around which fingerprints gather: a short spherical k-means.

    As many as twice the root of their number, so that a cell's work stays small.
    """
    count = min(len(prints), int(2 * len(prints) ** 0.5))
    start = np.random.Generator(np.random.Philox(0)).choice(len(prints), count, replace=False)
    centres = flat(prints[np.sort(start)], False)
    for _ in range(LOOKS):
        sums = np.zeros_like(centres)
        for part in parts_of(prints, False):
            np.add.at(sums, (part @ centres.T).argmax(axis=1), part)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(lengths > 0, sums / np.maximum(lengths, 1e-9), centres)
    return centres


def cells(prints: np.ndarray, centres: np.ndarray, mirrored: bool) -> list[np.ndarray]:
    """Return for each centre the fingerprints that have it among their nearest."""
    each = min(CELLS_EACH, len(centres))
    nearest = np.concatenate(
        [
            np.argpartition(-(part @ centres.T), each - 1, axis=1)[:, :each]
            for part in parts_of(prints, mirrored)
        ]
    )
    order = np.argsort(nearest.ravel(), kind="stable")
    ends = np.searchsorted(nearest.ravel()[order], np.arange(1, len(centres)))
    return np.split(order // each, ends)


def parts_of(prints: np.ndarray, mirrored: bool) -> Iterator[np.ndarray]:
    """Give the fingerprints as rows, some thousand at a time, so that memory stays bounded."""
    for start in range(0, len(prints), 4000):
        yield flat(prints[start : start + 4000], mirrored)


def compare(store: PixelStore, mirrored: bool, pairs: np.ndarray) -> np.ndarray:
    """Return those pairs of records (L, 2) that agree, an array of PAIR."""
    copies = []
    for first, second in pairs:
        one, other = store.index["small"][[first, second]].astype(np.float32)
        found = agreement(one, np.ascontiguousarray(other[:, ::-1]) if mirrored else other)
        if found >= (SAME if min(detail(one), detail(other)) > DETAIL else SURE):
            copies.append((first, second, found, mirrored))
    return np.array(copies, dtype=PAIR)


def agreement(one: np.ndarray, other: np.ndarray) -> float:
    """Return how well the slopes of two grey pictures, float32 (S, S), agree once laid over each other.

    0 where they can only be made to fit by turning or squeezing, which copies rarely need, or where
    too few blocks show anything. Source of the alignment: Evangelidis and Psarakis 2008 (ECC).
    """
    fit: Any = np.eye(2, 3, dtype=np.float32)
    try:
        _, fit = cv2.findTransformECC(one, other, fit, cv2.MOTION_AFFINE, ENOUGH, EVERYWHERE, 5)
    except cv2.error:  # nothing in common
        return 0.0
    turned = max(abs(fit[0, 1]), abs(fit[1, 0]))
    scaled = max(abs(fit[0, 0] - 1), abs(fit[1, 1] - 1))
    if turned > TILT or scaled > STRETCH:
        return 0.0
    laid_over = cv2.warpAffine(other, fit, one.shape, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    ground = np.ones_like(other)
    inside = cv2.warpAffine(ground, fit, one.shape, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)
    inside = cv2.erode(inside, np.ones((3, 3)), borderValue=0)
    across, down = (slopes(picture) * inside for picture in (one, laid_over))
    power, power_other = block_means(across**2), block_means(down**2)
    # Contrast may differ: bring the other's slopes to the same strength.
    gain = (power.sum() / max(power_other.sum(), 1e-6)) ** 0.5
    shared, both = gain * block_means(across * down), power + gain**2 * power_other
    covered = block_means(inside[None])
    speaks = (both / 2 > SLOPE**2 * covered) & (covered > 0.4)
    if speaks.sum() < BLOCKS * BLOCKS / 2:
        return 0.0
    weights = np.sqrt(both[speaks])
    agreed = float((weights * 2 * shared[speaks] / both[speaks]).sum() / weights.sum())
    return agreed - TILT_COST * float(turned)


EVERYWHERE: Any = None  # no mask
ENOUGH = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 40, 1e-4)


def detail(grey: np.ndarray) -> float:
    """Return how much of a picture's contrast is fine, 0 to 1."""
    fine = grey - cv2.GaussianBlur(grey, (0, 0), 1)
    return float(fine.std() / max(grey.std(), 1e-6))


def slopes(grey: np.ndarray) -> np.ndarray:
    """Return the slopes in both directions, (2, S, S), in grey levels a px."""
    return np.stack(
        [cv2.Sobel(grey, cv2.CV_32F, *order, ksize=3, scale=1 / 8) for order in ((1, 0), (0, 1))]
    )


def block_means(values: np.ndarray) -> np.ndarray:
    """Return the means over BLOCKS × BLOCKS blocks of the sum of some planes, (n, S, S)."""
    means: np.ndarray = cv2.resize(
        values.sum(axis=0), (BLOCKS, BLOCKS), interpolation=cv2.INTER_AREA
    )
    return means
