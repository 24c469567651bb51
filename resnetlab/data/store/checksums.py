"""The checksum by which a store tells that an image in it is what was written."""

from collections.abc import Iterable

import numpy as np
from xxhash import xxh3_64_intdigest

from resnetlab.data.store.record import RECORD

# A line of the index: a record, and a checksum over it and over what is stored of its image.
ENTRY = np.dtype([*RECORD.descr, ("checksum", "<u8")])


def checksums(entries: np.ndarray, stored: Iterable[np.ndarray]) -> np.ndarray:
    """Return the checksum, (P,) uint64, of each entry (P,) and what is `stored` of its image.

    The place in the file is left out, so that a copy elsewhere has the same.
    """
    facts = entries.copy()
    facts["offset"] = facts["checksum"] = 0
    lines = facts.view(np.uint8).reshape(len(facts), ENTRY.itemsize)
    sums = [
        xxh3_64_intdigest(content.data, seed=xxh3_64_intdigest(line.data))
        for line, content in zip(lines, stored, strict=True)
    ]
    return np.array(sums, dtype=np.uint64)
