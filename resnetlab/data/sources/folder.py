"""Class folders: DATA/<class>/*, or DATA/{train,val,test}/<class>/*, on disk or in an archive."""

from pathlib import Path

from resnetlab.data.catalog import Catalog, Split, new_catalog, printable
from resnetlab.data.sources.listing import Listing, is_image, list_folder, natural_key
from resnetlab.errors import DataError

SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}


def read_folder(root: Path) -> Catalog:
    """List the images of class folders on disk; nothing is opened."""
    return class_folders(list_folder(root))


def class_folders(listing: Listing, empty_classes: bool = False) -> Catalog:
    """Return the catalog of a listing in which a folder's name is the class of what lies in it.

    Classes are in natural order ('2' before '10'). With `empty_classes`, a folder without an image
    is passed over with a note. Raises DataError where a folder is empty, or splits have different
    classes.
    """
    splits = find_splits(listing)
    depth = 1 if splits else 0
    # Images without splits are one split whose name is yet to be decided.
    found: dict[str, dict[str, list[str]]] = {
        split: {name: [] for name in listing.subfolders(folder)}
        for split, folder in (splits.items() if splits else [("", "")])
    }
    split_of = {folder: split for split, folder in splits.items()}
    outside: list[str] = []
    other: list[str] = [*listing.passed_over]
    for name in listing.files:
        parts = name.split("/")
        if len(parts) < depth + 2:
            if is_image(name):
                outside.append(name)
        elif is_image(name):
            found[split_of[parts[0]] if splits else ""][parts[depth]].append(name)
        else:
            other.append(name)
    notes = []
    for split, classes in found.items():
        for name in [name for name, images in classes.items() if not images]:
            where = f"{splits[split]}/{name}" if splits else name  # type: ignore[index]
            if not empty_classes:
                raise DataError(
                    f"{listing.where}: class folder '{printable(where)}' holds no image; fill it or "
                    "remove it, or leave such out with --set data.allow_empty_classes=true"
                )
            notes.append(f"class folder '{printable(where)}' holds no image")
            del classes[name]
    names = agreed_classes(found, listing)
    index = {name: number for number, name in enumerate(names)}
    rows = [
        (listing.prefix + path, index[printable(name)], split)
        for split, classes in found.items()
        for name, images in classes.items()
        for path in images
    ]
    notes += note("files or links were passed over", sorted(other))
    notes += note("images lie outside the class folders and were passed over", outside)
    paths, labels, column = (list(column) for column in zip(*rows, strict=True))
    return new_catalog(listing.root, names, paths, labels, column, tuple(notes))


def note(what: str, names: list[str]) -> list[str]:
    """Return a line about some files that are no samples, none where there are none."""
    if not names:
        return []
    return [f"{len(names)} {what}, the first is {printable(names[0])}"]


def find_splits(listing: Listing) -> dict[Split, str]:
    """Return the folder of each split where DATA is split already, else nothing."""
    folders = listing.subfolders()
    named = [folder for folder in folders if folder.lower() in SPLIT_NAMES]
    others = [folder for folder in folders if folder not in named]
    if others and len(named) < 2:  # a class may well be called 'train'
        return {}
    if others:
        names = ", ".join(named)
        raise DataError(
            f"{listing.where}: has {names}, but also '{printable(others[0])}', which is no split; move it"
        )
    splits: dict[Split, str] = {}
    for folder in named:
        split = SPLIT_NAMES[folder.lower()]
        if split in splits:
            raise DataError(
                f"{listing.where}: both '{splits[split]}' and '{folder}' are the {split} split; keep one"
            )
        splits[split] = folder
    if splits and "train" not in splits:
        raise DataError(f"{listing.where}: has {', '.join(splits)} but no train folder")
    return splits


def agreed_classes(found: dict[str, dict[str, list[str]]], listing: Listing) -> tuple[str, ...]:
    """Return the class names, the same in every split. Raises DataError with the difference."""
    names = {split: {printable(name) for name in classes} for split, classes in found.items()}
    first = next(iter(names))
    for split, here in names.items():
        if here != names[first]:
            only = ", ".join(sorted(names[first] ^ here)[:5])
            raise DataError(
                f"{listing.where}: {first} and {split} have different classes: {only} in one of them only"
            )
    classes = tuple(sorted(names[first], key=natural_key))
    if len(classes) < 2:
        found_text = f"only '{classes[0]}'" if classes else "none"
        raise DataError(
            f"{listing.where}: needs two class folders at least (links are not followed), found {found_text}"
        )
    return classes
