"""Corruptions of five strengths, by which it is measured how much a network bears.

Noise, blur, brightness and JPEG are those of Hendrycks and Dietterich 2019, 'Benchmarking Neural Network
Robustness to Common Corruptions and Perturbations', with their strengths for 224 px; occlusion, rotation and
scale are ours.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from resnetlab.data.batches import Batch, Reshown, Samples, View

Pixels = np.ndarray  # uint8 (S, S, 3)
PUBLISHED_PX = 224  # at which the strengths of blur were chosen
STREAM = 2  # of the generators whose key begins with a seed: 0 and 1 are the order of epochs and resampling
STRENGTHS = (1, 2, 3, 4, 5)


def noise(image: Pixels, strength: float, random: np.random.Generator) -> Pixels:
    """Add Gaussian noise of a deviation, of pixel values in 0..1."""
    return as_pixels(image + 255 * strength * random.standard_normal(image.shape))


def blur(image: Pixels, strength: float, _: np.random.Generator) -> Pixels:
    """Blur by a Gaussian of a deviation, px at 224 px."""
    sigma = strength * image.shape[0] / PUBLISHED_PX
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma))


def brightness(image: Pixels, strength: float, _: np.random.Generator) -> Pixels:
    """Raise the value of each colour (HSV) by a share of all."""
    hsv = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)
    hsv[:, :, 2] = np.minimum(hsv[:, :, 2] + strength, 1.0)
    return as_pixels(255 * cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))


def jpeg(image: Pixels, strength: float, _: np.random.Generator) -> Pixels:
    """Save as JPEG of a quality, and read again."""
    done, data = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(strength)])
    assert done, "OpenCV writes JPEG"
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB))


def occlusion(image: Pixels, strength: float, random: np.random.Generator) -> Pixels:
    """Cover a square of a share of the side, anywhere, by the image's mean colour."""
    side = image.shape[0]
    width = round(strength * side)
    top, left = random.integers(0, side - width, 2, endpoint=True)
    covered = image.copy()
    covered[top : top + width, left : left + width] = image.mean(axis=(0, 1))
    return covered


def rotation(image: Pixels, strength: float, random: np.random.Generator) -> Pixels:
    """Turn by an angle (degrees), to the left or to the right."""
    return warped(image, strength * random.choice((-1.0, 1.0)), 1.0)


def scale(image: Pixels, strength: float, _: np.random.Generator) -> Pixels:
    """Show all of it smaller, its edges mirrored."""
    return warped(image, 0.0, strength)


def warped(image: Pixels, degrees: float, factor: float) -> Pixels:
    """Turn and shrink an image around its middle; what comes into it is mirrored."""
    side = image.shape[0]
    centre = ((side - 1) / 2, (side - 1) / 2)
    matrix = cv2.getRotationMatrix2D(centre, degrees, factor)
    return np.asarray(
        cv2.warpAffine(image, matrix, (side, side), borderMode=cv2.BORDER_REFLECT_101)
    )


def as_pixels(values: np.ndarray) -> Pixels:
    """Return values rounded and cut to 0..255, uint8."""
    return np.asarray(np.clip(np.rint(values), 0, 255), dtype=np.uint8)


Corrupt = Callable[[Pixels, float, np.random.Generator], Pixels]
CORRUPTIONS: dict[str, tuple[Corrupt, tuple[float, ...]]] = {
    "noise": (noise, (0.08, 0.12, 0.18, 0.26, 0.38)),
    "blur": (blur, (1, 2, 3, 4, 6)),
    "brightness": (brightness, (0.1, 0.2, 0.3, 0.4, 0.5)),
    "jpeg": (jpeg, (25, 18, 15, 10, 7)),
    "occlusion": (occlusion, (0.1, 0.2, 0.3, 0.4, 0.5)),
    "rotation": (rotation, (5, 10, 20, 30, 45)),
    "scale": (scale, (0.9, 0.8, 0.7, 0.6, 0.5)),
}


@dataclass(frozen=True)
class Corrupted(Reshown[Samples]):
    """Samples as a Source of corrupted views; what is random is a function of (seed, sample, corruption)."""

    name: str
    strength: int  # of STRENGTHS
    seed: int

    def batch(self, rows: np.ndarray, view: View) -> Batch:
        """Return a corrupted view of each of these samples."""
        batch = self.samples.batch(rows, view)
        corrupt, strengths = CORRUPTIONS[self.name]
        place = list(CORRUPTIONS).index(self.name)
        for image, row in zip(batch.images, batch.rows, strict=True):
            address = [0, int(self.samples.keys[row]), place, self.strength]
            random = np.random.Generator(np.random.Philox(key=[self.seed, STREAM], counter=address))
            image[:] = corrupt(image, strengths[self.strength - 1], random)
        return batch
