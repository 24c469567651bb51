"""From a file's bytes to upright RGB pixels: the only decoder, for training, prediction and server."""

import io
import warnings
from threading import Lock
from types import TracebackType

import numpy as np
from PIL import Image, UnidentifiedImageError

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
BACKGROUND = (255, 255, 255)  # under transparent pixels, in training and serving alike


class PictureProblem(Exception):
    """Why a picture can't be used; the text stands in the catalog."""


def decode(content: bytes, short_side: int, max_pixels: int) -> tuple[np.ndarray, int, int]:
    """Decode one picture in full; return uint8 pixels (H, W, 3) and the original width and height in px.

    The picture comes upright (EXIF), on a fixed background, and reduced so that its shorter side
    is `short_side`; a smaller one is kept as it is. Raises PictureProblem with the reason.
    """
    if not content:
        raise PictureProblem("empty")
    try:
        with QUIET:
            picture = open_picture(content, max_pixels)
            return reduce_upright(picture, short_side)
    except PictureProblem:
        raise
    except (OSError, EOFError, SyntaxError, ValueError, IndexError, TypeError) as error:
        raise PictureProblem(reason(error)) from error


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


def open_picture(content: bytes, max_pixels: int) -> Image.Image:
    """Read the header and refuse what is no picture or would be too large once decoded."""
    try:
        picture = Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError as error:
        raise PictureProblem("not an image") from error
    except Image.DecompressionBombError as error:
        raise PictureProblem("too many pixels") from error
    if picture.width * picture.height > max_pixels:
        raise PictureProblem("too many pixels")
    return picture


def reduce_upright(picture: Image.Image, short_side: int) -> tuple[np.ndarray, int, int]:
    """Decode, turn upright, convert to RGB and reduce."""
    if picture.format == "TIFF":
        picture.load()  # Pillow turns TIFF upright by itself, and the size with it
    width, height = picture.size
    shorter = min(width, height)
    target = (width, height)
    if shorter > short_side:  # rounded up, in integers: the shorter side comes out exact
        target = (-(-width * short_side // shorter), -(-height * short_side // shorter))
    # The JPEG decoder itself can halve, quarter or take an eighth: much faster for large photographs.
    drafted = picture.draft("RGB", target)
    # Its last row and column may lie partly outside the picture; what lies inside is this box.
    box = drafted[1] if drafted else None
    turned = transpose_of(picture)
    rgb = to_rgb(picture)
    if target != (width, height):
        rgb = rgb.resize(target, Image.Resampling.BICUBIC, box, reducing_gap=2.0)
    if turned is not None:
        rgb = rgb.transpose(turned)
    if turned in SWAPS:
        width, height = height, width
    return np.asarray(rgb), width, height


ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SWAPS = {ORIENTATIONS[value] for value in (5, 6, 7, 8)}


def transpose_of(picture: Image.Image) -> Image.Transpose | None:
    """Return the turn that the camera's note (EXIF orientation) asks for; a broken note asks none."""
    try:
        return ORIENTATIONS.get(picture.getexif().get(0x0112, 1))
    except (
        Exception
    ):  # EXIF is a foreign binary format; whatever is wrong with it, the pixels are fine
        return None


def to_rgb(picture: Image.Image) -> Image.Image:
    """Convert any mode to RGB without losing range or showing what is transparent."""
    if picture.mode.startswith("I;16") or picture.mode in {"I", "F"}:
        grey = np.asarray(picture).astype(np.float64)
        if picture.mode.startswith("I"):  # 16-bit grey, which Pillow would cut off at 255
            grey = grey / 257.0
        return Image.fromarray(np.clip(np.rint(grey), 0, 255).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        ground = Image.new("RGBA", picture.size, (*BACKGROUND, 255))
        return Image.alpha_composite(ground, picture).convert("RGB")
    return picture.convert("RGB")


def reason(error: Exception) -> str:
    """Put a decoder's complaint into one word where it is a known one."""
    text = str(error)
    if "truncated" in text.lower():
        return "truncated"
    return f"can't be decoded ({text or type(error).__name__})"
