"""Class folders: DATA/<class>/*, or DATA/{train,val,test}/<class>/*, on disk or in an archive."""

from pathlib import Path

from resnetlab.data.catalog import Catalog, Part, new_catalog, printable
from resnetlab.data.sources.listing import Listing, is_picture, list_folder, natural_key
from resnetlab.errors import DataError

SPLIT_NAMES: dict[str, Part] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}


def read_folder(root: Path) -> Catalog:
    """List the pictures of class folders on disk; nothing is opened."""
    return class_folders(list_folder(root))


def class_folders(listing: Listing, empty_classes: bool = False) -> Catalog:
    """Return the catalog of a listing in which a folder's name is the class of what lies in it.

    Classes are in natural order ('2' before '10'). With `empty_classes`, a folder without a picture
    is passed over with a note. Raises DataError where a folder is empty, or parts have different
    classes.
    """
    parts = find_parts(listing)
    depth = 1 if parts else 0
    # A set without a split is one part whose name is yet to be decided.
    found: dict[str, dict[str, list[str]]] = {
        part: {name: [] for name in listing.subfolders(folder)}
        for part, folder in (parts.items() if parts else [("", "")])
    }
    part_of = {folder: part for part, folder in parts.items()}
    outside: list[str] = []
    other: list[str] = [*listing.passed_over]
    for name in listing.files:
        pieces = name.split("/")
        if len(pieces) < depth + 2:
            if is_picture(name):
                outside.append(name)
        elif is_picture(name):
            found[part_of[pieces[0]] if parts else ""][pieces[depth]].append(name)
        else:
            other.append(name)
    notes = []
    for part, classes in found.items():
        for name in [name for name, pictures in classes.items() if not pictures]:
            where = f"{parts[part]}/{name}" if parts else name  # type: ignore[index]
            if not empty_classes:
                raise DataError(
                    f"{listing.where}: class folder '{printable(where)}' holds no picture; fill it or "
                    "remove it, or leave such out with --set data.allow_empty_classes=true"
                )
            notes.append(f"class folder '{printable(where)}' holds no picture")
            del classes[name]
    names = agreed_classes(found, listing)
    index = {name: number for number, name in enumerate(names)}
    rows = [
        (listing.prefix + path, index[printable(name)], part)
        for part, classes in found.items()
        for name, pictures in classes.items()
        for path in pictures
    ]
    notes += note("files or links were passed over", sorted(other))
    notes += note("pictures lie outside the class folders and were passed over", outside)
    paths, labels, split = (list(column) for column in zip(*rows, strict=True))
    return new_catalog(listing.root, names, paths, labels, split, tuple(notes))


def note(what: str, names: list[str]) -> list[str]:
    """Return a line about some files that are no samples, none where there are none."""
    if not names:
        return []
    return [f"{len(names)} {what}, the first is {printable(names[0])}"]


def find_parts(listing: Listing) -> dict[Part, str]:
    """Return the folder of each part where DATA is split already, else nothing."""
    folders = listing.subfolders()
    named = [folder for folder in folders if folder.lower() in SPLIT_NAMES]
    others = [folder for folder in folders if folder not in named]
    if others and len(named) < 2:  # a class may well be called 'train'
        return {}
    if others:
        names = ", ".join(named)
        raise DataError(
            f"{listing.where}: has {names}, but also '{printable(others[0])}', which is no part; move it"
        )
    parts: dict[Part, str] = {}
    for folder in named:
        part = SPLIT_NAMES[folder.lower()]
        if part in parts:
            raise DataError(
                f"{listing.where}: both '{parts[part]}' and '{folder}' are the {part} part; keep one"
            )
        parts[part] = folder
    if parts and "train" not in parts:
        raise DataError(f"{listing.where}: has {', '.join(parts)} but no train folder")
    return parts


def agreed_classes(found: dict[str, dict[str, list[str]]], listing: Listing) -> tuple[str, ...]:
    """Return the class names, the same in every part. Raises DataError with the difference."""
    names = {part: {printable(name) for name in classes} for part, classes in found.items()}
    first = next(iter(names))
    for part, here in names.items():
        if here != names[first]:
            only = ", ".join(sorted(names[first] ^ here)[:5])
            raise DataError(
                f"{listing.where}: {first} and {part} have different classes: {only} in one of them only"
            )
    classes = tuple(sorted(names[first], key=natural_key))
    if len(classes) < 2:
        found_text = f"only '{classes[0]}'" if classes else "none"
        raise DataError(
            f"{listing.where}: needs two class folders at least (links are not followed), found {found_text}"
        )
    return classes
