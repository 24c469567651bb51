"""The names in a folder or an archive, before anybody asks what they mean."""

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from resnetlab.data.catalog import MEMBER
from resnetlab.data.formats import IMAGE_ENDINGS
from resnetlab.errors import DataError

SYSTEM_NAMES = frozenset({"__macosx", "thumbs.db", "desktop.ini", "$recycle.bin"})


@dataclass(frozen=True)
class Listing:
    """Names of files and folders below one place, '/' between them, sorted; nothing hidden.

    `where` is the folder or archive, for messages. In a catalog with this `root`, the path of a
    file is `prefix` plus its name. `passed_over` are links that were not followed. `read` gives a
    file's bytes by its name. An archive within that was opened is a folder: `opened` gives what its
    files' paths begin with.
    """

    where: Path
    root: Path
    prefix: str
    files: tuple[str, ...]
    folders: tuple[str, ...]
    passed_over: tuple[str, ...]
    read: Callable[[str], bytes]
    opened: Mapping[str, str] = field(default_factory=dict)

    def path_of(self, name: str) -> str:
        """Return the path of a file in a catalog."""
        top, _, below = name.partition("/")
        return self.prefix + (self.opened[top] + below if top in self.opened else name)

    def place_of(self, name: str) -> Path:
        """Return the path of a file or folder as a user would name it: 'photos.zip/test/1.jpg'."""
        top, _, below = name.partition("/")
        return self.where / self.opened.get(top, top).partition(MEMBER)[0] / below

    def subfolders(self, folder: str = "") -> list[str]:
        """Return the names of the folders right below a folder ('' for the top)."""
        start = f"{folder}/" if folder else ""
        below = (name[len(start) :] for name in self.folders if name.startswith(start))
        return sorted(name for name in below if name and "/" not in name)

    def images(self) -> list[str]:
        """Return the files whose name ends like an image's."""
        return [name for name in self.files if is_image(name)]


def list_folder(root: Path, follow_links: bool = False) -> Listing:
    """List a folder to the bottom; no file is opened.

    Unless asked for, links to folders are not followed, nor files that links take from elsewhere.
    Followed, each folder is entered once, so that a circle ends. Raises DataError where the folder
    is not there or can't be listed in full.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    root = root.resolve()
    files: list[str] = []
    folders: list[str] = []
    passed_over: list[str] = []
    entered = {os.path.realpath(root)}
    for here, below, names in os.walk(root, onerror=refuse_unreadable, followlinks=follow_links):
        inside = "" if here == str(root) else os.path.relpath(here, root) + "/"
        kept = []
        for name in sorted(below):
            path = Path(here, name)
            if is_hidden(name):
                continue
            if path.is_symlink():
                real = os.path.realpath(path)
                if not follow_links or real in entered:
                    passed_over.append(inside + name)
                    continue
                entered.add(real)
            kept.append(name)
            folders.append(inside + name)
        below[:] = kept
        for name in sorted(names):
            if is_hidden(name) or is_special(Path(here, name)):
                continue
            leaves = not follow_links and leads_out(Path(here, name), root)
            (passed_over if leaves else files).append(inside + name)
    return Listing(
        root,
        root,
        "",
        tuple(sorted(files)),
        tuple(sorted(folders)),
        tuple(sorted(passed_over)),
        lambda name: (root / name).read_bytes(),
    )


def listing_within(listing: Listing, folder: str) -> Listing:
    """Return the listing of a folder of a listing, whose root stays the same."""
    start = f"{folder}/"

    def inside(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name.removeprefix(start) for name in names if name.startswith(start))

    return Listing(
        listing.where / folder,
        listing.root,
        listing.path_of(start),
        inside(listing.files),
        inside(listing.folders),
        inside(listing.passed_over),
        lambda name: listing.read(start + name),
    )


def wrapped(listing: Listing) -> Iterator[Listing]:
    """Give a listing, then those of the folders in it, as long as each holds nothing but one folder."""
    yield listing
    while len(tops := listing.subfolders()) == 1 and all("/" in name for name in listing.files):
        listing = listing_within(listing, tops[0])
        yield listing


def list_names(
    where: Path, root: Path, prefix: str, names: Iterable[str], read: Callable[[str], bytes]
) -> Listing:
    """Return the listing of an archive's members; a folder ends in '/', or is only in a file's name."""
    files: set[str] = set()
    folders: set[str] = set()
    for name in names:
        parts = name.rstrip("/").split("/")
        if any(map(is_hidden, parts)):
            continue
        parents = parts if name.endswith("/") else parts[:-1]
        folders.update("/".join(parents[: depth + 1]) for depth in range(len(parents)))
        if not name.endswith("/"):
            files.add(name)
    return Listing(where, root, prefix, tuple(sorted(files)), tuple(sorted(folders)), (), read)


def is_image(name: str) -> bool:
    """Return whether a name ends like an image's."""
    return os.path.splitext(name)[1].lower() in IMAGE_ENDINGS  # noqa: PTH122 (a hundred thousand names)


def is_special(path: Path) -> bool:
    """Return whether a name is a pipe, a socket or a device: who reads one may wait for ever."""
    try:
        mode = path.stat().st_mode
    except OSError:  # a broken link, which reading reports
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def is_hidden(name: str) -> bool:
    """Return whether a name belongs to the system or an editor rather than to the data."""
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


def leads_out(path: Path, root: Path) -> bool:
    """Return whether a path is a link to somewhere outside `root`."""
    if not path.is_symlink():
        return False
    # Not Path.resolve, which raises for a link to itself.
    return not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))


def refuse_unreadable(error: OSError) -> NoReturn:
    """Raise DataError for a folder that can't be listed: its images would be missing unnoticed."""
    raise DataError(f"{error.filename}: can't be read ({error.strerror})") from error


def natural_key(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key by which '2' comes before '10'."""
    pieces = re.findall(r"[0-9]+|[^0-9]+", name)
    key = [
        (0, int(piece), "") if piece.isascii() and piece.isdigit() else (1, 0, piece.lower())
        for piece in pieces
    ]
    return key, name
