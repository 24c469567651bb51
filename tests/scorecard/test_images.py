"""Bad input, rows 1 to 19: images that are damaged, odd, or none at all.

The golden pixels of each form are in tests/data/test_decode.py; here, what a user is told.
"""

import io
import re
import struct
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from resnetlab.data.sources.folder import class_folders
from resnetlab.data.sources.listing import list_folder
from resnetlab.data.store.decode import ImageProblem, decode
from resnetlab.data.store.pixels import read_images, short_side_for
from tests.scorecard.conftest import QUICK

MANY_BAD = ("--set", "data.max_problem_frac=0.5")


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def left_out(said) -> dict[str, str]:
    """Return the problems that inspect printed: the reason by the first image that has it."""
    found = re.findall(r"^left out  \d+: (.*), the first is (.*)$", said.out, re.MULTILINE)
    return {name: reason for reason, name in found}


def test_row_01_a_jpeg_cut_in_half_is_quarantined(data, photo, tell):
    content = encoded(photo, "JPEG")
    (data / "china" / "half.jpg").write_bytes(content[: len(content) // 2])
    said = tell("inspect", data, *MANY_BAD)

    assert said.code == 0
    assert left_out(said) == {"china/half.jpg": "truncated"}


def test_row_01_above_the_limit_the_run_stops(data, photo, tell):
    (data / "china" / "half.jpg").write_bytes(encoded(photo, "JPEG")[:900])
    said = tell("train", data, *QUICK, "--out", data.parent / "runs")

    assert said.code == 3
    assert "1 of 25 images can't be used, more than the 1.0% allowed" in said.error
    assert "china/half.jpg (truncated)" in said.error
    assert not (data.parent / "runs").exists()


def test_row_02_a_jpeg_without_its_end_mark_is_quarantined_or_accepted_and_counted(
    data, photo, tell
):
    (data / "china" / "endless.jpg").write_bytes(encoded(photo, "JPEG")[:-2])
    assert left_out(tell("inspect", data, *MANY_BAD)) == {"china/endless.jpg": "truncated"}

    said = tell("inspect", data, "--set", "data.allow_truncated=true")
    assert left_out(said) == {}
    assert "1 images lack their end (what is missing was left grey)" in said.out


def test_row_03_a_jpeg_with_damage_that_still_decodes_is_accepted(data, photo, tell):
    content = bytearray(encoded(photo, "JPEG"))
    content[len(content) * 2 // 3] ^= 0b100  # in the image's data
    (data / "china" / "damaged.jpg").write_bytes(content)
    said = tell("inspect", data)

    assert said.code == 0
    assert left_out(said) == {}


def test_row_04_an_empty_file_is_quarantined(data, tell):
    (data / "china" / "empty.jpg").touch()

    assert left_out(tell("inspect", data, *MANY_BAD)) == {"china/empty.jpg": "empty"}


def test_row_05_a_page_under_an_images_name_is_quarantined(data, tell):
    (data / "china" / "page.jpg").write_text("<!doctype html><title>404 Not Found</title>")

    assert left_out(tell("inspect", data, *MANY_BAD)) == {"china/page.jpg": "not an image"}


def test_row_06_a_png_named_jpg_is_accepted_and_counted(data, photo, tell):
    (data / "china" / "really.jpg").write_bytes(encoded(photo.rotate(90), "PNG"))
    said = tell("inspect", data)

    assert left_out(said) == {}
    assert "1 images are of another format than their name says" in said.out
    assert "china/really.jpg" in said.out


def odd_forms(photo: Image.Image) -> dict[str, bytes]:
    """Return one file for each of rows 7 to 13, each with content of its own."""
    grey = np.asarray(photo.convert("L")).astype(np.uint16) * 257
    deep = Image.fromarray(grey)
    hidden = np.zeros((40, 40, 4), np.uint8)
    hidden[:, :20] = (10, 200, 30, 255)
    hidden[:, 20:, :3] = np.random.default_rng(0).integers(0, 256, (40, 20, 3))  # under alpha 0
    palette = photo.resize((50, 50)).quantize(16)
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = [photo.resize((44, 44)), photo.rotate(180).resize((44, 44))]
    small = photo.resize((60, 46))
    return {
        "07 16 bit.png": encoded(deep, "PNG"),
        "07 16 bit.tif": encoded(deep.rotate(180), "TIFF"),
        "07 16 bit big end.tif": encoded(Image.fromarray(grey[::2].astype(">u2")), "TIFF"),
        "08 palette.png": encoded(palette, "PNG", transparency=3),
        "09 hidden.png": encoded(Image.fromarray(hidden), "PNG"),
        "09 grey hidden.png": encoded(Image.fromarray(hidden).convert("LA"), "PNG"),
        "10 cmyk.jpg": encoded(small.convert("CMYK"), "JPEG"),
        "11 one bit.png": encoded(small.convert("1"), "PNG"),
        "11 grey.jpg": encoded(small.rotate(180).convert("L"), "JPEG"),
        "12 moving.gif": encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "12 moving.webp": encoded(frames[1], "WEBP", save_all=True, append_images=frames[:1]),
        "12 moving.png": encoded(small.rotate(90), "PNG", save_all=True, append_images=[small]),
        "12 pages.tif": encoded(frames[1].rotate(90), "TIFF", save_all=True, append_images=frames),
        "13 turned.jpg": encoded(photo.resize((70, 50)), "JPEG", exif=exif),
        "13 broken exif.jpg": encoded(
            photo.resize((50, 70)), "JPEG", exif=b"Exif\0\0II*\0nonsense"
        ),
    }


def test_rows_07_to_13_train_and_are_the_same_to_training_and_prediction(data, photo, tell):
    for name, content in odd_forms(photo).items():
        (data / "china" / name).write_bytes(content)
    said = tell("inspect", data)
    assert said.code == 0
    assert left_out(said) == {}
    assert "4 images have several frames or pages (the first one counts)" in said.out

    out = data.parent / "runs"
    assert tell("train", data, *QUICK, "--out", out, "--name", "odd").code == 0
    from resnetlab.deploy.predictor import Predictor

    predictor = Predictor(out / "odd" / "bundle")
    catalog, store = read_images(
        class_folders(list_folder(data)), short_side_for(16), 50_000_000, 2
    )
    for row, record in enumerate(store.rows_of(catalog)):
        path = catalog.root / catalog.paths[row]
        pixels = predictor.preparations[0].decoded(path.read_bytes())
        np.testing.assert_array_equal(store.image(record), pixels)
    turned = catalog.ids.tolist().index("china/13 turned.jpg")
    assert (catalog.width[turned], catalog.height[turned]) == (50, 70)


def test_row_14_an_image_of_one_pixel_is_accepted_with_a_warning_or_refused(data, tell):
    Image.new("RGB", (1, 1), "red").save(data / "china" / "dot.png")
    said = tell("inspect", data)
    assert left_out(said) == {}
    assert "1 images have a side below 8 px, the first is china/dot.png" in said.out

    said = tell("inspect", data, "--set", "data.min_size=2", *MANY_BAD)
    assert left_out(said) == {"china/dot.png": "smaller than 2 px"}


@pytest.mark.parametrize("size", [(20000, 1), (1, 40000)])
def test_row_15_a_strip_trains_and_is_told(data, tell, size):
    Image.new("RGB", size, "red").save(data / "china" / "strip.png")
    assert "1 images are more than 8 times as long as wide" in tell("inspect", data).out

    args = (*QUICK, "--augment", "photo", "--out", data.parent / "runs")
    assert tell("train", data, *args).code == 0


def blank_png(width: int, height: int) -> bytes:
    """A PNG of one bit a pixel, all of them black: very many pixels in very few bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((width + 7) // 8 + 1) * height, 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [20000, 13000], ids=["row 16", "row 17"])
def test_rows_16_and_17_a_bomb_is_refused_before_it_is_decoded(data, tell, side):
    bomb = data / "china" / "bomb.png"
    bomb.write_bytes(blank_png(side, side))
    assert bomb.stat().st_size < 60_000
    assert left_out(tell("inspect", data, *MANY_BAD)) == {"china/bomb.png": "too many pixels"}

    code = (
        "import resource, sys; from resnetlab.data.store.decode import ImageProblem, decode\n"
        "content = open(sys.argv[1], 'rb').read()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: decode(content, 256, 50_000_000)\n"
        "except ImageProblem: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    grown = subprocess.run([sys.executable, "-c", code, bomb], capture_output=True, check=True)
    kilobytes = int(grown.stdout) // (1024 if sys.platform == "darwin" else 1)
    assert kilobytes < 50_000


@pytest.mark.parametrize("count", [1, 200_000], ids=["huge", "countless"])
def test_row_18_text_chunks_are_refused_in_bounded_time(data, photo, count):
    info = PngImagePlugin.PngInfo()
    text = "x" * (200_000_000 if count == 1 else 600)
    info.add_text("note", text, zip=True)
    content = encoded(photo, "PNG", pnginfo=info)
    start, end = content.index(b"zTXt") - 4, content.index(b"IDAT") - 4
    content = content[:start] + content[start:end] * count + content[end:]
    began = time.monotonic()

    with pytest.raises(ImageProblem):
        decode(content, 256, 50_000_000)
    assert time.monotonic() - began < 10


FOREIGN = {
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"/>',
    "pdf": b"%PDF-1.4\n1 0 obj << /Type /Catalog >> endobj\ntrailer << /Root 1 0 R >>\n%%EOF",
    "fits": b"SIMPLE  =                    T" + b" " * 50 + b"END" + b" " * 2797,
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_row_19_other_kinds_of_files_are_not_on_the_list(data, tell, kind):
    (data / "china" / "foreign.png").write_bytes(FOREIGN[kind])

    assert left_out(tell("inspect", data, *MANY_BAD)) == {"china/foreign.png": "not an image"}
