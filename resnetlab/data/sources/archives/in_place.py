"""Images in zip and plain tar files, read where they lie."""

import errno
import os
import shutil
import stat
import struct
import tarfile
import weakref
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Lock
from typing import IO, Any

from resnetlab.data.sources.archives.members import Kind, Members, readable
from resnetlab.errors import DataError

LITTLE = 4096  # bytes of a zip archive, which may unpack to 100 MB
PIECE = 2**16  # bytes read at once; no header of a tar file is longer
# Methods of zip that give out no more than is asked for at a time.
ZIP_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}

UTF8 = 0x800  # of a member's flags: its name is UTF-8
UNICODE_PATH = 0x7075


class ZipImages:
    """The files in a zip archive; threads unpack theirs side by side."""

    def __init__(self, path: Path) -> None:
        with readable(path):
            members = Members(path)
            self.zip = zipfile.ZipFile(path)
            self._lock = Lock()
            self.infos = {
                members.add(zip_name(info), info.file_size, zip_kind(info)): info
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

    def size(self, member: str) -> int:
        """Return a member's size in bytes."""
        return self.infos[member].file_size

    def copy(self, member: str, out: IO[bytes]) -> None:
        """Write a member's bytes, in bounded memory. Raises whatever a damaged one leads to."""
        with self.zip.open(self.infos[member]) as file:
            shutil.copyfileobj(file, out, LITTLE)


def zip_name(info: zipfile.ZipInfo) -> str:
    """Return the name of a member of a zip archive, as whoever packed it saw it.

    Without the flag for UTF-8 Python reads it as DOS wrote it; but there may be a field beside with the
    name in UTF-8, and Info-ZIP and others write UTF-8 without the flag. Source: APPNOTE.TXT, 4.6.9 and D.
    """
    if info.flag_bits & UTF8:
        return info.orig_filename
    try:
        stored = info.orig_filename.encode("cp437")
        return (unicode_path(info.extra, stored) or stored).decode("utf-8")
    except UnicodeError:
        return info.orig_filename


def unicode_path(extra: bytes, stored: bytes) -> bytes:
    """Return the name in the extra field 0x7075 of a member, b'' where there is none of the `stored` name."""
    while len(extra) >= 4:
        kind, length = struct.unpack("<HH", extra[:4])
        field, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind == UNICODE_PATH and field[:5] == struct.pack("<BL", 1, zlib.crc32(stored)):
            return field[5:]
    return b""


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


class TarImages:
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

    def size(self, member: str) -> int:
        """Return a member's size in bytes."""
        return self._places[member][1]

    def copy(self, member: str, out: IO[bytes]) -> None:
        """Write a member's bytes, in bounded memory. Raises EOFError where they are gone."""
        start, left = self._places[member]
        while left:
            piece = os.pread(self._file, min(left, PIECE), start)
            if not piece:
                raise EOFError("cut short in its archive")
            start, left = start + out.write(piece), left - len(piece)


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
