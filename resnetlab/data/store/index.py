"""The file of a store's records: whole where each bit counts, without the thumbnails where facts do."""

from pathlib import Path

import numpy as np

from resnetlab.data.store.checksums import ENTRY
from resnetlab.data.store.file_bytes import FileBytes
from resnetlab.data.store.resize import THUMBNAIL_PX

# What is held in memory of each image: a thumbnail is three quarters of its record.
FACTS = np.dtype([field for field in ENTRY.descr if field[0] not in ("small", "checksum")])
CHUNK = 4096  # records read at a time


def entries(index_file: Path, start: int = 0, count: int = -1) -> np.ndarray:
    """Return the entries of an index from a row on, all without a `count`; not a last one that was cut."""
    return np.fromfile(index_file, dtype=ENTRY, count=count, offset=start * ENTRY.itemsize)


def count_entries(index_file: Path) -> int:
    """Return how many entries an index has; a last one that was cut doesn't count."""
    return index_file.stat().st_size // ENTRY.itemsize


def read_facts(index_file: Path) -> np.ndarray:
    """Return what an index says of its P images, (P,) of FACTS."""
    found = np.empty(count_entries(index_file), dtype=FACTS)
    for start in range(0, len(found), CHUNK):
        found[start : start + CHUNK] = entries(index_file, start, CHUNK)[list(FACTS.names or ())]
    return found


class StoredThumbnails:
    """The thumbnails of an index, uint8 (P, THUMBNAIL_PX, THUMBNAIL_PX), read where they are asked for."""

    def __init__(self, index_file: Path) -> None:
        self.content = FileBytes(index_file)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Return those of some rows of any shape, (..., THUMBNAIL_PX, THUMBNAIL_PX)."""
        found = np.empty((rows.size, THUMBNAIL_PX**2), dtype=np.uint8)
        first = ENTRY.fields["small"][1]  # type: ignore[index]
        for place, row in enumerate(rows.ravel().tolist()):
            start = row * ENTRY.itemsize + first
            found[place] = self.content[start : start + THUMBNAIL_PX**2]
        return found.reshape(*rows.shape, THUMBNAIL_PX, THUMBNAIL_PX)
