"""Pictures inside zip, tar and 7z files: read where they lie, or unpacked once into the cache folder.

Nothing that an archive says about itself is trusted. Every member is checked before any is used:
its name stays inside, it is a plain file, and all together are no bomb.
"""

import bz2
import errno
import gzip
import hashlib
import lzma
import os
import re
import shutil
import stat
import tarfile
import weakref
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import IO, Any, BinaryIO, Literal

from resnetlab.data.catalog import MEMBER, printable
from resnetlab.data.sources.folder import SPLIT_NAMES
from resnetlab.data.sources.listing import Listing, list_names
from resnetlab.errors import DataError, MachineError, ResnetlabError
from resnetlab.files import cache_folder, exclusive, sync
from resnetlab.progress import Progress

# fmt: off
KINDS = {
    ".zip": "zip", ".tar": "tar", ".7z": "7z", ".tar.bz2": "tar.bz2",
    ".tar.gz": "tar.gz", ".tgz": "tar.gz", ".tar.xz": "tar.xz", ".txz": "tar.xz",
}
# fmt: on
STREAMS: dict[str, Callable[[BinaryIO], Any]] = {
    "tar.gz": lambda file: gzip.GzipFile(fileobj=file),
    "tar.xz": lzma.LZMAFile,
    "tar.bz2": bz2.BZ2File,
}
GIB = 2**30
MAX_MEMBERS = 5_000_000
MAX_MEMBER_BYTES = GIB
MAX_NAME = 4096  # letters; no system takes a longer path
MAX_RATIO = 200  # unpacked to packed, once more than RATIO_FREE_BYTES come out
RATIO_FREE_BYTES = 256 * 2**20
ROOM_LEFT_BYTES = GIB  # of the disk, for others
LITTLE = 4096  # bytes of a zip archive, which may unpack to 100 MB
PIECE = 2**16  # bytes read at once; no header of a tar file is longer
# Methods of zip and 7z that give out no more than is asked for at a time.
ZIP_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}
SEVEN_METHODS = {"LZMA", "LZMA2", "BZip2", "PPMd", "COPY", "DELTA", "BCJ"}
MB = 10**6

Kind = Literal["file", "folder", "other"]


def is_archive(path: Path) -> bool:
    """Return whether a file's name ends like an archive's."""
    return kind_of(path) != ""


def kind_of(path: Path) -> str:
    """Return the kind of archive that a file's name speaks of, '' for none."""
    name = path.name.lower()
    return next((kind for ending, kind in KINDS.items() if name.endswith(ending)), "")


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


def listing_below(path: Path, container: "Pictures", inside: str) -> Listing:
    """Return the listing of the members whose names begin with `inside`, without that."""
    names = [name[len(inside) :] for name in container.names if name.startswith(inside)]
    root = path.parent.resolve()
    prefix = path.name + MEMBER + inside
    return list_names(
        path, root, prefix, filter(None, names), lambda name: container.read(inside + name)
    )


def wrapping_folder(listing: Listing) -> str:
    """Return the one folder around all others ('photos/cat/1.jpg'), '' for none; 'train' is a part."""
    tops = listing.subfolders()
    if len(tops) != 1 or tops[0].lower() in SPLIT_NAMES or not listing.subfolders(tops[0]):
        return ""
    return "" if any("/" not in name for name in listing.files) else tops[0]


def open_archive(path: Path) -> "Pictures":
    """Open an archive to read its members from; what can't be read where it lies is unpacked first.

    Raises DataError where it is damaged or not to be trusted, MachineError where it can't be
    unpacked here.
    """
    kind = kind_of(path)
    if kind == "zip":
        return ZipPictures(path)
    return TarPictures(path) if kind == "tar" else UnpackedPictures(unpacked(path))


def archive_names(path: Path) -> list[str]:
    """Return the names of an archive's members, folders with '/' at the end; 7z is not unpacked."""
    if kind_of(path) != "7z":
        return open_archive(path).names
    with open_7z(path) as (_, members):
        return members.names()


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn whatever a damaged archive does to those who read it into a DataError."""
    try:
        yield
    except ResnetlabError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise MachineError(
                f"{path}: no room left to unpack it ({error.strerror}); free some, or set "
                "RESNETLAB_CACHE to a folder on a larger disk"
            ) from error
        why = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
        raise DataError(
            f"{path}: not a {kind_of(path)} archive that can be read ({printable(why)})"
        ) from error


class Members:
    """The members of one archive, each checked as it is added."""

    def __init__(self, archive: Path) -> None:
        self.archive = archive
        self.archive_bytes = archive.stat().st_size
        self.files: set[str] = set()
        self.folders: set[str] = set()
        self.count = 0
        self.total = 0  # bytes, unpacked, as declared

    def names(self) -> list[str]:
        """Return all names, those of folders with '/' at the end."""
        return [*self.files, *(f"{name}/" for name in self.folders)]

    def add(self, name: str, size: int, kind: Kind) -> str:
        """Return the name of a member without './' and the like.

        Raises DataError where the name leads out of the archive or is there twice, the member is a
        link or a device, or the archive is a bomb.
        """
        pieces = re.split(r"[/\\]", name)
        drive = re.match("[A-Za-z]:", name)
        if drive or name[:1] in ("/", "\\") or ".." in pieces or "\0" in name:
            raise self.refused(name, "has a name that leads elsewhere")
        if len(name) > MAX_NAME:
            raise self.refused(f"{name[:40]}...", f"has a name of {len(name)} letters")
        if kind == "other":
            raise self.refused(name, "is a link, a device or a sparse file")
        inside = "/".join(piece for piece in name.split("/") if piece not in ("", "."))
        self.count += 1
        self.total += size
        if size > MAX_MEMBER_BYTES:
            raise self.refused(name, f"has {size / GIB:.1f} GiB, the limit is 1 GiB")
        if self.count > MAX_MEMBERS:
            raise self.refused(name, f"is one too many, the limit is {MAX_MEMBERS:,}")
        self.check_ratio(self.total)
        if kind == "file":
            if not inside or inside in self.files:
                raise self.refused(name, "is there twice" if inside else "has no name")
            self.files.add(inside)
        folder = inside if kind == "folder" else inside.rpartition("/")[0]
        while folder and folder not in self.folders:
            self.folders.add(folder)
            folder = folder.rpartition("/")[0]
        return inside

    def check_ends(self) -> None:
        """Raise DataError where a name is a file's and a folder's: it can't be both on a disk."""
        for name in self.files & self.folders:
            raise self.refused(name, "is both a file and a folder")

    def check_ratio(self, total: int) -> None:
        """Raise DataError where so many bytes can't honestly come out of an archive of this size."""
        if total > RATIO_FREE_BYTES and total > MAX_RATIO * self.archive_bytes:
            raise DataError(
                f"{self.archive}: {self.archive_bytes:,} bytes that unpack to {total:,} or more, over "
                f"{MAX_RATIO} times as many, are a trap or damaged; unpack it yourself if you trust it"
            )

    def refused(self, name: str, why: str) -> DataError:
        """Return the error about one member."""
        return DataError(
            f"{self.archive}: member '{printable(name)}' {why}; nothing of this archive is used, "
            "pack the pictures again as plain files in folders"
        )


# Read where they lie


class ZipPictures:
    """The files in a zip archive; threads unpack theirs side by side."""

    def __init__(self, path: Path) -> None:
        with readable(path):
            members = Members(path)
            self.zip = zipfile.ZipFile(path)
            self._lock = Lock()
            self.infos = {
                members.add(info.orig_filename, info.file_size, zip_kind(info)): info
                for info in self.zip.infolist()
            }
            members.check_ends()
            for info in self.zip.infolist():
                if info.flag_bits & 1:
                    raise DataError(
                        f"{path}: is protected by a password; unpack it and give the folder"
                    )
                if info.compress_type not in ZIP_METHODS:
                    raise members.refused(
                        info.filename, f"is packed by method {info.compress_type}, unknown here"
                    )
        self.names = members.names()

    def read(self, member: str) -> bytes:
        """Return a member's bytes. Raises OSError where they are damaged, KeyError where there are none."""
        info = self.infos[member]
        try:
            with self._lock:  # the count of open members is not made for threads
                file = self.zip.open(info)
            try:
                return read_exactly(file, info)
            finally:
                with self._lock:
                    file.close()
        except OSError:
            raise
        except Exception as error:
            raise OSError(
                errno.EIO, f"damaged in its archive: {error or type(error).__name__}"
            ) from error


def zip_kind(info: zipfile.ZipInfo) -> Kind:
    """Return what a member of a zip archive is; archives from elsewhere than Unix don't tell links."""
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "other"
    return "folder" if info.is_dir() else "file"


def read_exactly(file: IO[bytes], info: zipfile.ZipInfo) -> bytes:
    """Return as many bytes as a member declares, in bounded memory whatever it really holds."""
    if info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        content = file.read(info.file_size)
    else:  # zipfile unpacks all of what it reads at once: so it reads little
        content = b"".join(iter(lambda: file.read(LITTLE), b""))
    if len(content) != info.file_size:
        raise EOFError(f"{len(content)} bytes of {info.file_size}")
    return content


class TarPictures:
    """The files in a plain tar archive, by their places in it."""

    def __init__(self, path: Path) -> None:
        self._places: dict[str, tuple[int, int]] = {}
        with readable(path):
            members = Members(path)
            with path.open("rb") as file:
                for name, header in tar_members(Forwards(file, lambda position: None), members):
                    self._places[name] = header.offset_data, header.size
            self._file = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)
        self.names = members.names()

    def read(self, member: str) -> bytes:
        """Return a member's bytes. Raises OSError where they are gone, KeyError where there are none."""
        start, size = self._places[member]
        content = os.pread(self._file, size, start)
        if len(content) != size:
            raise OSError(errno.EIO, "cut short in its archive")
        return content


class Forwards:
    """A tar file for `tarfile`, which believes any size: read on only, in small pieces.

    `check` is called with each new position, in bytes from the start of the unpacked tar file.
    """

    def __init__(self, file: Any, check: Callable[[int], None]) -> None:
        self.last = b""  # what the last read gave
        self._file, self._check = file, check

    def tell(self) -> int:
        """Return the position."""
        return int(self._file.tell())

    def seek(self, position: int) -> None:
        """Go on to a position. Raises ReadError for one that lies behind, which could go on for ever."""
        if position < self.tell():
            raise tarfile.ReadError("a header points backwards")
        self._check(position)
        self._file.seek(position)

    def read(self, size: int) -> bytes:
        """Return the next bytes. Raises ReadError for more than any honest header has."""
        if not 0 <= size <= PIECE:
            raise tarfile.ReadError(f"a header of {size} bytes")
        self.last = self._file.read(size)
        self._check(self.tell())
        return self.last


def tar_members(file: Forwards, members: Members) -> Iterator[tuple[str, tarfile.TarInfo]]:
    """Give (name, header) of each file in a tar archive, checked, up to its mark of the end."""
    with tarfile.TarFile(fileobj=file) as tar:  # type: ignore[arg-type]
        while (header := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # else all headers are kept
            kind: Kind = "other"
            if header.isdir():
                kind = "folder"
            elif header.isreg() and not header.issparse():
                kind = "file"
            name = members.add(header.name, header.size, kind)
            if kind == "file":
                yield name, header
    # To tarfile, a damaged header is an end like any other.
    if file.last != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("damaged, or its end is missing")
    members.check_ends()


# Unpacked once


class UnpackedPictures:
    """The files of an archive that has been unpacked into a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.names: list[str] = []
        for here, folders, files in os.walk(folder):
            inside = "" if here == str(folder) else os.path.relpath(here, folder) + "/"
            self.names += [f"{inside}{name}/" for name in folders]
            self.names += [inside + name for name in files]

    def read(self, member: str) -> bytes:
        """Return a member's bytes. Raises OSError where they can't be read."""
        return (self._folder / member).read_bytes()


Pictures = ZipPictures | TarPictures | UnpackedPictures


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
        with exclusive(folder / f"{digest}.lock"):
            if not target.is_dir():
                unpack_whole(path, target)
    except OSError as error:
        raise MachineError(
            f"{folder}: can't be written ({error.strerror}); set RESNETLAB_CACHE to a folder that can"
        ) from error
    return target


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
    room = shutil.disk_usage(target).free - ROOM_LEFT_BYTES
    kind = kind_of(path)
    if kind == "zip":
        unpack_zip(path, target, room)
    elif kind == "7z":
        unpack_7z(path, target, room)
    else:
        unpack_tar(path, target, room)


def unpack_zip(path: Path, target: Path, room: int) -> None:
    """Unpack a zip archive into a folder."""
    pictures = ZipPictures(path)
    infos = {name: info for name, info in pictures.infos.items() if not info.is_dir()}
    check_room(path, target, sum(info.file_size for info in infos.values()), room)
    with readable(path), Progress(f"unpacking {path.name}", len(infos), "files") as progress:
        for name, info in infos.items():
            with pictures.zip.open(info) as file, new_file(target, name) as out:
                shutil.copyfileobj(file, out, LITTLE)
            progress.advance(1)
    make_folders(target, pictures.names)


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
