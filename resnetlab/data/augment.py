"""Augmentation: one affine step and one colour step, drawn from an address instead of a state."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from resnetlab.recipe import Augment

GREY = np.array([0.299, 0.587, 0.114])  # luma of ITU-R BT.601, as Pillow and torchvision use it
# RGB to YIQ: in this space a turn of the colour circle is a rotation of (I, Q).
RGB_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
YIQ_TO_RGB = np.linalg.inv(RGB_TO_YIQ)
ERASE_SCALE = (0.02, 0.33)  # Zhong et al. 2020, Random Erasing
ERASE_RATIO = (0.3, 3.3)


@dataclass(frozen=True)
class Variation:
    """What one augmented view does to a picture; the default is the plain centred view.

    `box` is the part of the picture to take as (left, top, width, height), each a share of the
    picture's sides; `erase` likewise a share of the output.
    """

    box: tuple[float, float, float, float] | None = None
    flip: bool = False
    angle_deg: float = 0.0  # clockwise
    shift: tuple[float, float] = (0.0, 0.0)  # right and down, share of the output's side
    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0  # share of the colour circle, from red towards green
    erase: tuple[float, float, float, float] | None = None


PLAIN = Variation()


def draw(augment: Augment, seed: int, epoch: int, key: int, aspect: float) -> Variation:
    """Draw the variation of one picture: a function of (seed, epoch, key) and nothing else.

    `key` is 64 bits of the picture's content, `aspect` its width over height. Each setting has its
    own numbers in the stream, so that switching one on leaves the others as they were.
    Source: counter-based generator, Salmon et al. 2011, 'Parallel random numbers: as easy as 1, 2, 3'.
    """
    # As a list, a key above 2**63 would pass through float64 and lose its low bits.
    address = np.array([seed, key], dtype=np.uint64)
    generator = np.random.Generator(np.random.Philox(key=address, counter=[0, 0, epoch, 0]))
    u = generator.random(18).tolist()
    reach = [2 * value - 1 for value in u]  # -1..1
    erase = None
    if u[12] < augment.erase:
        erase = draw_box(ERASE_SCALE, ERASE_RATIO, 1.0, u[13:17])
    return Variation(
        box=draw_box(augment.crop_scale, augment.crop_ratio, aspect, u[0:4])
        if augment.crop_scale
        else None,
        flip=u[4] < augment.flip,
        angle_deg=reach[5] * augment.rotation_deg,
        shift=(reach[6] * augment.translate_frac, reach[7] * augment.translate_frac),
        brightness=1 + reach[8] * augment.brightness,
        contrast=1 + reach[9] * augment.contrast,
        saturation=1 + reach[10] * augment.saturation,
        hue=reach[11] * augment.hue,
        erase=erase,
    )


def draw_box(
    scale: tuple[float, float], ratio: tuple[float, float], aspect: float, u: list[float]
) -> tuple[float, float, float, float]:
    """Draw a box with a share of the area in `scale` and a shape (px) in `ratio`, from four uniforms.

    Torchvision's random resized crop draws up to ten times until the box fits; here a side that
    doesn't fit is cut to the picture.
    """
    area = scale[0] + (scale[1] - scale[0]) * u[0]
    shape = math.exp(math.log(ratio[0]) + math.log(ratio[1] / ratio[0]) * u[1])
    width = min(1.0, math.sqrt(area * shape / aspect))
    height = min(1.0, math.sqrt(area / shape * aspect))
    return (1 - width) * u[2], (1 - height) * u[3], width, height


def render(
    picture: np.ndarray, variation: Variation, mean: np.ndarray, fit: str, out: np.ndarray
) -> None:
    """Write one view of a picture into `out`.

    `picture` is uint8 (H, W, 3), `mean` its mean colour (3,) in 0..255, `fit` 'crop' or 'stretch',
    `out` uint8 (S, S, 3). One resampling (bilinear, edges reflected), then one colour matrix.
    """
    size = out.shape[0]
    matrix = affine(picture.shape[1], picture.shape[0], size, variation, fit)
    cv2.warpAffine(
        picture,
        matrix,
        (size, size),
        dst=out,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    )
    colour = colour_matrix(variation, mean)
    if colour is not None:
        cv2.transform(out, colour, dst=out)
    if variation.erase is not None:
        left, top, width, height = (round(size * share) for share in variation.erase)
        out[top : top + height, left : left + width] = np.rint(mean)


def affine(width: int, height: int, size: int, variation: Variation, fit: str) -> np.ndarray:
    """Return the 2×3 matrix from output pixels to picture pixels.

    The output square is shifted, turned and flipped back, then laid over the box.
    """
    left, top, box_width, box_height = variation.box or (0.0, 0.0, 1.0, 1.0)
    box_width, box_height = box_width * width, box_height * height
    centre_x = left * width + box_width / 2
    centre_y = top * height + box_height / 2
    if variation.box is None and fit == "crop":
        box_width = box_height = min(width, height)
    turn = math.radians(variation.angle_deg)
    cos, sin = math.cos(turn), math.sin(turn)
    mirror = -1.0 if variation.flip else 1.0
    # Columns: what one step to the right and one step down in the output mean in the picture.
    a, b = mirror * box_width * cos / size, mirror * box_width * sin / size
    c, d = -box_height * sin / size, box_height * cos / size
    # Pixel centres lie at half integers: the output's centre falls on the box's centre.
    middle_u = (size - 1) / 2 + variation.shift[0] * size
    middle_v = (size - 1) / 2 + variation.shift[1] * size
    return np.array(
        [
            [a, b, centre_x - 0.5 - a * middle_u - b * middle_v],
            [c, d, centre_y - 0.5 - c * middle_u - d * middle_v],
        ]
    )


def colour_matrix(variation: Variation, mean: np.ndarray) -> np.ndarray | None:
    """Return brightness, contrast, saturation and hue, in this order, as one 3×4 matrix.

    None where nothing changes. Contrast pulls towards the picture's own mean grey. Hue turns the
    colours in YIQ, close to but not the same as a turn in HSV.
    """
    if (
        variation.brightness == variation.contrast == variation.saturation == 1
        and variation.hue == 0
    ):
        return None
    scale = variation.brightness * variation.contrast
    offset = (1 - variation.contrast) * variation.brightness * float(GREY @ mean)
    saturate = variation.saturation * np.eye(3) + (1 - variation.saturation) * GREY
    turn = 2 * math.pi * variation.hue
    rotate = np.array(
        [[1, 0, 0], [0, math.cos(turn), math.sin(turn)], [0, -math.sin(turn), math.cos(turn)]]
    )
    linear = YIQ_TO_RGB @ rotate @ RGB_TO_YIQ @ saturate
    return np.hstack([linear * scale, (linear @ np.full((3, 1), offset))])
