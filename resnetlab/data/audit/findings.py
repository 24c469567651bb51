"""What a reader should know about the data: counts, sizes, copies, and what looks odd."""

from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

import numpy as np

from resnetlab.data.audit.candidates import chunks_of
from resnetlab.data.audit.quarantine import unread_formats
from resnetlab.data.audit.shortcuts import shortcuts
from resnetlab.data.catalog import SPLITS, Catalog
from resnetlab.data.formats import ENDINGS
from resnetlab.data.store.pixels import PixelStore

FEW = 10  # images of a class
UNEVEN = 10  # times that the largest class exceeds the smallest
LONG = 8  # times that an image is longer than it is wide
TINY_PX = 8
DULL = 0.1  # of black to white


def describe(
    catalog: Catalog, store: PixelStore, near: np.ndarray | None, name: str
) -> dict[str, Any]:
    """Return what was found, as plain values for JSON. `near` are pairs of rows, an array of PAIR.

    None where near-duplicates were not searched for.
    """
    sound = catalog.rows("all")
    has_splits = any(catalog.split[sound])
    splits: tuple[str, ...] = SPLITS if has_splits else ("all",)
    conflicts = [problem for problem in catalog.problem if problem.startswith("same image")]
    decoded = catalog.sha256[catalog.width > 0]  # a copy that was left out is one nevertheless
    return {
        "name": name,
        "images": len(catalog),
        "used": len(sound),
        "problems": [
            {"id": catalog.ids[row], "problem": catalog.problem[row]}
            for row in np.flatnonzero(~catalog.sound)
        ],
        "remarks": [
            {"id": catalog.ids[row], "remark": catalog.remark[row]}
            for row in np.flatnonzero(catalog.remark != "")
        ],
        "notes": list(catalog.notes),
        "warnings": [
            *unread_formats(catalog),
            *remarks(catalog),
            *warnings(catalog, store),
            *shortcuts(catalog, store),
        ],
        "classes": list(catalog.classes),
        "counts": {split: catalog.counts(split).tolist() for split in splits},
        "sizes": {side: spread(getattr(catalog, side)[sound]) for side in ("width", "height")},
        "grey_frac": float(store.index["grey"][store.rows_of(catalog)[sound]].mean()),
        "duplicates": len(decoded) - len(set(decoded)),
        "conflicts": len(conflicts),
        "near_duplicates": None if near is None else describe_near(catalog, near),
    }


def remarks(catalog: Catalog) -> Iterator[str]:
    """Give a sentence on images that their decoders remarked on."""
    rows = np.flatnonzero(catalog.remark != "")
    if len(rows):
        yield (
            f"decoders remarked on {len(rows):,} of {len(catalog):,} images, first on "
            f"{catalog.ids[rows[0]]}: {catalog.remark[rows[0]]}"
        )


def spread(values: np.ndarray) -> list[int]:
    """Return smallest, median and largest."""
    return [int(values.min()), int(np.median(values)), int(values.max())]


def describe_near(catalog: Catalog, near: np.ndarray) -> dict[str, Any]:
    """Return how many images have a near-duplicate, and where the two lie apart."""
    rows = np.stack([near["first"], near["second"]], axis=1)
    splits, labels = catalog.split[rows], catalog.labels[rows]
    apart = splits[:, 0] != splits[:, 1]
    return {
        "pairs": len(near),
        "images": len(np.unique(rows)),
        "across_splits": {
            split: len(np.unique(rows[apart][splits[apart] == split])) for split in ("val", "test")
        },
        "across_labels": int((labels[:, 0] != labels[:, 1]).sum()),
    }


def warnings(catalog: Catalog, store: PixelStore) -> Iterator[str]:
    """Give a sentence on whatever looks odd, none on what is as it should be."""
    rows = catalog.rows("all")
    records = store.rows_of(catalog)[rows]
    yield from odd_classes(catalog)
    yield from odd_shapes(catalog, rows)
    yield from odd_files(catalog, rows, store.index, records)
    yield from odd_values(store, records)


def odd_values(store: PixelStore, records: np.ndarray) -> Iterator[str]:
    """Give a sentence on images that are nearly one grey: their values use little of what there is."""
    counts = np.zeros(256, dtype=np.int64)
    for chunk in chunks_of(records):
        counts += np.bincount(store.thumbnails[chunk].ravel(), minlength=256)
    lowest, highest = np.searchsorted(counts.cumsum(), counts.sum() * np.array([0.001, 0.999]))
    if highest - lowest < DULL * 255:
        yield (
            f"all images lie between {lowest / 255:.0%} and {highest / 255:.0%} of black to white; where they have "
            "more than 8 bits, or come from arrays other than uint8, give their scale: "
            "--set data.value_range=[LOW,HIGH]"
        )


def odd_classes(catalog: Catalog) -> Iterator[str]:
    """Give sentences on class names that look alike, and on classes with few images."""
    alike: dict[str, str] = {}
    for name in catalog.classes:
        other = alike.setdefault("".join(name.casefold().split()), name)
        if other != name:
            yield f"classes '{other}' and '{name}' differ by case or blanks only; they are kept apart"
    counts = catalog.counts("all")
    few = np.flatnonzero((counts > 0) & (counts < FEW))
    if len(few):
        name = catalog.classes[few[0]]
        yield (
            f"{len(few)} of {len(counts)} classes have fewer than {FEW} images, such as '{name}' with "
            f"{counts[few[0]]}: no figure on them will be sure"
        )
    rows = catalog.rows("all")
    pairs = np.unique(np.stack([catalog.labels[rows], catalog.group[rows]]), axis=1)
    groups = np.bincount(pairs[0], minlength=len(counts))
    lone = np.flatnonzero((groups == 1) & (counts > 1))
    if len(lone):
        yield (
            f"{len(lone)} of {len(counts)} classes are a single group, such as '{catalog.classes[lone[0]]}' with "
            f"{counts[lone[0]]} copies, near-duplicates or images of one track: how well a model does on "
            "others can't be measured"
        )
    there = np.flatnonzero(counts)  # a bundle may know classes that have no image here
    smallest = there[counts[there].argmin()]
    if counts.max() > UNEVEN * counts[smallest]:
        most, least = catalog.classes[counts.argmax()], catalog.classes[smallest]
        yield (
            f"'{most}' has {counts.max() / counts[smallest]:.0f} times the images of '{least}': look at "
            "balanced accuracy"
        )


def odd_shapes(catalog: Catalog, rows: np.ndarray) -> Iterator[str]:
    """Give sentences on very small and very long images."""
    width, height = catalog.width[rows], catalog.height[rows]
    short, long = np.minimum(width, height), np.maximum(width, height)
    for odd, what in (
        (short < TINY_PX, f"have a side below {TINY_PX} px"),
        (long > LONG * short, f"are more than {LONG} times as long as wide"),
    ):
        if odd.any() and not odd.all():
            yield f"{odd.sum()} images {what}, the first is {catalog.ids[rows[odd][0]]}"
        elif odd.any():
            yield f"all images {what}"


def odd_files(
    catalog: Catalog, rows: np.ndarray, index: np.ndarray, records: np.ndarray
) -> Iterator[str]:
    """Give sentences on files with a wrong ending, and on those with more than one frame."""
    endings = [PurePath(name).suffix.lower() for name in catalog.ids[rows]]
    formats = [name.decode() for name in index["format"][records]]
    known = {ending for endings in ENDINGS.values() for ending in endings}
    wrong = np.array(
        [
            ending in known and ending not in ENDINGS[kind]
            for ending, kind in zip(endings, formats, strict=True)
        ]
    )
    for odd, what in (
        (wrong, "are of another format than their name says (read all the same)"),
        (index["cut"][records], "lack their end (what is missing was left grey)"),
        (index["several"][records], "have several frames or pages (the first one counts)"),
    ):
        if odd.any():
            yield f"{odd.sum()} images {what}, the first is {catalog.ids[rows[odd][0]]}"
