"""What an exported model is held to: the original's probabilities on real images, size and speed."""

import io
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from resnetlab.data.store.decode import exif_of, to_rgb
from resnetlab.data.store.depth import ORIENTATION
from resnetlab.data.store.upright import turn
from resnetlab.deploy.runtime import probabilities_by
from resnetlab.deploy.runtimes import Compute
from resnetlab.errors import CheckpointError

TIMED = 8  # single images against the clock
# The most that a probability may be off. Files are decoded by another library and prepared by the
# graph: pixels differ by a grey level, or a few where the original halves a large JPEG while decoding.
LIMITS = {"prepared": 1e-3, "files": 0.05}


def compare_on(found: np.ndarray, expected: np.ndarray) -> dict[str, Any]:
    """Return in how many of the same images (N, K) the class agrees, and how far probabilities are off."""
    return {
        "images": len(found),
        "same_class": int((found.argmax(axis=1) == expected.argmax(axis=1)).sum()),
        "largest_difference": float(np.abs(found - expected).max()),
    }


def check_limit(what: str, comparison: dict[str, Any]) -> None:
    """Raise CheckpointError where an exported model is too far off the original."""
    if not comparison["largest_difference"] <= LIMITS[what]:
        raise CheckpointError(
            f"the exported model is not the original: on {comparison['images']} images ({what}) a probability "
            f"is {comparison['largest_difference']:.2g} off, allowed are {LIMITS[what]:g}, and the class agrees "
            f"{comparison['same_class']} times; nothing was written. Try another --format, or --preparation outside"
        )


def in_full(content: bytes) -> np.ndarray:
    """Return a file's upright RGB pixels as a user's program would have them, uint8 (1, H, W, 3)."""
    with Image.open(io.BytesIO(content)) as image:
        orientation = exif_of(image).get(ORIENTATION, 1)
        return turn(np.asarray(to_rgb(image)), orientation)[None]


def by_files(compute: Compute, contents: Sequence[bytes]) -> np.ndarray:
    """Return the probabilities (N, K) that a model with its preparation within gives to files."""
    return np.concatenate([probabilities_by(compute, in_full(content)) for content in contents])


def milliseconds(compute: Compute, images: np.ndarray) -> float:
    """Return the time that a single prepared image takes, the median of some, ms."""
    compute(images[:1])
    times = []
    for row in range(min(TIMED, len(images))):
        started = time.perf_counter()
        compute(images[row : row + 1])
        times.append(time.perf_counter() - started)
    return 1000 * float(np.median(times))
