"""How a store is made: in chunks by threads, written in order, gone on with after any cut."""

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from resnetlab.data.catalog import printable
from resnetlab.data.formats import why_not_by_name
from resnetlab.data.sources.reader import Reader
from resnetlab.data.store.checksums import ENTRY, checksums
from resnetlab.data.store.decode import ImageProblem, decode
from resnetlab.data.store.depth import ValueRange
from resnetlab.data.store.file_bytes import FileBytes
from resnetlab.data.store.index import entries, read_facts
from resnetlab.data.store.jpeg import pack
from resnetlab.data.store.record import fill_record
from resnetlab.errors import DataError, one_line
from resnetlab.system.cache import keep_table, kept_table
from resnetlab.system.files import sync
from resnetlab.system.progress import Progress, log
from resnetlab.system.remarks import Remarks
from resnetlab.system.requirements import require_space
from resnetlab.system.threads import Item, in_order, sign_of_life

REMARKED = 1000  # images whose remarks are looked up, one by one
CHUNK = 64  # images between two entries in the index: what a cut-off build loses of a thread's work
CHUNK_BYTES = 2**24  # of their pixels, about: fewer images where these are large
REMARKS = ".remarks"  # ends the file beside a store that holds them
AHEAD = 4  # chunks made ahead of the one that is being written

Made = tuple[np.ndarray, list[np.ndarray]]  # records and, for each, what is stored


@dataclass(frozen=True)
class Settings:
    """What decides the bytes of a store, besides the images; see `decode`."""

    short_side: int
    max_pixels: int
    allow_truncated: bool
    format: str  # pixels | jpeg
    value_range: ValueRange | None = None  # of images with more than 8 bits

    @property
    def chunk(self) -> int:
        """Return how many images are made at a time."""
        return max(1, min(CHUNK, CHUNK_BYTES // (4 * self.short_side**2)))


class Earlier:
    """What another store of the same settings holds, by the digest of the files."""

    def __init__(self, pixel_file: Path, index_file: Path) -> None:
        self.content = FileBytes(pixel_file)
        self.index_file = index_file
        index = read_facts(index_file)
        there = np.flatnonzero(index["offset"] + index["length"] <= pixel_file.stat().st_size)
        self.row_of = {
            digest.decode(): row
            for row, digest in zip(there.tolist(), index["sha256"][there], strict=True)
        }
        self.remarks = remarks_beside(index_file)

    def get(self, digest: str) -> tuple[np.void, np.ndarray] | None:
        """Return the record of an image and what is stored of it; None where that is not sound."""
        if digest not in self.row_of:
            return None
        entry = entries(self.index_file, self.row_of[digest], 1)
        record = entry[0]
        start = int(record["offset"])
        content = self.content[start : start + int(record["length"])]
        is_sound = checksums(entry, [content])[0] == record["checksum"]
        return (record, content) if is_sound else None


def earlier_store(index_file: Path) -> Earlier | None:
    """Return the latest other store in the folder whose name says that its settings are the same."""
    same = index_file.name.rpartition("-")[0]
    others = [
        other
        for other in index_file.parent.glob(f"{same}-*.index")
        if other != index_file and other.with_suffix(".bin").is_file()
    ]
    if not others:
        return None
    latest = max(others, key=lambda other: (other.stat().st_mtime_ns, other.name))
    return Earlier(latest.with_suffix(".bin"), latest)


def build(
    pixel_file: Path,
    index_file: Path,
    read: Reader,
    distinct: dict[str, str],
    settings: Settings,
    pool: ThreadPoolExecutor,
    remarks: Remarks,
) -> None:
    """Append what is missing of the images (digest: path), in their order: pixels, then records.

    A build that is cut off goes on where the last whole chunk ends. What an earlier store of the
    same settings holds is copied. What decoders remarked of an image is kept beside the store.
    """
    done = begin(pixel_file, index_file)
    remarked: dict[str, str] = {}  # by the digest, a path: something was printed meanwhile
    pending = list(distinct.items())[len(done) :]
    earlier = earlier_store(index_file)
    if earlier and not len(done):
        tell_new(distinct, earlier)

    def make(items: list[tuple[str, str]]) -> Made:
        records = np.zeros(len(items), dtype=ENTRY)
        stored = []
        for row, (digest, path) in enumerate(items):
            kept = earlier and earlier.get(digest)
            if kept:
                records[row], content = kept
            else:
                before = remarks.written()
                content = store_file(read, digest, path, settings, records[row])
                if remarks.written() > before:
                    remarked[digest] = path
            sign_of_life()
            stored.append(content)
        records["checksum"] = checksums(records, stored)
        return records, stored

    with (
        pixel_file.open("ab") as pixels,
        index_file.open("ab") as index,
        Progress("decoding", len(distinct), done=len(done)) as progress,
    ):
        for records, stored in in_order(pool, make, chunks_of(pending, settings.chunk), AHEAD):
            ends = np.cumsum(records["length"], dtype=np.uint64)
            records["offset"] = pixels.tell() + ends - records["length"]
            for content in stored:
                pixels.write(content.data)
            pixels.flush()
            if not progress.done - len(done):  # enough to know what an image takes
                left = len(pending) - len(records)
                needed = int(ends[-1]) / len(records) * left
                require_space(pixel_file.parent, int(needed), "the decoded images")
            index.write(records.tobytes())
            index.flush()
            progress.advance(len(records))
    sync(pixel_file)
    sync(index_file)
    found = {} if earlier is None else {key: earlier.remarks.get(key, "") for key in distinct}
    found |= remarks_beside(index_file)
    for digest, path in list(remarked.items())[:REMARKED]:
        found[digest] = remarks.during(partial(decode_again, read, path, settings))
    found = {digest: text for digest, text in found.items() if text}
    if found:
        keep_table(index_file.with_suffix(REMARKS), found)


def decode_again(read: Reader, path: str, settings: Settings) -> None:
    """Decode one image for what its decoder remarks: at first others may have been at work beside it."""
    with suppress(OSError, ImageProblem):
        decode(
            read(path), settings.short_side, settings.max_pixels, settings.allow_truncated,
            settings.value_range,
        )  # fmt: skip


def remarks_beside(index_file: Path) -> dict[str, str]:
    """Return what decoders remarked of the images of a store, by the digest of the file."""
    return kept_table(index_file.with_suffix(REMARKS))


def tell_new(distinct: dict[str, str], earlier: Earlier) -> None:
    """Say how many images are new or changed since an earlier store of mostly the same, before they are decoded."""
    new = [path for digest, path in distinct.items() if digest not in earlier.row_of]
    if 0 < len(new) < len(distinct) / 2:
        log(
            f"note: {len(new):,} of {len(distinct):,} images are new or have changed since they were last "
            f"decoded, the first is {printable(new[0])}; the others are copied"
        )


def begin(pixel_file: Path, index_file: Path) -> np.ndarray:
    """Cut both files back to what is whole in them; return the records that are left."""
    pixel_file.touch()
    index_file.touch()
    done = read_facts(index_file)
    if end_of(done) > pixel_file.stat().st_size:  # pixels lost: nothing in the index can be trusted
        done = done[:0]
    os.truncate(index_file, len(done) * ENTRY.itemsize)
    os.truncate(pixel_file, end_of(done))
    return done


def store_file(
    read: Reader, digest: str, path: str, settings: Settings, record: np.void
) -> np.ndarray:
    """Fill the record of one file; return what is stored of it, nothing where it has a problem.

    One bad image stops nothing. Raises DataError where the content is not what was hashed (the
    store would lie for ever), and where a decoder fails as none should.
    """
    try:
        content = read(path)
    except OSError:
        content = b""
    if hashlib.sha256(content).hexdigest() != digest:
        raise DataError(f"{printable(path)}: changed or went away while it was read; start again")
    try:
        if why := why_not_by_name(path):
            raise ImageProblem(why)
        image = decode(
            content,
            settings.short_side,
            settings.max_pixels,
            settings.allow_truncated,
            settings.value_range,
        )
    except ImageProblem as problem:
        fill_record(record, digest, len(content), problem)
        return np.empty(0, dtype=np.uint8)
    except Exception as error:
        raise DataError(
            f"{printable(path)}: can't be decoded ({type(error).__name__}: {one_line(error)}); leave "
            "it out, and tell us"
        ) from error
    fill_record(record, digest, len(content), image)
    stored = pack(image.pixels) if settings.format == "jpeg" else image.pixels
    record["length"] = stored.size
    return np.ascontiguousarray(stored)


def chunks_of(items: list[Item], count: int) -> Iterator[list[Item]]:
    """Give a list in chunks of at most `count`."""
    for start in range(0, len(items), count):
        yield items[start : start + count]


def end_of(index: np.ndarray) -> int:
    """Return how many bytes in the file of the pixels the records describe."""
    return int(index[-1]["offset"] + index[-1]["length"]) if len(index) else 0
