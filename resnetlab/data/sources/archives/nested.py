"""Archives within a folder or within another archive: each is a folder of the listing around it."""

import dataclasses
import hashlib
from pathlib import Path, PurePosixPath

from resnetlab.data.catalog import MEMBER
from resnetlab.data.sources.archives.archive import list_archive, open_archive
from resnetlab.data.sources.archives.members import kind_of, readable
from resnetlab.data.sources.archives.unpacked import (
    UnpackedImages,
    check_room,
    digest_of,
    free_bytes,
)
from resnetlab.data.sources.listing import Listing, listing_within, wrapped
from resnetlab.errors import MachineError
from resnetlab.system.files import cache_folder, exclusive, whole
from resnetlab.system.progress import log


def with_archives(listing: Listing) -> Listing:
    """Return a listing with the images in archives that lie at its top, or in the one folder there.

    It stays as it is where folders hold images already, or no archive holds any. Raises as
    `list_archive` does.
    """
    if any("/" in name for name in listing.images()):
        return listing
    for within in wrapped(listing):
        opened = open_inner(within)
        if opened is not within:
            return opened
    return listing


def open_inner(listing: Listing) -> Listing:
    """Return a listing whose archives at the top are folders of their names: 'train.zip' is 'train'."""
    files, folders = list(listing.files), list(listing.folders)
    inside: dict[str, Listing] = {}
    for name in listing.files:
        folder = folder_name(name)
        if folder and folder not in folders:
            inner = list_archive(place_of(listing, name))
            if inner.images():
                inside[folder] = without_double(inner, folder)
                files.remove(name)
                files += [f"{folder}/{file}" for file in inside[folder].files]
                folders += [folder, *(f"{folder}/{below}" for below in inside[folder].folders)]
    if not inside:
        return listing

    def read(name: str) -> bytes:
        top, _, below = name.partition("/")
        return inside[top].read(below) if top in inside else listing.read(name)

    return dataclasses.replace(
        listing,
        files=tuple(sorted(files)),
        folders=tuple(sorted(folders)),
        read=read,
        opened={folder: path_within(inner) for folder, inner in inside.items()},
    )


def folder_name(name: str) -> str:
    """Return 'train' for 'train.tar.gz', '' for what is no archive at the top."""
    kind = kind_of(Path(name))
    if not kind or "/" in name:
        return ""
    ending = next(e for e in (f".{kind}", PurePosixPath(name).suffix) if name.lower().endswith(e))
    return name[: -len(ending)]


def place_of(listing: Listing, name: str) -> Path:
    """Return where a file of a listing lies on disk, taken out of an archive where it must be."""
    outer, member, inside = listing.path_of(name).partition(MEMBER)
    return inner_file(listing.root / outer, inside) if member else listing.root / outer


def path_within(inner: Listing) -> str:
    """Return what the catalog paths of an inner archive's files begin with below the listing's prefix."""
    return f"{inner.where.name}{MEMBER}{inner.prefix.partition(MEMBER)[2]}"


def without_double(inner: Listing, folder: str) -> Listing:
    """Return the listing of 'train.zip' from within 'train/', where that is all that it holds."""
    tops = inner.subfolders()
    if [top.lower() for top in tops] != [folder.lower()]:
        return inner
    if any("/" not in name for name in inner.files):
        return inner
    return dataclasses.replace(listing_within(inner, tops[0]), where=inner.where)


def inner_file(outer: Path, member: str) -> Path:
    """Return where a file of an archive lies on disk, copied into the cache unless it was unpacked anyway.

    Raises DataError where the archive is damaged, MachineError where there is no room for the copy.
    """
    container = open_archive(outer)
    if isinstance(container, UnpackedImages):
        return container.place(member)
    with readable(outer):
        facts = outer.stat()
        digest = digest_of(outer.resolve(), facts.st_size, facts.st_mtime_ns)
    key = hashlib.sha256(f"{digest}{MEMBER}{member}".encode()).hexdigest()
    folder = cache_folder() / "archives"
    target = folder / f"{key}.inner" / PurePosixPath(member).name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with exclusive(folder / f"{key}.lock", log):
            if not target.is_file():
                check_room(outer, folder, container.size(member), free_bytes(folder))
                with readable(outer), whole(target) as temporary, temporary.open("wb") as file:
                    container.copy(member, file)
    except OSError as error:
        raise MachineError(
            f"{folder}: can't be written ({error.strerror}); set RESNETLAB_CACHE to a folder that can"
        ) from error
    return target
