"""Images inside zip, tar and 7z files."""

from pathlib import Path

from resnetlab.data.catalog import MEMBER
from resnetlab.data.sources.archives.in_place import TarImages, ZipImages
from resnetlab.data.sources.archives.members import kind_of
from resnetlab.data.sources.archives.unpacked import UnpackedImages, open_7z, unpacked
from resnetlab.data.sources.layout.names import parse
from resnetlab.data.sources.listing import Listing, list_names

Dataset = ZipImages | TarImages | UnpackedImages


def list_archive(path: Path) -> Listing:
    """List an archive's members; where one folder holds all other folders, from within it.

    Raises DataError where the archive is damaged or not to be trusted, MachineError where it can't
    be unpacked here.
    """
    container = open_archive(path)
    inside = ""
    listing = listing_below(path, container, inside)
    while top := wrapping_folder(listing):
        inside += f"{top}/"
        listing = listing_below(path, container, inside)
    return listing


def listing_below(path: Path, container: Dataset, inside: str) -> Listing:
    """Return the listing of the members whose names begin with `inside`, without that."""
    names = [name[len(inside) :] for name in container.names if name.startswith(inside)]
    root = path.parent.resolve()
    prefix = path.name + MEMBER + inside
    return list_names(
        path, root, prefix, filter(None, names), lambda name: container.read(inside + name)
    )


def wrapping_folder(listing: Listing) -> str:
    """Return the one folder around all others ('photos/cat/1.jpg'), '' for none; 'train' is a split."""
    tops = listing.subfolders()
    if len(tops) != 1 or not listing.subfolders(tops[0]):
        return ""
    name = parse(tops[0])
    if name.kind and not name.rest:
        return ""
    return "" if any("/" not in name for name in listing.files) else tops[0]


def open_archive(path: Path) -> Dataset:
    """Open an archive to read its members from; what can't be read where it lies is unpacked first.

    Raises DataError where it is damaged or not to be trusted, MachineError where it can't be
    unpacked here.
    """
    kind = kind_of(path)
    if kind == "zip":
        return ZipImages(path)
    return TarImages(path) if kind == "tar" else UnpackedImages(unpacked(path))


def archive_names(path: Path) -> list[str]:
    """Return the names of an archive's members, folders with '/' at the end; 7z is not unpacked."""
    if kind_of(path) != "7z":
        return open_archive(path).names
    with open_7z(path) as (_, members):
        return members.names()
