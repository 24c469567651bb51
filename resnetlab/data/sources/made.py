"""Data sets made for experiments, from real scanned digits."""

from pathlib import Path

import numpy as np

from resnetlab.errors import MachineError, RecipeError
from resnetlab.system.files import whole
from resnetlab.system.progress import Progress

SIDE = 40  # px, of one digit
CELL = 42  # px, its place in the row
DIGITS = 4
FILES = 3
CHUNK = 4096  # images drawn and written at once


def write_digit_sum(out: Path, count: int, seed: int) -> None:
    """Write the data set 'digit-sum': four scanned digits side by side, the label is their sum (0..36).

    `count` grey images of 40×168 px, uint8, as data0.npy, data1.npy, data2.npy (N, 40, 168) with
    labels0.npy, labels1.npy, labels2.npy. What an image shows is decided by the seed and its
    number, so a larger set begins with the smaller one. Raises RecipeError for fewer than three
    images, MachineError where the folder isn't empty.
    """
    if count < FILES:
        raise RecipeError(
            f"digit-sum needs {FILES} images at least, one for each file. Got {count}"
        )
    if out.is_dir() and any(out.iterdir()):
        raise MachineError(f"{out}: is not empty; name a new folder, nothing is overwritten")
    digits, values = enlarged_digits()
    bounds = [count * index // FILES for index in range(FILES + 1)]
    with Progress("digit-sum", count) as progress:
        for index in range(FILES):
            start, stop = bounds[index], bounds[index + 1]
            with (
                whole(out / f"data{index}.npy") as data,
                whole(out / f"labels{index}.npy") as labels,
            ):
                images = np.lib.format.open_memmap(
                    data, "w+", np.uint8, (stop - start, SIDE, DIGITS * CELL)
                )
                sums = np.lib.format.open_memmap(labels, "w+", np.int64, (stop - start,))
                for low in range(start, stop, CHUNK):
                    rows = np.arange(low, min(low + CHUNK, stop))
                    chosen, margins = draw(rows, seed, len(values))
                    images[rows - start] = place(digits[chosen], margins)
                    sums[rows - start] = values[chosen].sum(axis=1)
                    progress.advance(len(rows))
                images.flush()
                sums.flush()


def enlarged_digits() -> tuple[np.ndarray, np.ndarray]:
    """Return scikit-learn's scanned digits, uint8 (1797, 40, 40), and their values (1797,)."""
    import cv2
    from sklearn.datasets import load_digits

    scans = load_digits()
    small = np.rint(scans.images * (255 / 16)).astype(np.uint8)
    large = [cv2.resize(scan, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) for scan in small]
    return np.stack(large), scans.target.astype(np.int64)


def draw(rows: np.ndarray, seed: int, choices: int) -> tuple[np.ndarray, np.ndarray]:
    """Return for images by their numbers which digits they show and the margins left of them (px).

    Both are (rows, 4). Eight 64-bit numbers belong to each image, two blocks of the counter.
    """
    generator = np.random.Philox(key=seed, counter=2 * int(rows[0]))
    raw = generator.random_raw(len(rows) * 2 * DIGITS).reshape(len(rows), 2, DIGITS)
    # The remainder's bias is below one in 10^15.
    return raw[:, 0] % np.uint64(choices), raw[:, 1] % np.uint64(CELL - SIDE + 1)


def place(digits: np.ndarray, margins: np.ndarray) -> np.ndarray:
    """Put digits (N, 4, 40, 40) into a row each, (N, 40, 168), every one after its margin."""
    cells = np.zeros((*digits.shape[:2], SIDE, CELL), np.uint8)
    for margin in range(CELL - SIDE + 1):
        here = margins == margin
        cells[here, :, margin : margin + SIDE] = digits[here]
    return cells.transpose(0, 2, 1, 3).reshape(len(digits), SIDE, DIGITS * CELL)
