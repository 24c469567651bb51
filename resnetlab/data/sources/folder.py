"""Class folders, on disk or in an archive: what their levels mean, and the catalog of their images."""

import shlex

from resnetlab.data.catalog import Catalog, new_catalog, printable
from resnetlab.data.sources.layout.class_levels import Levels, read_levels
from resnetlab.data.sources.layout.file_names import offer
from resnetlab.data.sources.layout.names import parse
from resnetlab.data.sources.layout.places import (
    Place,
    find_places,
    is_about_others,
    without_beside,
    without_copies,
    without_plain,
    without_wrapper,
)
from resnetlab.data.sources.layout.splits import Division, divide_folders, refuse_inner_splits
from resnetlab.data.sources.listing import Listing, is_image, natural_key
from resnetlab.errors import DataError
from resnetlab.recipe import Data


def class_folders(listing: Listing, settings: Data | None = None) -> Catalog:
    """Return the catalog of a listing in which a folder's name is the class of what lies in it.

    What is no class is seen through or left aside with a note: folders around all others, splits,
    folds, domains, images without labels, second copies. Classes are in natural order ('2' before
    '10'). Raises DataError where a class folder is empty, or the folders make no sense.
    """
    settings = settings or Data()
    classes = settings.classes or ()
    places, notes = without_beside(find_places(listing), settings, listing.where)
    places, wrapper = without_wrapper(places, listing, settings.allow_empty_classes)
    if wrapper:
        notes.append(f"the classes were found below '{printable(wrapper)}'")
    places, copies = without_copies(places, listing)
    division = divide_folders(without_plain(places), classes, listing.where)
    refuse_inner_splits(division.places, settings, listing)
    outside = [image for place in division.places if not place.chain for image in place.images]
    labelled = [place for place in division.places if place.chain]
    levels = read_levels(labelled, settings.class_level, listing.where, classes)
    notes += [*copies, *division.notes, *levels.notes]
    notes += note_empty(listing, wrapper, labelled, settings)
    refuse_too_few(levels.classes, classes_needed(settings), listing, outside, division)
    notes += odd_class_notes(levels.classes)
    notes += unlabelled_notes(listing, wrapper, division)
    notes += passed_over_notes(listing)
    notes += note("images lie outside the class folders and were passed over", outside)
    return catalog_of(listing, labelled, levels, notes)


def catalog_of(listing: Listing, places: list[Place], levels: Levels, notes: list[str]) -> Catalog:
    """Return the catalog of places whose classes are known."""
    names = tuple(sorted(set(map(printable, levels.classes)), key=natural_key))
    index = {name: number for number, name in enumerate(names)}
    folds = sorted({place.part for place in places if place.kind == "fold"}, key=natural_key)
    if folds:
        notes = [*notes, fold_note(folds)]
    rows = [
        (
            listing.path_of(image),
            index[printable(name)],
            "" if place.kind == "fold" else str(place.kind),
            group,
            folds.index(place.part) if place.kind == "fold" else -1,
        )
        for place, name, group in zip(places, levels.classes, levels.groups, strict=True)
        for image in place.images
    ]
    paths, labels, splits, groups, numbers = (list(column) for column in zip(*rows, strict=True))
    return new_catalog(
        listing.root, names, paths, labels, splits, tuple(notes), groups, numbers if folds else None
    )


def fold_note(folds: list[str]) -> str:
    """Return the sentence about folders that name folds."""
    return (
        f"{', '.join(map(printable, folds[:5]))}{', ...' if folds[5:] else ''} are taken for folds, counted from 0; "
        f"--set data.folds={len(folds)} --set data.fold=0 validates on the first, otherwise they are mixed"
    )


def note(what: str, names: list[str]) -> list[str]:
    """Return a line about some files that are no samples, none where there are none."""
    if not names:
        return []
    return [f"{len(names)} {what}, the first is {printable(names[0])}"]


def passed_over_notes(listing: Listing) -> list[str]:
    """Return a line about the files that are no images, and links that were not followed."""
    others = [name for name in listing.files if not is_image(name)]
    return note("files or links were passed over", sorted([*listing.passed_over, *others]))


def note_empty(listing: Listing, wrapper: str, labelled: list[Place], settings: Data) -> list[str]:
    """Return notes on folders in which no image lies, where a class or a split would.

    Raises DataError for one that looks like a class without its images, unless such may be left out.
    In a split for validation or test it is a class that this split lacks.
    """
    filled = {place.folder for place in find_places(listing)}
    filled |= {folder[:end] for folder in filled for end in slashes(folder)}
    parts = {
        place.part
        for place in labelled
        if place.part and place.kind in ("train", "fold", "val", "test")
    }
    start = f"{wrapper}/" if wrapper else ""
    above = [wrapper] if not parts else [f"{start}{part}" for part in sorted(parts)]
    notes = []
    for folder in above:
        kinds = {place.kind for place in labelled if f"{start}{place.part}" == folder}
        for name in listing.subfolders(folder):
            path = f"{folder}/{name}" if folder else name
            if path in filled:
                continue
            beside = is_about_others(path, listing) and name not in (settings.classes or ())
            if beside or kinds & {"val", "test"}:
                continue
            if not settings.allow_empty_classes:
                raise DataError(
                    f"{listing.where}: class folder '{printable(path)}' holds no image; fill it or "
                    "remove it, or leave such out with --set data.allow_empty_classes=true"
                )
            notes.append(f"class folder '{printable(path)}' holds no image")
    if parts:
        empty = [name for name in listing.subfolders(wrapper) if start + name not in filled]
        notes += [f"folder '{printable(start + name)}' holds no image" for name in empty]
    return notes


def slashes(folder: str) -> list[int]:
    """Return where the '/' of a path are."""
    return [index for index, letter in enumerate(folder) if letter == "/"]


def classes_needed(settings: Data) -> int:
    """Return how many classes a source must have: of several sources, all together must have two."""
    return 1 if settings.more else 2


def refuse_too_few(
    classes: list[str], needed: int, listing: Listing, outside: list[str], division: Division
) -> None:
    """Raise DataError where there are not `needed` classes, with what the file names offer."""
    found = sorted({printable(name) for name in classes})
    if len(found) >= needed:
        return
    found_text = f"only '{found[0]}'" if found else "none"
    loose = [*outside, *(image for images in division.unlabelled.values() for image in images)]
    hint = offer(loose) if loose and not found else ""
    number = "two class folders" if needed == 2 else "a class folder"
    raise DataError(
        f"{listing.where}: needs {number} at least (links are not followed), found {found_text}{hint}"
    )


def odd_class_notes(classes: list[str]) -> list[str]:
    """Return notes on classes whose names say that they are perhaps none: 'BACKGROUND', 'seg_test'."""
    names = sorted(set(classes), key=natural_key)
    background = [
        f"'{printable(name)}' counts as a class like the others; if it is none, move it away"
        for name in names
        if name.lower().startswith("background") or name.lower().endswith(".clutter")
    ]
    splits = [
        f"'{printable(name)}' counts as a class, though its name speaks of a split; if it is none, call it {kind}"
        for name in names
        if (kind := parse(name).kind) and parse(name).rest
    ]
    return background + splits


def unlabelled_notes(listing: Listing, wrapper: str, division: Division) -> list[str]:
    """Return a line about the images of each folder that have no label, with the way to name them."""
    notes = []
    for folder, images in division.unlabelled.items():
        path = listing.place_of(f"{wrapper}/{folder}" if wrapper else folder)
        notes.append(
            f"{len(images)} images of '{printable(folder)}' have no label and were left aside; name their classes "
            f"with: resnetlab predict RUN {shlex.quote(printable(str(path)))}"
        )
    return notes
