"""What the numbers of images in arrays mean: bytes in another form, or more than 8 bits hold."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from resnetlab.data.sources.tables.labelled import image_file
from resnetlab.data.store.depth import BYTE_LIKE
from resnetlab.errors import DataError

CHUNK_VALUES = 2**22  # read at a time for the range of an array's values
SLACK = 1e-3  # by which floats may pass an end of their scale: they were rounded on their way
UNPACKED = 1  # of the packings of a TIFF
MOST = 65535  # of whole numbers, which leave with 16 bits
GIVE_SCALE = "--set data.value_range=[LOW,HIGH]"

# What the numbers of images mean that leave with 8 bits, from the range they lie in, to 0..255.
SCALES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "0 to 1": lambda values: values * 255.0,
    "0 to 255": lambda values: values,
    "-1 to 1": lambda values: (values + 1.0) * 127.5,
    "0 to 65535": lambda values: values / 257.0,  # of catalogs of earlier versions alone
}


@dataclass(frozen=True)
class Values:
    """The lowest and the highest of an array, and which of SCALES they have.

    `scale` is '' where none fits: then all values of the set tell it, as with files, or the user.
    """

    low: float
    high: float
    scale: str

    def __str__(self) -> str:
        finite = math.isfinite(self.low) and math.isfinite(self.high)
        return f"{self.low:.6g} to {self.high:.6g}" if finite else "values that are not finite"


@dataclass(frozen=True)
class Stack:
    """N images in one array: (N, H, W), (N, H, W, C) or (N, C, H, W); `name` is for messages."""

    array: np.ndarray
    channels_first: bool
    name: str

    @cached_property
    def values(self) -> Values:
        """The range of all values. Raises DataError where they are no numbers."""
        return values_of(self.array, self.name)

    @property
    def is_bytes(self) -> bool:
        """Whether the type leaves no question what is black and what is white."""
        return self.array.dtype in (np.uint8, np.bool_)

    @property
    def is_whole(self) -> bool:
        """Whether the values are whole numbers."""
        return self.array.dtype.kind in "biu"

    @property
    def fits_16_bits(self) -> bool:
        """Whether the values are whole numbers from 0 to 65535."""
        return self.is_whole and self.values.low >= 0 and self.values.high <= MOST

    @property
    def is_grey(self) -> bool:
        """Whether there is one channel."""
        return self.array.ndim == 3 or self.array.shape[1 if self.channels_first else 3] == 1

    @property
    def is_keepable(self) -> bool:
        """Whether files can hold all the values, so that they can have a scale of their own."""
        return self.is_grey or self.fits_16_bits

    def image(self, row: int) -> bytes:
        """Return one image of 8 bits as the bytes of a file. Raises KeyError where they don't hold it.

        Of uint16 beyond 255 that is a 257th: runs of earlier versions have learnt from it.
        """
        values = self._pixels(row)
        if values.dtype != np.uint8:
            before = "0 to 65535" if values.dtype == np.uint16 else ""
            scaled = SCALES[self.values.scale or before](values.astype(np.float64))
            values = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
        return image_file(values)

    def whole_image(self, row: int) -> bytes:
        """Return one image with all its values as the bytes of a file, whole numbers with 16 bits."""
        values = self._pixels(row)
        whole = self.is_whole and values.min() >= 0 and values.max() <= MOST
        return deep_file(values.astype(np.uint16 if whole else np.float32))

    def _pixels(self, row: int) -> np.ndarray:
        values: np.ndarray = self.array[row]
        return values.transpose(1, 2, 0) if self.channels_first else values


def as_stack(array: np.ndarray, name: str) -> Stack:
    """Return an array as images. Raises DataError where its shape is none of such."""
    shape = array.shape
    last = len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3, 4))
    first = len(shape) == 4 and shape[1] in (1, 3, 4)
    if not (last or first) or 0 in shape:
        raise DataError(
            f"{name}: shape {shape} is none of images, which have N×H×W, N×H×W×C or N×C×H×W with "
            "1, 3 or 4 channels"
        )
    return Stack(array, not last, name)


def deep_stacks(stacks: dict[str, Stack], is_given: bool, root: Path) -> set[str]:
    """Return which arrays' images leave with all their values, to be scaled as such files are.

    All that aren't bytes where the user has given the scale; else those of more than 8 bits, or so
    dark that they are hardly meant as bytes, if files can hold them. Raises DataError where values
    have no customary meaning, or not the same in all arrays.
    """
    scales = {name: stack.values.scale for name, stack in stacks.items()}
    others = {name for name, stack in stacks.items() if not stack.is_bytes}
    if is_given:
        deep = others
    else:
        for stack in stacks.values():
            require_meaning(stack)
        keepable = {name for name in others if stacks[name].is_keepable}
        is_dark = all(stack.values.high <= BYTE_LIKE for stack in stacks.values())
        if (is_dark and keepable == others) or "" in scales.values():
            scales |= {name: "" for name in keepable if scales[name] == "0 to 255"}
        require_one_scale(stacks, scales, root)
        deep = {name for name in others if not scales[name]}
    for name in sorted(deep):
        require_keepable(stacks[name])
    return deep


def require_meaning(stack: Stack) -> None:
    """Raise DataError for values that are neither those of customary images nor of 16 bits."""
    if not stack.values.scale and not stack.fits_16_bits:
        raise DataError(
            f"{stack.name}: {stack.array.dtype} values must lie in 0 to 255, or floats in 0 to 1 or -1 to 1, "
            f"or whole numbers in 0 to {MOST}; found {stack.values}" + way_out([stack])
        )


def require_one_scale(stacks: dict[str, Stack], scales: dict[str, str], root: Path) -> None:
    """Raise DataError where arrays have different scales."""
    for name, scale in scales.items():
        first = next(iter(scales))
        if scale != scales[first]:
            one, other = (scales[each] or str(stacks[each].values) for each in (first, name))
            raise DataError(
                f"{root}: values go from {one} in {first}, but from {other} in {name}; bring all to "
                "one range" + way_out(stacks.values())
            )


def way_out(stacks: Iterable[Stack]) -> str:
    """Return the advice to give a scale, '' where that would be refused."""
    if not all(stack.is_bytes or stack.is_keepable for stack in stacks):
        return ""
    return f", or say what is black and what white: {GIVE_SCALE}"


def require_keepable(stack: Stack) -> None:
    """Raise DataError for colours that no file with a scale of its own can hold."""
    if not stack.is_keepable:
        raise DataError(
            f"{stack.name}: colours as {stack.array.dtype} from {stack.values} can't be given a scale "
            f"(data.value_range); save them as whole numbers from 0 to {MOST}, or as floats from 0 to 1 without one"
        )


def scale_notes(stacks: dict[str, Stack], deep: set[str]) -> list[str]:
    """Return a line about the scale that was taken for images that aren't bytes."""
    others = [stack for name, stack in stacks.items() if not (name in deep or stack.is_bytes)]
    if not others:
        return []
    taken = [stack.values for stack in others]
    found = Values(min(one.low for one in taken), max(one.high for one in taken), taken[0].scale)
    advice = f"; another scale by {GIVE_SCALE}" if all(one.is_keepable for one in others) else ""
    return [f"values from {found} are read as {found.scale}, from black to white{advice}"]


def values_of(array: np.ndarray, name: str) -> Values:
    """Return the range of an array's values. Raises DataError where they are no numbers."""
    if array.dtype == np.uint8:
        return Values(0, 255, "0 to 255")
    if array.dtype == np.bool_:
        return Values(0, 1, "0 to 1")
    if array.dtype.kind not in "uif":
        raise DataError(f"{name}: images must be numbers, found {array.dtype}")
    lows, highs = zip(*((chunk.min(), chunk.max()) for chunk in chunks(array)), strict=True)
    low, high = np.min(lows).item(), np.max(highs).item()  # NaN if one value is
    scale = ""
    if array.dtype.kind == "f" and low >= -1 - SLACK and high <= 1 + SLACK:
        scale = "0 to 1" if low >= -SLACK else "-1 to 1"
    elif low >= -SLACK and high <= 255 + SLACK:
        scale = "0 to 255"
    return Values(low, high, scale)


def chunks(array: np.ndarray) -> Iterator[np.ndarray]:
    """Give an array in chunks that are small beside the memory of any machine."""
    rows = max(1, CHUNK_VALUES // math.prod(array.shape[1:]))
    for start in range(0, len(array), rows):
        yield array[start : start + rows]


def deep_file(values: np.ndarray) -> bytes:
    """Return pixels, uint16 or float32 (H, W) or (H, W, C), as TIFF, or with four channels as PNG."""
    values = np.ascontiguousarray(values)
    channels = values.shape[2] if values.ndim == 3 else 1
    if channels == 4:
        _, file = cv2.imencode(".png", cv2.cvtColor(values, cv2.COLOR_RGBA2BGRA))
    else:
        values = cv2.cvtColor(values, cv2.COLOR_RGB2BGR) if channels == 3 else values
        _, file = cv2.imencode(".tif", values, [cv2.IMWRITE_TIFF_COMPRESSION, UNPACKED])
    return file.tobytes()
