"""Which folders are splits or folds, which are classes, and which hold images without labels."""

from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path

from resnetlab.data.catalog import printable
from resnetlab.data.sources.layout.file_names import offer, usual_pattern
from resnetlab.data.sources.layout.names import FolderName, Kind, all_splits, parse, split_kinds
from resnetlab.data.sources.layout.places import (
    Place,
    is_flat,
    peeled,
    tops,
    under,
)
from resnetlab.data.sources.listing import Listing
from resnetlab.errors import DataError
from resnetlab.recipe import Data

CUSTOMARY = {"train", "training", "val", "valid", "validation", "test", "testing"}
Parts = dict[str, list[Place]]  # what lies under each folder


@dataclass
class Division:
    """Places with labels, each with its split; folders without labels and their images; notes."""

    places: list[Place]
    unlabelled: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def divide_folders(places: list[Place], classes: tuple[str, ...], where: Path) -> Division:
    """Find the splits that the folders of a data set name, above the classes or within each of them.

    A folder in `classes`, those that the user names, is no split. Raises DataError where names and
    contents don't go together.
    """
    names = tops(places)
    kinds = {name: kind for name, kind in split_kinds(names).items() if name not in classes}
    if not kinds:
        return splits_within_classes(places, classes)
    if of_both := split_and_class_in_one(places):
        return of_both
    parts = {name: peeled(places, name) for name in kinds}
    others = [name for name in names if name not in kinds]
    if others:
        return divide_mixed(places, kinds, parts, others, where)
    loose = [place for place in places if not place.chain]
    return divide_named(kinds, parts, loose, where)


def divide_named(kinds: dict[str, Kind], parts: Parts, loose: list[Place], where: Path) -> Division:
    """Return the division where every folder is named like a split, a fold or unlabelled images."""
    parts = without_shared(parts, kinds)
    labelled = [name for name in parts if has_labels(name, kinds, parts)]
    found = {kinds[name] for name in labelled}
    if not found & {"train", "fold"}:
        flat = next((name for name in parts if kinds[name] in ("train", "fold")), None)
        if flat is None:
            listed = ", ".join(map(printable, parts))
            raise DataError(f"{where}: has {listed} but no train folder")
        images = [image for place in parts[flat] for image in place.images]
        raise DataError(
            f"{where}: '{printable(flat)}' names a {'fold' if kinds[flat] == 'fold' else 'split'}, but holds no "
            f"class folders{offer(images)}"
        )
    notes = [*note_guessed(labelled, kinds)]
    notes += refuse_or_join_doubles(labelled, kinds, where)
    division = Division([*loose], notes=notes)
    for name in parts:
        add_part(division, name, kinds[name] if name in labelled else "unlabelled", parts[name])
    return division


def add_part(division: Division, name: str, kind: Kind, places: list[Place]) -> None:
    """Add what lies under a folder to a division."""
    if kind == "unlabelled":
        division.unlabelled.setdefault(name, []).extend(i for place in places for i in place.images)
    else:
        division.places += [replace(place, kind=kind, part=name) for place in places]


def has_labels(name: str, kinds: dict[str, Kind], parts: Parts) -> bool:
    """Return whether class folders lie under a folder.

    The single folder that some tools want around unlabelled images, 'test/unknown', is none.
    """
    if kinds[name] == "unlabelled" or is_flat(parts[name]):
        return False
    here = tops(parts[name])
    known = {
        top for other in parts if kinds[other] in ("train", "fold") for top in tops(parts[other])
    }
    return kinds[name] in ("train", "fold") or len(here) > 1 or here[0] in known or not known


def without_shared(parts: Parts, kinds: dict[str, Kind]) -> Parts:
    """Return the parts without a folder that wraps the classes in every one, 'train/faces/cat'."""
    while True:
        labelled = [name for name in parts if has_labels(name, kinds, parts)]
        wrappers = {tuple(tops(parts[name])) for name in labelled}
        if len(wrappers) != 1 or len(wrapper := wrappers.pop()) != 1:
            return parts
        inner = {name: under(parts[name], wrapper[0]) for name in labelled}
        if any(is_flat(places) for places in inner.values()):
            return parts
        loose = {name: [p for p in parts[name] if not p.chain] for name in labelled}
        parts = parts | {name: [*inner[name], *loose[name]] for name in labelled}


def note_guessed(labelled: list[str], kinds: dict[str, Kind]) -> list[str]:
    """Return a note on which folder is which split, where their names are not the customary ones."""
    if all(name.lower() in CUSTOMARY for name in labelled if kinds[name] != "fold"):
        return []
    text = ", ".join(f"'{printable(name)}' {kinds[name]}" for name in labelled)
    return [f"folders were taken for splits by their names: {text}"]


def refuse_or_join_doubles(labelled: list[str], kinds: dict[str, Kind], where: Path) -> list[str]:
    """Return a note where numbered folders make one split. Raises DataError where two others do."""
    by_kind = defaultdict(list)
    for name in labelled:
        if kinds[name] != "fold":
            by_kind[kinds[name]].append(name)
    notes = []
    for kind, names in by_kind.items():
        if len({parse(name).word for name in names}) > 1:
            raise DataError(
                f"{where}: both '{printable(names[0])}' and '{printable(names[1])}' are the {kind} split; "
                "keep one"
            )
        if len(names) > 1:
            notes.append(f"{', '.join(map(printable, names))} were joined as the {kind} split")
    return notes


def divide_mixed(
    places: list[Place], kinds: dict[str, Kind], parts: Parts, others: list[str], where: Path
) -> Division:
    """Return the division where folders of a split's name lie beside `others`."""
    labelled = [name for name in kinds if has_labels(name, kinds, parts)]
    trains = [name for name in kinds if kinds[name] == "train"]
    rest = [place for place in places if not place.chain or place.chain[0] in others]
    if not trains and set(kinds.values()) != {"fold"}:
        if all(set(tops(parts[name])) <= set(others) for name in labelled):
            return beside_classes(rest, kinds, parts, labelled)
        raise refuse_other(kinds, others, where)
    if len(kinds) > 1 or len(trains) != 1:
        raise refuse_other(kinds, others, where)
    if labelled and (len(others) < 2 or not is_flat(p for o in others for p in under(places, o))):
        raise refuse_other(kinds, others, where)
    images = [image for place in parts[trains[0]] for image in place.images]
    if not labelled and usual_pattern(images):
        raise DataError(
            f"{where}: '{printable(trains[0])}' names a split, but holds no class folders{offer(images)}"
        )
    note = (
        f"'{printable(trains[0])}' lies beside {listed(others)} and was taken for a class, not for the training "
        "split"
    )
    return Division(places, notes=[note])


def beside_classes(
    rest: list[Place], kinds: dict[str, Kind], parts: Parts, labelled: list[str]
) -> Division:
    """Return the division of class folders beside which 'test' or 'unlabeled' lies."""
    if labelled:
        rest = [replace(place, kind="train", part="") for place in rest]
    division = Division(rest)
    for name in parts:
        add_part(division, name, kinds[name] if name in labelled else "unlabelled", parts[name])
    if labelled:
        division.notes.append(
            f"the folders beside {listed(labelled)} are taken for the training images"
        )
    return division


def refuse_other(kinds: dict[str, Kind], others: list[str], where: Path) -> DataError:
    """Return the error about a folder beside splits that is none."""
    return DataError(
        f"{where}: has {', '.join(map(printable, kinds))}, but also '{printable(others[0])}', which is no split; "
        f"move it, or if {printable(next(iter(kinds)))} is a class, name all classes: --set "
        "data.classes='[NAME, NAME]'"
    )


def splits_within_classes(places: list[Place], classes: tuple[str, ...]) -> Division:
    """Return the division where each class folder holds the splits, 'cat/train/1.jpg', else all as it is.

    So may each folder of a class in a domain, 'photo/cat/train/1.jpg'. Folders in `classes` are no splits.
    """
    chains = [place.chain for place in places if place.chain]
    for depth in range(1, min(map(len, chains), default=0)):
        names = {chain[depth] for chain in chains}
        kinds = all_splits(names)
        if kinds and names.isdisjoint(classes):
            break
    else:
        return Division(places)
    division = Division([place for place in places if not place.chain])
    for place in places:
        if place.chain:
            above, name, below = place.chain[:depth], place.chain[depth], place.chain[depth + 1 :]
            if kinds[name] == "unlabelled":
                division.unlabelled.setdefault("/".join((*above, name)), []).extend(place.images)
            else:
                chain = (*above, *below)
                division.places.append(replace(place, chain=chain, kind=kinds[name], part=name))
    number = len({chain[:depth] for chain in chains})
    division.notes.append(
        f"{listed(sorted(kinds))} lie within each of {number} folders and are taken for the splits"
    )
    return division


def split_and_class_in_one(places: list[Place]) -> Division | None:
    """Return the division of folders that name both, 'train_cats', 'test_cats', 'train_dogs', else None."""
    parsed = {name: parse(name) for name in tops(places)}
    if not all(each.kind and each.rest for each in parsed.values()):
        return None
    classes = paired_classes(parsed)
    if not classes:
        return None
    division = Division([place for place in places if not place.chain])
    for place in places:
        if place.chain:
            name, *deeper = place.chain
            chain = (classes[name], *deeper)
            add_part(division, name, parsed[name].kind, [replace(place, chain=chain)])
    unlike = [name for name in parsed if parsed[name].text != classes[name]]
    also = f"; {listed(unlike)} with the training folder most like it" if unlike else ""
    division.notes.append(
        f"the folders' names are taken for split and class together, as in '{printable(tops(places)[0])}'{also}"
    )
    return division


def paired_classes(parsed: dict[str, FolderName]) -> dict[str, str]:
    """Return each folder's class, as its training folder writes it, where other splits go with all of these.

    Nothing where they don't, by the classes as written, else in any case, else by their words alone,
    or where that would merge two classes of one split, 'train_type1' and 'train_type2'.
    """
    written = {(each.kind, each.text) for each in parsed.values()}
    for key in (
        {name: each.text for name, each in parsed.items()},
        {name: each.text.casefold() for name, each in parsed.items()},
        {name: " ".join(each.rest) for name, each in parsed.items()},
    ):
        trained = {key[name]: each.text for name, each in parsed.items() if each.kind == "train"}
        merged = len({(parsed[name].kind, key[name]) for name in parsed}) < len(written)
        every = trained.keys() == {*key.values()} and len(parsed) >= 2 * len(trained)
        if len(trained) > 1 and every and not merged:
            return {name: trained[key[name]] for name in parsed}
    return {}


def refuse_inner_splits(places: list[Place], settings: Data, listing: Listing) -> None:
    """Raise DataError where splits lie deeper than they are read, so that their images would be mixed.

    'Dataset/train' beside 'demo', or 'fold1/train'. Not so where the user names one of these folders
    as a class, or says that the innermost folders, such as 'vehicles/train', are the classes.
    """
    by_folder = settings.label_pattern is None
    classes = settings.classes or () if by_folder else ()
    innermost = by_folder and settings.class_level in ("last", "joined")
    children = defaultdict(set)
    for place in places:
        for depth, name in enumerate(place.chain):
            children[place.part, place.chain[:depth]].add(name)
    mixed = {
        (part, above): sorted(names)
        for (part, above), names in children.items()
        if names.isdisjoint(classes) and not {*above[:1]} & {*classes} and all_splits(names)
    }
    for place in places:
        for depth in range(len(place.chain) - innermost):
            if found := mixed.get((place.part, place.chain[:depth])):
                raise inner_splits(place, depth, found, listing, by_folder)


def inner_splits(
    place: Place, depth: int, found: list[str], listing: Listing, by_folder: bool
) -> DataError:
    """Return the error about the splits `found` in a folder of a place, that above `depth` of its chain."""
    folder = f"/{place.folder}/".rpartition(f"/{place.chain[depth]}/")[0].strip("/")
    path = printable(str(listing.place_of(folder)))
    give = f"unpack and give {path}" if listing.where.is_file() else f"give {path}"
    either = "rename them if they are none"
    if by_folder and depth == 1 and not place.part:
        either = f"if '{printable(place.chain[0])}' is a class, name all classes: --set data.classes='[NAME, NAME]'"
    return DataError(
        f"{listing.where}: '{printable(folder)}' holds splits of its own ({listed(found)}), which would be mixed; "
        f"{give} alone as DATA, or {either}"
    )


def listed(names: list[str]) -> str:
    """Return up to five names, quoted."""
    text = ", ".join(f"'{printable(name)}'" for name in names[:5])
    return f"{text}, ..." if len(names) > 5 else text
