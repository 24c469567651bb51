"""Images of more than 8 bits a value: one scale for all of a set, from what they hold to 0 to 255.

Microscopes, scanners and cameras in industry write 12 bits into 16, or floats of any range. What is
black and what is white is a matter of the set: each image by itself would lose how bright it was.
"""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from PIL import Image, TiffImagePlugin

from resnetlab.data.formats import kind_of, why_not
from resnetlab.data.store.upright import turn

ValueRange = tuple[float, float]  # what becomes 0, and what becomes 255

PNG, PNG_DEPTH = b"\x89PNG\r\n\x1a\n", 24  # where a PNG states its bits a value
TIFF = (b"II*\0", b"MM\0*")
BITS, CHANNELS, ORIENTATION, PHOTOMETRIC, HIGHEST = 258, 277, 274, 262, 281  # tags of a TIFF
WHITE_IS_ZERO = 0  # of PHOTOMETRIC
MOST_CHANNELS = 4
OPAQUE = 65535.0  # alpha is stored in 16 bits
GREY_MODES = ("I", "F")  # and those of 16 bits, I;16 and the like
USED = 0.5  # share of the whole range of a type from which on it is taken whole
BYTE_LIKE = 64.0  # floats that pass this, and not 255, are meant as bytes


@dataclass(frozen=True)
class Extremes:
    """The lowest and highest finite value of an image, whether they are floats, and the type's own highest.

    `stated` is the highest value that the file's tag allows, where that is less than the type's.
    """

    low: float
    high: float
    is_float: bool
    most: float
    stated: float | None = None


def bits_of(content: bytes) -> int:
    """Return how many bits a value has, as the header states it: 8 for all that is no PNG or TIFF."""
    if content.startswith(PNG):
        return content[PNG_DEPTH] if len(content) > PNG_DEPTH else 8
    if content.startswith(TIFF):
        found = tiff_tags(content).get(BITS, 8)
        return max(found) if isinstance(found, tuple) else int(found)
    return 8


def channels_of(content: bytes) -> int:
    """Return how many channels a TIFF states, 1 for anything else."""
    return int(tiff_tags(content).get(CHANNELS, 1)) if content.startswith(TIFF) else 1


def tiff_tags(content: bytes) -> dict[int, Any]:
    """Return the tags of a TIFF's first page; those of a damaged one are none."""
    try:
        tags = TiffImagePlugin.ImageFileDirectory_v2(content[:8])
        stream = io.BytesIO(content)
        stream.seek(tags.next)
        tags.load(stream)
        return dict(tags)
    except Exception:  # a foreign binary format; whoever decodes it will say what is wrong
        return {}


def deep_values(content: bytes, image: Image.Image) -> np.ndarray | None:
    """Return the values of an opened image of more than 8 bits, (H, W) or (H, W, C) RGB(A); else None.

    Its decoder's errors for a damaged file are raised.
    """
    if bits_of(content) <= 8:
        return None
    # Of a TIFF, which Pillow turns by itself and OpenCV leaves as it is; a PNG's is in its EXIF.
    orientation = dict(getattr(image, "tag_v2", {})).get(ORIENTATION, 1)
    image.load()
    if image.mode in GREY_MODES or image.mode.startswith("I;16"):
        return growing_with_light(np.asarray(image), content)
    values = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype == np.uint8:
        return None  # 8 bits are all that can be had of it
    if values.ndim == 3:
        values = cv2.cvtColor(
            values, cv2.COLOR_BGRA2RGBA if values.shape[2] == 4 else cv2.COLOR_BGR2RGB
        )
    return turn(values, orientation)


def growing_with_light(values: np.ndarray, content: bytes) -> np.ndarray:
    """Return grey values that grow with brightness: a TIFF's whose white is zero are turned round."""
    tags = tiff_tags(content) if content.startswith(TIFF) else {}
    if tags.get(PHOTOMETRIC) != WHITE_IS_ZERO or values.dtype.kind == "f" or bits_of(content) > 16:
        return values
    most = stated_highest(content) or 2 ** bits_of(content) - 1
    return np.clip(most - values.astype(np.int64), 0, None).astype(values.dtype)


def stated_highest(content: bytes) -> int | None:
    """Return the highest value that a TIFF's tag allows, None where it says no more than the type."""
    found = tiff_tags(content).get(HIGHEST) if content.startswith(TIFF) else None
    highest = max(found) if isinstance(found, tuple) and found else found
    return highest if isinstance(highest, int) and 0 < highest < 2 ** bits_of(content) - 1 else None


def extremes_of(content: bytes) -> Extremes | None:
    """Return the extremes of an image of more than 8 bits; None for others, and for damaged ones."""
    is_dicom = kind_of(content) == "DICOM" and not why_not("DICOM")
    if not is_dicom and bits_of(content) <= 8:
        return None
    try:
        values = dicom_without_window(content) if is_dicom else opened_values(content)
    except Exception:  # whoever decodes it will say what is wrong
        return None
    if values is None:
        return None
    values = values[..., :3] if values.ndim == 3 else values
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if not finite.size:
        return None
    is_float = values.dtype.kind == "f" and not is_dicom
    bits = 16 if is_dicom else min(bits_of(content), 16)
    most = 1.0 if is_float else float(2**bits - 1)
    stated = None if is_float else stated_highest(content)
    return Extremes(float(finite.min()), float(finite.max()), is_float, most, stated)


def opened_values(content: bytes) -> np.ndarray | None:
    """Return the values of an image that Pillow opens, where they have more than 8 bits."""
    with Image.open(io.BytesIO(content)) as image:
        return deep_values(content, image)


def dicom_without_window(content: bytes) -> np.ndarray | None:
    """Return the values of a DICOM image that names no scale of its own."""
    from resnetlab.data.store.dicom import dicom_values

    values, window = dicom_values(content)
    return values if window is None else None


def range_of(found: Iterable[Extremes]) -> ValueRange | None:
    """Return the scale for images with these extremes, None without any.

    Whole numbers whose files all state the highest have that; others from 0 on end at the next power
    of two less one (12 bits: 4095), so that a few more images change nothing. Floats within 0 to 1, or
    meant as bytes, have that range; all else goes from the lowest to the highest value.
    """
    each = list(found)
    if not each:
        return None
    low, high = min(one.low for one in each), max(one.high for one in each)
    if low < 0:
        return low, max(high, low + 1)
    if any(one.is_float for one in each):
        if high <= 1:
            return 0.0, 1.0
        return (0.0, 255.0) if BYTE_LIKE < high <= 255 else (low, high if high > low else low + 1)
    stated = [one.stated for one in each if one.stated is not None]
    if len(stated) == len(each) and high <= max(stated):
        return 0.0, float(max(stated))
    most = max(one.most for one in each)
    if high >= USED * most:
        return 0.0, most
    return 0.0, float(2 ** max(int(high).bit_length(), 1) - 1)


def to_bytes(values: np.ndarray, value_range: ValueRange | None, background: int) -> np.ndarray:
    """Return values (H, W) or (H, W, C) as RGB, uint8 (H, W, 3).

    Without a range the image's own type decides; what is no number becomes the darkest. Transparent
    pixels show a background.
    """
    if value_range is None:
        value_range = range_of_type(values)
    low, high = value_range
    scaled = (values.astype(np.float32) - low) * (255 / (high - low))
    scaled = np.clip(np.nan_to_num(scaled, nan=0.0, posinf=255.0, neginf=0.0), 0, 255)
    if values.ndim == 2:
        return np.repeat(np.rint(scaled).astype(np.uint8)[:, :, None], 3, axis=2)
    colours = scaled[..., :3]
    if values.shape[2] == MOST_CHANNELS:
        alpha = values[..., 3:].astype(np.float32) / OPAQUE
        colours = colours * alpha + background * (1 - alpha)
    rgb: np.ndarray = np.rint(colours).astype(np.uint8)
    return rgb


def range_of_type(values: np.ndarray) -> ValueRange:
    """Return the scale of an image by itself: all that its type can hold, or what its floats look like."""
    if values.dtype.kind == "f":
        finite = values[np.isfinite(values)]
        ends = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        found = range_of([Extremes(*ends, True, 1.0)])
        assert found is not None
        return found
    return (0.0, 65535.0) if values.min(initial=0) >= 0 else (-32768.0, 32767.0)
