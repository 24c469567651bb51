"""Smaller images: what training needs of them, and a thumbnail to search by."""

import cv2
import numpy as np
from PIL import Image

THUMBNAIL_PX = 32  # side of the thumbnail by which near-duplicates are searched for


def reduced_size(size: tuple[int, int], short_side: int) -> tuple[int, int]:
    """Return width and height (px) once the shorter one is `short_side`; never larger than before."""
    width, height = size
    shorter = min(size)
    if shorter <= short_side:
        return size
    # Rounded up, in integers: the shorter side comes out exact.
    return -(-width * short_side // shorter), -(-height * short_side // shorter)


def shrink(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return pixels (H, W, 3) reduced to (width, height)."""
    height, width = pixels.shape[:2]
    if size == (width, height):
        return pixels
    if width > 2 * size[0]:
        return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    if width > 1.5 * size[0]:  # means of four: as true as over areas, in half the time
        pixels = cv2.resize(pixels, (2 * size[0], 2 * size[1]), interpolation=cv2.INTER_LINEAR)
        return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR)


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """Return the grey thumbnail, uint8 (THUMBNAIL_PX, THUMBNAIL_PX), of RGB pixels (H, W, 3)."""
    grey: np.ndarray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    if grey.shape == (THUMBNAIL_PX, THUMBNAIL_PX):
        return grey
    middle = 4 * THUMBNAIL_PX
    if min(grey.shape) > 1.5 * middle:  # most of the way by OpenCV, which is faster
        large = max(grey.shape) > 4 * middle
        means = cv2.INTER_AREA if large else cv2.INTER_LINEAR
        grey = cv2.resize(grey, (middle, middle), interpolation=means)
    # Pillow's filter overlaps: a crop of an image gives a thumbnail more like the image's own.
    small = Image.fromarray(grey).resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BILINEAR)
    return np.asarray(small)
