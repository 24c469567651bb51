"""Images in compressed tar and 7z files, unpacked once into the cache folder."""

import bz2
import gzip
import hashlib
import lzma
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from xxhash import xxh3_64_hexdigest

from resnetlab.data.sources.archives.in_place import (
    LITTLE,
    PIECE,
    Forwards,
    ZipImages,
    tar_members,
)
from resnetlab.data.sources.archives.members import GIB, Kind, Members, kind_of, readable
from resnetlab.errors import DataError, MachineError
from resnetlab.system.cache import keep_table, kept_table
from resnetlab.system.files import cache_folder, exclusive, sync
from resnetlab.system.progress import Progress, log

STREAMS: dict[str, Callable[[BinaryIO], Any]] = {
    "tar.gz": lambda file: gzip.GzipFile(fileobj=file),
    "tar.xz": lzma.LZMAFile,
    "tar.bz2": bz2.BZ2File,
}
ROOM_LEFT_BYTES = GIB  # of the disk, for others
# Methods of 7z that give out no more than is asked for at a time.
SEVEN_METHODS = {"LZMA", "LZMA2", "BZip2", "PPMd", "COPY", "DELTA", "BCJ"}
MB = 10**6


class UnpackedImages:
    """The files of an archive that has been unpacked into a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sums = kept_table(sums_file(folder))
        self.names: list[str] = []
        for here, folders, files in os.walk(folder):
            inside = "" if here == str(folder) else os.path.relpath(here, folder) + "/"
            self.names += [f"{inside}{name}/" for name in folders]
            self.names += [inside + name for name in files]

    def read(self, member: str) -> bytes:
        """Return a member's bytes. Raises OSError where they can't be read, MachineError for damaged ones."""
        content = self.place(member).read_bytes()
        known = self._sums.get(member)
        if known is not None and known != xxh3_64_hexdigest(content):
            raise MachineError(
                f"{self.place(member)}: is damaged in the cache (its checksum differs); remove "
                f"{self._folder} and start again"
            )
        return content

    def files(self) -> list[str]:
        """Return the members that are files."""
        return [name for name in self.names if not name.endswith("/")]

    def place(self, member: str) -> Path:
        """Return where a member lies."""
        return self._folder / member


def unpacked(path: Path) -> Path:
    """Return the folder in the cache with all that is in an archive, unpacked now if it isn't yet.

    It appears whole or not at all; another process that wants it waits. Raises DataError where the
    archive is damaged or not to be trusted, MachineError where there is no room or no right to write.
    """
    with readable(path):
        facts = path.stat()
        digest = digest_of(path.resolve(), facts.st_size, facts.st_mtime_ns)
    folder = cache_folder() / "archives"
    target = folder / digest
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with exclusive(folder / f"{digest}.lock", log):
            if not target.is_dir():
                unpack_whole(path, target)
                images = UnpackedImages(target)
                sums = {
                    name: xxh3_64_hexdigest(images.place(name).read_bytes())
                    for name in images.files()
                }
                keep_table(sums_file(target), sums)
    except OSError as error:
        raise MachineError(
            f"{folder}: can't be written ({error.strerror}); set RESNETLAB_CACHE to a folder that can"
        ) from error
    return target


def sums_file(folder: Path) -> Path:
    """Return the file with the checksums of an unpacked archive."""
    return folder.with_name(f"{folder.name}.sums")


@lru_cache(maxsize=64)
def digest_of(path: Path, size: int, modified_ns: int) -> str:
    """Return the SHA-256 of a file in hex, kept as long as its size and time stay the same."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unpack_whole(path: Path, target: Path) -> None:
    """Unpack an archive into `target`, which appears when all is there; raises as `unpacked` does."""
    partial = target.with_name(f"{target.name}.part")
    shutil.rmtree(partial, ignore_errors=True)  # of one that was cut off
    try:
        unpack_into(path, partial)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    os.sync()  # once, not for each of a hundred thousand files
    partial.rename(target)
    sync(target.parent)


def unpack_into(path: Path, target: Path) -> None:
    """Unpack an archive of any kind into a new folder, as plain files only.

    Raises DataError where it is damaged or not to be trusted; then what was unpacked so far stays.
    """
    target.mkdir()
    room = free_bytes(target)
    kind = kind_of(path)
    if kind == "zip":
        unpack_zip(path, target, room)
    elif kind == "7z":
        unpack_7z(path, target, room)
    else:
        unpack_tar(path, target, room)


def unpack_zip(path: Path, target: Path, room: int) -> None:
    """Unpack a zip archive into a folder."""
    images = ZipImages(path)
    infos = {name: info for name, info in images.infos.items() if not info.is_dir()}
    check_room(path, target, sum(info.file_size for info in infos.values()), room)
    with readable(path), Progress(f"unpacking {path.name}", len(infos), "files") as progress:
        for name, info in infos.items():
            with images.zip.open(info) as file, new_file(target, name) as out:
                shutil.copyfileobj(file, out, LITTLE)
            progress.advance(1)
    make_folders(target, images.names)


def unpack_tar(path: Path, target: Path, room: int) -> None:
    """Unpack a compressed tar archive into a folder; what comes out is counted meanwhile."""
    members = Members(path)

    def check(position: int) -> None:
        members.check_ratio(position)
        check_room(path, target, position, room)

    total = members.archive_bytes // MB
    with (
        readable(path),
        path.open("rb") as packed,
        STREAMS[kind_of(path)](packed) as stream,
        Progress(f"unpacking {path.name}", total, "MB") as progress,
    ):
        file = Forwards(stream, check)
        for name, header in tar_members(file, members):
            with new_file(target, name) as out:
                left = header.size
                while left:
                    piece = file.read(min(left, PIECE))
                    if not piece:
                        raise EOFError("cut short")
                    left -= out.write(piece)
            progress.advance(packed.tell() // MB - progress.done)
        while file.read(PIECE):  # the check sum comes last
            pass
    make_folders(target, members.names())


def new_file(target: Path, name: str) -> BinaryIO:
    """Open a new file below a folder; what is there already is never written to."""
    path = target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("xb")


def make_folders(target: Path, names: list[str]) -> None:
    """Make the folders in which nothing lies: an empty class folder must be noticed."""
    for name in names:
        if name.endswith("/"):
            (target / name).mkdir(parents=True, exist_ok=True)


def free_bytes(folder: Path) -> int:
    """Return how many bytes may be written into a folder, with room left for others."""
    return shutil.disk_usage(folder).free - ROOM_LEFT_BYTES


def check_room(path: Path, target: Path, needed: int, room: int) -> None:
    """Raise MachineError where the disk lacks the room to unpack so many bytes."""
    if needed > room:
        raise MachineError(
            f"{target.parent}: unpacking {path} needs {needed / GIB:.1f} GiB or more and 1 GiB to spare, "
            f"{(room + ROOM_LEFT_BYTES) / GIB:.1f} GiB are free; free some, or set RESNETLAB_CACHE to a "
            "folder on a larger disk"
        )


# 7z


@contextmanager
def open_7z(path: Path) -> Iterator[tuple[Any, Members]]:
    """Give py7zr's object for an archive, and its members, checked; nothing is unpacked.

    Raises MachineError without py7zr, DataError where the archive is damaged or not to be trusted.
    """
    try:
        import py7zr
    except ImportError as error:
        raise MachineError(
            f"{path}: reading .7z needs py7zr: pip install 'resnetlab[archives]'"
        ) from error
    secret = DataError(f"{path}: is protected by a password; unpack it and give the folder")
    with readable(path), path.open("rb") as file:
        try:
            archive = py7zr.SevenZipFile(file)
        except py7zr.PasswordRequired as error:
            raise secret from error
        with archive:
            if archive.needs_password():
                raise secret
            unknown = set(archive.archiveinfo().method_names) - SEVEN_METHODS
            if unknown:
                raise DataError(
                    f"{path}: is packed by {', '.join(sorted(unknown))}; only {', '.join(sorted(SEVEN_METHODS))} "
                    "are read in bounded memory, pack it again"
                )
            members = Members(path)
            for member in archive.files:
                members.add(member.filename, member.uncompressed, seven_kind(member))
            members.check_ends()
            yield archive, members


def seven_kind(member: Any) -> Kind:
    """Return what a member of a 7z archive is."""
    if member.is_symlink or member.is_junction or member.is_socket:
        return "other"
    if member.is_directory:
        return "folder"
    return "file" if member.is_file else "other"


def unpack_7z(path: Path, target: Path, room: int) -> None:
    """Unpack a 7z archive into a folder."""
    with open_7z(path) as (archive, members):
        check_room(path, target, members.total, room)
        with Progress(f"unpacking {path.name}", members.total // MB, "MB") as progress:
            writer = SevenWriter(target, members, progress)
            try:
                archive.extractall(path=target, factory=writer)
            finally:
                writer.close()
        make_folders(target, members.names())


class SevenWriter:
    """What py7zr writes into: a new file for each member, one after the other."""

    def __init__(self, target: Path, members: Members, progress: Progress) -> None:
        self._target, self._members, self._progress = target, members, progress
        self._file: BinaryIO | None = None
        self._written = 0

    def create(self, filename: str) -> "SevenWriter":
        """Begin a member, whose name py7zr gives with the target's before it."""
        name = Path(filename).relative_to(self._target).as_posix()
        if name not in self._members.files:
            raise self._members.refused(name, "is not among those listed")
        self.close()
        self._file = new_file(self._target, name)
        return self

    def write(self, content: bytes) -> int:
        """Write a piece of the member."""
        assert self._file is not None
        self._written += len(content)
        self._progress.advance(self._written // MB - self._progress.done)
        return self._file.write(content)

    def seekable(self) -> bool:
        """Tell py7zr not to go back to the start of what it has written."""
        return False

    def close(self) -> None:
        """End the member."""
        if self._file is not None:
            self._file.close()
            self._file = None
