"""An archive is as good as the folder it was made of, and can do no harm."""

import hashlib
import io
import os
import random
import shutil
import stat
import struct
import sys
import tarfile
import threading
import zipfile
import zlib
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import ANY

import pytest

from resnetlab.data.sources.archives import members, unpacked
from resnetlab.data.sources.archives.archive import archive_names, list_archive, open_archive
from resnetlab.data.sources.archives.members import is_archive
from resnetlab.data.sources.folder import class_folders
from resnetlab.data.sources.listing import list_folder
from resnetlab.data.sources.reader import Reader
from resnetlab.errors import DataError, MachineError, ResnetlabError
from resnetlab.system.files import cache_folder

DIRECT = ["zip", "tar"]
STREAMED = ["tar.gz", "tar.xz", "tar.bz2"]
FORMS = [*DIRECT, *STREAMED, "7z"]


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has a cache of its own; waiting for the disk is left out."""
    monkeypatch.setenv("RESNETLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "sync", lambda: None)


def py7zr():
    return pytest.importorskip("py7zr", reason="py7zr (the extra 'archives') is not installed")


def pack(path: Path, members: dict[str, bytes]) -> Path:
    """Write an archive of the kind its name speaks of; a name with '/' at its end is a folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for name, content in members.items():
                file.writestr(name, content)
    elif path.suffix == ".7z":
        with py7zr().SevenZipFile(path, "w") as file:
            for name, content in members.items():
                if name.endswith("/"):
                    (path.parent / "empty").mkdir(exist_ok=True)
                    file.write(path.parent / "empty", name)
                else:
                    file._writestr(content, name)  # the public way refuses bad names
    else:
        mode = {".gz": "w:gz", ".tgz": "w:gz", ".xz": "w:xz", ".bz2": "w:bz2"}
        with tarfile.open(path, mode.get(path.suffix, "w")) as file:
            for name, content in members.items():
                header = tarfile.TarInfo(name.rstrip("/"))
                header.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
                header.size = len(content)
                file.addfile(header, io.BytesIO(content))
    return path


def pack_folder(path: Path, folder: Path, top: str = "") -> Path:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return pack(path, {top + str(file.relative_to(folder)): file.read_bytes() for file in files})


def tree(root: Path) -> dict[str, str]:
    """Return what lies below a folder, each file by its hash; locks aside, they are empty."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else "folder"
        for path in sorted(root.rglob("*"))
        if path.suffix != ".lock"
    }


def left_behind(tmp_path: Path) -> list[str]:
    """Return what lies in the cache beside locks and its own folder."""
    return [name for name in tree(tmp_path / "cache") if name != "archives"]


# The same images


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("top", ["", "photos/"])
def test_an_archive_gives_the_names_and_bytes_of_its_folder(tmp_path, digit_folder, form, top):
    path = pack_folder(tmp_path / f"digits.{form}", digit_folder, top)
    before = path.read_bytes()
    expected = class_folders(list_folder(digit_folder))
    catalog = class_folders(list_archive(path))
    read = Reader(catalog.root)

    assert catalog.root == tmp_path
    assert catalog.classes == expected.classes
    assert list(catalog.labels) == list(expected.labels)
    assert list(catalog.ids) == [f"digits.{form}/{top}{name}" for name in expected.ids]
    for name, there in zip(catalog.paths, expected.paths, strict=True):
        assert name == f"digits.{form}\0{top}{there}"
        assert read(name) == (digit_folder / there).read_bytes()
    assert path.read_bytes() == before


@pytest.mark.parametrize("form", DIRECT)
def test_zip_and_tar_are_read_where_they_lie(tmp_path, digit_folder, form):
    path = pack_folder(tmp_path / f"digits.{form}", digit_folder)
    open_archive(path).read("0/000.png")

    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("form", [*STREAMED, "7z"])
def test_what_cannot_be_read_where_it_lies_is_unpacked_once(tmp_path, monkeypatch, form):
    path = pack(tmp_path / f"x.{form}", {"cat/1.png": b"one", "dog/1.png": b"two"})
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    list_archive(path)

    assert tree(cache_folder() / "archives") == {
        digest: "folder",
        f"{digest}/cat": "folder",
        f"{digest}/cat/1.png": hashlib.sha256(b"one").hexdigest(),
        f"{digest}/dog": "folder",
        f"{digest}/dog/1.png": hashlib.sha256(b"two").hexdigest(),
        f"{digest}.sums": ANY,
    }
    monkeypatch.setattr(unpacked, "unpack_into", None)  # what is there isn't unpacked again
    assert open_archive(path).read("cat/1.png") == b"one"


def test_threads_may_read_side_by_side(tmp_path, digit_folder):
    for form in DIRECT:
        images = open_archive(pack_folder(tmp_path / f"digits.{form}", digit_folder))
        names = [name for name in images.names if not name.endswith("/")] * 5
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(images.read, names))

        assert found == [(digit_folder / name).read_bytes() for name in names]


def test_an_archive_is_known_by_its_name():
    for name in (
        "a.zip",
        "A.ZIP",
        "a.tar",
        "a.tar.gz",
        "a.tgz",
        "a.Tar.XZ",
        "a.txz",
        "a.tar.bz2",
        "a.7z",
    ):
        assert is_archive(Path(name))
    for name in ("a.gz", "a.png", "zip", "a.zip.csv", "a.rar"):
        assert not is_archive(Path(name))


# Folders inside


@pytest.mark.parametrize("form", FORMS)
def test_a_lone_train_folder_is_a_split_and_not_passed_through(tmp_path, form):
    path = pack(tmp_path / f"x.{form}", {"train/cat/1.png": b"1", "train/dog/1.png": b"2"})
    catalog = class_folders(list_archive(path))

    assert catalog.classes == ("cat", "dog")
    assert list(catalog.split) == ["train", "train"]


def test_folders_around_all_are_passed_through_to_where_they_split(tmp_path):
    path = pack(
        tmp_path / "x.zip", {"a/b/cat/1.png": b"1", "a/b/dog/1.png": b"2", "__MACOSX/x": b""}
    )

    assert list_archive(path).prefix == "x.zip\0a/b/"
    assert list_archive(path).subfolders() == ["cat", "dog"]
    assert list_archive(path).read("dog/1.png") == b"2"


def test_a_folder_beside_which_something_lies_is_not_passed_through(tmp_path):
    path = pack(tmp_path / "x.zip", {"a/cat/1.png": b"1", "a/dog/1.png": b"2", "labels.csv": b""})

    assert list_archive(path).prefix == "x.zip\0"


@pytest.mark.parametrize("form", FORMS)
def test_an_empty_class_folder_is_noticed(tmp_path, form):
    path = pack(tmp_path / f"x.{form}", {"cat/1.png": b"1", "dog/1.png": b"2", "owl/": b""})

    with pytest.raises(DataError, match="class folder 'owl' holds no image"):
        class_folders(list_archive(path))


@pytest.mark.parametrize("form", ["zip", "tar", "tar.gz"])
def test_names_that_begin_with_a_dot_and_a_slash_are_plain_names(tmp_path, form):
    path = pack(tmp_path / f"x.{form}", {"./": b"", "./cat/1.png": b"1", "./dog//1.png": b"2"})

    assert list_archive(path).files == ("cat/1.png", "dog/1.png")
    assert list_archive(path).read("dog/1.png") == b"2"


def test_a_link_to_an_archive_is_read_through(tmp_path):
    pack(tmp_path / "store" / "real.zip", {"cat/1.png": b"1", "dog/1.png": b"2"})
    (tmp_path / "link.zip").symlink_to("store/real.zip")
    catalog = class_folders(list_archive(tmp_path / "link.zip"))

    assert Reader(catalog.root)(catalog.paths[0]) == b"1"


# Archives that mean harm

BAD_NAMES = [
    "../canary", "cat/../../canary", "/tmp/canary", "C:canary", "c:\\canary", "..\\canary",
    "cat\\..\\..\\canary", "\\\\server\\canary", "..", "cat/..", "a" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", BAD_NAMES, ids=lambda name: name[:20])
def test_a_name_that_leads_elsewhere_is_refused_and_nothing_written(tmp_path, form, name):
    path = pack(
        tmp_path / "in" / f"x.{form}", {"cat/1.png": b"1", name: b"canary", "dog/1.png": b"2"}
    )
    before = tree(tmp_path / "in")

    with pytest.raises(DataError, match=r"x\..*: member '.*' has a name (that leads elsewhere|of)"):
        list_archive(path)
    assert tree(tmp_path / "in") == before
    assert left_behind(tmp_path) == []
    assert {item.name for item in tmp_path.iterdir()} <= {"in", "cache"}


def test_a_folder_whose_name_begins_like_the_targets_is_out_of_reach(tmp_path):
    content = {"cat/1.png": b"1", "dog/1.png": b"2"}
    digest = hashlib.sha256(pack(tmp_path / "probe.tar.gz", content).read_bytes()).hexdigest()
    for name in (f"../{digest}-evil/x", f"../{digest}.split-evil/x"):
        path = pack(tmp_path / "x.tar.gz", {**content, name: b"canary"})
        with pytest.raises(DataError, match="leads elsewhere"):
            list_archive(path)
        assert left_behind(tmp_path) == []


def test_a_name_with_a_nul_is_refused(tmp_path):
    path = pack(tmp_path / "x.zip", {"cat/1.png@.txt": b"1", "dog/1.png": b"2"})
    path.write_bytes(path.read_bytes().replace(b"1.png@", b"1.png\0"))

    with pytest.raises(DataError, match="leads elsewhere"):
        list_archive(path)


@pytest.mark.parametrize("form", ["tar", *STREAMED])
@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"Z"],
)
def test_links_and_devices_are_refused(tmp_path, form, kind):
    canary = tmp_path / "canary"
    canary.write_text("untouched")
    path = tmp_path / f"x.{form}"
    with tarfile.open(path, "w:" + form.partition(".")[2]) as file:
        header = tarfile.TarInfo("cat")
        header.type, header.linkname = kind, str(canary)
        file.addfile(header)
        header = tarfile.TarInfo("cat/1.png")  # would be written through the link
        header.size = 1
        file.addfile(header, io.BytesIO(b"1"))

    with pytest.raises(DataError, match="member 'cat' is a link, a device or a sparse file"):
        list_archive(path)
    assert canary.read_text() == "untouched"
    assert left_behind(tmp_path) == []


def put_raw(path: Path, name: bytes, extra: bytes = b"") -> Path:
    """Write a zip archive with one member whose name is these bytes, without the flag for UTF-8."""
    stand_in = "x" * len(name)
    with zipfile.ZipFile(path, "w") as file:
        info = zipfile.ZipInfo(stand_in)
        info.extra = extra
        file.writestr(info, b"1")
    path.write_bytes(path.read_bytes().replace(stand_in.encode(), name))
    return path


def unicode_path(text: str, stored: bytes) -> bytes:
    content = struct.pack("<BL", 1, zlib.crc32(stored)) + text.encode()
    return struct.pack("<HH", 0x7075, len(content)) + content


@pytest.mark.parametrize(
    ("stored", "extra"),
    [
        ("Größe/猫.png".encode(), b""),
        (b"Gr\x94\xe1e/_.png", unicode_path("Größe/猫.png", b"Gr\x94\xe1e/_.png")),
    ],
    ids=["as Info-ZIP writes it", "with the field for Unicode"],
)
def test_names_in_a_zip_archive_are_those_that_were_packed(tmp_path, stored, extra):
    images = open_archive(put_raw(tmp_path / "x.zip", stored, extra))

    assert set(images.names) == {"Größe/猫.png", "Größe/"}
    assert images.read("Größe/猫.png") == b"1"


def test_a_name_of_dos_stays_as_it_is_read_and_a_field_of_another_name_is_nothing(tmp_path):
    other = unicode_path("cat/1.png", b"renamed since")
    images = open_archive(put_raw(tmp_path / "x.zip", "Größe/1.png".encode("cp437"), other))

    assert "Größe/1.png" in images.names


def test_a_name_in_the_field_for_unicode_can_lead_nowhere_else(tmp_path):
    path = put_raw(tmp_path / "x.zip", b"cat_1.png", unicode_path("../1.png", b"cat_1.png"))

    with pytest.raises(DataError, match="leads elsewhere"):
        list_archive(path)


def test_a_link_in_a_zip_archive_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        info = zipfile.ZipInfo("cat/1.png")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(info, "/etc/passwd")

    with pytest.raises(DataError, match=r"x.zip: member 'cat/1.png' is a link"):
        list_archive(tmp_path / "x.zip")


def test_a_link_in_a_7z_archive_is_refused(tmp_path):
    (tmp_path / "link.png").symlink_to("/etc/passwd")
    with py7zr().SevenZipFile(tmp_path / "x.7z", "w") as file:
        file.write(tmp_path / "link.png", "cat/1.png")

    for look in (list_archive, archive_names):
        with pytest.raises(DataError, match=r"x.7z: member 'cat/1.png' is a link"):
            look(tmp_path / "x.7z")
    assert left_behind(tmp_path) == []


def test_a_sparse_member_is_refused(tmp_path):
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as file:
        header = tarfile.TarInfo("cat/1.png")
        header.size = 4
        header.pax_headers = {"GNU.sparse.map": "0,4", "GNU.sparse.size": "1000000"}
        file.addfile(header, io.BytesIO(b"1234"))

    with pytest.raises(DataError, match="sparse file"):
        list_archive(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("form", FORMS)
def test_a_name_that_is_there_twice_is_refused(tmp_path, form):
    path = tmp_path / f"x.{form}"
    if form == "zip":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("cat/1.png", "1")
            file.writestr("cat/1.png", "2")
    elif form == "7z":
        with py7zr().SevenZipFile(path, "w") as file:
            file.writestr(b"1", "cat/1.png")
            file.writestr(b"2", "cat/1.png")
    else:
        with tarfile.open(path, "w:" + form.partition(".")[2]) as file:
            for _ in range(2):
                file.addfile(tarfile.TarInfo("cat/1.png"))

    with pytest.raises(DataError, match=r"member 'cat/1.png' is there twice"):
        list_archive(path)
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("form", FORMS)
def test_a_name_of_a_file_and_a_folder_is_refused(tmp_path, form):
    path = pack(tmp_path / f"x.{form}", {"cat/1.png": b"1", "cat": b"2"})

    with pytest.raises(DataError):
        list_archive(path)
    assert left_behind(tmp_path) == []


# Sizes


@pytest.fixture
def small_limits(monkeypatch):
    monkeypatch.setattr(members, "RATIO_FREE_BYTES", 2**20)
    monkeypatch.setattr(members, "MAX_MEMBER_BYTES", 2**20)


@pytest.mark.parametrize("form", ["zip", *STREAMED, "7z"])  # a plain tar file can't be one
def test_a_bomb_is_refused(tmp_path, small_limits, form):
    path = pack(tmp_path / f"x.{form}", {f"cat/{number}.png": bytes(2**19) for number in range(6)})

    with pytest.raises(DataError, match="over 200 times as many, are a trap or damaged"):
        list_archive(path)
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("form", FORMS)
def test_a_member_above_the_limit_is_refused(tmp_path, small_limits, form):
    path = pack(tmp_path / f"x.{form}", {"cat/1.png": random.Random(0).randbytes(2**20 + 1)})

    with pytest.raises(DataError, match=r"member 'cat/1.png' has 0.0 GiB, the limit is 1 GiB"):
        list_archive(path)
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("form", FORMS)
def test_too_many_members_are_refused(tmp_path, monkeypatch, form):
    monkeypatch.setattr(members, "MAX_MEMBERS", 3)
    path = pack(tmp_path / f"x.{form}", {f"{number}.png": b"" for number in range(4)})

    with pytest.raises(DataError, match=r"member '3.png' is one too many, the limit is 3"):
        list_archive(path)
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("form", [*STREAMED, "7z"])
def test_what_does_not_fit_on_the_disk_is_not_unpacked(tmp_path, monkeypatch, form):
    usage = namedtuple("usage", "total used free")
    path = pack(tmp_path / f"x.{form}", {"cat/1.png": random.Random(0).randbytes(2**20)})
    monkeypatch.setattr(unpacked.shutil, "disk_usage", lambda path: usage(0, 0, 2**30 + 2**19))

    with pytest.raises(
        MachineError, match=r"needs 0.0 GiB or more and 1 GiB to spare, 1.0 GiB are"
    ):
        list_archive(path)
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_member_larger_than_declared_is_damaged(tmp_path, method):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("cat/1.png", bytes(2**24))
    content = path.read_bytes()
    path.write_bytes(content.replace(struct.pack("<L", 2**24), struct.pack("<L", 100)))
    images = open_archive(path)

    def look():
        with pytest.raises(OSError, match="damaged in its archive: Bad CRC-32"):
            images.read("cat/1.png")

    peak = peak_of(look)
    if method == zipfile.ZIP_DEFLATED:  # the others give out all that 4096 bytes hold
        assert peak < 2**20


def peak_of(work):
    import tracemalloc

    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_tar_header_that_claims_to_be_huge_is_not_believed(tmp_path):
    path = tmp_path / "x.tar.gz"
    with tarfile.open(path, "w:gz") as file:
        header = tarfile.TarInfo("long")
        header.type, header.size = tarfile.GNUTYPE_LONGNAME, 2**26
        file.addfile(header, io.BytesIO(bytes(2**26)))

    def look():
        with pytest.raises(DataError, match="a header of 67108864 bytes"):
            list_archive(path)

    assert peak_of(look) < 2**22


def test_a_tar_header_that_points_backwards_comes_to_an_end(tmp_path):
    header = tarfile.TarInfo("cat/1.png")
    block = bytearray(header.tobuf())
    block[124:136] = b"\xff" * 10 + b"\xfe\x00"  # a size of -512, in base 256
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    (tmp_path / "x.tar").write_bytes(bytes(block) + bytes(10240))

    with pytest.raises(DataError, match="not a tar archive that can be read"):
        list_archive(tmp_path / "x.tar")


# Damage


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", bytes(range(256)) * 40])
def test_what_is_no_archive_is_refused_in_one_line(tmp_path, form, content):
    if form == "7z":
        py7zr()
    path = tmp_path / f"x.{form}"
    path.write_bytes(content)

    with pytest.raises(
        DataError, match=rf"x.{form}: not a {form} archive that can be read \(.+\)"
    ) as caught:
        list_archive(path)
    assert "\n" not in str(caught.value)
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("form", FORMS)
def test_an_archive_that_is_not_there_is_refused(tmp_path, form):
    if form == "7z":
        py7zr()
    with pytest.raises(DataError, match=r"No such file or directory"):
        list_archive(tmp_path / f"x.{form}")


@pytest.mark.parametrize("form", FORMS)
def test_an_archive_cut_anywhere_is_refused(tmp_path, digit_folder, form):
    whole = pack_folder(tmp_path / f"whole.{form}", digit_folder).read_bytes()
    # A plain tar archive ends in blanks that nobody misses: 1024 bytes are its mark of the end.
    end = len(whole.rstrip(b"\0")) // 512 * 512 if form == "tar" else len(whole)
    for length in [*range(1, end, end // 12), end - 1, *([end - 512] if form == "tar" else [])]:
        path = tmp_path / f"{length}.{form}"
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=f"not a {form} archive that can be read"):
            list_archive(path)
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("form", FORMS)
def test_of_damaged_archives_only_our_own_errors_come(tmp_path, form):
    images = {f"{name}/{number}.png": bytes([number]) * 300 for name in "ab" for number in range(9)}
    whole = pack(tmp_path / f"whole.{form}", images).read_bytes()
    draw = random.Random(form)
    for number in range(60):
        damaged = bytearray(whole)
        for _ in range(draw.choice([1, 1, 3, 30])):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        path = tmp_path / f"{number}.{form}"
        path.write_bytes(damaged)
        try:
            opened = open_archive(path)
        except ResnetlabError:
            continue
        for name in opened.names:
            try:
                opened.read(name)
            except (OSError, KeyError):
                pass


def test_a_damaged_header_in_a_tar_archive_is_not_taken_for_its_end(tmp_path):
    path = pack(tmp_path / "x.tar", {"cat/1.png": b"1", "dog/1.png": b"2", "owl/1.png": b"3"})
    content = bytearray(path.read_bytes())
    content[1024 + 148] ^= 1  # the check sum of the second header
    path.write_bytes(content)

    with pytest.raises(DataError, match="damaged, or its end is missing"):
        list_archive(path)


def test_a_damaged_member_of_a_zip_archive_is_an_error_of_its_own(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("cat/1.png", b"sound image")
        file.writestr("dog/1.png", b"other image")
    path.write_bytes(path.read_bytes().replace(b"sound", b"bound"))
    images = open_archive(path)

    assert images.read("dog/1.png") == b"other image"
    with pytest.raises(OSError, match="damaged in its archive: Bad CRC-32"):
        images.read("cat/1.png")
    with pytest.raises(KeyError):
        images.read("owl/1.png")


def test_an_archive_with_a_password_is_refused(tmp_path):
    path = pack(tmp_path / "x.zip", {"cat/1.png": b"1"})
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"x.zip: is protected by a password; unpack it and give"):
        list_archive(path)


@pytest.mark.parametrize("names_too", [False, True])
def test_a_7z_archive_with_a_password_is_refused(tmp_path, names_too):
    path = tmp_path / "x.7z"
    with py7zr().SevenZipFile(path, "w", password="s", header_encryption=names_too) as file:
        file.writestr(b"1", "cat/1.png")

    with pytest.raises(DataError, match=r"x.7z: is protected by a password; unpack it and give"):
        list_archive(path)


def test_a_7z_archive_by_a_method_of_unbounded_memory_is_refused(tmp_path):
    filters = [{"id": py7zr().FILTER_ZSTD, "level": 3}]
    with py7zr().SevenZipFile(tmp_path / "x.7z", "w", filters=filters) as file:
        file.writestr(bytes(1000), "cat/1.png")

    with pytest.raises(
        DataError, match=r"x.7z: is packed by .*; only .*LZMA2.* are read in bounded"
    ):
        list_archive(tmp_path / "x.7z")


def test_without_py7zr_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "py7zr", None)
    (tmp_path / "x.7z").write_bytes(b"7z")

    with pytest.raises(
        MachineError, match=r"reading .7z needs py7zr: pip install 'resnetlab\[archives\]'"
    ):
        list_archive(tmp_path / "x.7z")


# Unpacking


def test_an_unpacking_that_was_cut_off_is_begun_again(tmp_path):
    path = pack(tmp_path / "x.tar.gz", {"cat/1.png": b"1", "dog/1.png": b"2"})
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    partial = cache_folder() / "archives" / f"{digest}.part"
    (partial / "cat").mkdir(parents=True)
    (partial / "cat" / "1.png").write_bytes(b"half")
    (partial / "stale.png").touch()

    assert list_archive(path).files == ("cat/1.png", "dog/1.png")
    assert list_archive(path).read("cat/1.png") == b"1"
    assert not partial.exists()


@pytest.mark.parametrize("form", [*STREAMED, "7z"])
def test_a_bit_that_changes_in_the_cache_is_noticed(tmp_path, form):
    path = pack(tmp_path / f"x.{form}", {"cat/1.png": b"one", "dog/1.png": b"two"})
    images = open_archive(path)
    place = images.place("dog/1.png")
    place.write_bytes(b"twp")
    for again in (images, open_archive(path)):
        assert again.read("cat/1.png") == b"one"
        with pytest.raises(MachineError, match=r"dog/1.png: is damaged in the cache .* remove"):
            again.read("dog/1.png")
    shutil.rmtree(place.parents[1])
    assert open_archive(path).read("dog/1.png") == b"two"


def test_two_who_want_the_same_archive_wait_for_each_other(tmp_path, monkeypatch):
    path = pack(tmp_path / "x.tar.gz", {"cat/1.png": b"1", "dog/1.png": b"2"})
    unpack, times, both = unpacked.unpack_into, [], threading.Barrier(2)

    def counting(path, target):
        times.append(target)
        unpack(path, target)

    def look(_):
        both.wait()
        return list_archive(path).files

    monkeypatch.setattr(unpacked, "unpack_into", counting)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(look, range(2)))

    assert found == [("cat/1.png", "dog/1.png")] * 2
    assert len(times) == 1


def test_modes_in_an_archive_are_not_taken_over(tmp_path):
    path = tmp_path / "x.tar.gz"
    with tarfile.open(path, "w:gz") as file:
        for name in ("cat/1.png", "dog/1.png"):
            header = tarfile.TarInfo(name)
            header.mode, header.uid = 0o6000, 1
            file.addfile(header)

    assert list_archive(path).read("cat/1.png") == b""
    modes = {item.stat().st_mode & 0o7111 for item in cache_folder().rglob("*.png")}
    assert modes == {0}


def test_names_in_a_7z_archive_are_listed_without_unpacking(tmp_path):
    path = pack(tmp_path / "x.7z", {"test/1.png": b"1", "test/2.png": b"2"})

    assert sorted(archive_names(path)) == ["test/", "test/1.png", "test/2.png"]
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("RESNETLAB_CACHE", str(tmp_path / "file"))
    path = pack(tmp_path / "x.tar.gz", {"cat/1.png": b"1"})

    with pytest.raises(
        MachineError, match=r"file/archives: can't be written \(.*\); set RESNETLAB_CACHE"
    ):
        list_archive(path)
