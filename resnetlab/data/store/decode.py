"""From a file's bytes to upright RGB pixels: the only decoder, for training, prediction and server."""

import hashlib
import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from threading import Lock
from types import TracebackType
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from resnetlab.data.formats import READ, SHORT, kind_of, why_not
from resnetlab.data.store.depth import (
    MOST_CHANNELS,
    ORIENTATION,
    ValueRange,
    channels_of,
    deep_values,
    to_bytes,
)
from resnetlab.data.store.jpeg import CUT_END, JPEG_START, jpeg_pixels, jpeg_scale
from resnetlab.data.store.resize import THUMBNAIL_PX, reduced_size, shrink, thumbnail
from resnetlab.data.store.upright import swaps, turn

FORMATS = tuple(READ)
BACKGROUND = (255, 255, 255)  # under transparent pixels, in training and serving alike
LOSSY = ("JPEG", "WEBP", "AVIF", "JP2", "HEIC")  # other decoders may give other pixels
TRUNCATED = "truncated"


class ImageProblem(Exception):
    """Why an image can't be used; the text stands in the catalog."""


@dataclass(frozen=True)
class DecodedImage:
    """A decoded image: `pixels` uint8 (H, W, 3), upright RGB, reduced.

    `small` is a grey thumbnail, uint8 (THUMBNAIL_PX, THUMBNAIL_PX), stretched to the square; how far `pixels` were
    reduced changes it by about a grey level. `width` and `height` (px) are of the original, upright. `format`
    is the file's, by its content; `several` says that there are more pages or frames, of which the
    first was taken; `camera` is what its EXIF names; `quality` is the sum of a JPEG's first
    quantisation table, 0 without one. `identity` is a hash (hex) of the full pixels where the format
    keeps them exactly, so that the same image in another such format is the same; '' elsewhere:
    there the file's own hash tells copies. `cut`: its end was missing.
    """

    pixels: np.ndarray
    small: np.ndarray
    width: int
    height: int
    format: str
    several: bool
    camera: str
    quality: int
    identity: str
    cut: bool = False


def decode(
    content: bytes,
    short_side: int,
    max_pixels: int,
    allow_truncated: bool = False,
    value_range: ValueRange | None = None,
) -> DecodedImage:
    """Decode one image in full.

    It comes upright (EXIF), on a fixed background, and reduced so that its shorter side is
    `short_side`; a smaller one is kept as it is. Values of more than 8 bits are scaled by `value_range`.
    With `allow_truncated`, what is missing at the end of a JPEG is left grey. Raises ImageProblem with
    the reason.
    """
    if not content:
        raise ImageProblem("empty")
    try:
        kind = kind_of(content)
        if missing := why_not(kind):
            raise ImageProblem(missing)
        with QUIET:
            if kind == "DICOM":
                return reduce_dicom(content, short_side, max_pixels, value_range)
            image = open_image(content, max_pixels)
            return reduce_upright(content, image, short_side, value_range)
    except ImageProblem:
        raise
    except (OSError, EOFError, SyntaxError, ValueError, IndexError, TypeError) as error:
        problem = reason(error)
        if allow_truncated and problem == TRUNCATED and content.startswith(JPEG_START):
            return replace(decode(content + CUT_END, short_side, max_pixels), cut=True)  # a JPEG
        raise ImageProblem(problem) from error


def peek_short_side(content: bytes) -> int:
    """Return the shorter side (px) that a header states. Raises ImageProblem where there is none."""
    return min(peek_size(content))


def peek_size(content: bytes) -> tuple[int, int]:
    """Return the width and height (px) that a header states, perhaps not upright.

    Raises ImageProblem where there is none.
    """
    try:
        with QUIET, Image.open(io.BytesIO(content), formats=formats_for(content)) as image:
            return image.size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ImageProblem(reason(error)) from error


class Quiet:
    """Keeps Pillow's warnings of oddities to itself: the checks here decide on them.

    `catch_warnings` alone would leave other filters behind when threads decode side by side, so
    the first one in enters it and the last one out leaves it.
    """

    def __init__(self) -> None:
        self.lock = Lock()
        self.inside = 0

    def __enter__(self) -> None:
        with self.lock:
            if not self.inside:
                self.caught = warnings.catch_warnings()
                self.caught.__enter__()
                warnings.simplefilter("ignore")
            self.inside += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self.lock:
            self.inside -= 1
            if not self.inside:
                self.caught.__exit__(kind, error, trace)


QUIET = Quiet()


def open_image(content: bytes, max_pixels: int) -> Image.Image:
    """Read the header and refuse what is no image or would be too large once decoded."""
    try:
        image = Image.open(io.BytesIO(content), formats=formats_for(content))
    except UnidentifiedImageError as error:
        if (channels := channels_of(content)) > MOST_CHANNELS:
            raise ImageProblem(
                f"has {channels} channels, at most {MOST_CHANNELS} can be used"
            ) from error
        raise ImageProblem("not an image") from error
    except Image.DecompressionBombError as error:
        raise ImageProblem("too many pixels") from error
    if image.width * image.height > max_pixels:
        raise ImageProblem("too many pixels")
    return image


def formats_for(content: bytes) -> tuple[str, ...]:
    """Return the formats that a file may be read as."""
    if kind_of(content) != "HEIC" or why_not("HEIC"):
        return FORMATS
    from pillow_heif import register_heif_opener

    register_heif_opener()
    return ("HEIF",)


def reduce_dicom(
    content: bytes, short_side: int, max_pixels: int, value_range: ValueRange | None
) -> DecodedImage:
    """Decode and reduce a DICOM image, through its window or else by the set's scale."""
    from resnetlab.data.store.dicom import dicom_values

    try:
        values, window = dicom_values(content)
    except Exception as error:  # a foreign format with many optional decoders behind it
        raise ImageProblem(reason(error)) from error
    height, width = values.shape[:2]
    if width * height > max_pixels:
        raise ImageProblem("too many pixels")
    decoded = to_bytes(values, window or value_range, BACKGROUND[0])
    pixels, small = reduced(decoded, (width, height), short_side)
    identity = pixel_hash(np.ascontiguousarray(values))
    return DecodedImage(pixels, small, width, height, "DICOM", False, "", 0, identity)


def reduce_upright(
    content: bytes, image: Image.Image, short_side: int, value_range: ValueRange | None
) -> DecodedImage:
    """Decode, turn upright, convert to RGB and reduce; the identity of a lossy image is left open."""
    kind = SHORT.get(str(image.format), str(image.format))
    several = has_more(image)
    if image.format == "TIFF":
        image.load()  # Pillow turns TIFF upright by itself, and the size with it
    width, height = image.size
    tags = exif_of(image)
    orientation = tags.get(ORIENTATION, 1)
    deep = deep_values(content, image)
    if deep is None:
        decoded = decoded_pixels(content, image, short_side)
        identity = "" if kind in LOSSY else pixel_hash(turn(decoded, orientation))
    else:  # two images may differ in what 8 bits don't show
        decoded, identity = to_bytes(deep, value_range, BACKGROUND[0]), pixel_hash(deep)
    pixels, small = reduced(decoded, (width, height), short_side)
    if swaps(orientation):
        width, height = height, width
    tables = getattr(image, "quantization", None) or {}
    return DecodedImage(
        pixels=turn(pixels, orientation),
        small=turn(small, orientation),
        width=width,
        height=height,
        format=kind,
        several=several,
        camera=f"{tags.get(0x010F, '')} {tags.get(0x0110, '')}".strip(),
        quality=sum(next(iter(tables.values()), ())),
        identity=identity,
    )


def reduced(
    decoded: np.ndarray, size: tuple[int, int], short_side: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return decoded pixels reduced, of an image of this width and height, and their thumbnail."""
    pixels = shrink(decoded, reduced_size(size, short_side))
    return pixels, thumbnail(pixels if min(pixels.shape[:2]) >= 2 * THUMBNAIL_PX else decoded)


def decoded_pixels(content: bytes, image: Image.Image, short_side: int) -> np.ndarray:
    """Return RGB pixels (H, W, 3) as they lie in the file, not yet upright.

    A JPEG may come halved, quartered or at an eighth, as its decoder does by itself: much faster for
    large photographs. Its last row and column may then lie partly outside the image, which makes
    less than a pixel's difference.
    """
    enough = reduced_size(image.size, max(short_side, 2 * THUMBNAIL_PX))
    pixels = jpeg_pixels(content, image, jpeg_scale(image.size, enough))
    if pixels is None:
        image.draft("RGB", enough)
        image.load()
        pixels = np.asarray(to_rgb(image))
    return pixels


def has_more(image: Image.Image) -> bool:
    """Return whether there are frames or pages after the first."""
    try:
        return bool(getattr(image, "is_animated", False))
    except (OSError, EOFError, SyntaxError, ValueError):
        return False  # damaged behind the first frame, which is the one that counts


def pixel_hash(pixels: np.ndarray) -> str:
    """Return the SHA-256 (hex) of the size and the pixels (H, W, 3) of an image."""
    height, width = pixels.shape[:2]
    digest = hashlib.sha256(f"{width}×{height}:".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def exif_of(image: Image.Image) -> Mapping[int, Any]:
    """Return the camera's notes by their numbers; broken ones are none."""
    try:
        return dict(image.getexif())
    except (
        Exception
    ):  # EXIF is a foreign binary format; whatever is wrong with it, the pixels are fine
        return {}


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode to RGB without losing range or showing what is transparent."""
    if image.mode.startswith("I;16") or image.mode in {"I", "F"}:
        grey = np.asarray(image).astype(np.float64)
        if image.mode.startswith("I"):  # 16-bit grey, which Pillow would cut off at 255
            grey = grey / 257.0
        return Image.fromarray(np.clip(np.rint(grey), 0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, (*BACKGROUND, 255))
        return Image.alpha_composite(ground, image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def reason(error: Exception) -> str:
    """Put a decoder's complaint into one word where it is a known one."""
    text = str(error)
    if "truncated" in text.lower():
        return TRUNCATED
    return f"can't be decoded ({text or type(error).__name__})"
