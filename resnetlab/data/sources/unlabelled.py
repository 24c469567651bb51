"""Images without labels: files, folders and archives of them, to be predicted."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from resnetlab.data.sources.archives.archive import list_archive
from resnetlab.data.sources.archives.members import is_archive
from resnetlab.data.sources.archives.nested import with_archives
from resnetlab.data.sources.listing import list_folder, natural_key
from resnetlab.errors import DataError

Read = Callable[[], bytes]


def read_unlabelled(paths: Sequence[Path]) -> dict[Path, Read]:
    """Return the images meant by files, folders and archives, each with what gives its bytes.

    Folders and archives are searched to the bottom, in natural order; 'photos.zip/test' is a folder
    within one. Raises DataError for a path that isn't there, or where no image is found.
    """
    images: dict[Path, Read] = {}
    for path in paths:
        if path.is_dir() or (path.is_file() and is_archive(path)):
            listing = with_archives(list_folder(path) if path.is_dir() else list_archive(path))
            for name in sorted(listing.images(), key=natural_key):
                images[path / name] = partial(listing.read, name)
        elif path.is_file():
            images[path] = path.read_bytes
        else:
            images |= within_archive(path)
    if not images:
        raise DataError(f"{', '.join(map(str, paths))}: no image found")
    return images


def within_archive(path: Path) -> dict[Path, Read]:
    """Return the images below a path that leads into an archive: 'photos.zip/test', 'photos.zip/1.jpg'.

    Raises DataError where there are none.
    """
    archive = next((p for p in path.parents if p.is_file() and is_archive(p)), None)
    if archive is None:
        raise DataError(f"{path}: no such file or folder")
    listing = with_archives(list_archive(archive))
    names = [
        name for name in listing.images() if f"{listing.place_of(name)}/".startswith(f"{path}/")
    ]
    if not names:
        raise DataError(f"{path}: no image of this name in {archive}")
    names.sort(key=natural_key)
    return {listing.place_of(name): partial(listing.read, name) for name in names}
