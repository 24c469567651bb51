"""Augmentation applied: one affine step and one colour step."""

import math
from collections.abc import Sequence

import cv2
import numpy as np

from resnetlab.data.augment.draw import Variations

GREY = np.array([0.299, 0.587, 0.114])  # luma of ITU-R BT.601, as Pillow and torchvision use it
# RGB to YIQ: in this space a turn of the colour circle is a rotation of (I, Q).
RGB_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
# A colour is its luma, in all three channels, and its chroma, which is what a turn acts on.
LUMA = np.tile(GREY, (3, 1))
CHROMA = np.eye(3) - LUMA
QUARTER_TURN = np.linalg.inv(RGB_TO_YIQ) @ np.array([[0, 0, 0], [0, 0, 1], [0, -1, 0]]) @ RGB_TO_YIQ

WHOLE = (0.0, 0.0, 1.0, 1.0)  # the box of a whole image


def render(
    image: np.ndarray, variation: Variations, mean: np.ndarray, fit: str, out: np.ndarray
) -> None:
    """Write one view of one image into `out`, uint8 (S, S, 3); `mean` is (3,). See render_all."""
    render_all([image], variation, mean[None], fit, out[None])


def render_all(
    images: Sequence[np.ndarray],
    variations: Variations,
    means: np.ndarray,
    fit: str,
    out: np.ndarray,
) -> None:
    """Write one view of each of B images into `out`, uint8 (B, S, S, 3).

    An image is uint8 (H, W, 3), `means` their mean colours (B, 3) in 0..255, `fit` 'crop' or
    'stretch'. One resampling (bilinear, edges reflected), then one colour matrix.
    """
    size = out.shape[1]
    widths = np.array([image.shape[1] for image in images])
    heights = np.array([image.shape[0] for image in images])
    matrices = affine(widths, heights, size, variations, fit)
    moved = keep_pixels(widths, heights, size, variations).tolist()
    places = whole_places(matrices, size)
    colours = colour_matrices(variations, means)
    for row, (image, view) in enumerate(zip(images, out, strict=True)):
        if moved[row]:
            move(image, places[row], view)
        else:
            warp(image, matrices[row], view)
        if colours is not None:
            cv2.transform(view, colours[row], dst=view)
    if variations.erase is not None:
        fill(out, np.broadcast_to(variations.erase, (len(out), 4)), means)


def warp(image: np.ndarray, matrix: np.ndarray, out: np.ndarray) -> None:
    """Resample an image into `out`, uint8 (S, S, 3); `matrix` is one of affine's.

    OpenCV warps four channels to the same bits in about half the time that it takes for three.
    """
    four = cv2.warpAffine(
        cv2.cvtColor(image, cv2.COLOR_RGB2RGBA),
        matrix,
        out.shape[:2],
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    )
    cv2.cvtColor(four, cv2.COLOR_RGBA2RGB, dst=out)


def keep_pixels(
    widths: np.ndarray, heights: np.ndarray, size: int, variations: Variations
) -> np.ndarray:
    """Return which images (B,) are flipped and shifted at most, and have the output's size.

    Shifted by whole pixels they need no resampling, which would blur small images.
    """
    by_whole = variations.box is None and variations.whole_pixels
    straight = (np.asarray(variations.shear) == 0).all(axis=-1)
    untouched = (np.asarray(variations.angle_deg) == 0) & straight & by_whole
    return np.asarray((widths == size) & (heights == size) & untouched)


def whole_places(matrices: np.ndarray, size: int) -> np.ndarray:
    """Return the column and the row of an image that each column and row of the output shows.

    (B, 2, S) int64, where pixels are kept. The edge is reflected without being doubled, as
    PyTorch's 'reflect' does (BORDER_REFLECT_101).
    """
    steps = matrices[:, [0, 1], [0, 1], None] * np.arange(size) + matrices[:, :, 2, None]
    period = max(2 * (size - 1), 1)
    places = steps.astype(np.int64) % period
    return np.asarray(np.minimum(places, period - places))


def move(image: np.ndarray, places: np.ndarray, out: np.ndarray) -> None:
    """Flip and shift an image of the output's size by whole pixels; `places` is one of whole_places'."""
    columns, rows = places
    # Of two steps, the first copies whole rows. 'clip' writes into `out` at once, 'raise' by a detour.
    np.take(image.take(rows, axis=0), columns, axis=1, out=out, mode="clip")


def affine(
    widths: np.ndarray, heights: np.ndarray, size: int, variations: Variations, fit: str
) -> np.ndarray:
    """Return the matrices (B, 2, 3) from output pixels to image pixels, for sides (B,) in px.

    The output square is shifted, sheared, turned and flipped back, then laid over the box.
    """
    left, top, width_frac, height_frac = np.asarray(
        WHOLE if variations.box is None else variations.box
    ).T
    box_widths, box_heights = width_frac * widths, height_frac * heights
    centres_x = left * widths + box_widths / 2
    centres_y = top * heights + box_heights / 2
    if variations.box is None and fit == "crop":
        box_widths = box_heights = np.minimum(widths, heights)
    turn = np.radians(variations.angle_deg)
    cos, sin = np.cos(turn), np.sin(turn)
    horizontal_flip = np.where(variations.flip, -1.0, 1.0)
    # Columns: what one step to the right and one step down in the output mean in the image.
    a, b = horizontal_flip * box_widths * cos / size, horizontal_flip * box_widths * sin / size
    c, d = -box_heights * sin / size, box_heights * cos / size
    rows, columns = np.broadcast_to(variations.shear, (len(widths), 2)).T
    a, b, c, d = a + b * columns, b + a * rows, c + d * columns, d + c * rows
    shift_px = np.broadcast_to(variations.shift, (len(widths), 2)) * size
    whole = keep_pixels(widths, heights, size, variations)
    shift_px = np.where(whole[:, None], np.rint(shift_px), shift_px)
    # Pixel centres lie at half integers: the output's centre falls on the box's centre.
    middle_u, middle_v = (size - 1) / 2 + shift_px.T
    right = centres_x - 0.5 - a * middle_u - b * middle_v
    down = centres_y - 0.5 - c * middle_u - d * middle_v
    matrices = np.array([[a, b, right], [c, d, down]])
    return np.ascontiguousarray(np.moveaxis(matrices, 2, 0))


def colour_matrices(variations: Variations, means: np.ndarray) -> np.ndarray | None:
    """Return brightness, contrast, saturation and hue, in this order, as matrices (B, 3, 4).

    None where nothing changes. Contrast pulls towards the image's own mean grey. Hue turns the
    colours in YIQ, close to but not the same as a turn in HSV.
    """
    fields = (variations.brightness, variations.contrast, variations.saturation, variations.hue)
    brightness, contrast, saturation, hue = (
        np.broadcast_to(field, len(means))[:, None, None] for field in fields
    )
    if all(np.all(field == plain) for field, plain in zip(fields, (1, 1, 1, 0), strict=True)):
        return None
    turn = 2 * math.pi * hue
    chroma = saturation * (np.cos(turn) * CHROMA + np.sin(turn) * QUARTER_TURN)
    greys = (means * GREY).sum(axis=1)[:, None, None]
    # Grey has no chroma: what contrast adds passes through saturation and hue unchanged.
    offset = np.broadcast_to((1 - contrast) * brightness * greys, (len(means), 3, 1))
    return np.concatenate([brightness * contrast * (LUMA + chroma), offset], axis=2)


def fill(images: np.ndarray, boxes: np.ndarray, means: np.ndarray) -> None:
    """Fill a box (B, 4), in shares of the side, of each image (B, S, S, 3) with its mean (B, 3)."""
    colours = np.rint(means)
    edges = np.rint(images.shape[1] * boxes).astype(int).tolist()
    for image, (left, top, width, height), colour in zip(images, edges, colours, strict=True):
        image[top : top + height, left : left + width] = colour
