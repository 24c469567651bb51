"""How similar two small grey images are once one is aligned with the other.

All pairs are aligned roughly, the promising ones then with care. What is compared are the gradients,
block by block: brightness doesn't change them, and contrast scales all of them alike.
"""

from typing import Any

import cv2
import numpy as np

BLOCKS = 4  # an image has BLOCKS × BLOCKS: a strong frame or outline alone must not decide
GRADIENT = 2.0  # grey levels a px: what a block needs to count
ROUGH, CAREFUL = 2, 40  # iterations of the alignment
PROMISING = 0.65  # agreement after the rough alignment from which on a careful one follows
SHEAR, SCALE = 0.08, 0.35  # how far one may be rotated or sheared, and scaled, against the other
SHEAR_PENALTY = 0.5  # subtracted from the agreement of rotated or sheared pairs, times the shear
TURN = (2.0, 16.0)  # degrees; so far one may be turned against the other, without a penalty, ...
STIFF = 0.04  # ... where it is hardly sheared or stretched besides: chance fits are


def similarities(
    ones: np.ndarray, others: np.ndarray, aspects: np.ndarray | None = None
) -> np.ndarray:
    """Return how well grey images agree pair by pair, once aligned: (n,), at most 1.

    Both are float32 (n, S, S), squeezed from images of these `aspects` (n, 2), width by height; square
    ones by default. 0 where the rough alignment is not promising.
    """
    aspects = np.ones((len(ones), 2)) if aspects is None else aspects
    warps = np.tile(np.eye(2, 3, dtype=np.float32), (len(ones), 1, 1))
    warps = align(ones, others, warps, ROUGH)
    rough = agreement(ones, others, warps)
    # 0 is what has just slid off the other: it may come back.
    promising = np.flatnonzero((rough >= PROMISING) | (rough == 0))
    found = np.zeros_like(rough)
    if len(promising):
        ones, others, warps = ones[promising], others[promising], warps[promising]
        aspects = aspects[promising]
        better = align(ones, others, warps, CAREFUL)
        # On smooth images further iterations can make it worse: the better of the two counts.
        found[promising] = np.maximum(
            penalised(rough[promising], warps, aspects),
            penalised(agreement(ones, others, better), better, aspects),
        )
    return found


def penalised(found: np.ndarray, warps: np.ndarray, aspects: np.ndarray) -> np.ndarray:
    """Return the agreement `found` (n,), less a penalty for the shear of its warps (n, 2, 3).

    0 where an image fits only squeezed, or far rotated, which copies rarely are.
    """
    shear = np.maximum(abs(warps[:, 0, 1]), abs(warps[:, 1, 0]))
    scale = np.maximum(abs(warps[:, 0, 0] - 1), abs(warps[:, 1, 1] - 1))
    near = np.where(shear <= SHEAR, found - SHEAR_PENALTY * shear, 0)
    return np.where(scale <= SCALE, np.where(turned(warps, aspects), found, near), 0)


def turned(warps: np.ndarray, aspects: np.ndarray) -> np.ndarray:
    """Return which warps (n, 2, 3) of thumbnails turn the images that these show, and do little else, (n,) bool."""
    one, other = aspects.T
    # From thumbnails, which are square, to the images, each as high as 1.
    a, b = warps[:, 0, 0] * other / one, warps[:, 0, 1] * other
    c, d = warps[:, 1, 0] / one, warps[:, 1, 1]
    size = np.sqrt(np.maximum(a * d - b * c, 1e-6))
    angle = abs(np.degrees(np.arctan2(c - b, a + d)))
    stiff = np.maximum(abs(a - d), abs(b + c)) <= STIFF * size
    return np.asarray(stiff & (angle >= TURN[0]) & (angle <= TURN[1]))


def align(ones: np.ndarray, others: np.ndarray, warps: np.ndarray, iterations: int) -> np.ndarray:
    """Return the affine warps from `ones` to `others` (n, 2, 3), refined from `warps` on.

    Source: Evangelidis and Psarakis 2008 (ECC).
    """
    enough = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, iterations, 1e-4)
    everywhere: Any = None  # no mask
    refined = warps.copy()
    for one, other, warp in zip(ones, others, refined, strict=True):
        try:
            _, warp[:] = cv2.findTransformECC(
                one, other, warp, cv2.MOTION_AFFINE, enough, everywhere, 5
            )
        except cv2.error:  # nothing in common: beside each other
            warp[:] = [[1, 0, 2 * len(one)], [0, 1, 0]]
    return refined


def agreement(ones: np.ndarray, others: np.ndarray, warps: np.ndarray) -> np.ndarray:
    """Return how well the gradients of `ones` and of the warped `others` agree where they overlap, (n,).

    0 where too few blocks have gradients.
    """
    inside = covered_px(warps, ones.shape[-1])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = [
        cv2.warpAffine(other, warp, other.shape, flags=flags)
        for other, warp in zip(others, warps, strict=True)
    ]
    gradients_one, gradients_other = gradients(ones), gradients(np.stack(warped))
    power = block_means(inside * product(gradients_one, gradients_one))
    power_other = block_means(inside * product(gradients_other, gradients_other))
    shared = block_means(inside * product(gradients_one, gradients_other))
    # Contrast may differ: bring the other's gradients to the same strength.
    gain = total(power) / np.maximum(total(power_other), 1e-6)
    both = power + gain * power_other
    covered = block_means(inside)
    counts = (both / 2 > GRADIENT**2 * covered) & (covered > 0.4)
    weights = np.sqrt(both) * counts
    agreed = weights * 2 * np.sqrt(gain) * shared / np.maximum(both, 1e-6)
    found = total(agreed) / np.maximum(total(weights), 1e-6)
    return np.where(total(counts) >= BLOCKS**2 / 2, found, 0).ravel()


def covered_px(warps: np.ndarray, side: int) -> np.ndarray:
    """Return 1 where a px and its neighbours lie on the other image, else 0: float32 (n, side, side)."""
    middle = (side - 1) / 2
    px = np.arange(side, dtype=np.float32)
    on_it = np.ones((len(warps), side, side), dtype=bool)
    on_it[:, [0, -1]] = on_it[:, :, [0, -1]] = False
    for across, down, start in warps.transpose(1, 2, 0)[..., None, None]:
        from_middle = across * px + (down * px[:, None] + (start - middle))
        on_it &= abs(from_middle) <= side / 2 - abs(across) - abs(down)
    return on_it.astype(np.float32)


def has_gradients(greys: np.ndarray) -> np.ndarray:
    """Return which thumbnails (n, S, S) have gradients in enough blocks to pass a comparison, (n,)."""
    found = gradients(greys.astype(np.float32))
    power = block_means(product(found, found))
    return (total(power > (0.65 * GRADIENT) ** 2) >= BLOCKS**2 / 2).ravel()


def detail(grey: np.ndarray) -> float:
    """Return how much of an image's contrast is fine, 0 to 1."""
    fine = grey - cv2.GaussianBlur(grey, (0, 0), 1)
    return float(fine.std() / max(grey.std(), 1e-6))


def gradients(greys: np.ndarray) -> np.ndarray:
    """Return the gradients in both directions, (2, n, S, S), in grey levels a px."""
    column = greys.reshape(-1, greys.shape[-1])
    both = np.empty((2, *greys.shape), dtype=np.float32)
    for order, gradient in zip(((1, 0), (0, 1)), both, strict=True):
        found = cv2.Sobel(column, cv2.CV_32F, *order, ksize=3, scale=1 / 8)
        gradient[:] = found.reshape(greys.shape)
    both[:, :, [0, -1]] = 0  # OpenCV saw one tall image: here two neighbours meet
    return both


def product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the dot product of gradients (2, n, S, S) at each px, (n, S, S)."""
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
