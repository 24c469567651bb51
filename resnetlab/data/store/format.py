"""In which form decoded images are kept: their pixels, or where these are too many, JPEG again."""

import os
import shutil

import numpy as np

from resnetlab.data.catalog import Catalog
from resnetlab.data.sources.reader import Reader
from resnetlab.data.store.decode import ImageProblem, peek_size
from resnetlab.data.store.resize import reduced_size
from resnetlab.system.files import cache_folder
from resnetlab.system.progress import log
from resnetlab.system.requirements import nearest, size

PEEK = 100  # images whose header is read
FREE_SHARE = 0.5  # of the free disk that pixels may take
MEMORIES = 2  # times the machine's memory that they may take: beyond, each epoch waits for the disk


def choose_format(catalog: Catalog, short_side: int) -> str:
    """Return how the images should be kept once they are reduced to `short_side` (px).

    'pixels', or 'jpeg' where those would be too many for the disk or the memory, which is said.
    """
    needed = expected_bytes(catalog, short_side)
    if needed <= min(FREE_SHARE * free_for(needed), MEMORIES * memory_bytes()):
        return "pixels"
    log(
        f"note: the decoded images would take {size(needed)}, too much for the disk or the memory "
        "here: kept as JPEG, decoded anew for each batch; data.store=pixels keeps them as they are"
    )
    return "jpeg"


def expected_bytes(catalog: Catalog, short_side: int) -> int:
    """Return about how many bytes the pixels of a catalog take, by some headers spread over it."""
    step = max(1, len(catalog) // PEEK)
    read = Reader(catalog.root)
    counts = []
    for path in catalog.paths[::step]:
        try:
            width, height = reduced_size(peek_size(read(path)), short_side)
        except (OSError, ImageProblem):
            continue  # the audit will say what is wrong with it
        counts.append(3 * width * height)
    return int(np.mean(counts) * len(catalog)) if counts else 0


def free_for(needed: int) -> int:
    """Return the free bytes of the cache's disk, for a store of about `needed` bytes.

    One of that size which is there already may be the one: it counts as free, or the choice would
    change once it is made.
    """
    folder = cache_folder()
    sizes = [file.stat().st_size for file in folder.glob("pixels-*.bin")]
    there = [count for count in sizes if 0.8 * needed < count < 1.25 * needed]
    return shutil.disk_usage(nearest(folder)).free + max(there, default=0)


def memory_bytes() -> int:
    """Return the machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
