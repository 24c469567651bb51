"""What sources have in common whose images are rows: labels as text, splits by name, bare pixels."""

import io
import re
from collections.abc import Sequence

import numpy as np
from PIL import Image

from resnetlab.data.catalog import Catalog, new_catalog, printable
from resnetlab.data.sources.folder import note
from resnetlab.data.sources.layout.names import SPLIT_NAMES
from resnetlab.data.sources.listing import Listing, natural_key
from resnetlab.data.sources.tables.rules import check_splits, require_some
from resnetlab.errors import DataError
from resnetlab.recipe import Data, did_you_mean


def labelled_catalog(
    listing: Listing,
    paths: list[str],
    labels: Sequence[str],
    splits: list[str],
    settings: Data,
    named: Sequence[str] | None = None,
    notes: Sequence[str] = (),
    groups: Sequence[str] | None = None,
    folds: Sequence[int] | None = None,
) -> Catalog:
    """Return the catalog of images with their labels as text, '' for those without.

    Classes are as set, else as the data has `named` them, else in natural order. `groups` are names
    of what stays in one split, '' for an image alone. Raises DataError for a label that isn't allowed,
    or a split that makes no sense.
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
    require_some(found, listing.where)
    number = {name: index for index, name in enumerate(classes)}
    split = [splits[row] for row in kept]
    texts = [labels[row] for row in kept]
    check_splits(split, [printable(paths[row]) for row in kept], listing.where)
    return new_catalog(
        listing.root,
        tuple(map(printable, classes)),
        [paths[row] for row in kept],
        [number[text] for text in texts],
        split,
        (*notes, *note("images have no label and were left out", missing)),
        [groups[row] for row in kept] if groups else None,
        [folds[row] for row in kept] if folds else None,
    )


def split_of(name: str) -> str:
    """Return the split that a word in a name speaks of, '' for none: 'X_train.npy', 'ytest', 'valImages'.

    Of a path the last part that is clear counts: 'x_test' in 'train_test.npz/x_test'.
    """
    return next(filter(None, map(split_said, reversed(name.split("/")))), "")


def split_said(name: str) -> str:
    """Return the only split that the words of a name speak of, '' for none or several."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    words = re.findall(r"[a-z]+", apart)
    splits = {SPLIT_NAMES.get(word, SPLIT_NAMES.get(word.removeprefix("x"), "")) for word in words}
    splits |= {SPLIT_NAMES.get(word.removeprefix("y"), "") for word in words}
    splits.discard("")
    return splits.pop() if len(splits) == 1 else ""


def row_number(text: str, count: int) -> int:
    """Return a row's number below `count`. Raises KeyError where it is none."""
    if not (text.isascii() and text.isdigit() and int(text) < count):
        raise KeyError(text)
    return int(text)


def image_file(pixels: np.ndarray) -> bytes:
    """Return pixels, uint8 (H, W) or (H, W, C), as PGM or PPM, or with four channels as PNG."""
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        file = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG", compress_level=1)
        return file.getvalue()
    kind = "P6" if pixels.ndim == 3 and pixels.shape[2] == 3 else "P5"
    return f"{kind} {pixels.shape[1]} {pixels.shape[0]} 255\n".encode() + pixels.tobytes()
