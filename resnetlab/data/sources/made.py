"""Data sets made for experiments, from real scanned digits."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from resnetlab.errors import MachineError, RecipeError
from resnetlab.system.files import whole
from resnetlab.system.progress import Progress

SIDE = 40  # px, of one digit
CELL = 42  # px, its place in the row
MOST_DIGITS = 4
FILES = 3
CHUNK = 4096  # images drawn and written at once
SPLITS = {"train": 0.8, "val": 0.1, "test": 0.1}  # of the images, and of the scans they show
RAREST = 0.02  # of a set with uneven classes: the images of its rarest class by its commonest


@dataclass(frozen=True)
class MadeSet:
    """A kind of made set: how many digits an image shows, and the label that follows from them.

    `label` turns values (N, digits) into labels (N,). With `uneven`, the first of the labels
    0, 1, ... are common and the last are rare, evenly on a logarithmic scale.
    """

    digits: int
    label: Callable[[np.ndarray], np.ndarray]
    uneven: bool = False


MADE_SETS = {
    "digit-sum": MadeSet(4, lambda values: values.sum(axis=1)),
    "digits": MadeSet(1, lambda values: values[:, 0]),
    "digit-pairs": MadeSet(2, lambda values: 10 * values[:, 0] + values[:, 1], uneven=True),
}


@dataclass(frozen=True)
class Part:
    """Images of a made set that lie in one pair of files: their numbers, and the scans they show."""

    images_file: str
    labels_file: str
    start: int
    stop: int
    scans: np.ndarray


def write_made_set(name: str, out: Path, count: int, seed: int, apart: bool = False) -> None:
    """Write `count` grey images of scanned digits side by side, and their labels, as array files.

    Images are uint8 (N, 40, 42 a digit) in data0.npy, data1.npy, data2.npy, their labels in
    labels0.npy, labels1.npy, labels2.npy. With `apart` the files are images_train.npy,
    labels_train.npy and so on for val and test, and no two splits show the same scan. What an image
    shows is decided by the seed and its number, so a larger set begins with the smaller one unless they
    are `apart`. Raises RecipeError for too few images, MachineError where the folder isn't empty.
    """
    made, fewest = MADE_SETS[name], 10 if apart else FILES
    if count < fewest:
        raise RecipeError(f"{name} needs {fewest} images at least, one for each file. Got {count}")
    if out.is_dir() and any(out.iterdir()):
        raise MachineError(f"{out}: is not empty; name a new folder, nothing is overwritten")
    digits, values = enlarged_digits()
    with Progress(name, count) as progress:
        for part in parts_of(count, len(values), seed, apart):
            shape = part.stop - part.start
            with whole(out / part.images_file) as data, whole(out / part.labels_file) as labels:
                images = np.lib.format.open_memmap(
                    data, "w+", np.uint8, (shape, SIDE, made.digits * CELL)
                )
                texts = np.lib.format.open_memmap(labels, "w+", np.int64, (shape,))
                for low in range(part.start, part.stop, CHUNK):
                    rows = np.arange(low, min(low + CHUNK, part.stop))
                    chosen, margins = draw(rows, seed, made, values[part.scans])
                    chosen = part.scans[chosen]
                    images[rows - part.start] = place(digits[chosen], margins)
                    texts[rows - part.start] = made.label(values[chosen])
                    progress.advance(len(rows))
                images.flush()
                texts.flush()


def parts_of(count: int, scans: int, seed: int, apart: bool) -> Iterator[Part]:
    """Give the files of a set, and which of the `scans` each may show."""
    if not apart:
        bounds = [count * index // FILES for index in range(FILES + 1)]
        for index in range(FILES):
            names = f"data{index}.npy", f"labels{index}.npy"
            yield Part(*names, bounds[index], bounds[index + 1], np.arange(scans))
        return
    order = np.random.Generator(np.random.Philox(key=[seed, 1])).permutation(scans)
    ends = np.cumsum(list(SPLITS.values()))
    low, low_scan = 0, 0
    for split, end in zip(SPLITS, ends, strict=True):
        high, high_scan = round(end * count), round(end * scans)
        names = f"images_{split}.npy", f"labels_{split}.npy"
        yield Part(*names, low, high, np.sort(order[low_scan:high_scan]))
        low, low_scan = high, high_scan


def enlarged_digits() -> tuple[np.ndarray, np.ndarray]:
    """Return scikit-learn's scanned digits, uint8 (1797, 40, 40), and their values (1797,)."""
    import cv2
    from sklearn.datasets import load_digits

    scans = load_digits()
    small = np.rint(scans.images * (255 / 16)).astype(np.uint8)
    large = [cv2.resize(scan, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) for scan in small]
    return np.stack(large), scans.target.astype(np.int64)


def draw(
    rows: np.ndarray, seed: int, made: MadeSet, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return for images by their numbers which scans they show and the margins left of them (px).

    Both are (rows, digits); `values` are those of the scans to choose from. Eight 64-bit numbers
    belong to each image, two blocks of the counter.
    """
    generator = np.random.Philox(key=seed, counter=2 * int(rows[0]))
    raw = generator.random_raw(len(rows) * 2 * MOST_DIGITS).reshape(len(rows), 2, MOST_DIGITS)
    margins = raw[:, 1, : made.digits] % np.uint64(CELL - SIDE + 1)
    if not made.uneven:
        # The remainder's bias is below one in 10^15.
        return raw[:, 0, : made.digits] % np.uint64(len(values)), margins
    frequencies = RAREST ** np.linspace(0, 1, 10**made.digits)
    share = raw[:, 0, -1].astype(np.float64) / 2**64
    label = np.searchsorted(np.cumsum(frequencies / frequencies.sum())[:-1], share, side="right")
    wanted = np.stack([label // 10**place % 10 for place in reversed(range(made.digits))], axis=1)
    chosen = np.empty(wanted.shape, dtype=np.int64)
    for value in range(10):
        scans = np.flatnonzero(values == value)
        here = wanted == value
        chosen[here] = scans[raw[:, 0, : made.digits][here] % np.uint64(len(scans))]
    return chosen, margins


def place(digits: np.ndarray, margins: np.ndarray) -> np.ndarray:
    """Put digits (N, P, 40, 40) into a row each, (N, 40, 42 P), every one after its margin."""
    cells = np.zeros((*digits.shape[:2], SIDE, CELL), np.uint8)
    for margin in range(CELL - SIDE + 1):
        here = margins == margin
        cells[here, :, margin : margin + SIDE] = digits[here]
    return cells.transpose(0, 2, 1, 3).reshape(len(digits), SIDE, digits.shape[1] * CELL)
