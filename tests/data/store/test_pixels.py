"""Every image is decoded once, whatever happens in between, and the store never lies."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_sample_images

from resnetlab.data.catalog import Catalog
from resnetlab.data.sources.folder import class_folders
from resnetlab.data.sources.listing import list_folder
from resnetlab.data.store import build, format, index
from resnetlab.data.store import pixels as module
from resnetlab.data.store.checksums import ENTRY
from resnetlab.data.store.decode import ImageProblem, decode
from resnetlab.data.store.pixels import (
    PixelStore,
    read_images,
    short_side_for,
)
from resnetlab.data.store.record import RECORD, fill_from_pixels
from resnetlab.errors import DataError, MachineError
from resnetlab.system.files import cache_folder

SIDE, LIMIT = 6, 10**6  # of the stored image; the images here have 8 px, or more


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("RESNETLAB_CACHE", str(folder))
    return folder


@pytest.fixture
def decoded(monkeypatch) -> list[bytes]:
    """The content of every image that is decoded, in any order."""
    contents: list[bytes] = []

    def counting(content, *settings):
        contents.append(content)
        return decode(content, *settings)

    monkeypatch.setattr(build, "decode", counting)
    return contents


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(build, "CHUNK", 4)


@pytest.fixture
def folder(write_images) -> Path:
    return write_images({f"{number % 2}/{number:02}.png": number for number in range(14)})


def read(folder: Path, workers: int = 2) -> tuple[Catalog, PixelStore]:
    return read_images(class_folders(list_folder(folder)), SIDE, LIMIT, workers)


def files(cache: Path) -> dict[str, bytes]:
    """Return the content of the store's two files."""
    return {path.suffix: path.read_bytes() for path in cache.iterdir() if path.suffix != ".lock"}


# What it holds


def test_the_store_holds_what_decoding_gives(cache, photo_folder):
    catalog, store = read_images(class_folders(list_folder(photo_folder)), 50, LIMIT, 2)

    assert len(store.index) == len(catalog) == 24
    for row, path in zip(store.rows_of(catalog), catalog.paths, strict=True):
        image = decode((catalog.root / path).read_bytes(), 50, LIMIT)
        record = store.index[row]
        np.testing.assert_array_equal(store.image(row), image.pixels)
        np.testing.assert_array_equal(store.thumbnails[np.array([[row]])], image.small[None, None])
        assert (
            (record["full_width"], record["full_height"])
            == (image.width, image.height)
            == (160, 120)
        )
        np.testing.assert_array_equal(record["sums"], image.pixels.astype(int).sum(axis=(0, 1)))
        np.testing.assert_array_equal(
            record["squares"], (image.pixels.astype(int) ** 2).sum(axis=(0, 1))
        )


def test_the_catalog_learns_content_and_size(cache, photo_folder):
    listed = class_folders(list_folder(photo_folder))
    catalog, _ = read_images(listed, 50, LIMIT, 2)

    assert set(catalog.width) == {160}
    assert set(catalog.height) == {120}
    assert catalog.sound.all()
    assert all(len(digest) == 64 for digest in catalog.sha256)
    assert catalog.ids.tolist() == listed.ids.tolist()
    assert set(listed.sha256) == {""}, "the catalog that came in is left alone"


def test_the_same_content_under_two_names_is_stored_once(cache, write_images, decoded):
    catalog, store = read(write_images({"a/1.png": 1, "a/2.png": 2, "b/copy of 1.png": 1}))

    rows = store.rows_of(catalog)
    assert len(store.index) == len(decoded) == 2
    assert rows[0] == rows[2] != rows[1]


def test_a_bad_image_becomes_a_problem_and_the_others_go_on(cache, folder):
    (folder / "0" / "00.png").write_bytes((folder / "0" / "00.png").read_bytes()[:90])
    (folder / "1" / "03.png").write_bytes(b"")
    (folder / "1" / "05.png").write_bytes(b"<html>")
    catalog, store = read(folder)

    problems = {name: text for name, text in zip(catalog.ids, catalog.problem, strict=True) if text}
    assert problems == {
        "0/00.png": "truncated",
        "1/03.png": "empty",
        "1/05.png": "not an image",
    }
    assert catalog.sound.sum() == 11
    for row in store.rows_of(catalog)[catalog.sound]:
        assert store.image(row).shape == (SIDE, SIDE, 3)
    assert (catalog.width == 0).tolist() == (~catalog.sound).tolist()


def test_a_file_that_cannot_be_read_is_a_problem_too(cache, folder):
    (folder / "0" / "self.png").symlink_to(folder / "0" / "self.png")
    (folder / "1" / "gone.png").symlink_to(folder / "1" / "nowhere.png")
    catalog, _ = read(folder)

    assert set(catalog.ids[~catalog.sound]) == {"0/self.png", "1/gone.png"}


def test_a_store_without_any_sound_image_opens(cache, write_images):
    folder = write_images({"a/1.png": 1, "b/2.png": 2})
    for path in folder.rglob("*.png"):
        path.write_bytes(b"not an image: " + path.name.encode())
    for _ in range(2):
        catalog, store = read(folder)
        assert not catalog.sound.any()
        assert len(store.index) == 2


def test_a_long_reason_is_cut_between_letters(cache, folder, monkeypatch):
    def complaining(*args):
        raise ImageProblem("é" * 47 + "€€")  # 94 bytes, then three each

    monkeypatch.setattr(build, "decode", complaining)
    catalog, _ = read(folder)

    assert set(catalog.problem) == {"é" * 47}


@given(st.integers(0, 255), st.integers(1, 40), st.integers(1, 40))
def test_sums_are_exact(value, height, width):
    record = np.zeros(1, dtype=RECORD)[0]
    fill_from_pixels(record, np.full((height, width, 3), value, np.uint8))

    assert record["sums"].tolist() == [value * height * width] * 3
    assert record["squares"].tolist() == [value * value * height * width] * 3


# Decoded once


def test_a_store_that_is_there_is_opened_without_decoding(cache, folder, decoded):
    catalog, store = read(folder)
    assert len(decoded) == 14
    again, opened = read(folder)

    assert len(decoded) == 14
    assert opened.index.tobytes() == store.index.tobytes()
    assert again.problem.tolist() == catalog.problem.tolist()


def test_the_number_of_workers_changes_no_byte(tmp_path, folder, monkeypatch, small_chunks):
    stores = []
    for workers in (0, 1, 2, 5):
        monkeypatch.setenv("RESNETLAB_CACHE", str(tmp_path / f"cache-{workers}"))
        read(folder, workers)
        stores.append(files(tmp_path / f"cache-{workers}"))

    assert stores[0] == stores[1] == stores[2] == stores[3]


def test_two_builders_at_once_decode_every_image_once(cache, folder, decoded):
    start = threading.Barrier(2)

    def build(_):
        start.wait(timeout=10)
        return read(folder)[1].index.tobytes()

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(build, range(2))

    assert first == second
    assert len(decoded) == 14


@pytest.mark.parametrize(("side", "limit"), [(SIDE + 1, LIMIT), (SIDE, 63)])
def test_other_settings_make_another_store(cache, folder, decoded, side, limit):
    read(folder)
    catalog, _ = read_images(class_folders(list_folder(folder)), side, limit, 2)

    assert len(decoded) == 28
    assert catalog.sound.all() == (limit == LIMIT)


def test_changed_content_makes_another_store_also_at_the_same_size_and_time(cache, folder, decoded):
    before, _ = read(folder)
    path = folder / "0" / "00.png"
    content, stat = bytearray(path.read_bytes()), path.stat()
    content[-30] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    after, _ = read(folder)

    assert len(decoded) == 15, "what did not change is taken over"
    assert (before.sha256 != after.sha256).tolist() == [True] + [False] * 13


def test_what_an_earlier_store_holds_is_copied_to_the_same_bytes(
    cache, folder, tmp_path, monkeypatch, small_chunks, decoded
):
    (folder / "1" / "05.png").write_bytes(b"<html>")
    read(folder)
    (folder / "0" / "02.png").unlink()
    (folder / "0" / "new.png").write_bytes((folder / "1" / "01.png").read_bytes() + b"\n")
    expected = uncut(folder, tmp_path, monkeypatch)
    for path in cache.glob("pixels-*"):
        os.utime(path, (1, 1))
    decoded.clear()
    catalog, store = read(folder)

    assert len(decoded) == 1
    for ending in (".index", ".bin"):
        assert store.beside.with_suffix(ending).read_bytes() == expected[ending]
    assert catalog.problem[catalog.ids == "1/05.png"] == "not an image"


def test_what_is_new_is_told_before_it_is_decoded(cache, folder, capsys, monkeypatch):
    read(folder)
    assert "decoded" not in capsys.readouterr().err
    (folder / "1" / "05.png").write_bytes(b"<html>")
    monkeypatch.setattr(build, "store_file", lambda *_: pytest.fail("decoded"))
    with pytest.raises(pytest.fail.Exception):
        read(folder)
    assert (
        "note: 1 of 14 images are new or have changed since they were last decoded, the first is 1/05.png; "
        "the others are copied"
    ) in capsys.readouterr().err


def test_an_earlier_store_of_which_pixels_were_lost_gives_what_it_still_has(
    cache, folder, tmp_path, monkeypatch, decoded
):
    read(folder)
    os.truncate(next(cache.glob("*.bin")), 5 * 3 * SIDE * SIDE + 1)
    (folder / "0" / "00.png").unlink()
    expected = uncut(folder, tmp_path, monkeypatch)
    decoded.clear()
    _, store = read(folder)

    assert len(decoded) == 9
    assert store.beside.with_suffix(".bin").read_bytes() == expected[".bin"]


def test_facts_are_those_of_the_records_however_many_are_read_at_a_time(cache, folder, monkeypatch):
    monkeypatch.setattr(index, "CHUNK", 5)
    _, store = read(folder)
    records = index.entries(store.beside.with_suffix(".index"))

    assert len(store.index) == len(records) == 14
    for name in index.FACTS.names:
        np.testing.assert_array_equal(store.index[name], records[name])


# In which form


def test_a_store_of_jpeg_gives_nearly_the_pixels_and_the_same_records(cache, photo_folder):
    listed = class_folders(list_folder(photo_folder))
    catalog, raw = read_images(listed, 50, LIMIT, 2)
    again, packed = read_images(listed, 50, LIMIT, 2, format="jpeg")

    assert again.sha256.tolist() == catalog.sha256.tolist()
    assert len(packed.pixels) < len(raw.pixels) / 2
    for name in set(index.FACTS.names) - {"offset", "length"}:
        np.testing.assert_array_equal(packed.index[name], raw.index[name])
    rows = raw.rows_of(catalog)
    np.testing.assert_array_equal(packed.thumbnails[rows], raw.thumbnails[rows])
    for row in rows:
        one, other = raw.image(row), packed.image(row)
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        assert np.abs(one.astype(int) - other).mean() < 3


def test_a_cut_store_of_jpeg_is_mended(cache, photo_folder, tmp_path, monkeypatch, small_chunks):
    listed = class_folders(list_folder(photo_folder))
    _, store = read_images(listed, 50, LIMIT, 2, format="jpeg")
    expected = files(cache)
    os.truncate(store.beside.with_suffix(".index"), 7 * ENTRY.itemsize + 1)
    read_images(listed, 50, LIMIT, 2, format="jpeg")

    assert files(cache) == expected


def test_a_large_file_is_read_and_not_mapped(cache, folder, monkeypatch):
    _, mapped = read(folder)
    monkeypatch.setattr(module, "MAPPED_BYTES", 0)
    catalog, store = read(folder)

    assert isinstance(mapped.pixels, np.ndarray)
    assert not isinstance(store.pixels, np.ndarray)
    for row in store.rows_of(catalog):
        np.testing.assert_array_equal(store.image(row), mapped.image(row))


@pytest.mark.parametrize("mapped_bytes", [2**30, 1])
def test_a_store_that_is_cut_while_in_use_is_an_error(cache, folder, monkeypatch, mapped_bytes):
    monkeypatch.setattr(module, "MAPPED_BYTES", mapped_bytes)
    _, store = read(folder)
    (pixel_file,) = cache.glob("*.bin")
    os.truncate(pixel_file, pixel_file.stat().st_size - 1)

    with pytest.raises(MachineError, match=r"\.bin: another program cut it while it was in use"):
        store.images(list(range(len(store.index))))

    _, again = read(folder)
    assert len(again.images(list(range(len(again.index))))) == 14


def test_an_index_that_is_cut_while_in_use_is_an_error(cache, folder):
    _, store = read(folder)
    os.truncate(store.beside.with_suffix(".index"), 10 * ENTRY.itemsize)

    assert store.thumbnails[np.arange(10)].shape == (10, 32, 32)
    with pytest.raises(MachineError, match=r"\.index: another program cut it while it was in use"):
        store.thumbnails[np.arange(14)]


@pytest.mark.parametrize(
    ("free", "memory", "expected"),
    [(3024, 1512, "pixels"), (3022, 1512, "jpeg"), (3024, 755, "jpeg")],
)
def test_pixels_are_kept_unless_disk_or_memory_are_small_for_them(
    cache, folder, monkeypatch, capsys, free, memory, expected
):
    monkeypatch.setattr(format, "memory_bytes", lambda: memory)
    monkeypatch.setattr(format, "free_for", lambda needed: free)

    assert (
        format.choose_format(class_folders(list_folder(folder)), SIDE) == expected
    )  # 14 · 3 · 6 · 6 = 1512 bytes
    said = capsys.readouterr().err
    assert ("0.0 MB" in said and said.count("\n") == 1) == (expected == "jpeg")


def test_a_store_that_is_there_does_not_change_the_choice(cache, folder, monkeypatch):
    disk = SimpleNamespace(free=10**6)  # other programs write to the real one meanwhile
    monkeypatch.setattr(format.shutil, "disk_usage", lambda folder: disk)
    assert format.free_for(1512) == 10**6
    read(folder)

    assert format.free_for(1512) == 10**6 + 1512
    assert format.free_for(15120) == 10**6


# Cut off, damaged, gone


def uncut(folder: Path, tmp_path: Path, monkeypatch) -> dict[str, bytes]:
    """Return the files of a store that was built in peace, in a cache of its own."""
    with monkeypatch.context() as patch:
        patch.setenv("RESNETLAB_CACHE", str(tmp_path / "peace"))
        read(folder)
    return files(tmp_path / "peace")


@pytest.mark.parametrize("survivors", [0, 3, 4, 9, 13])
def test_a_build_that_breaks_off_is_completed_to_the_same_bytes(
    cache, folder, tmp_path, monkeypatch, small_chunks, survivors
):
    def breaking(content, *settings):
        contents.append(content)
        if len(contents) > survivors:
            raise KeyboardInterrupt
        return decode(content, *settings)

    contents: list[bytes] = []
    with monkeypatch.context() as patch:
        patch.setattr(build, "decode", breaking)
        with pytest.raises(KeyboardInterrupt):
            read(folder, workers=1)
    contents, survivors = [], 99
    monkeypatch.setattr(build, "decode", breaking)
    read(folder)

    assert len(contents) <= 14
    assert files(cache) == uncut(folder, tmp_path, monkeypatch)


def test_what_whole_chunks_hold_is_not_decoded_again(cache, folder, small_chunks, decoded):
    read(folder)
    index = next(cache.glob("*.index"))
    os.truncate(index, 10 * ENTRY.itemsize + 5)  # in the eleventh record
    decoded.clear()
    read(folder)

    assert len(decoded) == 4


@pytest.mark.parametrize("ending", [".bin", ".index"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.99])
def test_a_cut_file_is_mended(cache, folder, tmp_path, monkeypatch, ending, share):
    read(folder)
    path = next(cache.glob(f"*{ending}"))
    os.truncate(path, int(path.stat().st_size * share))
    catalog, store = read(folder)

    assert files(cache) == uncut(folder, tmp_path, monkeypatch)
    for row, name in zip(store.rows_of(catalog), catalog.paths, strict=True):
        expected = decode((folder / name).read_bytes(), SIDE, LIMIT).pixels
        np.testing.assert_array_equal(store.image(row), expected)


@pytest.mark.parametrize("ending", [".bin", ".index"])
def test_a_file_that_grew_or_went_is_mended(cache, folder, tmp_path, monkeypatch, ending):
    expected = uncut(folder, tmp_path, monkeypatch)
    read(folder)
    path = next(cache.glob(f"*{ending}"))
    path.unlink()
    read(folder)
    assert files(cache) == expected
    with path.open("ab") as file:
        file.write(b"x" * 7)
    read(folder)
    assert files(cache)[".bin"] == expected[".bin"]
    assert len(read(folder)[1].index) == 14


def flip(path: Path, place: int) -> None:
    """Change one bit of a file, at a byte."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("side_by_side", [1, 10**9])
@pytest.mark.parametrize("ending", [".bin", ".index"])
@pytest.mark.parametrize("share", [0.0, 0.4, 0.999])
def test_a_wrong_bit_is_noticed_and_built_anew_from_there(
    cache, folder, tmp_path, monkeypatch, capsys, decoded, ending, share, side_by_side
):
    monkeypatch.setattr(module, "CHECKED_BYTES", side_by_side)
    read(folder)
    path = next(cache.glob(f"*{ending}"))
    flip(path, int(path.stat().st_size * share))
    decoded.clear()
    read(folder)

    first = 1 + int(14 * share)
    said = capsys.readouterr().err
    assert said == (
        f"note: {next(cache.glob('*.bin'))}: is damaged (a checksum differs); "
        f"built anew from image {first} of 14 on\n"
    )
    assert len(decoded) == 15 - first
    assert files(cache) == uncut(folder, tmp_path, monkeypatch)


@pytest.mark.parametrize("name", ENTRY.names)
def test_no_field_of_the_index_can_change_unnoticed(
    cache, folder, tmp_path, monkeypatch, capsys, name
):
    read(folder)
    flip(next(cache.glob("*.index")), 5 * ENTRY.itemsize + ENTRY.fields[name][1])
    read(folder)

    assert "image 6 of 14" in capsys.readouterr().err
    assert files(cache) == uncut(folder, tmp_path, monkeypatch)


def test_a_sound_store_is_opened_without_a_word(cache, folder, capsys):
    read(folder)
    read(folder)

    assert capsys.readouterr().err == ""


def test_damage_in_an_earlier_store_is_not_copied(cache, folder, tmp_path, monkeypatch, decoded):
    read(folder)
    (folder / "0" / "00.png").unlink()
    expected = uncut(folder, tmp_path, monkeypatch)
    flip(next(cache.glob("*.bin")), 5 * 3 * SIDE * SIDE)
    decoded.clear()
    _, store = read(folder)

    assert len(decoded) == 1
    assert store.beside.with_suffix(".bin").read_bytes() == expected[".bin"]


def test_an_image_that_changes_between_hash_and_decoding_is_no_lie_in_the_store(
    cache, folder, monkeypatch
):
    victim = folder / "0" / "04.png"
    content = victim.read_bytes()
    hash_files = module.hash_files

    def hash_then_change(*args):
        digests = hash_files(*args)
        victim.unlink()
        return digests

    with monkeypatch.context() as patch:
        patch.setattr(module, "hash_files", hash_then_change)
        with pytest.raises(DataError, match=r"0/04\.png: changed or went away while it was read"):
            read(folder)
    victim.write_bytes(content)
    catalog, _ = read(folder)

    assert catalog.sound.all()


def test_a_cache_that_cannot_be_written_is_told(tmp_path, folder, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("RESNETLAB_CACHE", str(tmp_path / "file" / "cache"))

    with pytest.raises(MachineError, match=r"can't be written .*set RESNETLAB_CACHE"):
        read(folder)


def test_a_full_disk_is_told_and_the_rest_is_built_once_there_is_room(
    cache, folder, tmp_path, monkeypatch, small_chunks
):
    def full(path):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(build, "sync", full)
        with pytest.raises(MachineError, match="No space left on device"):
            read(folder)
    read(folder)

    assert files(cache) == uncut(folder, tmp_path, monkeypatch)


# Where it is, how large


def test_the_cache_is_where_the_user_says_else_where_the_system_says(monkeypatch):
    monkeypatch.setenv("RESNETLAB_CACHE", "/mine")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    monkeypatch.setenv("HOME", "/home/me")
    assert cache_folder() == Path("/mine")
    monkeypatch.delenv("RESNETLAB_CACHE")
    assert cache_folder() == Path("/xdg/resnetlab")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path("/home/me/.cache/resnetlab")


@pytest.mark.parametrize(("image_size", "short_side"), [(224, 256), (8, 10), (32, 37), (448, 512)])
def test_images_are_stored_a_seventh_larger_than_the_network_sees_them(image_size, short_side):
    assert short_side_for(image_size) == short_side


def test_what_a_decoder_prints_belongs_to_its_image(cache, folder, capfd):
    catalog, _ = read(folder)
    photo = load_sample_images().images[0][:64, :64, ::-1]
    odd = [path for path in catalog.paths if path.startswith("0/")][:2]
    for name in odd:
        content = cv2.imencode(".jpg", photo)[1].tobytes()
        (folder / name).with_suffix(".jpg").write_bytes(content[:-2] + b"\0" * 7 + content[-2:])
    capfd.readouterr()
    catalog, _ = read(folder)
    remarked = catalog.ids[catalog.remark != ""].tolist()
    assert remarked == [str(Path(name).with_suffix(".jpg")) for name in odd]
    assert all("extraneous bytes" in text for text in catalog.remark if text)
    assert "Corrupt JPEG" not in capfd.readouterr().err
    (folder / odd[0]).unlink()  # another store, the rest copied
    again, _ = read(folder)
    assert again.ids[again.remark != ""].tolist() == remarked, "it is kept with the store"
    again.save(cache / "catalog.parquet")
    assert Catalog.load(cache / "catalog.parquet").remark.tolist() == again.remark.tolist()
