"""Groups that file names tell of: copies that tools made, frames of a track, images of a patient.

Names alone prove nothing (`cat.1.jpg`, `IMG_0001.jpg`). So a way to read them counts only where images
that it puts together resemble each other clearly more than others of their class.
"""

import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from resnetlab.data.audit.candidates import descriptors
from resnetlab.data.catalog import Catalog
from resnetlab.data.sources.listing import natural_key
from resnetlab.data.store.pixels import PixelStore

FEWEST = 5  # groups of two images or more, below which nothing can be told
SAMPLED = 2000  # groups that are looked at
# Cosine of two descriptors: how much more alike images of a group must be, on average over the
# groups, in standard errors of that, and in what share of the groups.
MORE, ERRORS, SHARE = 0.1, 5.0, 0.8
FRAMES = 0.75  # ... of two images whose names follow each other, from which on they are frames of a video
CUT = 0.4  # ... below which a new scene begins
BLOCKS = 10  # into which a class that is one long video is divided at least

COPY = re.compile(
    r"^(?:copy[ _-]+(?:\d+[ _-]+)?of[ _-]+|aug(?:mented)?[ _-]*\d*[ _-]+)?(?P<stem>.+?)"
    r"(?:[._](?:jpe?g|png|bmp|webp)\.rf\.[0-9a-f]{6,}|[ _]\(\d+\)| ?- ?copy(?: ?\(\d+\))?"
    r"|[ _-](?:copy|aug(?:mented)?|flip(?:ped)?|[hv]flip|mirror(?:ed)?|rot(?:ate|ated)?|noise|noisy"
    r"|blur(?:red)?|bright|dark|crop(?:ped)?|zoom|shift|shear|scaled?|grayscale|grey|gray)[ _-]?-?\d*"
    r"|_\d+_\d{1,4})*$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class NameGroups:
    """Groups (N,) that names tell of, each named by its first row, and a sentence on how they were found."""

    group: np.ndarray
    sentence: str


def name_groups(catalog: Catalog, store: PixelStore) -> NameGroups | None:
    """Return the groups that the names of images tell of, or None where they tell of none.

    The coarsest way to read the names counts that the images bear out: up to the first number
    (`patient4_slice17`), all but the last number (`TRACK_FRAME`), all but what tools add to copies;
    and where names only count, whether images that follow each other are frames of a video.
    """
    rows = catalog.rows("all")
    if len(rows) < 2 * FEWEST:
        return None
    vectors = descriptors(store.index["small"][store.rows_of(catalog)[rows]])
    names = [PurePosixPath(catalog.ids[row]) for row in rows]
    for read, what in WAYS:
        keys = [
            (int(catalog.labels[row]), str(name.parent), read(name.stem))
            for row, name in zip(rows, names, strict=True)
        ]
        members = [np.array(group) for group in grouped(keys) if len(group) > 1]
        if len(members) < FEWEST:
            continue
        within, between = likeness(vectors, members, catalog.labels[rows])
        if is_clear(within - between):
            example = catalog.ids[rows[members[0][0]]]
            return NameGroups(
                rows_as_groups(len(catalog), rows, members),
                f"names such as {example} tell of {what}: {len(set(keys)):,} groups, whose images resemble "
                f"each other ({within.mean():.2f}) more than others of their class ({between.mean():.2f}); "
                "a group stays in one split (--set data.name_groups=ignore to switch that off)",
            )
    return frame_blocks(catalog, rows, vectors)


def up_to_first_number(stem: str) -> str:
    """Return a name up to its first number, where another number follows."""
    found = re.match(r"(\D*\d+)\D+\d", stem)
    return found[1] if found else stem


def without_last_number(stem: str) -> str:
    """Return a name without its last number, where it has another one."""
    found = re.match(r"(.*\d\D+?)\d+\D*$", stem)
    return found[1] if found else stem


def original(stem: str) -> str:
    """Return the name of the image that a tool copied."""
    found = COPY.match(stem)
    return found["stem"] if found else stem


WAYS: tuple[tuple[Callable[[str], str], str], ...] = (
    (up_to_first_number, "a patient, a clip or the like"),
    (without_last_number, "tracks or series"),
    (original, "copies of one image"),
)


def grouped(keys: list[tuple[int, str, str]]) -> list[list[int]]:
    """Return the places of each key, in order."""
    places: dict[tuple[int, str, str], list[int]] = defaultdict(list)
    for place, key in enumerate(keys):
        places[key].append(place)
    return list(places.values())


def likeness(
    vectors: np.ndarray, members: list[np.ndarray], labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return, for some of the groups, how alike their images are, and how alike to others of the class.

    `members` are rows of `vectors` (M, D) in the order of their names. Groups of a class without any
    other image are left out. Both are mean cosines, (S,).
    """
    generator = np.random.Generator(np.random.Philox(0))
    places = generator.permutation(len(members))[:SAMPLED]
    of_class = {label: np.flatnonzero(labels == label) for label in np.unique(labels)}
    within, between = [], []
    for place in places:
        own = members[place]
        peers = of_class[labels[own[0]]]
        others = np.setdiff1d(peers, own)
        if not len(others):
            continue
        drawn = others[generator.integers(len(others), size=len(own))]
        within.append((vectors[own[:-1]] * vectors[own[1:]]).sum(axis=1).mean())
        between.append((vectors[own] * vectors[drawn]).sum(axis=1).mean())
    return np.array(within), np.array(between)


def is_clear(gain: np.ndarray) -> bool:
    """Return whether images of one group (S,) are so much more alike that it is no chance."""
    if len(gain) < FEWEST:
        return False
    error = gain.std(ddof=1) / len(gain) ** 0.5
    return bool(gain.mean() > max(MORE, ERRORS * error) and (gain > 0).mean() >= SHARE)


def frame_blocks(catalog: Catalog, rows: np.ndarray, vectors: np.ndarray) -> NameGroups | None:
    """Return contiguous blocks of images where names only count and each resembles the one before.

    A block ends where the scene changes, and a class that is one long scene is divided into BLOCKS.
    """
    series = []
    for label in np.unique(catalog.labels[rows]):
        own = np.flatnonzero(catalog.labels[rows] == label)
        series.append(
            np.array(sorted(own, key=lambda place: natural_key(catalog.ids[rows[place]])))
        )
    steps = [(vectors[own[:-1]] * vectors[own[1:]]).sum(axis=1) for own in series]
    if np.median(np.concatenate(steps)) < FRAMES:
        return None
    members = []
    for own, step in zip(series, steps, strict=True):
        scenes = np.split(own, np.flatnonzero(step < CUT) + 1)
        longest = max(2, -(-len(own) // BLOCKS))
        for scene in scenes:
            members += np.array_split(scene, -(-len(scene) // longest))
    return NameGroups(
        rows_as_groups(len(catalog), rows, members),
        f"images whose names follow each other are nearly the same, as frames of a video are: "
        f"{len(members):,} blocks of them each stay in one split (--set data.name_groups=ignore to switch "
        "that off; better, name the clips: --set data.group_pattern=...)",
    )


def rows_as_groups(count: int, rows: np.ndarray, members: list[np.ndarray]) -> np.ndarray:
    """Return the group of each of `count` rows, named by its first; the others stand alone."""
    group = np.arange(count)
    for own in members:
        group[rows[own]] = rows[own].min()
    return group
