"""How alike two small grey images are when one is laid over the other.

All pairs get a short look, and those where it was promising a careful one. What is compared are the
slopes, block by block: brightness doesn't change them, and contrast all of them alike.
"""

from typing import Any

import cv2
import numpy as np

BLOCKS = 4  # by this many of an image: a strong frame or outline alone must not decide
SLOPE = 2.0  # grey levels a px: what a block needs to have a say
GLANCE, CAREFUL = 2, 40  # rounds in which one is laid over the other
PROMISING = 0.65  # agreement at a glance from which on it is worth to be careful
TILT, STRETCH = 0.08, 0.35  # how far one may be turned or skewed, and scaled, against the other
TILT_COST = 0.5  # whatever had to be turned to fit must fit the better


def similarities(ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return how well grey images agree pair by pair, laid over each other.

    Both are float32 (n, S, S), the result is (n,). 0 where a glance promises nothing.
    """
    fits = np.tile(np.eye(2, 3, dtype=np.float32), (len(ones), 1, 1))
    fits = lay_over(ones, others, fits, GLANCE)
    seen = overlap(ones, others, fits)
    # 0 is what has just slid off the other: it may come back.
    going = np.flatnonzero((seen >= PROMISING) | (seen == 0))
    found = np.zeros_like(seen)
    if len(going):
        ones, others, fits, seen = ones[going], others[going], fits[going], seen[going]
        better = lay_over(ones, others, fits, CAREFUL)
        # Where little is to be seen, a fit gets worse again: the best counts.
        looks = believed(seen, fits), believed(overlap(ones, others, better), better)
        found[going] = np.maximum(*looks)
    return found


def believed(found: np.ndarray, fits: np.ndarray) -> np.ndarray:
    """Return what agreement (n,) is left of that `found` by these fits, (n, 2, 3).

    None where an image fits only turned or squeezed, which copies rarely are.
    """
    turned = np.maximum(abs(fits[:, 0, 1]), abs(fits[:, 1, 0]))
    scaled = np.maximum(abs(fits[:, 0, 0] - 1), abs(fits[:, 1, 1] - 1))
    return np.where((turned <= TILT) & (scaled <= STRETCH), found - TILT_COST * turned, 0)


def lay_over(ones: np.ndarray, others: np.ndarray, fits: np.ndarray, rounds: int) -> np.ndarray:
    """Return the affine maps from `ones` to `others` (n, 2, 3), bettered from `fits` on.

    Source: Evangelidis and Psarakis 2008 (ECC).
    """
    enough = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, rounds, 1e-4)
    everywhere: Any = None  # no mask
    bettered = fits.copy()
    for one, other, fit in zip(ones, others, bettered, strict=True):
        try:
            _, fit[:] = cv2.findTransformECC(
                one, other, fit, cv2.MOTION_AFFINE, enough, everywhere, 5
            )
        except cv2.error:  # nothing in common: beside each other
            fit[:] = [[1, 0, 2 * len(one)], [0, 1, 0]]
    return bettered


def overlap(ones: np.ndarray, others: np.ndarray, fits: np.ndarray) -> np.ndarray:
    """Return how well the slopes of `ones` agree with `others` where these lie over them, (n,).

    0 where too few blocks show anything.
    """
    inside = covered_px(fits, ones.shape[-1])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    laid_over = [
        cv2.warpAffine(other, fit, other.shape, flags=flags)
        for other, fit in zip(others, fits, strict=True)
    ]
    slopes_one, slopes_other = slopes(ones), slopes(np.stack(laid_over))
    power = block_means(inside * product(slopes_one, slopes_one))
    power_other = block_means(inside * product(slopes_other, slopes_other))
    shared = block_means(inside * product(slopes_one, slopes_other))
    # Contrast may differ: bring the other's slopes to the same strength.
    gain = total(power) / np.maximum(total(power_other), 1e-6)
    both = power + gain * power_other
    covered = block_means(inside)
    speaks = (both / 2 > SLOPE**2 * covered) & (covered > 0.4)
    weights = np.sqrt(both) * speaks
    agreed = weights * 2 * np.sqrt(gain) * shared / np.maximum(both, 1e-6)
    found = total(agreed) / np.maximum(total(weights), 1e-6)
    return np.where(total(speaks) >= BLOCKS**2 / 2, found, 0).ravel()


def covered_px(fits: np.ndarray, side: int) -> np.ndarray:
    """Return where a px and all around it lie on the other image, float32 (n, side, side)."""
    middle = (side - 1) / 2
    px = np.arange(side, dtype=np.float32)
    on_it = np.ones((len(fits), side, side), dtype=bool)
    on_it[:, [0, -1]] = on_it[:, :, [0, -1]] = False
    for across, down, start in fits.transpose(1, 2, 0)[..., None, None]:
        from_middle = across * px + (down * px[:, None] + (start - middle))
        on_it &= abs(from_middle) <= side / 2 - abs(across) - abs(down)
    return on_it.astype(np.float32)


def speaking(greys: np.ndarray) -> np.ndarray:
    """Return of which thumbnails (n, S, S) enough blocks show something to pass a comparison."""
    steep = slopes(greys.astype(np.float32))
    power = block_means(product(steep, steep))
    return (total(power > (0.65 * SLOPE) ** 2) >= BLOCKS**2 / 2).ravel()


def detail(grey: np.ndarray) -> float:
    """Return how much of an image's contrast is fine, 0 to 1."""
    fine = grey - cv2.GaussianBlur(grey, (0, 0), 1)
    return float(fine.std() / max(grey.std(), 1e-6))


def slopes(greys: np.ndarray) -> np.ndarray:
    """Return the slopes in both directions, (2, n, S, S), in grey levels a px."""
    column = greys.reshape(-1, greys.shape[-1])
    both = np.empty((2, *greys.shape), dtype=np.float32)
    for order, slope in zip(((1, 0), (0, 1)), both, strict=True):
        steep = cv2.Sobel(column, cv2.CV_32F, *order, ksize=3, scale=1 / 8)
        slope[:] = steep.reshape(greys.shape)
    both[:, :, [0, -1]] = 0  # one below the other they are one image for OpenCV: here two meet
    return both


def product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the product of slopes (2, n, S, S) at each px, (n, S, S)."""
    summed: np.ndarray = left[0] * right[0] + left[1] * right[1]
    return summed


def block_means(values: np.ndarray) -> np.ndarray:
    """Return the means over BLOCKS × BLOCKS blocks of each plane, (n, S, S)."""
    count, side = values.shape[:2]
    column = values.reshape(-1, side)
    means = cv2.resize(column, (BLOCKS, BLOCKS * count), interpolation=cv2.INTER_AREA)
    return means.reshape(count, BLOCKS, BLOCKS)


def total(blocks: np.ndarray) -> np.ndarray:
    """Return the sum over each plane's blocks, (n, 1, 1)."""
    summed: np.ndarray = blocks.sum(axis=(1, 2), keepdims=True)
    return summed
