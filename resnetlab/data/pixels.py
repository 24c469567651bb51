"""The PixelStore: every picture decoded once, in one memory-mapped file."""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from resnetlab.data.catalog import Catalog, objects
from resnetlab.data.decode import BACKGROUND, PictureProblem, decode
from resnetlab.errors import DataError, MachineError
from resnetlab.files import sync
from resnetlab.progress import Progress

STORE_VERSION = 2  # raised whenever decoding gives other pixels
CHUNK = 256  # pictures between two entries in the index: what a cut-off build loses at most

# One record a picture. The index file is these records and nothing else, so that it can be
# appended to, cut back to whole records after a crash, and read at once.
RECORD = np.dtype(
    [
        ("sha256", "S64"),
        ("offset", "<u8"),  # of the first pixel in the .bin file
        ("height", "<u4"),  # of the stored picture, px
        ("width", "<u4"),
        ("full_height", "<u4"),  # of the original, upright, px
        ("full_width", "<u4"),
        ("sums", "<u8", 3),  # of the stored R, G, B values
        ("squares", "<u8", 3),  # of their squares
        ("problem", "S96"),  # why there are no pixels, empty where there are
    ]
)


@dataclass(frozen=True)
class PixelStore:
    """Pixels and sums of P distinct pictures.

    `pixels` is the memory-mapped file (bytes,), `index` the records (P,) described by RECORD.
    """

    pixels: np.ndarray
    index: np.ndarray

    def picture(self, row: int) -> np.ndarray:
        """Return the pixels of one record as a view, uint8 (H, W, 3) in RGB."""
        record = self.index[row]
        height, width, start = int(record["height"]), int(record["width"]), int(record["offset"])
        return self.pixels[start : start + height * width * 3].reshape(height, width, 3)

    def rows_of(self, catalog: Catalog) -> np.ndarray:
        """Return the record of each sample of the catalog, (N,) int64."""
        row_of = {digest.decode(): row for row, digest in enumerate(self.index["sha256"])}
        return np.array([row_of[digest] for digest in catalog.sha256], dtype=np.int64)


def read_pictures(
    catalog: Catalog, short_side: int, max_pixels: int, workers: int
) -> tuple[Catalog, PixelStore]:
    """Decode every picture of the catalog once, into a store in the cache folder.

    Returns the catalog with sha256, width, height and problem filled in, and the store. A store
    that was begun is completed; one that is there is opened. Raises MachineError where the cache
    can't be written, DataError where a picture changes meanwhile.
    """
    files = [catalog.root / path for path in catalog.paths]
    with ThreadPoolExecutor(workers or 1) as pool:
        digests = hash_files(files, pool)
        distinct = dict(zip(digests, files, strict=True))
        store = open_store(distinct, short_side, max_pixels, pool)
    catalog = catalog.with_columns(sha256=objects(digests))
    records = store.index[store.rows_of(catalog)]
    catalog = catalog.with_columns(
        width=records["full_width"].astype(np.int64),
        height=records["full_height"].astype(np.int64),
        problem=objects([text.decode(errors="ignore") for text in records["problem"]]),
    )
    return catalog, store


def hash_files(files: Sequence[Path], pool: ThreadPoolExecutor) -> list[str]:
    """Return the SHA-256 of each file's bytes, in hex; a file that can't be read counts as empty."""
    digests = []
    with Progress("reading", len(files)) as progress:
        for digest in pool.map(lambda path: hashlib.sha256(read_bytes(path)).hexdigest(), files):
            digests.append(digest)
            progress.advance(1)
    return digests


def read_bytes(path: Path) -> bytes:
    """Return a file's bytes; none where it can't be read, which the audit reports as a problem."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def open_store(
    distinct: dict[str, Path], short_side: int, max_pixels: int, pool: ThreadPoolExecutor
) -> PixelStore:
    """Open the store of these pictures (by content), built or completed where needed."""
    settings = [STORE_VERSION, short_side, max_pixels, BACKGROUND]
    key = hashlib.sha256(json.dumps([settings, list(distinct)]).encode()).hexdigest()[:24]
    base = cache_folder() / f"pixels-{key}"
    pixel_file, index_file = base.with_suffix(".bin"), base.with_suffix(".index")
    try:
        base.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(base.with_suffix(".lock")):  # a second builder waits, then finds it done
            if not is_complete(pixel_file, index_file, len(distinct)):
                build(pixel_file, index_file, distinct, short_side, max_pixels, pool)
    except OSError as error:
        raise MachineError(
            f"{base.parent}: the picture cache can't be written ({error.strerror}); "
            "free some space, or set RESNETLAB_CACHE to another folder"
        ) from error
    index = np.fromfile(index_file, dtype=RECORD)
    empty = not pixel_file.stat().st_size  # an empty file can't be mapped
    pixels = np.zeros(0, np.uint8) if empty else np.memmap(pixel_file, np.uint8, mode="r")
    return PixelStore(pixels, index)


def is_complete(pixel_file: Path, index_file: Path, count: int) -> bool:
    """Return whether both files are there with every record, and as long as the records say."""
    if not (pixel_file.is_file() and index_file.is_file()):
        return False
    index = whole_records(index_file)
    return len(index) == count and end_of(index) == pixel_file.stat().st_size


def build(
    pixel_file: Path,
    index_file: Path,
    distinct: dict[str, Path],
    short_side: int,
    max_pixels: int,
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
            pictures = pool.map(
                lambda item: decoded(item[0], item[1], short_side, max_pixels), chunk
            )
            for record, (digest, _), picture in zip(records, chunk, pictures, strict=True):
                record["sha256"] = digest
                record["offset"] = pixels.tell()
                fill_record(record, picture)
                if isinstance(picture, tuple):
                    pixels.write(picture[0].data)
                progress.advance(1)
            pixels.flush()
            index.write(records.tobytes())
            index.flush()
    sync(pixel_file)
    sync(index_file)


def decoded(
    digest: str, path: Path, short_side: int, max_pixels: int
) -> tuple[np.ndarray, int, int] | PictureProblem:
    """Decode one file; a problem is returned, not raised: one bad picture stops nothing.

    Raises DataError where the content is not what was hashed: the store would lie for ever.
    """
    content = read_bytes(path)
    if hashlib.sha256(content).hexdigest() != digest:
        raise DataError(f"{path}: changed or went away while it was read; start again")
    try:
        pixels, width, height = decode(content, short_side, max_pixels)
    except PictureProblem as problem:
        return problem
    return np.ascontiguousarray(pixels), width, height


def fill_record(record: np.void, picture: tuple[np.ndarray, int, int] | PictureProblem) -> None:
    """Write size and sums, or the problem, into a record."""
    if isinstance(picture, PictureProblem):
        record["problem"] = str(picture).encode(errors="replace")[:96]
        return
    pixels, record["full_width"], record["full_height"] = picture
    record["height"], record["width"] = pixels.shape[:2]
    values = pixels.reshape(-1, 3)
    record["sums"] = values.sum(axis=0, dtype=np.uint64)
    # uint8 squared needs 16 bits; sums of squares are exact in 64.
    record["squares"] = np.square(values, dtype=np.uint16).sum(axis=0, dtype=np.uint64)


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


def cache_folder() -> Path:
    """Return where stores live: RESNETLAB_CACHE, else the user's cache folder."""
    chosen = os.environ.get("RESNETLAB_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "resnetlab"


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold a lock file; the system releases it when the process ends, however it ends."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def short_side_for(image_size: int) -> int:
    """Return the shorter side (px) at which pictures are stored for a network input of `image_size`.

    A seventh more than the input leaves a random crop something to choose from.
    """
    return -(-image_size * 8 // 7)
