"""CIFAR-10 and CIFAR-100 as their authors give them, read without executing the pickles they are.

Source: https://www.cs.toronto.edu/~kriz/cifar.html, 'CIFAR-10 python version'.
"""

import io
import math
import pickle
import pickletools
import re
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from resnetlab.data.catalog import MEMBER, Catalog
from resnetlab.data.sources.arrays.files import NO_PICKLE
from resnetlab.data.sources.folder import note
from resnetlab.data.sources.listing import Listing, natural_key
from resnetlab.data.sources.tables.labelled import (
    image_file,
    labelled_catalog,
    row_number,
)
from resnetlab.errors import DataError, one_line
from resnetlab.recipe import Data

TEN = re.compile(r"data_batch_[0-9]+|test_batch")
HUNDRED = frozenset({"train", "test"})
META = {"batches.meta": "label_names", "meta": "fine_label_names"}
MAX_BYTES = 10**9
SHAPE = (3, 32, 32)


class Batch:
    """The images of one batch; a member is a row's number."""

    def __init__(self, file: Path) -> None:
        self.pixels = pixels_of(read_batch(file), file)

    def read(self, member: str) -> bytes:
        """Return an image as the bytes of a PPM file. Raises KeyError where there is none."""
        row = row_number(member, len(self.pixels))
        return image_file(self.pixels[row].transpose(1, 2, 0))


def is_batch(file: Path) -> bool:
    """Return whether a file has the name of a batch, and one that gives the classes' names beside it."""
    if TEN.fullmatch(file.name):
        return True
    return file.name in HUNDRED and (file.parent / "meta").is_file()


def has_batches(listing: Listing) -> bool:
    """Return whether a folder holds CIFAR's batches, in it or one level below."""
    return not listing.prefix and bool(find_batches(listing))


def find_batches(listing: Listing) -> list[str]:
    """Return the names of the batches in natural order, none where it isn't this data set."""
    paths = [PurePosixPath(name) for name in listing.files if name.count("/") <= 1]
    with_meta = {path.parent for path in paths if path.name == "meta"}
    batches = [
        str(path)
        for path in paths
        if TEN.fullmatch(path.name) or (path.name in HUNDRED and path.parent in with_meta)
    ]
    return sorted(batches, key=natural_key)


def read_cifar(listing: Listing, settings: Data) -> Catalog:
    """Return the catalog of CIFAR's batches; CIFAR-100 with its fine labels.

    Classes have the names and the order of the file beside the batches. Raises DataError where a
    file is missing, damaged, or needs a pickle to be executed.
    """
    batches = find_batches(listing)
    folders = {str(PurePosixPath(name).parent) for name in batches}
    if len(folders) > 1:
        raise DataError(
            f"{listing.where}: batches lie in {', '.join(sorted(folders))}; name one of these"
        )
    folder = listing.root / folders.pop()
    classes = class_names(folder)
    paths: list[str] = []
    labels: list[str] = []
    splits: list[str] = []
    for name in batches:
        file = listing.root / name
        batch = read_batch(file)
        rows = len(pixels_of(batch, file))
        paths += [f"{name}{MEMBER}{row}" for row in range(rows)]
        labels += [classes[number] for number in labels_of(batch, rows, len(classes), file)]
        splits += ["test" if "test" in file.name else "train"] * rows
    known = {*batches, *(name for name in listing.files if PurePosixPath(name).name in META)}
    others = [name for name in listing.files if name not in known and not name.endswith(".html")]
    notes = note("files or links were passed over", others + list(listing.passed_over))
    return labelled_catalog(listing, paths, labels, splits, settings, classes, notes)


def class_names(folder: Path) -> list[str]:
    """Return the names of the classes from the file beside the batches."""
    for name, key in META.items():
        if (folder / name).is_file():
            names = read_batch(folder / name).get(key)
            if not isinstance(names, list) or not names:
                raise DataError(f"{folder / name}: holds no list '{key}' of the classes' names")
            return [to_text(item) for item in names]
    raise DataError(
        f"{folder}: 'batches.meta' with the classes' names is missing; put it beside the batches"
    )


def pixels_of(batch: dict[str, Any], file: Path) -> np.ndarray:
    """Return a batch's pixels, uint8 (N, 3, 32, 32)."""
    data = batch.get("data")
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.size % math.prod(SHAPE):
        raise DataError(f"{file}: 'data' must be N rows of 3072 bytes (32×32 px, 3 colours)")
    return data.reshape(-1, *SHAPE)


def labels_of(batch: dict[str, Any], rows: int, classes: int, file: Path) -> list[int]:
    """Return a batch's labels, one for each of its rows."""
    labels = batch.get("labels", batch.get("fine_labels"))
    if isinstance(labels, np.ndarray):
        labels = labels.reshape(-1).tolist()
    if not isinstance(labels, list) or len(labels) != rows:
        count = len(labels) if isinstance(labels, list) else "no"
        raise DataError(f"{file}: holds {rows} images and {count} labels")
    for label in labels:
        if type(label) is not int or not 0 <= label < classes:
            raise DataError(f"{file}: label {label!r:.40} is no number from 0 to {classes - 1}")
    return labels


# Pickles


class Recorded:
    """Stands for what a pickle would make by a call: keeps what was given, and does nothing."""

    def __init__(self, *given: Any) -> None:
        self.given = given
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class Text(Recorded):
    """Bytes, as Python 3 writes them for Python 2: `_codecs.encode(text, 'latin1')`."""


class Type(Recorded):
    """`numpy.dtype`: a name such as 'u1', and a state whose second item is the byte order."""


class Array(Recorded):
    """`numpy.ndarray`: a state of version, shape, type, column order, bytes."""


class Buffer(Recorded):
    """The same from protocol 5 on: bytes, type, shape, order."""


ALLOWED = {
    ("_codecs", "encode"): Text,
    ("numpy", "dtype"): Type,
    ("numpy", "ndarray"): Array,
    ("numpy.core.multiarray", "_reconstruct"): Array,
    ("numpy._core.multiarray", "_reconstruct"): Array,
    ("numpy.core.numeric", "_frombuffer"): Buffer,
    ("numpy._core.numeric", "_frombuffer"): Buffer,
}


class Inert(pickle.Unpickler):
    """Reads a pickle's numbers, texts, lists and dictionaries; every call becomes a Recorded."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for one of NumPy's names, nothing else."""
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"asks for {module}.{name}"[:100])
        return ALLOWED[module, name]


def read_batch(file: Path) -> dict[str, Any]:
    """Read the dictionary that a pickle is, with arrays built from their bytes.

    Raises DataError where the file is damaged, huge, or holds anything else.
    """
    try:
        if file.stat().st_size > MAX_BYTES:
            raise DataError(f"{file}: is larger than {MAX_BYTES // 10**9} GB, which no batch is")
        content = file.read_bytes()
        for code, number, _ in pickletools.genops(content):
            # The reader makes a table as long as the number says.
            if code.name in ("PUT", "LONG_BINPUT") and (number or 0) > len(content):
                raise ValueError("a place in its memory beyond its length")
        found = Inert(io.BytesIO(content), encoding="bytes").load()
        if type(found) is not dict:
            raise ValueError("no dictionary")
        return {to_text(key): to_value(value) for key, value in found.items()}
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{file}: can't be read ({error.strerror or error})") from error
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{file}: is damaged, or holds more than numbers and texts ({one_line(error)}); that "
            f"{NO_PICKLE}"
        ) from error
    except Exception as error:  # damaged bytes make a pickle fail in countless ways
        raise DataError(
            f"{file}: is no batch of CIFAR that can be read ({one_line(error)})"
        ) from error


def to_text(value: Any) -> str:
    """Return a key or a name as text, whichever Python wrote it."""
    value = to_bytes(value)
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def to_bytes(value: Any) -> Any:
    """Return bytes that were recorded as such, and anything else as it is."""
    if isinstance(value, Text):
        text, encoding = value.given
        if encoding not in ("latin1", b"latin1"):
            raise ValueError("bytes in an unknown encoding")
        return (text.decode() if isinstance(text, bytes) else text).encode("latin1")
    return bytes(value) if isinstance(value, bytearray) else value


def to_value(value: Any) -> Any:
    """Return a recorded array as one, recorded texts of a list too, and anything else as it is."""
    if isinstance(value, Array):
        _, shape, kind, columns_first, raw = value.state
        return to_array(raw, kind, shape, columns_first)
    if isinstance(value, Buffer):
        raw, kind, shape, order, *_ = value.given
        return to_array(raw, kind, shape, order == "F")
    return [to_bytes(item) for item in value] if isinstance(value, list) else value


def to_array(raw: Any, kind: Type, shape: tuple[int, ...], columns_first: bool) -> np.ndarray:
    """Build an array of whole numbers from its bytes. Raises ValueError where they don't fit."""
    name = to_text(kind.given[0])
    if not re.fullmatch(r"[iu][1248]", name):
        raise ValueError(f"an array of {name}"[:40])
    big_end = bool(kind.state) and to_text(kind.state[1]) == ">"
    dtype = np.dtype(name).newbyteorder(">" if big_end else "<")
    return np.frombuffer(to_bytes(raw), dtype).reshape(shape, order="F" if columns_first else "C")
