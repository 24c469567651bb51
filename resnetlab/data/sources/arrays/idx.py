"""MNIST's idx files: 'train-images-idx3-ubyte' with 'train-labels-idx1-ubyte', also as .gz.

Source: http://yann.lecun.com/exdb/mnist/, 'THE IDX FILE FORMAT'.
"""

import gzip
import math
import re
import zlib
from pathlib import Path, PurePosixPath

import numpy as np

from resnetlab.data.catalog import MEMBER, Catalog
from resnetlab.data.sources.folder import note
from resnetlab.data.sources.layout.names import parse
from resnetlab.data.sources.listing import Listing, natural_key
from resnetlab.data.sources.tables.labelled import (
    image_file,
    labelled_catalog,
    row_number,
    split_of,
)
from resnetlab.errors import DataError
from resnetlab.recipe import Data

NAME = re.compile(r"(.*)(images|labels)[-._]idx([13])[-._]ubyte(\.gz)?", re.IGNORECASE | re.DOTALL)
UNSIGNED_BYTES = 8
MAX_UNPACKED_BYTES = 4 * 2**30


class Idx:
    """The images of an idx file; a member is a row's number."""

    def __init__(self, file: Path) -> None:
        self.images = read_idx(file, 3)

    def read(self, member: str) -> bytes:
        """Return an image as the bytes of a PGM file. Raises KeyError where there is none."""
        return image_file(self.images[row_number(member, len(self.images))])


def is_idx(name: str) -> bool:
    """Return whether a file has the name of an idx file."""
    return NAME.fullmatch(name) is not None


def has_idx(listing: Listing) -> bool:
    """Return whether a folder holds idx files."""
    return not listing.prefix and any(map(is_idx, listing.files))


def read_mnist(listing: Listing, settings: Data) -> Catalog:
    """Return the catalog of the idx files in a folder; 't10k' is the test split.

    Raises DataError where a file is damaged, images or labels are missing, or the files are of several
    data sets: a label of one means another class in the next.
    """
    sets: dict[str, dict[str, str]] = {}
    passed_over = list(listing.passed_over)
    for name in sorted(listing.files, key=natural_key):  # a .gz comes after the same without
        found = NAME.fullmatch(without_own_folder(name))
        if found and found[2].lower() not in sets.setdefault(found[1], {}):
            sets[found[1]][found[2].lower()] = name
        else:
            passed_over.append(name)
    unlike = sorted({without_split(start) for start in sets}, key=natural_key)
    if len(unlike) > 1:
        raise DataError(
            f"{listing.where}: holds several data sets, whose labels mean different classes: "
            f"{', '.join(name or '(without a name)' for name in unlike)}; name one of these, in a folder of its own. "
            "If they are parts of one set, give each, in a folder of its own, as one of several sources (data.more)"
        )
    paths: list[str] = []
    labels: list[str] = []
    splits: list[str] = []
    for start, files in sets.items():
        for kind in ("images", "labels"):
            if kind not in files:
                other = next(iter(files.values()))
                raise DataError(
                    f"{listing.where}: '{other}' has no {kind} beside it ({start}{kind}-...)"
                )
        values = read_idx(listing.root / files["labels"], 1)
        count = len(read_idx(listing.root / files["images"], 3))
        if count != len(values):
            raise DataError(
                f"{listing.where}: {files['images']} holds {count} images, {files['labels']} "
                f"{len(values)} labels"
            )
        split = "test" if "t10k" in start.lower() else split_of(start)
        paths += [f"{files['images']}{MEMBER}{row}" for row in range(count)]
        labels += map(str, values.tolist())
        splits += [split] * count
    notes = note("files or links were passed over", passed_over)
    return labelled_catalog(listing, paths, labels, splits, settings, notes=notes)


def without_own_folder(name: str) -> str:
    """Return a path without a folder that is called as the file in it, as Kaggle has MNIST."""
    path = PurePosixPath(name)
    alike = path.parent.name in (path.name, path.name.removesuffix(".gz"))
    return str(path.parent.with_name(path.name)) if alike else name


def without_split(start: str) -> str:
    """Return the start of a file's name without the words that say a split: 'MNIST/raw' of 'MNIST/raw/t10k-'."""
    parts = re.sub("t10k", "test", start, flags=re.IGNORECASE).split("/")
    return "/".join(filter(None, (parse(part).text.strip("-_. ") for part in parts)))


def read_idx(file: Path, dimensions: int) -> np.ndarray:
    """Map an idx file of unsigned bytes, (N,) or (N, H, W), or unpack it from its .gz.

    Raises DataError where its head and its length disagree.
    """
    try:
        packed = file.suffix.lower() == ".gz"
        with gzip.open(file) if packed else file.open("rb") as stream:
            shape = read_head(stream.read(4 + 4 * dimensions), dimensions, file)
            size = math.prod(shape)
            if not packed:
                check_size(file.stat().st_size - stream.tell(), shape, file)
                return np.memmap(file, np.uint8, "r", stream.tell(), shape)
            if size > MAX_UNPACKED_BYTES:
                raise DataError(
                    f"{file}: speaks of {size:,} bytes, the limit is {MAX_UNPACKED_BYTES:,}"
                )
            content = stream.read(size + 1)  # at its end the checksum is compared
            check_size(len(content), shape, file)
            return np.frombuffer(content, np.uint8).reshape(shape)
    except (OSError, EOFError, zlib.error, MemoryError) as error:
        raise DataError(f"{file}: can't be read ({error})") from error


def read_head(head: bytes, dimensions: int, file: Path) -> tuple[int, ...]:
    """Return the shape that an idx file's head tells: two zeros, the type, numbers from the big end."""
    if len(head) < 4 + 4 * dimensions or head[:4] != bytes([0, 0, UNSIGNED_BYTES, dimensions]):
        raise DataError(
            f"{file}: is damaged, or no idx file of unsigned bytes with {dimensions} dimensions"
        )
    shape = tuple(int(number) for number in np.frombuffer(head, ">u4", offset=4))
    if 0 in shape:
        raise DataError(f"{file}: is empty, its shape is {shape}")
    return shape


def check_size(found: int, shape: tuple[int, ...], file: Path) -> None:
    """Raise DataError where a file isn't as long as its shape says."""
    if found != math.prod(shape):
        raise DataError(
            f"{file}: is damaged, shape {shape} needs {math.prod(shape)} bytes, found {found}"
        )
