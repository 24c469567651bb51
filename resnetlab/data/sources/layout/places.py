"""The folders that hold images, freed of what only wraps them."""

import re
from collections import defaultdict
from collections.abc import Iterable, Set
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from resnetlab.data.catalog import printable
from resnetlab.data.sources.layout.names import (
    BESIDE,
    PLAIN,
    Kind,
    ends_beside,
    is_beside,
    is_plain,
    parse,
    split_kinds,
)
from resnetlab.data.sources.listing import Listing, is_image
from resnetlab.errors import DataError
from resnetlab.recipe import Data

Chain = tuple[str, ...]
Children = dict[Chain, set[str]]  # the names of the folders right below each folder
COMPARED = 8  # files of a copy, byte by byte


@dataclass(frozen=True)
class Place:
    """A folder in which images lie: its path in the listing, the folders that mean something, the images.

    `kind` is the split or the like that it belongs to, `part` the name of the folder that says so.
    """

    folder: str
    chain: Chain
    images: tuple[str, ...]
    kind: Kind = ""
    part: str = ""

    def below(self, depth: int = 1) -> "Place":
        """Return the place with the first folders of its chain left out."""
        return replace(self, chain=self.chain[depth:])


def find_places(listing: Listing) -> list[Place]:
    """Return the folders of a listing in which images lie."""
    images = defaultdict(list)
    for name in listing.files:
        if is_image(name):
            images[name.rpartition("/")[0]].append(name)
    return [
        Place(folder, tuple(folder.split("/")) if folder else (), tuple(names))
        for folder, names in images.items()
    ]


def count(places: Iterable[Place]) -> int:
    """Return how many images lie in some places."""
    return sum(len(place.images) for place in places)


def tops(places: Iterable[Place]) -> list[str]:
    """Return the first folders of the chains, each once, sorted."""
    return sorted({place.chain[0] for place in places if place.chain})


def under(places: Iterable[Place], top: str) -> list[Place]:
    """Return the places under a first folder, without it in their chains."""
    return [place.below() for place in places if place.chain[:1] == (top,)]


def is_flat(places: Iterable[Place]) -> bool:
    """Return whether images lie in no folder of their own."""
    return all(not place.chain for place in places)


def without_beside(
    places: list[Place], settings: Data, where: Path
) -> tuple[list[Place], list[str]]:
    """Return the places without masks and the like that lie beside a folder called 'images', and a note.

    A folder that the user names as a class stays. Raises DataError for one that is as
    likely a class as not.
    """
    children = children_of(places)
    dropped = {
        (*parent, name)
        for parent in [*children]
        for name in about_images(places, parent, children, settings, where)
    }
    if not dropped:
        return places, []
    gone = [place for place in places if starts(place.chain) & dropped]
    kept = [place for place in places if not starts(place.chain) & dropped]
    names = ", ".join(sorted({chain[-1] for chain in dropped}))
    return kept, [
        f"{count(gone)} images in folders named {names}, beside the images, were passed over"
    ]


def about_images(
    places: list[Place], parent: Chain, children: Children, settings: Data, where: Path
) -> set[str]:
    """Return those of the folders in `parent` that hold masks and the like rather than a class.

    By its name alone one does where nothing but the images lies beside it, or within a class that
    the user names or says to be the first folder; there what is called like the images is about them too.
    Else its files must be called like these, and those of no other folder: classes may all be numbered
    alike.
    """
    classes = settings.classes or ()
    names = children[parent]
    plain = {name for name in names if is_plain(name)}
    about = {name for name in names - {*classes} if ends_beside(name)} if plain else set()
    others = names - about - split_kinds(names).keys()
    alone = len(others) < 2
    if not about or (alone and all(map(is_beside, about))):
        return about
    silent = BESIDE | PLAIN if alone else BESIDE  # 'picture_1' and 'label_1' may be of two classes
    stems = {name: stems_within(places, (*parent, name), silent) for name in names}
    images = {stem for name in plain for stem in stems[name]}
    twins = {name for name in names - plain if are_named_after(stems[name], images)}
    first = settings.class_level == "first" and is_within_class(parent, children)
    if first or not {*parent}.isdisjoint(classes):
        return about | twins
    if alone:
        unsure = {name for name in about - twins if not is_beside(name)}
    else:
        about &= twins
        unsure = about if twins & others else set()
    if unsure and not classes:
        path = "/".join((*parent, min(unsure)))
        raise DataError(
            f"{where}: '{printable(path)}' may be a class, or masks or the like of what lies in "
            f"'{printable(min(plain))}' beside it; name all classes, --set data.classes='[NAME, NAME]', or move it"
        )
    return about


def is_within_class(parent: Chain, children: Children) -> bool:
    """Return whether a folder is, or lies in, one beside others: no split, nor what wraps all."""
    return any(
        not parse(name).kind and len(children[parent[:depth]]) > 1
        for depth, name in enumerate(parent)
    )


def stems_within(places: Iterable[Place], folder: Chain, silent: Set[str]) -> set[Chain]:
    """Return the words of each file's name below a folder, without its ending and the `silent` ones."""
    return {
        tuple(
            word
            for word in re.split(r"[\W_]+", PurePosixPath(image).stem.lower())
            if word and word not in silent
        )
        for place in places
        if place.chain[: len(folder)] == folder
        for image in place.images
    }


def are_named_after(stems: set[Chain], images: set[Chain]) -> bool:
    """Return whether most names begin with the words of an image's: '7_left' with '7'."""
    found = sum(any(stem[:end] in images for end in range(1, len(stem) + 1)) for stem in stems)
    return found > len(stems) / 2


def children_of(places: Iterable[Place]) -> Children:
    """Return the names of the folders right below each folder, by its chain."""
    children = defaultdict(set)
    for place in places:
        for depth, name in enumerate(place.chain):
            children[place.chain[:depth]].add(name)
    return children


def starts(chain: Chain) -> set[Chain]:
    """Return a chain and all that it begins with."""
    return {chain[: depth + 1] for depth in range(len(chain))}


def without_wrapper(
    places: list[Place], listing: Listing, empty_allowed: bool
) -> tuple[list[Place], str]:
    """Return the places seen from within the one folder around all others, and that folder, '' for none.

    A folder of a split's name is none. An empty folder beside it is perhaps a class that lacks its
    images, and keeps it from being one.
    """
    wrapper = ""
    while len(names := tops(places)) == 1:
        name = names[0]
        inner = under(places, name)
        start = f"{wrapper}/" if wrapper else ""
        siblings = [start + each for each in listing.subfolders(wrapper) if each != name]
        if is_flat(inner) or (parse(name).kind and not parse(name).rest):
            break
        if not empty_allowed and not all(is_about_others(each, listing) for each in siblings):
            break
        # What lies loose around the wrapper has no class either way.
        places = [*inner, *(place for place in places if not place.chain)]
        wrapper = start + name
    return places, wrapper


def is_about_others(folder: str, listing: Listing) -> bool:
    """Return whether a folder without images is about other folders' images: no class that lacks its own.

    One with nothing at all in it must be called so outright: an empty 'with_mask' is a class.
    """
    name = folder.rpartition("/")[2]
    return is_beside(name) or (
        ends_beside(name)
        and any(each.startswith(f"{folder}/") for each in (*listing.folders, *listing.files))
    )


def without_copies(places: list[Place], listing: Listing) -> tuple[list[Place], list[str]]:
    """Return the places without a folder that holds files of the others once more, and a note on it.

    Of those in folders, that is: a file that lies loose has no label, so what holds it again is no copy.
    """
    notes = []
    for name in tops(places):
        inside = by_path(under(places, name))
        others = [place for place in places if place.chain[:1] != (name,)]
        outside = by_path(place for place in others if place.chain)
        if parse(name).kind or not inside.keys() <= outside.keys():
            continue
        paths = sorted(inside)[:: max(1, len(inside) // COMPARED)]
        if all(listing.read(inside[path]) == listing.read(outside[path]) for path in paths):
            notes.append(
                f"'{printable(name)}' holds {len(inside)} of these files once more and was passed over"
            )
            places = others
    return places, notes


def by_path(places: Iterable[Place]) -> dict[str, str]:
    """Return the names of images in the listing by their paths as the chains give them."""
    return {
        "/".join((*place.chain, image.rpartition("/")[2])): image
        for place in places
        for image in place.images
    }


def without_plain(places: list[Place]) -> list[Place]:
    """Return the places without folders such as 'images' in their chains, where nothing lies beside these.

    The first folder stays.
    """
    children = children_of(places)
    return [
        replace(
            place,
            chain=tuple(
                name
                for depth, name in enumerate(place.chain)
                if not depth or not is_plain(name) or len(children[place.chain[:depth]]) > 1
            ),
        )
        for place in places
    ]


def peeled(places: list[Place], top: str) -> list[Place]:
    """Return what lies under a split's folder, without one inside it that says the same again.

    'training_set/training_set/cats', 'seg_train/seg_train/sea', 'train/images/cat'.
    """
    inner = under(places, top)
    kind = parse(top).kind
    while len(names := tops(inner)) == 1:
        name = names[0]
        same = name.lower() == top.lower() or (parse(name).kind == kind and not parse(name).rest)
        if not (same or is_plain(name)) or any(not place.chain for place in inner):
            break
        inner = under(inner, name)
    return inner
