"""The PixelStore: every image decoded once, in one file."""

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from resnetlab.data.catalog import Catalog, objects
from resnetlab.data.formats import NEEDS, WITH_EXTRA, why_not
from resnetlab.data.sources.reader import Reader
from resnetlab.data.store.build import (
    AHEAD,
    CHUNK,
    Settings,
    build,
    chunks_of,
    end_of,
    remarks_beside,
)
from resnetlab.data.store.checksums import ENTRY, checksums
from resnetlab.data.store.decode import BACKGROUND
from resnetlab.data.store.depth import Extremes, ValueRange, extremes_of, range_of
from resnetlab.data.store.file_bytes import FileBytes
from resnetlab.data.store.index import StoredThumbnails, count_entries, entries, read_facts
from resnetlab.data.store.jpeg import unpack
from resnetlab.data.store.record import RECORD
from resnetlab.errors import MachineError
from resnetlab.system.cache import Use
from resnetlab.system.files import InUse, cache_folder, exclusive
from resnetlab.system.progress import Progress, log
from resnetlab.system.remarks import Remarks, remarks_collected
from resnetlab.system.threads import in_order, sign_of_life, threads

STORE_VERSION = 7  # raised whenever decoding gives other pixels, or a record holds something else
Hashed = tuple[str, Extremes | None]  # digest of a file, and what `extremes_of` it is
EMPTY = hashlib.sha256(b"").hexdigest()
MAPPED_BYTES = 2**30  # a larger file is not mapped into memory: see FileBytes
CHECKED_BYTES = 2**24  # read at a time, about, to check a store


@dataclass(frozen=True)
class PixelStore:
    """Pixels and sums of P distinct images.

    `pixels` holds the bytes of the file, `index` the records (P,) described by FACTS, `thumbnails` the grey
    ones, uint8 (P, THUMBNAIL_PX, THUMBNAIL_PX); by `format` each image is there as its 'pixels' or as
    'jpeg'. What is computed once of them may be kept under the name `beside`, with another ending.
    """

    pixels: np.ndarray | FileBytes
    index: np.ndarray
    thumbnails: np.ndarray | StoredThumbnails
    beside: Path | None = None
    format: str = "pixels"
    value_range: ValueRange | None = None  # of images with more than 8 bits
    in_use: Use | None = None  # keeps it in the cache
    mapped: InUse | None = None  # its file, where that is mapped into memory

    def __reduce__(self) -> tuple[Any, ...]:
        """Let another process have the same store: it opens the files, which must be where it sees them."""
        if self.beside is None:
            parts = self.pixels, self.index, self.thumbnails
            return PixelStore, (*parts, None, self.format, self.value_range)
        return opened, (self.beside, self.format, self.value_range)

    def image(self, row: int) -> np.ndarray:
        """Return the pixels of one record, see `images`."""
        return self.images([row])[0]

    def images(self, rows: Sequence[int]) -> list[np.ndarray]:
        """Return the pixels of some records, each uint8 (H, W, 3) in RGB, perhaps read-only.

        Raises MachineError where the disk fails, or somebody cut the file.
        """
        if self.mapped is not None:
            self.mapped.require_whole()
        return [self._image(row) for row in rows]

    def _image(self, row: int) -> np.ndarray:
        record = self.index[row]
        height, width, start = int(record["height"]), int(record["width"]), int(record["offset"])
        stored = self.pixels[start : start + int(record["length"])]
        sign_of_life()
        return unpack(stored) if self.format == "jpeg" else stored.reshape(height, width, 3)

    def rows_of(self, catalog: Catalog) -> np.ndarray:
        """Return the record of each sample of the catalog, (N,) int64."""
        return np.array([self._row_of[digest] for digest in catalog.sha256], dtype=np.int64)

    @cached_property
    def remarks(self) -> dict[str, str]:
        """What decoders remarked, by the digest of the file."""
        return {} if self.beside is None else remarks_beside(self.beside.with_suffix(".index"))

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {digest.decode(): row for row, digest in enumerate(self.index["identity"])}


def read_images(
    catalog: Catalog,
    short_side: int,
    max_pixels: int,
    workers: int,
    allow_truncated: bool = False,
    format: str = "pixels",
    value_range: ValueRange | Literal["auto"] | None = "auto",
) -> tuple[Catalog, PixelStore]:
    """Decode every image of the catalog once, into a store in the cache folder.

    `format` says how they are kept: 'pixels', or 'jpeg', which loses a little and takes about an
    eighth of the space. `value_range` scales images of more than 8 bits; 'auto': by the values of those
    that may be training's. Returns the catalog with sha256, width, height, problem and remark filled in, and
    the store. A store that was begun is completed; one that is there is opened. Raises MachineError
    where the cache can't be written, DataError where an image changes meanwhile.
    """
    read = Reader(catalog.root)
    with remarks_collected("decoders of images") as remarks, threads(workers or 1) as pool:
        digests, unreadable, deep = hash_files(
            read, list(catalog.paths), pool, value_range == "auto"
        )
        distinct = dict(zip(digests, catalog.paths, strict=True))
        if value_range == "auto":
            may_train = catalog.may_train
            value_range = range_of(found for row, found in deep.items() if may_train[row])
        settings = Settings(short_side, max_pixels, allow_truncated, format, value_range)
        store = open_store(read, distinct, settings, pool, remarks)
    row_of = {digest.decode(): row for row, digest in enumerate(store.index["sha256"])}
    records = np.array([row_of[digest] for digest in digests], dtype=np.int64)
    problems = [text.decode(errors="ignore") for text in store.index["problem"][records]]
    for row, why in unreadable.items():
        problems[row] = why
    catalog = catalog.with_columns(
        sha256=objects([digest.decode() for digest in store.index["identity"][records]]),
        width=store.index["full_width"][records].astype(np.int64),
        height=store.index["full_height"][records].astype(np.int64),
        problem=objects(problems),
        remark=objects([store.remarks.get(digest, "") for digest in digests]),
    )
    return catalog, store


def hash_files(
    read: Reader, paths: Sequence[str], pool: ThreadPoolExecutor, with_extremes: bool = False
) -> tuple[list[str], dict[int, str], dict[int, Extremes]]:
    """Return the SHA-256 of each file's bytes, in hex; and by row, why one can't be read.

    What can't be read counts as empty. `with_extremes`: also by row, the extremes of images with more
    than 8 bits.
    """
    digests: list[str] = []
    unreadable = {}
    deep = {}

    def digest_of(path: str) -> Hashed | OSError:
        try:
            content = read(path)
            found = extremes_of(content) if with_extremes else None
            return hashlib.sha256(content).hexdigest(), found
        except OSError as error:
            return error
        finally:
            sign_of_life()

    def digests_of(some: list[str]) -> list[Hashed | OSError]:
        return [digest_of(path) for path in some]

    with Progress("reading", len(paths)) as progress:
        for chunk in in_order(pool, digests_of, chunks_of(list(paths), CHUNK), AHEAD):
            for found in chunk:
                if isinstance(found, OSError):
                    unreadable[len(digests)] = f"can't be read ({found.strerror or found})"
                    found = EMPTY, None
                digest, extremes = found
                if extremes is not None:
                    deep[len(digests)] = extremes
                digests.append(digest)
            progress.advance(len(chunk))
    return digests, unreadable, deep


def open_store(
    read: Reader,
    distinct: dict[str, str],
    settings: Settings,
    pool: ThreadPoolExecutor,
    remarks: Remarks,
) -> PixelStore:
    """Open the store of these images (digest: path), built or completed where needed."""
    # Stores that differ in their images alone share the beginning of their names.
    facts = astuple(settings)[:-1] if settings.value_range is None else astuple(settings)
    how = short_hash([STORE_VERSION, str(RECORD), *facts, BACKGROUND])
    base = cache_folder() / f"pixels-{how[:8]}-{short_hash([how, *distinct])}"
    pixel_file, index_file = base.with_suffix(".bin"), base.with_suffix(".index")
    try:
        base.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(base.with_suffix(".lock"), log):  # a second builder waits, finds it done
            drop_damaged(pixel_file, index_file, pool)
            drop_readable(index_file)
            if not is_complete(pixel_file, index_file, len(distinct)):
                build(pixel_file, index_file, read, distinct, settings, pool, remarks)
            in_use = Use(base, read.root)
    except OSError as error:
        raise MachineError(
            f"{base.parent}: the image cache can't be written ({error.strerror}); "
            "free some space, or set RESNETLAB_CACHE to another folder"
        ) from error
    return opened(base, settings.format, settings.value_range, in_use)


def opened(
    base: Path, format: str, value_range: ValueRange | None, in_use: Use | None = None
) -> PixelStore:
    """Return the store whose files begin with `base`. Raises MachineError where they can't be read."""
    pixel_file, index_file = base.with_suffix(".bin"), base.with_suffix(".index")
    try:
        index, thumbnails = read_facts(index_file), StoredThumbnails(index_file)
        small = 0 < pixel_file.stat().st_size <= MAPPED_BYTES  # an empty file can't be mapped
        mapped = InUse(pixel_file) if small else None
        # As a plain array: each slice of a memmap costs as much again.
        pixels = (
            np.asarray(np.memmap(pixel_file, np.uint8, "r")) if small else FileBytes(pixel_file)
        )
    except OSError as error:
        raise MachineError(
            f"{pixel_file}: can't be opened ({error.strerror}); RESNETLAB_CACHE must be a folder "
            "that every process sees"
        ) from error
    return PixelStore(pixels, index, thumbnails, base, format, value_range, in_use, mapped)


def short_hash(facts: Sequence[Any]) -> str:
    """Return the first 24 hex digits of a hash of plain values."""
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]


def is_complete(pixel_file: Path, index_file: Path, count: int) -> bool:
    """Return whether both files are there with every record, and as long as the records say."""
    if not (pixel_file.is_file() and index_file.is_file()):
        return False
    index = read_facts(index_file)
    return len(index) == count and end_of(index) == pixel_file.stat().st_size


def drop_damaged(pixel_file: Path, index_file: Path, pool: ThreadPoolExecutor) -> None:
    """Cut an index off before the first image of which a bit is wrong, so that it is built anew."""
    if not (pixel_file.is_file() and index_file.is_file()):
        return
    total = count_entries(index_file)
    count = count_sound(pixel_file, index_file, pool)
    if count < total:
        log(
            f"note: {pixel_file}: is damaged (a checksum differs); built anew from image "
            f"{count + 1:,} of {total:,} on"
        )
        os.truncate(index_file, count * ENTRY.itemsize)


def drop_readable(index_file: Path) -> None:
    """Cut an index off before the first image that lacked an extra which is here now."""
    if not index_file.is_file():
        return
    problems = read_facts(index_file)["problem"]
    kinds = [kind for kind in WITH_EXTRA if not why_not(kind)]
    readable = [
        any(text.startswith(f"{kind} {NEEDS}".encode()) for kind in kinds)
        for text in problems
        if text
    ]
    if any(readable):
        first = np.flatnonzero(problems != b"")[readable.index(True)]
        os.truncate(index_file, int(first) * ENTRY.itemsize)


def count_sound(pixel_file: Path, index_file: Path, pool: ThreadPoolExecutor) -> int:
    """Return how many images, from the first on, are as they were written, record and pixels.

    All is read once, chunk by chunk: memory doesn't grow.
    """
    size = pixel_file.stat().st_size
    index = read_facts(index_file)
    ends = np.cumsum(index["length"], dtype=np.uint64)
    placed = (
        (index["offset"] == ends - index["length"]) & (ends <= size) & (index["length"] <= size)
    )
    index = index[: leading(placed)]
    content = FileBytes(pixel_file)

    def count(rows: np.ndarray) -> int:
        chunk = entries(index_file, int(rows[0]), len(rows))
        start, end = int(chunk[0]["offset"]), end_of(chunk)
        cuts = (chunk["offset"][1:] - chunk["offset"][0]).astype(np.int64)
        stored = np.split(content[start:end], cuts)
        return leading(checksums(chunk, stored) == chunk["checksum"])

    number = min(len(index), 1 + end_of(index) // CHECKED_BYTES)
    chunks = np.array_split(np.arange(len(index)), number) if number else []
    sound = 0
    with Progress("checking", len(index)) as progress:
        for rows, found in zip(chunks, in_order(pool, count, chunks, AHEAD), strict=True):
            sound += found
            if found < len(rows):
                break
            progress.advance(found)
    return sound


def leading(right: np.ndarray) -> int:
    """Return how many are true (of (P,) bool) before the first that is not."""
    return len(right) if right.all() else int(right.argmin())


def short_side_for(image_size: int) -> int:
    """Return the shorter side (px) at which images are stored for a network input of `image_size`.

    A seventh more than the input leaves a random crop something to choose from.
    """
    return -(-image_size * 8 // 7)
