"""Images and labels as arrays: .npy, .npz, .pt and .safetensors. No pickle is ever executed."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from resnetlab.data.catalog import MEMBER, Catalog
from resnetlab.data.sources.archives.nested import place_of
from resnetlab.data.sources.arrays.files import open_arrays
from resnetlab.data.sources.arrays.scales import as_stack, deep_stacks, scale_notes
from resnetlab.data.sources.folder import note
from resnetlab.data.sources.listing import Listing, natural_key
from resnetlab.data.sources.tables.labelled import (
    labelled_catalog,
    row_number,
    split_of,
)
from resnetlab.errors import DataError
from resnetlab.recipe import Data

ARRAY_ENDINGS = frozenset({".npy", ".npz", ".pt", ".pth", ".safetensors"})
FLAT: dict[int, list[tuple[int, ...]]] = {
    784: [(28, 28)],
    3072: [(3, 32, 32), (32, 32, 3)],
}  # shapes of images that are rows
LOOKED_AT = 100  # rows, to tell the shape
DEEP = ".tif"  # behind a row's number: the image with all its values


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


class Arrays:
    """The images in one file of arrays; a member is '17', or 'key/17' where arrays have names.

    '17' is the image in 8 bits, '17.tif' the one with all its values.
    """

    def __init__(self, file: Path) -> None:
        self.stacks = {
            key: as_stack(array, f"{file}/{key}" if key else str(file))
            for key, array in ((key, folded(array)) for key, array in open_arrays(file).items())
            if array.ndim >= 3
        }

    def read(self, member: str) -> bytes:
        """Return an image as the bytes of a file. Raises KeyError where there is none."""
        key, _, row = member.rpartition("/")
        stack = self.stacks[key]
        number = row_number(row.removesuffix(DEEP), len(stack.array))
        return stack.whole_image(number) if row.endswith(DEEP) else stack.image(number)


# The set


def has_arrays(listing: Listing) -> bool:
    """Return whether a listing's images lie in arrays: it holds some, and no folders of images."""
    below = any("/" in name for name in listing.images())
    return bool(array_files(listing)) and not below


def array_files(listing: Listing) -> list[str]:
    """Return the names of the files of arrays; in an archive within another they are not looked for."""
    return [
        name
        for name in listing.files
        if Path(name).suffix.lower() in ARRAY_ENDINGS and listing.path_of(name).count(MEMBER) <= 1
    ]


def folded(array: np.ndarray) -> np.ndarray:
    """Return rows of 784 values as (N, 28, 28), of 3072 as (N, 3, 32, 32) or (N, 32, 32, 3), else as given.

    Of the two orders of colour images the one in which neighbours differ less is theirs.
    """
    if array.ndim != 2 or array.shape[1] not in FLAT or not len(array) or is_one_hot(array):
        return array
    shapes = [array.reshape(-1, *shape) for shape in FLAT[array.shape[1]]]
    return min(shapes, key=lambda images: roughness(images[:LOOKED_AT]))


def roughness(images: np.ndarray) -> float:
    """Return the mean difference of neighbours, whether (N, H, W), (N, H, W, 3) or (N, 3, H, W)."""
    values = images.astype(np.float64)
    first = 2 if images.ndim == 4 and images.shape[3] != 3 else 1
    return float(
        np.mean([np.abs(np.diff(values, axis=axis)).mean() for axis in (first, first + 1)])
    )


def read_arrays(listing: Listing, settings: Data) -> Catalog:
    """Return the catalog of images and labels in arrays, joined in natural order of their names.

    An array of three dimensions and more holds images, any other labels. Where names speak of
    train, val or test, that is the split. Images of more than 8 bits, or whose scale the user gives,
    keep their values. Raises DataError where a file is damaged, or arrays don't fit each other.
    """
    files = array_files(listing)
    where = listing.where if listing.prefix else listing.root
    columns = [
        Column(file, key, array)
        for file in files
        for key, array in open_arrays(place_of(listing, file)).items()
    ]
    flat = [column for column in columns if column.array.ndim == 2]
    columns = [replace(column, array=folded(column.array)) for column in columns]
    unfolded = [
        f"{one.name} holds rows of {one.array.shape[1]} values, read as images of "
        f"{'×'.join(map(str, other.array.shape[1:]))}"
        for one in flat
        for other in columns
        if other.name == one.name and other.array.ndim > 2
    ]
    columns.sort(key=lambda column: column.place)
    stacks = {
        column.name: as_stack(column.array, str(where / column.name))
        for column in columns
        if column.array.ndim >= 3
    }
    deep = deep_stacks(stacks, isinstance(settings.value_range, tuple), where)
    paths: list[str] = []
    labels: list[str] = []
    splits: list[str] = []
    for split in dict.fromkeys(split_of(column.name) for column in columns):
        here = [column for column in columns if split_of(column.name) == split]
        images = [column for column in here if column.array.ndim >= 3]
        texts = pair(images, [column for column in here if column.array.ndim < 3], where)
        for column in images:
            start = listing.path_of(column.file) + MEMBER + (f"{column.key}/" if column.key else "")
            ending = DEEP if column.name in deep else ""
            paths += [f"{start}{row}{ending}" for row in range(len(column.array))]
        labels += texts
        splits += [split] * len(texts)
    others = sorted({*listing.files} - {*files}) + list(listing.passed_over)
    return labelled_catalog(
        listing,
        paths,
        labels,
        splits,
        settings,
        notes=[
            *unfolded,
            *scale_notes(stacks, deep),
            *note("files or links were passed over", others),
        ],
    )


def pair(images: list[Column], labels: list[Column], root: Path) -> list[str]:
    """Return the labels of all images of a split, in their order.

    Arrays of images and of labels go together in their order; where there are fewer or more of
    the one kind, all are joined. Raises DataError where numbers disagree.
    """
    where = ", ".join(f"{column.name} ({len(column.array)})" for column in [*images, *labels][:8])
    if not images or not labels:
        lacking = "labels (one dimension)" if images else "images (three or four dimensions)"
        raise DataError(f"{root}: no array of {lacking} belongs to {where}; put it beside")
    if len(images) == len(labels):
        for one, other in zip(images, labels, strict=True):
            if len(one.array) != len(other.array):
                raise DataError(
                    f"{root}: {one.name} holds {len(one.array)} images, {other.name} "
                    f"{len(other.array)} labels; they go together by the order of their names"
                )
    texts = [text for column in labels for text in label_texts(column, root)]
    count = sum(len(column.array) for column in images)
    if len(texts) != count:
        raise DataError(
            f"{root}: {count} images and {len(texts)} labels don't go together: {where}"
        )
    return texts


def label_texts(column: Column, root: Path) -> list[str]:
    """Return labels as text: whole numbers, words, or rows with one 1. Raises DataError for others."""
    array = np.asarray(column.array)
    if array.ndim == 2 and array.shape[1] > 1:
        if not is_one_hot(array):
            raise DataError(
                f"{root / column.name}: shape {array.shape} is neither images (N×H×W) nor rows "
                "with a single 1; give labels as one number for each image"
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
