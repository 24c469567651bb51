"""How an image varies in an epoch: drawn from an address instead of a state."""

import math
from dataclasses import dataclass

import numpy as np

from resnetlab.data.augment.philox import uniforms
from resnetlab.recipe import Augment

ERASE_SCALE = (0.02, 0.33)  # Zhong et al. 2020, Random Erasing
ERASE_RATIO = (0.3, 3.3)
NUMBERS = 18  # random numbers that an image draws in an epoch
FLIP = 4  # index of the one that decides the flip
EVEN = 0.5  # chance of a flip
TRIVIAL = 18  # index of the first of two that decide the one more change
# The strongest of each, from Cubuk et al. 2020, RandAugment, in our units; beside them none.
STRONGEST = {
    "angle_deg": 30.0,
    "right": 0.45,
    "down": 0.45,
    "shear_rows": 0.3,
    "shear_columns": 0.3,
    "brightness": 0.9,
    "contrast": 0.9,
    "saturation": 0.9,
}


@dataclass(frozen=True)
class Variations:
    """What an augmented view does to each of B images; the default is the plain centred view.

    Each field is one value for all images, or an array with a value an image: (B,), or (B, n) of
    a tuple. `box` is the region of the image to take as (left, top, width, height), each a share of
    the image's sides; `erase` likewise a share of the output, without width where nothing goes.
    """

    box: np.ndarray | tuple[float, float, float, float] | None = None
    flip: np.ndarray | bool = False
    angle_deg: np.ndarray | float = 0.0  # clockwise
    shift: np.ndarray | tuple[float, float] = (0.0, 0.0)  # right and down, share of the output
    shear: np.ndarray | tuple[float, float] = (0.0, 0.0)  # of rows to the right, of columns down
    whole_pixels: bool = True  # where nothing else resamples, the shift is rounded to such
    brightness: np.ndarray | float = 1.0
    contrast: np.ndarray | float = 1.0
    saturation: np.ndarray | float = 1.0
    hue: np.ndarray | float = 0.0  # share of the colour circle, from red towards green
    erase: np.ndarray | tuple[float, float, float, float] | None = None


PLAIN = Variations()


def draw(
    augment: Augment, seed: int, epoch: int, keys: np.ndarray, aspects: np.ndarray
) -> Variations:
    """Draw how each of B images varies: a function of (seed, epoch, key) and nothing else.

    `keys` (B,) are 64 bits of each image's content, uint64, `aspects` (B,) its width over height.
    Each setting has its own numbers in the stream, so that switching one on leaves the others as
    they were.
    """
    u = uniforms(seed, epoch, keys, NUMBERS + 2 * augment.trivial)
    reach = 2 * u - 1  # -1..1
    box = erase = None
    if augment.crop_scale:
        box = draw_boxes(augment.crop_scale, augment.crop_ratio, aspects, u[0:4])
    if augment.erase:
        erase = draw_boxes(ERASE_SCALE, ERASE_RATIO, np.ones(len(keys)), u[13:17])
        erase[u[12] >= augment.erase] = 0
    more = draw_trivial(u[TRIVIAL:]) if augment.trivial else {}
    shift = (reach[6:8] * augment.translate_frac).T
    shear = np.zeros_like(shift)
    if more:
        shift = shift + np.stack([more["right"], more["down"]], axis=1)
        shear = np.stack([more["shear_rows"], more["shear_columns"]], axis=1)
    return Variations(
        box=box,
        flip=draw_flips(augment, seed, epoch, keys, u[FLIP]),
        angle_deg=reach[5] * augment.rotation_deg + more.get("angle_deg", 0.0),
        shift=shift,
        shear=shear,
        whole_pixels=augment.whole_pixels or not augment.translate_frac,
        brightness=(1 + reach[8] * augment.brightness) * (1 + more.get("brightness", 0.0)),
        contrast=(1 + reach[9] * augment.contrast) * (1 + more.get("contrast", 0.0)),
        saturation=(1 + reach[10] * augment.saturation) * (1 + more.get("saturation", 0.0)),
        hue=reach[11] * augment.hue,
        erase=erase,
    )


def draw_trivial(u: np.ndarray) -> dict[str, np.ndarray]:
    """Return how strong each change of STRONGEST is for each of B images, from u (2, B): one, or none.

    Source: Müller and Hutter 2021, 'TrivialAugment', arXiv:2103.10158. Of its changes those that are one
    warp or one colour matrix; a change of the histogram or of single bits is neither.
    """
    chosen = np.floor(u[0] * (len(STRONGEST) + 1)).astype(int)
    return {
        name: np.where(chosen == number, (2 * u[1] - 1) * strongest, 0.0)
        for number, (name, strongest) in enumerate(STRONGEST.items())
    }


def draw_flips(
    augment: Augment, seed: int, epoch: int, keys: np.ndarray, u: np.ndarray
) -> np.ndarray:
    """Return which images are flipped, (B,) bool, from a uniform each.

    Alternating, every image is flipped in every second epoch, so that two epochs show all that
    there is; epoch 0 draws which half begins. Source: Jordan 2024, '94% on CIFAR-10 in 3.29 Seconds
    on a Single GPU', arXiv:2404.00498.
    """
    if augment.flip != "alternate":
        return np.asarray(u < (EVEN if augment.flip == "auto" else augment.flip))
    flipped_first = uniforms(seed, 0, keys, FLIP + 1)[FLIP] < EVEN
    return np.asarray(flipped_first != bool(epoch % 2))


def draw_boxes(
    scale: tuple[float, float], ratio: tuple[float, float], aspects: np.ndarray, u: np.ndarray
) -> np.ndarray:
    """Draw boxes (B, 4) with a share of the area in `scale` and a shape (px) in `ratio`, from u (4, B).

    Torchvision's random resized crop draws up to ten times until the box fits; here a side that
    doesn't fit is cut to the image.
    """
    area = scale[0] + (scale[1] - scale[0]) * u[0]
    shape = np.exp(math.log(ratio[0]) + math.log(ratio[1] / ratio[0]) * u[1])
    width = np.minimum(1.0, np.sqrt(area * shape / aspects))
    height = np.minimum(1.0, np.sqrt(area / shape * aspects))
    return np.stack([(1 - width) * u[2], (1 - height) * u[3], width, height], axis=1)
