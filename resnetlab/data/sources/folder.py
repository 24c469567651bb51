"""Class folders: DATA/<class>/*, or DATA/{train,val,test}/<class>/*."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from resnetlab.data.catalog import Catalog, Part, new_catalog, printable
from resnetlab.errors import DataError

SPLIT_NAMES: dict[str, Part] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
# fmt: off
PICTURE_ENDINGS = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm",
})
# fmt: on
SYSTEM_NAMES = frozenset({"__macosx", "thumbs.db", "desktop.ini", "$recycle.bin"})


def read_folder(root: Path) -> Catalog:
    """List the pictures of class folders; nothing is opened.

    Classes are in natural order ('2' before '10'). Hidden and system files are no samples; links
    to folders are not followed, and files that links take from elsewhere are passed over.
    Raises DataError where the folder is not there, empty, or its parts have different classes.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    root = root.resolve()
    parts = find_parts(root)
    # A set without a split is one part whose name is yet to be decided.
    class_folders = {
        part: subfolders(folder) for part, folder in (parts.items() if parts else [("", root)])
    }
    classes = agreed_classes(class_folders, root)
    paths: list[str] = []
    labels: list[int] = []
    split: list[str] = []
    passed_over = [
        os.path.relpath(child, root)
        for folder in (root, *parts.values())
        for child in sorted(folder.iterdir())
        if child.is_symlink() and child.is_dir()
    ]
    for part, folders in class_folders.items():
        for folder in folders:
            found = list(walk_pictures(folder, root, passed_over))
            if not found:
                where = folder.relative_to(root)
                raise DataError(
                    f"{root}: class folder '{where}' holds no picture; fill it or remove it"
                )
            paths += found
            labels += [classes.index(printable(folder.name))] * len(found)
            split += [part] * len(found)
    notes: tuple[str, ...] = ()
    if passed_over:
        first = printable(passed_over[0])
        notes = (f"{len(passed_over)} files or links were passed over, the first is {first}",)
    return new_catalog(root, classes, paths, labels, split, notes)


def read_unlabelled(paths: list[Path]) -> list[Path]:
    """Return the pictures meant by files and folders, folders searched to the bottom, in natural order.

    Raises DataError for a path that isn't there, or where no picture is found.
    """
    pictures: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = walk_pictures(path, path, [])
            pictures += sorted(
                (path / name for name in found), key=lambda item: natural_key(str(item))
            )
        elif path.is_file():
            pictures.append(path)
        else:
            raise DataError(f"{path}: no such file or folder")
    if not pictures:
        raise DataError(f"{', '.join(map(str, paths))}: no picture found")
    return pictures


def find_parts(root: Path) -> dict[Part, Path]:
    """Return the folder of each part where DATA is split already, else nothing."""
    folders = subfolders(root)
    named = [folder for folder in folders if folder.name.lower() in SPLIT_NAMES]
    others = [folder.name for folder in folders if folder not in named]
    if others and len(named) < 2:  # a class may well be called 'train'
        return {}
    if others:
        names = ", ".join(folder.name for folder in named)
        raise DataError(f"{root}: has {names}, but also '{others[0]}', which is no part; move it")
    parts: dict[Part, Path] = {}
    for folder in named:
        part = SPLIT_NAMES[folder.name.lower()]
        if part in parts:
            raise DataError(
                f"{root}: both '{parts[part].name}' and '{folder.name}' are the {part} part; keep one"
            )
        parts[part] = folder
    if parts and "train" not in parts:
        raise DataError(f"{root}: has {', '.join(parts)} but no train folder")
    return parts


def agreed_classes(class_folders: dict[str, list[Path]], root: Path) -> tuple[str, ...]:
    """Return the class names, the same in every part. Raises DataError with the difference."""
    names = {
        part: {printable(folder.name) for folder in folders}
        for part, folders in class_folders.items()
    }
    first = next(iter(names))
    for part, found in names.items():
        if found != names[first]:
            only = ", ".join(sorted(names[first] ^ found)[:5])
            raise DataError(
                f"{root}: {first} and {part} have different classes: {only} in one of them only"
            )
    classes = tuple(sorted(names[first], key=natural_key))
    if len(classes) < 2:
        found_text = f"only '{classes[0]}'" if classes else "none"
        raise DataError(
            f"{root}: needs two class folders at least (links are not followed), found {found_text}"
        )
    return classes


def subfolders(folder: Path) -> list[Path]:
    """Return the folders that a user would call classes or parts; a link to a folder is none."""
    try:
        children = sorted(folder.iterdir())
    except OSError as error:
        refuse_unreadable(error)
    return [
        child
        for child in children
        if child.is_dir() and not child.is_symlink() and not is_hidden(child.name)
    ]


def refuse_unreadable(error: OSError) -> NoReturn:
    """Raise DataError for a folder that can't be listed: its pictures would be missing unnoticed."""
    raise DataError(f"{error.filename}: can't be read ({error.strerror})") from error


def walk_pictures(folder: Path, root: Path, passed_over: list[str]) -> Iterator[str]:
    """Give the paths, below `root`, of all pictures in a folder; links that lead out are passed over."""
    for here, folders, files in os.walk(folder, onerror=refuse_unreadable):
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        paths = (Path(here, name) for name in folders)
        passed_over += [os.path.relpath(path, root) for path in paths if path.is_symlink()]
        for name in sorted(files):
            if is_hidden(name):
                continue
            path = Path(here, name)
            relative = os.path.relpath(path, root)
            if leads_out(path, root) or path.suffix.lower() not in PICTURE_ENDINGS:
                passed_over.append(relative)
            else:
                yield relative


def leads_out(path: Path, root: Path) -> bool:
    """Return whether a path is a link to somewhere outside `root`."""
    if not path.is_symlink():
        return False
    # Not Path.resolve, which raises for a link to itself.
    return not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))


def is_hidden(name: str) -> bool:
    """Return whether a name belongs to the system or an editor rather than to the data."""
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


def natural_key(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key by which '2' comes before '10'."""
    pieces = re.findall(r"[0-9]+|[^0-9]+", name)
    key = [
        (0, int(piece), "") if piece.isascii() and piece.isdigit() else (1, 0, piece.lower())
        for piece in pieces
    ]
    return key, name
