"""Near-duplicates of an image: scaled, cropped, turned a little, compressed anew, recoloured, flipped.

Pairs with similar descriptors are aligned and compared. Thresholds were set on CIFAR-10 by looking
at pairs: docs/experiments.md.
"""

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

import numpy as np
from scipy.sparse import coo_matrix

from resnetlab.data.audit.alignment import detail, has_gradients, similarities
from resnetlab.data.audit.candidates import (
    candidates,
    chunks_of,
    closest,
    descriptors,
    horizontal_flip,
)
from resnetlab.data.catalog import Catalog
from resnetlab.data.store.pixels import PixelStore
from resnetlab.system.cache import keep, kept
from resnetlab.system.progress import Progress
from resnetlab.system.threads import in_order, threads

VERSION = 4  # raised whenever other pairs are found
SMALLEST = 24  # px: below, different images agree by chance
CHUNK = 256  # images or pairs at a time: what fits into a processor's cache
AHEAD = 64  # chunks compared ahead of the one that is waited for
SAME = 0.86  # agreement of the gradients of two copies
SURE = 0.98  # the same, where less proves nothing: in a set of look-alikes, and ...
DETAIL = 0.15  # ... where less of the contrast is fine detail: broad strokes agree by chance
PARTNERS = 2.0  # where images have more partners on average, and ...
CLOSED = 0.5  # ... a smaller share of these are partners too, all are look-alikes
OTHER_LABEL = 0.3  # share of pairs with two labels from which on agreement proves nothing here
FEWEST = 10  # pairs, below which that share says nothing

# Where images have more candidates each, those of some images are tried first. If hardly any of these is a
# copy, or they are look-alikes such as scanned digits, only the closest of each image are compared.
CROWDED, TRIED, RARE, CLOSEST = 12.0, 2048, 0.01, 3

# Two records of a store or two rows of a catalog (first < second), how well they agree, and whether
# one is the horizontal flip of the other.
PAIR = np.dtype([("first", "<i8"), ("second", "<i8"), ("agreement", "<f4"), ("flipped", "?")])


def near_duplicates(catalog: Catalog, store: PixelStore, workers: int) -> np.ndarray:
    """Return the pairs of sound rows that are near-duplicates, an array of PAIR in order.

    They are searched for once in each store and kept beside it.
    """
    found = search_once(store, workers)
    rows_of = defaultdict(list)
    for row, record in enumerate(store.rows_of(catalog)):
        if catalog.sound[row]:
            rows_of[record].append(row)
    pairs = [
        (min(one, other), max(one, other), pair["agreement"], pair["flipped"])
        for pair in found
        for one in rows_of[pair["first"]]
        for other in rows_of[pair["second"]]
    ]
    result = np.sort(np.array(pairs, dtype=PAIR), order=["first", "second", "flipped"])
    return result[result["agreement"] >= SURE] if labels_differ(catalog, result) else result


def search_once(store: PixelStore, workers: int) -> np.ndarray:
    """Return what `search` finds in a store, from the file where that is kept if it is there."""
    if store.beside is None:
        return search(store, workers)
    file = store.beside.with_suffix(f".pairs-{VERSION}")
    content = kept(file)
    if content is not None:
        return np.frombuffer(content, dtype=PAIR)
    pairs = search(store, workers)
    keep(file, pairs.tobytes())
    return pairs


def labels_differ(catalog: Catalog, pairs: np.ndarray) -> bool:
    """Return whether so many pairs have two labels that they can hardly be the same images."""
    unsure = pairs[pairs["agreement"] < SURE]
    different = catalog.labels[unsure["first"]] != catalog.labels[unsure["second"]]
    return bool(different.sum() > max(FEWEST, OTHER_LABEL * len(unsure)))


def search(store: PixelStore, workers: int) -> np.ndarray:
    """Return the pairs of records that show the same image, an array of PAIR."""
    rows = comparable(store)
    vectors = descriptors_of(store, rows)
    as_is, flipped = candidates(vectors)
    alike = False
    with threads(workers or 1) as pool:
        if (count := len(as_is) + len(flipped)) > CROWDED * len(rows):
            share, closed = crowd(store, rows[as_is], pool)
            alike = 2 * share * count > PARTNERS * len(rows) and closed < CLOSED
            if alike or share < RARE:
                as_is = closest(as_is, vectors, vectors, CLOSEST)
                flipped = closest(flipped, vectors, horizontal_flip(vectors), CLOSEST)
        result = compare_all(
            store, [(rows[as_is], False), (rows[flipped], True)], pool, "comparing"
        )
    alike = alike or look_alikes(result, len(rows))
    return result[result["agreement"] >= SURE] if alike else result


def crowd(store: PixelStore, pairs: np.ndarray, pool: ThreadPoolExecutor) -> tuple[float, float]:
    """Return what share of the candidates of some images agree with them, and of these with each other.

    `pairs` (L, 2) are records. Copies of one image are copies of each other.
    """
    first = np.unique(pairs[:, 0])
    some = first[:: max(1, len(pairs) // TRIED)]
    tried = pairs[np.isin(pairs[:, 0], some)]
    found = compare_all(store, [(tried, False)], pool, "trying")
    partners = defaultdict(list)
    for pair in found:
        partners[pair["first"]].append(int(pair["second"]))
    beside = [pair for each in partners.values() for pair in combinations(each, 2)][:TRIED]
    closed = compare_all(store, [(np.array(beside).reshape(-1, 2), False)], pool, "trying")
    return len(found) / max(len(tried), 1), len(closed) / len(beside) if beside else 1.0


def compare_all(
    store: PixelStore,
    sets: Sequence[tuple[np.ndarray, bool]],
    pool: ThreadPoolExecutor,
    title: str,
) -> np.ndarray:
    """Return those pairs of records (L, 2), as they are or flipped, that agree, an array of PAIR."""
    work = [
        (pairs[start : start + CHUNK], is_flipped)
        for pairs, is_flipped in sets
        for start in range(0, len(pairs), CHUNK)
    ]
    found = [np.empty(0, dtype=PAIR)]
    with Progress(title, sum(len(pairs) for pairs, _ in sets), "pairs") as progress:
        results = in_order(pool, lambda chunk: compare(store, *chunk), work, AHEAD)
        for (pairs, _), copies in zip(work, results, strict=True):
            found.append(copies)
            progress.advance(len(pairs))
    return np.concatenate(found)


def look_alikes(pairs: np.ndarray, count: int) -> bool:
    """Return whether images of this set resemble each other without being copies, as digits do.

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


def descriptors_of(store: PixelStore, rows: np.ndarray) -> np.ndarray:
    """Return the descriptors of some records (M,), (M, D) float32; few of their thumbnails are held at a time."""
    parts = rows[:0], *chunks_of(rows)
    return np.concatenate([descriptors(store.thumbnails[part]) for part in parts])


def comparable(store: PixelStore) -> np.ndarray:
    """Return the records large and detailed enough to be compared, (M,) in order."""
    index = store.index
    large = np.minimum(index["full_height"], index["full_width"]) >= SMALLEST
    rows = np.flatnonzero(large & (index["problem"] == b""))
    chunks = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
    return np.concatenate(
        [rows[:0], *(chunk[has_gradients(store.thumbnails[chunk])] for chunk in chunks)]
    )


def compare(store: PixelStore, pairs: np.ndarray, flipped: bool) -> np.ndarray:
    """Return those pairs of records (L, 2) that agree, an array of PAIR."""
    ones, others = store.thumbnails[pairs.T].astype(np.float32)
    if flipped:
        others = np.ascontiguousarray(others[:, :, ::-1])
    sides = store.index[["full_width", "full_height"]][pairs]
    found = similarities(ones, others, sides["full_width"] / sides["full_height"])
    for row in np.flatnonzero((found >= SAME) & (found < SURE)):
        if min(detail(ones[row]), detail(others[row])) <= DETAIL:
            found[row] = 0
    copies = np.zeros(len(pairs), dtype=PAIR)
    copies["first"], copies["second"] = pairs.T
    copies["agreement"], copies["flipped"] = found, flipped
    return copies[found >= SAME]
