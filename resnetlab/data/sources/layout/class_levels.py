"""Which of several folders above an image is its class."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from resnetlab.data.catalog import printable
from resnetlab.data.sources.layout.names import is_plain
from resnetlab.data.sources.layout.places import Chain, Place
from resnetlab.errors import DataError

Level = Literal["first", "last", "joined"]
REPEATED = 2 / 3  # share of the folders' names that each of the folders above has
MANY = 10  # numbered folders, from which on each is a group that stays in one split
# Folders that tell images of one class apart rather than classes.
VIEWS = {
    "front", "back", "side", "left", "right", "top", "bottom", "day", "night", "small", "large", "raw", "original",
    "processed", "augmented", "resized", "cropped", "mask", "masks", "rgb", "depth", "gray", "grey", "color", "colour",
}  # fmt: skip
# Numbered ones of these, and magnifications.
PARTS = re.compile(
    r"(session|set|part|batch|clip|video|seq|sequence|run|take|day|shot|view|series|visit|scan|cam|camera|"
    r"group|subject|patient|person|track|[svpt])[ _-]*\d+|\d+ ?x"
)


@dataclass(frozen=True)
class Levels:
    """The class of each place, in their order, its group ('' for none), and what to say of them."""

    classes: list[str]
    groups: list[str]
    notes: list[str]


def read_levels(
    places: Sequence[Place], level: Level | None, where: Path, classes: Sequence[str] = ()
) -> Levels:
    """Return the class of each place from the folders of its chain.

    With None: the level whose names are all in `classes`, if one is; else the first folder; where the same
    names repeat under every first folder, the second. Raises DataError where a folder beside classes
    holds folders of the same names.
    """
    chains = [place.chain for place in places]
    readings: dict[Level, list[str]] = {
        "first": [chain[0] for chain in chains],
        "last": [chain[-1] for chain in chains],
        "joined": ["/".join(chain) for chain in chains],
    }
    alone = [""] * len(chains)
    if readings["first"] == readings["last"]:
        return Levels(readings["first"], alone, [])
    named = [each for each, found in readings.items() if {*found} <= {*classes}]
    if level is None and len(named) == 1:
        level = named[0]
    if level is not None:
        return Levels(readings[level], alone, merged_note(chains) if level == "last" else [])
    refuse_set_among_classes(chains, where)
    if repeats(chains):
        return second_level(chains, readings)
    return Levels(readings["first"], alone, [first_note(chains, readings)])


def second_level(chains: list[Chain], readings: dict[Level, list[str]]) -> Levels:
    """Return the reading in which the first level is a domain or a group, the second the class."""
    classes = [chain[1] for chain in chains]
    firsts = sorted(set(readings["first"]))
    many = len(firsts) >= MANY and are_numbered(firsts)
    says = (
        "a group: all images of one stay in one split"
        if many
        else "a domain: every split mixes them"
    )
    note = (
        f"the same folders ({names(classes)}) repeat under each of {names(firsts)}: they are the "
        f"{len(set(classes))} classes, what lies above is {says}; also possible: {others(readings, 'first', 'joined')}"
    )
    if not many:
        note += "; to hold out whole ones, give a table with a column 'split' or 'group'"
    return Levels(classes, readings["first"] if many else [""] * len(chains), [note])


def first_note(chains: list[Chain], readings: dict[Level, list[str]]) -> str:
    """Return the sentence about folders within class folders."""
    chain = next(chain for chain in chains if len(chain) > 1)
    inner = [deep[1] for deep in chains if deep[0] == chain[0] and len(deep) > 1]
    return (
        f"folders lie within class folders ('{printable(chain[0])}' holds {names(inner)}): the first level is taken, "
        f"{len(set(readings['first']))} classes; also possible: {others(readings, 'last', 'joined')}"
    )


def others(readings: dict[Level, list[str]], *levels: Level) -> str:
    """Return 'data.class_level=last (5 classes, such as 'persian')' for some levels."""
    return " or ".join(
        f"--set data.class_level={level} ({len(set(readings[level]))} classes, such as "
        f"'{printable(max(readings[level], key=len) if level == 'joined' else readings[level][0])}')"
        for level in levels
    )


def merged_note(chains: list[Chain]) -> list[str]:
    """Return a note where the last level's names lie in several folders, and make one class each."""
    above = defaultdict(set)
    for chain in chains:
        above[chain[-1]].add(chain[:-1])
    several = sorted(name for name, folders in above.items() if len(folders) > 1)
    if not several:
        return []
    return [
        f"{names(several)} lie in several folders and are one class each (data.class_level=last)"
    ]


def repeats(chains: list[Chain]) -> bool:
    """Return whether the same names, those of classes, lie under every first folder."""
    if any(len(chain) < 2 for chain in chains):
        return False
    below = defaultdict(set)
    for chain in chains:
        below[chain[0]].add(chain[1])
    all_names = set[str]().union(*below.values())
    if len(below) < 2 or len(all_names) < 2:
        return False
    enough = all(len(here) >= REPEATED * len(all_names) for here in below.values()) and all(
        sum(name in here for here in below.values()) >= REPEATED * len(below) for name in all_names
    )
    firsts = sorted(below)
    if not enough or any(word in first.lower() for first in firsts for word in ("class", "label")):
        return False
    return are_numbered(firsts) or not are_views(all_names)


def are_numbered(folders: Sequence[str]) -> bool:
    """Return whether names differ in their numbers only: 'cam1', 'cam2', or 's01', 's02'."""
    frames = {re.sub(r"\d+", "#", name.lower()) for name in folders}
    return len(frames) == 1 and "#" in (frame := frames.pop()) and frame != "#"


def are_views(folders: set[str]) -> bool:
    """Return whether names tell images of one class apart: views, sizes, or numbers that are no digits."""
    if all(name.isdecimal() for name in folders):
        return folders != {str(digit) for digit in range(10)}
    return all(
        is_plain(name) or PARTS.fullmatch(name.lower()) or name.lower() in VIEWS for name in folders
    )


def refuse_set_among_classes(chains: list[Chain], where: Path) -> None:
    """Raise DataError for a folder beside the classes that holds folders of the classes' names."""
    below = defaultdict(set)
    for chain in chains:
        below[chain[0]].add(chain[1] if len(chain) > 1 else "")
    for first, inner in below.items():
        if inner and inner <= set(below) - {first}:
            raise DataError(
                f"{where}: '{printable(first)}' holds folders named like those beside it ({names(sorted(inner))}), so "
                "it is hardly a class; move them together, or let the innermost folder be the class: --set "
                "data.class_level=last"
            )


def names(items: Sequence[str]) -> str:
    """Return up to four of some names, each once."""
    each = list(dict.fromkeys(map(printable, items)))
    return ", ".join(each[:4]) + (", ..." if len(each) > 4 else "")
