"""The PixelStore: every picture decoded once, in one memory-mapped file."""

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from resnetlab.checks import require_space
from resnetlab.data.catalog import Catalog, objects, printable
from resnetlab.data.decode import BACKGROUND, PictureProblem, decode
from resnetlab.data.record import RECORD, fill_record
from resnetlab.data.sources.reader import Reader
from resnetlab.errors import DataError, MachineError
from resnetlab.files import cache_folder, exclusive, sync
from resnetlab.progress import Progress

STORE_VERSION = 3  # raised whenever decoding gives other pixels
Settings = tuple[int, int, bool]  # of decode: short_side, max_pixels, allow_truncated
EMPTY = hashlib.sha256(b"").hexdigest()
CHUNK = 256  # pictures between two entries in the index: what a cut-off build loses at most


@dataclass(frozen=True)
class PixelStore:
    """Pixels and sums of P distinct pictures.

    `pixels` is the memory-mapped file (bytes,), `index` the records (P,) described by RECORD. What
    is computed once of them may be kept under the name `beside`, with another ending.
    """

    pixels: np.ndarray
    index: np.ndarray
    beside: Path | None = None

    def picture(self, row: int) -> np.ndarray:
        """Return the pixels of one record as a view, uint8 (H, W, 3) in RGB."""
        record = self.index[row]
        height, width, start = int(record["height"]), int(record["width"]), int(record["offset"])
        return self.pixels[start : start + height * width * 3].reshape(height, width, 3)

    def rows_of(self, catalog: Catalog) -> np.ndarray:
        """Return the record of each sample of the catalog, (N,) int64."""
        row_of = {digest.decode(): row for row, digest in enumerate(self.index["identity"])}
        return np.array([row_of[digest] for digest in catalog.sha256], dtype=np.int64)


def read_pictures(
    catalog: Catalog,
    short_side: int,
    max_pixels: int,
    workers: int,
    allow_truncated: bool = False,
) -> tuple[Catalog, PixelStore]:
    """Decode every picture of the catalog once, into a store in the cache folder.

    Returns the catalog with sha256, width, height and problem filled in, and the store. A store
    that was begun is completed; one that is there is opened. Raises MachineError where the cache
    can't be written, DataError where a picture changes meanwhile.
    """
    read = Reader(catalog.root)
    with ThreadPoolExecutor(workers or 1) as pool:
        digests, unreadable = hash_files(read, list(catalog.paths), pool)
        distinct = dict(zip(digests, catalog.paths, strict=True))
        settings = (short_side, max_pixels, allow_truncated)
        store = open_store(read, distinct, settings, pool)
    row_of = {digest.decode(): row for row, digest in enumerate(store.index["sha256"])}
    records = store.index[[row_of[digest] for digest in digests]]
    problems = [text.decode(errors="ignore") for text in records["problem"]]
    for row, why in unreadable.items():
        problems[row] = why
    catalog = catalog.with_columns(
        sha256=objects([digest.decode() for digest in records["identity"]]),
        width=records["full_width"].astype(np.int64),
        height=records["full_height"].astype(np.int64),
        problem=objects(problems),
    )
    return catalog, store


def hash_files(
    read: Reader, paths: Sequence[str], pool: ThreadPoolExecutor
) -> tuple[list[str], dict[int, str]]:
    """Return the SHA-256 of each file's bytes, in hex; and by row, why one can't be read.

    What can't be read counts as empty.
    """
    digests: list[str] = []
    unreadable = {}

    def digest_of(path: str) -> str | OSError:
        try:
            return hashlib.sha256(read(path)).hexdigest()
        except OSError as error:
            return error

    with Progress("reading", len(paths)) as progress:
        for start in range(0, len(paths), 16 * CHUNK):  # a pool keeps what it is given in memory
            for found in pool.map(digest_of, paths[start : start + 16 * CHUNK]):
                if isinstance(found, OSError):
                    unreadable[len(digests)] = f"can't be read ({found.strerror or found})"
                    found = EMPTY
                digests.append(found)
                progress.advance(1)
    return digests, unreadable


def open_store(
    read: Reader, distinct: dict[str, str], settings: Settings, pool: ThreadPoolExecutor
) -> PixelStore:
    """Open the store of these pictures (digest: path), built or completed where needed."""
    facts = [STORE_VERSION, str(RECORD), *settings, BACKGROUND, list(distinct)]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]
    base = cache_folder() / f"pixels-{key}"
    pixel_file, index_file = base.with_suffix(".bin"), base.with_suffix(".index")
    try:
        base.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(base.with_suffix(".lock")):  # a second builder waits, then finds it done
            if not is_complete(pixel_file, index_file, len(distinct)):
                build(pixel_file, index_file, read, distinct, settings, pool)
    except OSError as error:
        raise MachineError(
            f"{base.parent}: the picture cache can't be written ({error.strerror}); "
            "free some space, or set RESNETLAB_CACHE to another folder"
        ) from error
    index = np.fromfile(index_file, dtype=RECORD)
    empty = not pixel_file.stat().st_size  # an empty file can't be mapped
    pixels = np.zeros(0, np.uint8) if empty else np.memmap(pixel_file, np.uint8, mode="r")
    return PixelStore(pixels, index, base)


def is_complete(pixel_file: Path, index_file: Path, count: int) -> bool:
    """Return whether both files are there with every record, and as long as the records say."""
    if not (pixel_file.is_file() and index_file.is_file()):
        return False
    index = whole_records(index_file)
    return len(index) == count and end_of(index) == pixel_file.stat().st_size


def build(
    pixel_file: Path,
    index_file: Path,
    read: Reader,
    distinct: dict[str, str],
    settings: Settings,
    pool: ThreadPoolExecutor,
) -> None:
    """Append what is missing, in the order of `distinct`: pixels first, then their records.

    A build that is cut off goes on where the last whole chunk ends.
    """
    pixel_file.touch()
    index_file.touch()
    done = whole_records(index_file)
    if end_of(done) > pixel_file.stat().st_size:  # pixels lost: nothing in the index can be trusted
        done = done[:0]
    os.truncate(index_file, done.nbytes)
    os.truncate(pixel_file, end_of(done))
    pending = list(distinct.items())[len(done) :]
    with (
        pixel_file.open("ab") as pixels,
        index_file.open("ab") as index,
        Progress("decoding", len(distinct), done=len(done)) as progress,
    ):
        for start in range(0, len(pending), CHUNK):
            chunk = pending[start : start + CHUNK]
            records = np.zeros(len(chunk), dtype=RECORD)
            made = pool.map(lambda item: make_record(read, item[0], item[1], settings), chunk)
            for row, (record, picture) in enumerate(made):
                record["offset"] = pixels.tell()
                records[row] = record
                pixels.write(picture.data)
                progress.advance(1)
            pixels.flush()
            if start == 0:  # enough to know what a picture takes
                left = len(pending) - len(chunk)
                each = (pixels.tell() - end_of(done)) / len(chunk)
                require_space(pixel_file.parent, int(each * left), "the decoded pictures")
            index.write(records.tobytes())
            index.flush()
    sync(pixel_file)
    sync(index_file)


def make_record(
    read: Reader, digest: str, path: str, settings: Settings
) -> tuple[np.void, np.ndarray]:
    """Decode one file; return its record and pixels, none where it has a problem.

    One bad picture stops nothing. Raises DataError where the content is not what was hashed: the
    store would lie for ever.
    """
    try:
        content = read(path)
    except OSError:
        content = b""
    if hashlib.sha256(content).hexdigest() != digest:
        raise DataError(f"{printable(path)}: changed or went away while it was read; start again")
    record = np.zeros(1, dtype=RECORD)[0]
    try:
        picture = decode(content, *settings)
    except PictureProblem as problem:
        fill_record(record, digest, len(content), problem)
        return record, np.empty(0, dtype=np.uint8)
    fill_record(record, digest, len(content), picture)
    return record, np.ascontiguousarray(picture.pixels)


def whole_records(index_file: Path) -> np.ndarray:
    """Return the records of an index, without a last one that was cut."""
    content = index_file.read_bytes()
    count = len(content) // RECORD.itemsize
    return np.frombuffer(content[: count * RECORD.itemsize], dtype=RECORD)


def end_of(index: np.ndarray) -> int:
    """Return how many bytes of pixels the records describe."""
    if not len(index):
        return 0
    last = index[-1]
    return int(last["offset"]) + 3 * int(last["height"]) * int(last["width"])


def short_side_for(image_size: int) -> int:
    """Return the shorter side (px) at which pictures are stored for a network input of `image_size`.

    A seventh more than the input leaves a random crop something to choose from.
    """
    return -(-image_size * 8 // 7)
