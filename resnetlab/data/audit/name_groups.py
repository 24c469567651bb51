"""Groups that file names tell of: copies that tools made, frames of a track, images of a patient.

Names alone prove nothing (`cat.1.jpg`, `IMG_0001.jpg`). So a way to read them counts only where images
that it puts together resemble each other clearly more than others of their class.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import product
from pathlib import PurePosixPath

import numpy as np

from resnetlab.data.audit.candidates import descriptors
from resnetlab.data.catalog import Catalog
from resnetlab.data.sources.listing import natural_key
from resnetlab.data.store.pixels import PixelStore

FEWEST = 5  # groups of two images or more, below which nothing can be told
SAMPLED = 2000  # groups, or pairs of images, that are looked at
CHUNK = 4000  # images compared at a time, so that memory stays bounded
# Cosine of two descriptors: how much more alike images of a group must be, on average over the
# groups, in standard errors of that, and in what share of the groups.
MORE, ERRORS, SHARE = 0.1, 5.0, 0.8
# ... of two images whose names follow each other: how alike, and how much more than any two of a class,
# from which on they are frames of a video.
FRAMES, FOLLOWING = 0.4, 0.25
CUT = 0.2  # ... below which a new scene begins
SWITCH = "--set data.name_groups=ignore switches that off"
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
    """Groups (N,) that names tell of, each named by its first row, and how they were found.

    `warning` tells of classes that have too few of them, '' where none has.
    """

    group: np.ndarray
    sentence: str
    warning: str = ""


def name_groups(catalog: Catalog, store: PixelStore) -> NameGroups | None:
    """Return the groups that the names of images tell of, or None where they tell of none.

    The coarsest way to read the names counts that the images bear out: up to the first number
    (`patient4_slice17`), all but the last number (`TRACK_FRAME`), all but what tools add to copies;
    and where names only count, whether images that follow each other are frames of a video. Equal names in several
    folders, such as those of given splits, are of one group where these images too are alike.
    """
    rows = catalog.rows("all")
    if len(rows) < 2 * FEWEST:
        return None
    thumbnails = Thumbnails(store, store.rows_of(catalog)[rows])
    names = [PurePosixPath(catalog.ids[row]) for row in rows]
    labels = catalog.labels[rows]
    folders = np.array([str(name.parent) for name in names])
    for (read, what), is_joined in product(WAYS, (True, False)):
        stems = [("" if is_joined else f"{name.parent}/") + read(name.stem) for name in names]
        groups = grouped(zip(labels.tolist(), stems, strict=True), [name.name for name in names])
        members = [group for group in groups if len(group) > 1]
        if len(members) < FEWEST:
            continue
        if is_joined:
            met = [one for group in members if len(one := one_a_folder(group, folders)) > 1]
            alike, apart = likeness(replace(thumbnails, either_way=True), met, labels)
            if not is_clear(alike - apart):
                continue
        within, between = likeness(thumbnails, members, labels)
        if is_clear(within - between):
            whole, lone = divide_lone(groups, catalog, rows)
            return NameGroups(
                rows_as_groups(len(catalog), rows, whole),
                f"names such as {catalog.ids[rows[members[0][0]]]} tell of {what}: {len(groups):,} groups, whose "
                f"images resemble each other ({within.mean():.2f}) more than others of their class "
                f"({between.mean():.2f}); a group stays in one split ({SWITCH})",
                lone,
            )
    return frame_blocks(catalog, rows, thumbnails)


@dataclass(frozen=True)
class Thumbnails:
    """The thumbnails of some records of a store, compared where that is asked for.

    Of a large set few are looked at, and never all at once. With `either_way` a mirrored image is like itself.
    """

    store: PixelStore
    records: np.ndarray
    either_way: bool = False

    def cosines(self, ones: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Return how alike images are pair by pair: the cosines of their descriptors, (L,)."""
        small = self.store.thumbnails
        found = [np.empty(0, dtype=np.float32)]
        for start in range(0, len(ones), CHUNK):
            left, right = (
                small[self.records[places[start : start + CHUNK]]] for places in (ones, others)
            )
            ways = (right, right[:, :, ::-1]) if self.either_way else (right,)
            known = descriptors(left)
            cosines = [(known * descriptors(way)).sum(axis=1) for way in ways]
            found.append(np.max(cosines, axis=0))
        return np.concatenate(found)

    def steps(self, places: np.ndarray) -> np.ndarray:
        """Return how alike each image is to the one before, (L - 1,)."""
        return self.cosines(places[:-1], places[1:])


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
    (up_to_first_number, "tracks, patients or clips"),
    (without_last_number, "tracks or series"),
    (original, "copies of one image"),
)


def grouped(keys: Iterable[tuple[int, str]], names: list[str]) -> list[np.ndarray]:
    """Return the places of each key, those of one key in the natural order of their names."""
    places: dict[tuple[int, str], list[int]] = defaultdict(list)
    for place, key in enumerate(keys):
        places[key].append(place)
    return [
        np.array(sorted(own, key=lambda place: natural_key(names[place])))
        for own in places.values()
    ]


def one_a_folder(group: np.ndarray, folders: np.ndarray) -> np.ndarray:
    """Return the first place of a group in each of the `folders` (N,) that hold some of it."""
    _, first = np.unique(folders[group], return_index=True)
    return group[np.sort(first)]


def divide_lone(
    groups: list[np.ndarray], catalog: Catalog, rows: np.ndarray
) -> tuple[list[np.ndarray], str]:
    """Return the groups, those of classes that have too few of them cut into blocks; and a warning.

    A class that is one track can't be divided by tracks. Blocks of frames that follow each other are
    the best that is left, and what is measured on them says little.
    """
    of_class: dict[int, list[np.ndarray]] = defaultdict(list)
    for group in groups:
        of_class[int(catalog.labels[rows[group[0]]])].append(group)
    found: list[np.ndarray] = []
    lone = []
    for label, own in of_class.items():
        if len(own) >= FEWEST:
            found += own
            continue
        lone.append(catalog.classes[label])
        for group in own:
            found.extend(np.array_split(group, min(len(group), -(-BLOCKS // len(own)))))
    if not lone:
        return found, ""
    names = ", ".join(f"'{name}'" for name in lone[:5]) + (", ..." if len(lone) > 5 else "")
    what = "class has" if len(lone) == 1 else "classes have"
    return found, (
        f"{len(lone)} {what} all images in fewer than {FEWEST} such groups ({names}): how well a model does on "
        "new ones can't be measured there"
    )


def likeness(
    thumbnails: Thumbnails, members: list[np.ndarray], labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return, for some of the groups, how alike their images are, and how alike to others of the class.

    `members` are places of thumbnails in the order of their names. Groups of a class without any
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
        within.append(thumbnails.steps(own).mean())
        between.append(thumbnails.cosines(own, drawn).mean())
    return np.array(within), np.array(between)


def is_clear(gain: np.ndarray) -> bool:
    """Return whether images of one group (S,) are so much more alike that it is no chance."""
    if len(gain) < FEWEST:
        return False
    error = gain.std(ddof=1) / len(gain) ** 0.5
    return bool(gain.mean() > max(MORE, ERRORS * error) and (gain > 0).mean() >= SHARE)


def frame_blocks(catalog: Catalog, rows: np.ndarray, thumbnails: Thumbnails) -> NameGroups | None:
    """Return contiguous blocks of images where names only count and each resembles the one before.

    A block ends where the scene changes, and a class that is one long scene is divided into BLOCKS.
    """
    series = []
    for label in np.unique(catalog.labels[rows]):
        own = np.flatnonzero(catalog.labels[rows] == label)
        if len(own) > 1:
            own = np.array(sorted(own, key=lambda place: natural_key(catalog.ids[rows[place]])))
            series.append(own)
    if not series:
        return None
    ones = np.concatenate([own[:-1] for own in series])
    followers = np.concatenate([own[1:] for own in series])
    others = np.concatenate([shuffled(own)[1:] for own in series])
    looked_at = shuffled(np.arange(len(ones)))[:SAMPLED]
    alike, by_chance = (
        float(np.median(thumbnails.cosines(ones[looked_at], places[looked_at])))
        for places in (followers, others)
    )
    if alike < FRAMES or alike - by_chance < FOLLOWING:
        return None
    members = []
    for own in series:
        scenes = np.split(own, np.flatnonzero(thumbnails.steps(own) < CUT) + 1)
        longest = max(2, -(-len(own) // BLOCKS))
        for scene in scenes:
            members.extend(np.array_split(scene, -(-len(scene) // longest)))
    return NameGroups(
        rows_as_groups(len(catalog), rows, members),
        f"images whose names follow each other are nearly the same, as frames of a video are: "
        f"{len(members):,} blocks of them each stay in one split ({SWITCH}; better, name the clips by "
        "data.group_pattern)",
    )


def shuffled(places: np.ndarray) -> np.ndarray:
    """Return places in an order drawn by lot, always the same one."""
    drawn: np.ndarray = np.random.Generator(np.random.Philox(0)).permutation(places)
    return drawn


def rows_as_groups(count: int, rows: np.ndarray, members: list[np.ndarray]) -> np.ndarray:
    """Return the group of each of `count` rows, named by its first; the others stand alone."""
    group = np.arange(count)
    for own in members:
        group[rows[own]] = rows[own].min()
    return group
