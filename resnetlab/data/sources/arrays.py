"""Pictures and labels as arrays: .npy, .npz, .pt and .safetensors. No pickle is ever executed."""

import io
import math
import pickle
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from resnetlab.data.catalog import MEMBER, Catalog, new_catalog, printable
from resnetlab.data.sources.folder import SPLIT_NAMES, note
from resnetlab.data.sources.listing import Listing, natural_key
from resnetlab.data.sources.table import check_parts
from resnetlab.errors import DataError
from resnetlab.recipe import Data, did_you_mean

ARRAY_ENDINGS = frozenset({".npy", ".npz", ".pt", ".pth", ".safetensors"})
MAX_UNPACKED_BYTES = 4 * 2**30  # of a compressed array, which has to lie in memory as a whole
CHUNK_VALUES = 2**22  # looked at at once for the range of an array's values
NO_PICKLE = "would need a pickle, which is never executed"

# What the numbers of pictures mean, from the range they lie in, to 0..255.
SCALES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "0 to 1": lambda values: values * 255.0,
    "0 to 255": lambda values: values,
    "-1 to 1": lambda values: (values + 1.0) * 127.5,
    "0 to 65535": lambda values: values / 257.0,
}


@dataclass(frozen=True)
class Column:
    """One array of the set: where it lies, and its `name` for messages ('set.npz/x_train')."""

    file: str
    key: str
    array: np.ndarray

    @property
    def name(self) -> str:
        """The file with the array's key below it."""
        return f"{self.file}/{self.key}" if self.key else self.file

    @property
    def place(self) -> tuple[Any, Any]:
        """What orders arrays; without the file's ending, 'x.npy' comes before 'x2.npy'."""
        return natural_key(self.file.rpartition(".")[0]), natural_key(self.key)


@dataclass(frozen=True)
class Stack:
    """N pictures in one array: (N, H, W), (N, H, W, C) or (N, C, H, W); `scale` is one of SCALES."""

    array: np.ndarray
    channels_first: bool
    scale: str

    def picture(self, row: int) -> bytes:
        """Return one picture as the bytes of a file."""
        values = self.array[row]
        if values.dtype != np.uint8:
            values = np.rint(SCALES[self.scale](values.astype(np.float64))).astype(np.uint8)
        return picture_file(values.transpose(1, 2, 0) if self.channels_first else values)


class Arrays:
    """The pictures in one file of arrays; a member is '17', or 'key/17' where arrays have names."""

    def __init__(self, file: Path) -> None:
        self.stacks = {
            key: as_stack(array, f"{file}/{key}" if key else str(file))
            for key, array in open_arrays(file).items()
            if array.ndim >= 3
        }

    def read(self, member: str) -> bytes:
        """Return a picture as the bytes of a file. Raises KeyError where there is none."""
        key, _, row = member.rpartition("/")
        stack = self.stacks[key]
        return stack.picture(row_number(row, len(stack.array)))


def row_number(text: str, count: int) -> int:
    """Return a row's number below `count`. Raises KeyError where it is none."""
    if not (text.isascii() and text.isdigit() and int(text) < count):
        raise KeyError(text)
    return int(text)


def picture_file(pixels: np.ndarray) -> bytes:
    """Return pixels, uint8 (H, W) or (H, W, C), as PGM or PPM, or with four channels as PNG."""
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        file = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG", compress_level=1)
        return file.getvalue()
    kind = "P6" if pixels.ndim == 3 and pixels.shape[2] == 3 else "P5"
    return f"{kind} {pixels.shape[1]} {pixels.shape[0]} 255\n".encode() + pixels.tobytes()


# The set


def has_arrays(listing: Listing) -> bool:
    """Return whether a folder's pictures lie in arrays: it holds some, and no folders of pictures."""
    below = any("/" in name for name in listing.pictures())
    return not listing.prefix and bool(array_files(listing)) and not below


def array_files(listing: Listing) -> list[str]:
    """Return the names of the files of arrays."""
    return [name for name in listing.files if Path(name).suffix.lower() in ARRAY_ENDINGS]


def read_arrays(listing: Listing, settings: Data) -> Catalog:
    """Return the catalog of pictures and labels in arrays, joined in natural order of their names.

    An array of three dimensions and more holds pictures, any other labels. Where names speak of
    train, val or test, that is the split. Raises DataError where a file is damaged, or arrays don't
    fit each other.
    """
    files = array_files(listing)
    columns = [
        Column(file, key, array)
        for file in files
        for key, array in open_arrays(listing.root / file).items()
    ]
    columns.sort(key=lambda column: column.place)
    check_scales([column for column in columns if column.array.ndim >= 3], listing.root)
    paths: list[str] = []
    labels: list[str] = []
    parts: list[str] = []
    for part in dict.fromkeys(part_of(column.name) for column in columns):
        here = [column for column in columns if part_of(column.name) == part]
        pictures = [column for column in here if column.array.ndim >= 3]
        texts = pair(pictures, [column for column in here if column.array.ndim < 3], listing.root)
        for column in pictures:
            start = f"{column.file}{MEMBER}{column.key}/" if column.key else column.file + MEMBER
            paths += [f"{start}{row}" for row in range(len(column.array))]
        labels += texts
        parts += [part] * len(texts)
    others = sorted({*listing.files} - {*files}) + list(listing.passed_over)
    return labelled_catalog(
        listing,
        paths,
        labels,
        parts,
        settings,
        notes=note("files or links were passed over", others),
    )


def labelled_catalog(
    listing: Listing,
    paths: list[str],
    labels: Sequence[str],
    parts: list[str],
    settings: Data,
    named: Sequence[str] | None = None,
    notes: Sequence[str] = (),
) -> Catalog:
    """Return the catalog of pictures with their labels as text, '' for those without.

    Classes are as set, else as the data has `named` them, else in natural order. Raises DataError
    for a label that isn't allowed, fewer than two classes, or a split that makes no sense.
    """
    kept = [row for row, label in enumerate(labels) if label]
    missing = [paths[row] for row, label in enumerate(labels) if not label]
    found = {labels[row]: row for row in reversed(kept)}
    classes = tuple(dict.fromkeys(settings.classes or named or sorted(found, key=natural_key)))
    for label, row in found.items():
        if label not in classes:
            allowed = "data.classes" if settings.classes else "the names of the classes"
            raise DataError(
                f"{listing.where}: '{printable(paths[row])}' has the label '{label}', which is none of "
                f"the {len(classes)} in {allowed}{did_you_mean(label, classes)}"
            )
    if len(found) < 2:
        only = f"only '{next(iter(found))}'" if found else "none"
        raise DataError(f"{listing.where}: needs two classes at least, found {only}")
    number = {name: index for index, name in enumerate(classes)}
    split = [parts[row] for row in kept]
    texts = [labels[row] for row in kept]
    check_parts(split, texts, [printable(paths[row]) for row in kept], listing.where)
    return new_catalog(
        listing.root,
        tuple(map(printable, classes)),
        [paths[row] for row in kept],
        [number[text] for text in texts],
        split,
        (*notes, *note("pictures have no label and were left out", missing)),
    )


def part_of(name: str) -> str:
    """Return the part that a word in a name speaks of, '' for none: 'X_train.npy', 'ytest', 'valImages'."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    words = re.findall(r"[a-z]+", apart)
    parts = {SPLIT_NAMES.get(word, SPLIT_NAMES.get(word.removeprefix("x"), "")) for word in words}
    parts |= {SPLIT_NAMES.get(word.removeprefix("y"), "") for word in words}
    parts.discard("")
    return parts.pop() if len(parts) == 1 else ""


def pair(pictures: list[Column], labels: list[Column], root: Path) -> list[str]:
    """Return the labels of all pictures of a part, in their order.

    Arrays of pictures and of labels go together in their order; where there are fewer or more of
    the one kind, all are joined. Raises DataError where numbers disagree.
    """
    where = ", ".join(f"{column.name} ({len(column.array)})" for column in [*pictures, *labels][:8])
    if not pictures or not labels:
        lacking = "labels (one dimension)" if pictures else "pictures (three or four dimensions)"
        raise DataError(f"{root}: no array of {lacking} belongs to {where}; put it beside")
    if len(pictures) == len(labels):
        for one, other in zip(pictures, labels, strict=True):
            if len(one.array) != len(other.array):
                raise DataError(
                    f"{root}: {one.name} holds {len(one.array)} pictures, {other.name} "
                    f"{len(other.array)} labels; they go together by the order of their names"
                )
    texts = [text for column in labels for text in label_texts(column, root)]
    count = sum(len(column.array) for column in pictures)
    if len(texts) != count:
        raise DataError(
            f"{root}: {count} pictures and {len(texts)} labels don't go together: {where}"
        )
    return texts


def label_texts(column: Column, root: Path) -> list[str]:
    """Return labels as text: whole numbers, words, or rows with one 1. Raises DataError for others."""
    array = np.asarray(column.array)
    if array.ndim == 2 and array.shape[1] > 1:
        if not is_one_hot(array):
            raise DataError(
                f"{root / column.name}: shape {array.shape} is neither pictures (N×H×W) nor rows "
                "with a single 1; give labels as one number for each picture"
            )
        array = array.argmax(axis=1)
    array = array.reshape(-1)
    if array.dtype.kind == "S":
        return [item.decode("utf-8", "backslashreplace") for item in array.tolist()]
    if array.dtype.kind == "f" and np.all(np.isfinite(array)) and np.all(array == np.rint(array)):
        array = array.astype(np.int64)
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    if array.dtype.kind not in "iuU":
        raise DataError(
            f"{root / column.name}: labels must be whole numbers or words, found {array.dtype}"
        )
    return [str(item) for item in array.tolist()]


def is_one_hot(array: np.ndarray) -> bool:
    """Return whether each row holds a single 1 and else 0."""
    if array.dtype.kind not in "buif":
        return False
    ones = array == 1
    return bool(np.all(ones | (array == 0)) and np.all(ones.sum(axis=1) == 1))


# What the numbers mean


def check_scales(pictures: list[Column], root: Path) -> None:
    """Raise DataError where arrays are no pictures, or their values have different ranges."""
    scales = {
        column.name: as_stack(column.array, str(root / column.name)).scale for column in pictures
    }
    for name, scale in scales.items():
        first = next(iter(scales))
        if scale != scales[first]:
            raise DataError(
                f"{root}: values go from {scales[first]} in {first}, but from {scale} in {name}; "
                "bring all to one range"
            )


def as_stack(array: np.ndarray, where: str) -> Stack:
    """Return an array of pictures with its meaning. Raises DataError where it holds none."""
    shape = array.shape
    last = len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3, 4))
    first = len(shape) == 4 and shape[1] in (1, 3, 4)
    if not (last or first) or 0 in shape:
        raise DataError(
            f"{where}: shape {shape} is none of pictures, which have N×H×W, N×H×W×C or N×C×H×W with "
            "1, 3 or 4 channels"
        )
    return Stack(array, not last, find_scale(array, where))


def find_scale(array: np.ndarray, where: str) -> str:
    """Return which of SCALES an array's values have. Raises DataError for values outside of all."""
    if array.dtype == np.uint8:
        return "0 to 255"
    if array.dtype == np.bool_:
        return "0 to 1"
    if array.dtype.kind not in "uif":
        raise DataError(f"{where}: pictures must be numbers, found {array.dtype}")
    lows, highs = zip(*((part.min(), part.max()) for part in chunks(array)), strict=True)
    low, high = np.min(lows).item(), np.max(highs).item()  # not a number if one value is not
    floats = array.dtype.kind == "f"
    if floats and low >= 0 and high <= 1:
        return "0 to 1"
    if low >= 0 and high <= 255:
        return "0 to 255"
    if floats and low >= -1 and high <= 1:
        return "-1 to 1"
    if array.dtype == np.uint16:
        return "0 to 65535"
    finite = math.isfinite(low) and math.isfinite(high)
    found = f"{low:.6g} to {high:.6g}" if finite else "values that are not finite"
    raise DataError(
        f"{where}: {array.dtype} values must lie in 0 to 255, or floats in 0 to 1 or -1 to 1; found "
        f"{found}"
    )


def chunks(array: np.ndarray) -> Iterator[np.ndarray]:
    """Give an array in pieces that are small beside the memory of any machine."""
    rows = max(1, CHUNK_VALUES // math.prod(array.shape[1:]))
    for start in range(0, len(array), rows):
        yield array[start : start + rows]


# Files


def open_arrays(file: Path) -> dict[str, np.ndarray]:
    """Return the arrays in a file by their names, '' where it holds a single one; mapped, not read.

    Raises DataError where the file is damaged, or would need a pickle.
    """
    try:
        return OPENERS[file.suffix.lower()](file)
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{file}: can't be read ({error.strerror or error})") from error
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{file}: is damaged, or holds more than tensors; that {NO_PICKLE}. Save a dictionary or "
            "a pair of tensors (images, labels)"
        ) from error
    except Exception as error:  # damaged bytes make these readers fail in countless ways
        raise DataError(
            f"{file}: is no {file.suffix} file that can be read ({one_line(error)})"
        ) from error


def one_line(error: BaseException) -> str:
    """Return the first line of what a library says, or the kind of its error where it says nothing."""
    return next(iter(str(error).splitlines()), "")[:200] or type(error).__name__


def open_npy(file: Path) -> dict[str, np.ndarray]:
    """Map the array of a .npy file."""
    return {"": map_npy(file, 0, file.stat().st_size)}


def open_npz(file: Path) -> dict[str, np.ndarray]:
    """Map the arrays of a .npz file, or unpack those that are compressed."""
    arrays = {}
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            if not info.filename.endswith(".npy"):
                continue
            stored = info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1
            read = map_stored if stored else unpack_npy
            arrays[info.filename.removesuffix(".npy")] = read(file, archive, info)
    return arrays


def map_stored(file: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """Map a member that lies in a zip file as it is."""
    with archive.open(info), file.open("rb") as stream:  # opening it checks the member's own header
        stream.seek(info.header_offset + 26)
        name, extra = (int.from_bytes(stream.read(2), "little") for _ in range(2))
    return map_npy(file, info.header_offset + 30 + name + extra, info.file_size)


def unpack_npy(file: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """Read a compressed member of a zip file into memory."""
    where = f"{file}/{info.filename}"
    if info.file_size > MAX_UNPACKED_BYTES:
        raise DataError(
            f"{where}: takes {info.file_size / 2**30:.1f} GiB of memory once unpacked, the limit is "
            f"{MAX_UNPACKED_BYTES / 2**30:.0f}; save it as .npy, or with np.savez, uncompressed"
        )
    with archive.open(info) as stream:
        shape, fortran, dtype, size = read_header(stream, where)
        values = np.frombuffer(stream.read(size), dtype)
        stream.read(1)  # at its end the checksum is compared
    return values.reshape(shape, order="F" if fortran else "C")


def map_npy(file: Path, start: int, length: int) -> np.ndarray:
    """Map an array that begins at a byte of a file; `length` is of the header and the values."""
    with file.open("rb") as stream:
        stream.seek(start)
        shape, fortran, dtype, size = read_header(stream, str(file))
        offset = stream.tell()
    if size != start + length - offset:
        raise DataError(
            f"{file}: holds {start + length - offset} bytes of values, shape {shape} needs {size}"
        )
    if not size:
        return np.empty(shape, dtype)
    return np.memmap(file, dtype, "r", offset, shape, "F" if fortran else "C")


def read_header(stream: Any, where: str) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Return an array's shape, whether columns come first, its type, and its size in bytes.

    Raises DataError for an array of Python objects.
    """
    version = np.lib.format.read_magic(stream)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, fortran, dtype = read(stream)
    if dtype.hasobject:
        raise DataError(f"{where}: holds Python objects, which {NO_PICKLE}; save it as numbers")
    if min(shape, default=0) < 0:
        raise DataError(f"{where}: is damaged, its shape is {shape}")
    return shape, fortran, dtype, math.prod(shape) * dtype.itemsize


def open_torch(file: Path) -> dict[str, np.ndarray]:
    """Map the tensors of a file that torch saved: one, or several in a dictionary, tuple or list."""
    import torch

    value = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    return {name: to_numpy(tensor, file) for name, tensor in tensors_in(value, "", set())}


def tensors_in(value: Any, name: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """Give the tensors in dictionaries, tuples and lists by their names, '/' between the levels.

    What was `seen` (by id) may not come again: a few bytes can hold a list a million times.
    """
    import torch

    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, dict | list | tuple):
        if id(value) in seen:
            raise ValueError(f"'{name}' is the same as another list or dictionary in it")
        seen.add(id(value))
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield from tensors_in(inner, f"{name}/{key}" if name else str(key), seen)


def open_safetensors(file: Path) -> dict[str, np.ndarray]:
    """Map the tensors of a .safetensors file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "pt") as tensors:
            return {name: to_numpy(tensors.get_tensor(name), file) for name in tensors.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise DataError(f"{file}: is damaged ({one_line(error)})") from error


def to_numpy(tensor: Any, file: Path) -> np.ndarray:
    """Return a tensor as an array on the same memory."""
    import torch

    # A few bytes may claim to be a huge tensor, each row of which is the same.
    if tensor.numel() * tensor.element_size() > file.stat().st_size:
        raise DataError(f"{file}: is too short for a tensor of shape {tuple(tensor.shape)}")
    if tensor.dtype == torch.bfloat16:  # which NumPy hasn't
        tensor = tensor.float()
    array: np.ndarray = tensor.detach().numpy()
    return array


OPENERS: dict[str, Callable[[Path], dict[str, np.ndarray]]] = {
    ".npy": open_npy,
    ".npz": open_npz,
    ".pt": open_torch,
    ".pth": open_torch,
    ".safetensors": open_safetensors,
}
