"""Augmentation: one affine step and one colour step, drawn from an address instead of a state."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from resnetlab.data.philox import uniforms
from resnetlab.recipe import Augment

GREY = np.array([0.299, 0.587, 0.114])  # luma of ITU-R BT.601, as Pillow and torchvision use it
# RGB to YIQ: in this space a turn of the colour circle is a rotation of (I, Q).
RGB_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
# A colour is its luma, in all three channels, and its chroma, which is what a turn acts on.
LUMA = np.tile(GREY, (3, 1))
CHROMA = np.eye(3) - LUMA
QUARTER_TURN = np.linalg.inv(RGB_TO_YIQ) @ np.array([[0, 0, 0], [0, 0, 1], [0, -1, 0]]) @ RGB_TO_YIQ
ERASE_SCALE = (0.02, 0.33)  # Zhong et al. 2020, Random Erasing
ERASE_RATIO = (0.3, 3.3)
WHOLE = (0.0, 0.0, 1.0, 1.0)  # the box of a whole picture
NUMBERS = 18  # that a picture draws in an epoch
FLIP = 4  # which of them decides the flip


@dataclass(frozen=True)
class Variations:
    """What an augmented view does to each of B pictures; the default is the plain centred view.

    Each field is one value for all pictures, or an array with a value a picture: (B,), or (B, n) of
    a tuple. `box` is the part of the picture to take as (left, top, width, height), each a share of
    the picture's sides; `erase` likewise a share of the output, without width where nothing goes.
    """

    box: np.ndarray | tuple[float, float, float, float] | None = None
    flip: np.ndarray | bool = False
    angle_deg: np.ndarray | float = 0.0  # clockwise
    shift: np.ndarray | tuple[float, float] = (0.0, 0.0)  # right and down, share of the output
    brightness: np.ndarray | float = 1.0
    contrast: np.ndarray | float = 1.0
    saturation: np.ndarray | float = 1.0
    hue: np.ndarray | float = 0.0  # share of the colour circle, from red towards green
    erase: np.ndarray | tuple[float, float, float, float] | None = None


PLAIN = Variations()


def draw(
    augment: Augment, seed: int, epoch: int, keys: np.ndarray, aspects: np.ndarray
) -> Variations:
    """Draw how each of B pictures varies: a function of (seed, epoch, key) and nothing else.

    `keys` (B,) are 64 bits of each picture's content, uint64, `aspects` (B,) its width over height.
    Each setting has its own numbers in the stream, so that switching one on leaves the others as
    they were.
    """
    u = uniforms(seed, epoch, keys, NUMBERS)
    reach = 2 * u - 1  # -1..1
    box = erase = None
    if augment.crop_scale:
        box = draw_boxes(augment.crop_scale, augment.crop_ratio, aspects, u[0:4])
    if augment.erase:
        erase = draw_boxes(ERASE_SCALE, ERASE_RATIO, np.ones(len(keys)), u[13:17])
        erase[u[12] >= augment.erase] = 0
    return Variations(
        box=box,
        flip=draw_flips(augment, seed, epoch, keys, u[FLIP]),
        angle_deg=reach[5] * augment.rotation_deg,
        shift=(reach[6:8] * augment.translate_frac).T,
        brightness=1 + reach[8] * augment.brightness,
        contrast=1 + reach[9] * augment.contrast,
        saturation=1 + reach[10] * augment.saturation,
        hue=reach[11] * augment.hue,
        erase=erase,
    )


def draw_flips(
    augment: Augment, seed: int, epoch: int, keys: np.ndarray, u: np.ndarray
) -> np.ndarray:
    """Return which pictures are flipped, (B,) bool, from a uniform each.

    Alternating, every picture is flipped in every second epoch, so that two epochs show all that
    there is; epoch 0 draws which half begins. Source: Jordan 2024, '94% on CIFAR-10 in 3.29 Seconds
    on a Single GPU', arXiv:2404.00498.
    """
    if augment.flip != "alternate":
        return np.asarray(u < augment.flip)
    flipped_first = uniforms(seed, 0, keys, FLIP + 1)[FLIP] < 0.5
    return np.asarray(flipped_first != bool(epoch % 2))


def draw_boxes(
    scale: tuple[float, float], ratio: tuple[float, float], aspects: np.ndarray, u: np.ndarray
) -> np.ndarray:
    """Draw boxes (B, 4) with a share of the area in `scale` and a shape (px) in `ratio`, from u (4, B).

    Torchvision's random resized crop draws up to ten times until the box fits; here a side that
    doesn't fit is cut to the picture.
    """
    area = scale[0] + (scale[1] - scale[0]) * u[0]
    shape = np.exp(math.log(ratio[0]) + math.log(ratio[1] / ratio[0]) * u[1])
    width = np.minimum(1.0, np.sqrt(area * shape / aspects))
    height = np.minimum(1.0, np.sqrt(area / shape * aspects))
    return np.stack([(1 - width) * u[2], (1 - height) * u[3], width, height], axis=1)


def render(
    picture: np.ndarray, variation: Variations, mean: np.ndarray, fit: str, out: np.ndarray
) -> None:
    """Write one view of one picture into `out`, uint8 (S, S, 3); `mean` is (3,). See render_all."""
    render_all([picture], variation, mean[None], fit, out[None])


def render_all(
    pictures: Sequence[np.ndarray],
    variations: Variations,
    means: np.ndarray,
    fit: str,
    out: np.ndarray,
) -> None:
    """Write one view of each of B pictures into `out`, uint8 (B, S, S, 3).

    A picture is uint8 (H, W, 3), `means` their mean colours (B, 3) in 0..255, `fit` 'crop' or
    'stretch'. One resampling (bilinear, edges reflected), then one colour matrix.
    """
    size = out.shape[1]
    widths = np.array([picture.shape[1] for picture in pictures])
    heights = np.array([picture.shape[0] for picture in pictures])
    matrices = affine(widths, heights, size, variations, fit)
    moved = keep_pixels(widths, heights, size, variations).tolist()
    places = whole_places(matrices, size)
    colours = colour_matrices(variations, means)
    for row, (picture, image) in enumerate(zip(pictures, out, strict=True)):
        if moved[row]:
            move(picture, places[row], image)
        else:
            warp(picture, matrices[row], image)
        if colours is not None:
            cv2.transform(image, colours[row], dst=image)
    if variations.erase is not None:
        fill(out, np.broadcast_to(variations.erase, (len(out), 4)), means)


def warp(picture: np.ndarray, matrix: np.ndarray, out: np.ndarray) -> None:
    """Resample a picture into `out`, uint8 (S, S, 3); `matrix` is one of affine's.

    OpenCV warps four channels to the same bits in about half the time that it takes for three.
    """
    four = cv2.warpAffine(
        cv2.cvtColor(picture, cv2.COLOR_RGB2RGBA),
        matrix,
        out.shape[:2],
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    )
    cv2.cvtColor(four, cv2.COLOR_RGBA2RGB, dst=out)


def keep_pixels(
    widths: np.ndarray, heights: np.ndarray, size: int, variations: Variations
) -> np.ndarray:
    """Return which pictures (B,) are flipped and shifted at most, and have the output's size.

    Shifted by whole pixels they need no resampling, which would blur small pictures.
    """
    untouched = (np.asarray(variations.angle_deg) == 0) & (variations.box is None)
    return np.asarray((widths == size) & (heights == size) & untouched)


def whole_places(matrices: np.ndarray, size: int) -> np.ndarray:
    """Return the column and the row of a picture that each column and row of the output shows.

    (B, 2, S) int64, where pixels are kept. The edge is reflected without being doubled, as
    PyTorch's 'reflect' does (BORDER_REFLECT_101).
    """
    steps = matrices[:, [0, 1], [0, 1], None] * np.arange(size) + matrices[:, :, 2, None]
    period = max(2 * (size - 1), 1)
    places = steps.astype(np.int64) % period
    return np.asarray(np.minimum(places, period - places))


def move(picture: np.ndarray, places: np.ndarray, out: np.ndarray) -> None:
    """Flip and shift a picture of the output's size by whole pixels; `places` is one of whole_places'."""
    columns, rows = places
    # Of two steps, the first copies whole rows. 'clip' writes into `out` at once, 'raise' by a detour.
    np.take(picture.take(rows, axis=0), columns, axis=1, out=out, mode="clip")


def affine(
    widths: np.ndarray, heights: np.ndarray, size: int, variations: Variations, fit: str
) -> np.ndarray:
    """Return the matrices (B, 2, 3) from output pixels to picture pixels, for sides (B,) in px.

    The output square is shifted, turned and flipped back, then laid over the box.
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
    mirror = np.where(variations.flip, -1.0, 1.0)
    # Columns: what one step to the right and one step down in the output mean in the picture.
    a, b = mirror * box_widths * cos / size, mirror * box_widths * sin / size
    c, d = -box_heights * sin / size, box_heights * cos / size
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

    None where nothing changes. Contrast pulls towards the picture's own mean grey. Hue turns the
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
