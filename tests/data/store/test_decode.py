"""From bytes to upright RGB: exact pixels for every kind of file, and a reason for every refusal."""

import io
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_sample_image

from resnetlab.data.store import decode as module
from resnetlab.data.store.decode import DecodedImage, ImageProblem, decode
from resnetlab.data.store.jpeg import JPEG_END, jpeg_pixels

WHITE = [255, 255, 255]


def encoded(image: Image.Image | np.ndarray, kind: str, **options) -> bytes:
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def taken(image: DecodedImage) -> tuple[np.ndarray, int, int]:
    return image.pixels, image.width, image.height


def pixels_of(content: bytes, short_side: int = 1000, max_pixels: int = 10**6) -> np.ndarray:
    """Decode; check what holds for every image on the way."""
    pixels, width, height = taken(decode(content, short_side, max_pixels))
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3
    if min(width, height) <= short_side:
        assert pixels.shape[:2] == (height, width)
    return pixels


def problem_of(content: bytes, max_pixels: int = 10**6) -> str:
    with pytest.raises(ImageProblem) as caught:
        decode(content, 1000, max_pixels)
    return str(caught.value)


def png(width: int, height: int, rows: bytes = b"", extra: bytes = b"") -> bytes:
    """A PNG of 1-bit grey that holds these rows."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(rows, 9))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + data + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """A real photograph, 427×640 px."""
    return load_sample_image("china.jpg")


# Golden pixels


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "WEBP"])
def test_lossless_formats_give_the_very_pixels(kind, photo):
    crop = photo[100:131, 50:97]
    content = encoded(crop, kind, **({"lossless": True} if kind == "WEBP" else {}))

    np.testing.assert_array_equal(pixels_of(content), crop)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_lossy_formats_give_nearly_the_pixels(kind, photo):
    crop = photo[100:164, 50:114]
    error = pixels_of(encoded(crop, kind, quality=95)).astype(int) - crop

    assert np.abs(error).mean() < 4


GREY_16 = np.array([[0, 128, 129, 257, 32768, 65407, 65535]], dtype=np.uint16)
GREY_8 = [0, 0, 1, 1, 128, 255, 255]  # value / 257, to the nearest


@pytest.mark.parametrize(
    "content",
    [
        encoded(GREY_16, "PNG"),
        encoded(GREY_16, "TIFF"),
        encoded(GREY_16.astype(">u2"), "TIFF"),
        encoded(GREY_16, "TIFF", compression="tiff_lzw"),
        b"P5 7 1 65535\n" + GREY_16.astype(">u2").tobytes(),
    ],
    ids=["png", "tiff little end", "tiff big end", "tiff compressed", "pgm"],
)
def test_16_bit_grey_is_scaled_to_8(content):
    np.testing.assert_array_equal(pixels_of(content), np.array([GREY_8] * 3).T[None])


def test_the_big_end_tiff_of_these_tests_is_one():
    assert encoded(GREY_16.astype(">u2"), "TIFF")[:2] == b"MM"


@pytest.mark.parametrize("mode", ["1", "L"])
def test_grey_becomes_three_equal_channels(mode):
    image = Image.new(mode, (3, 1))
    image.putdata([0, 255, 0] if mode == "1" else [0, 255, 99])
    middle = 0 if mode == "1" else 99

    assert pixels_of(encoded(image, "PNG")).tolist() == [[[0] * 3, WHITE, [middle] * 3]]


def palette() -> Image.Image:
    image = Image.new("P", (4, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 8, 7])
    image.putdata([0, 1, 2, 3])
    return image


def test_a_palette_is_looked_up():
    expected = [[[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 8, 7]]]

    assert pixels_of(encoded(palette(), "PNG")).tolist() == expected
    assert pixels_of(encoded(palette(), "GIF")).tolist() == expected


def test_transparent_palette_entries_lie_on_white():
    some = pixels_of(encoded(palette(), "PNG", transparency=bytes([255, 0, 128, 255])))
    assert some.tolist() == [[[255, 0, 0], WHITE, [127, 127, 255], [9, 8, 7]]]

    one = pixels_of(encoded(palette(), "GIF", transparency=3))
    assert one.tolist() == [[[255, 0, 0], [0, 255, 0], [0, 0, 255], WHITE]]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_colours_hidden_under_transparency_do_not_show(kind):
    colour = Image.new("RGBA", (3, 1))
    colour.putdata([(200, 0, 0, 0), (200, 0, 0, 255), (200, 0, 0, 51)])
    assert pixels_of(encoded(colour, kind)).tolist() == [[WHITE, [200, 0, 0], [244, 204, 204]]]

    grey = Image.new("LA", (2, 1))
    grey.putdata([(7, 0), (100, 255)])
    assert pixels_of(encoded(grey, kind)).tolist() == [[WHITE, [100] * 3]]


def test_a_single_transparent_colour_does_not_show():
    grey = Image.new("L", (2, 1))
    grey.putdata([7, 100])
    assert pixels_of(encoded(grey, "PNG", transparency=7)).tolist() == [[WHITE, [100] * 3]]

    colour = Image.new("RGB", (2, 1))
    colour.putdata([(1, 2, 3), (4, 5, 6)])
    content = encoded(colour, "PNG", transparency=(1, 2, 3))
    assert pixels_of(content).tolist() == [[WHITE, [4, 5, 6]]]


CYAN = Image.new("CMYK", (16, 16), (255, 0, 0, 51))


def test_cmyk_is_read_as_ink():
    content = encoded(CYAN, "TIFF")  # which stores ink as it is

    assert np.unique(pixels_of(content).reshape(-1, 3), axis=0).tolist() == [[0, 204, 204]]


def test_cmyk_jpegs_are_read_inverted_as_adobe_writes_them():
    content = encoded(CYAN, "JPEG", quality=100)
    assert content[6:11] == b"Adobe"
    assert content[17] == 0  # four inks, not YCCK
    np.testing.assert_allclose(pixels_of(content), np.full((16, 16, 3), [0, 204, 204]), atol=2)


def test_cmyk_jpegs_without_adobes_mark_are_read_alike():
    content = encoded(CYAN, "JPEG", quality=100)
    without = content[:2] + content[18:]
    np.testing.assert_allclose(pixels_of(without), np.full((16, 16, 3), [0, 204, 204]), atol=2)


def test_ycck_jpegs_are_read_inverted_too():
    # A neutral colour: Y holds the ink, inverted twice, and both colour differences are zero.
    content = bytearray(encoded(Image.new("CMYK", (16, 16), (200, 127, 127, 0)), "JPEG"))
    content[17] = 2
    np.testing.assert_allclose(pixels_of(bytes(content)), np.full((16, 16, 3), 200), atol=2)


# Upright


def stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    """Return what a camera stores that was held so, by the definition of EXIF 2.32, 4.6.4."""
    return {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: np.swapaxes(a, 0, 1),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.swapaxes(np.rot90(a, 2), 0, 1),
        8: lambda a: np.rot90(a, -1),
    }[orientation](upright)


LOSSLESS = [
    ("PNG", {}),
    ("WEBP", {"lossless": True}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("kind", "options"), LOSSLESS)
def test_images_come_upright(kind, options, orientation, photo):
    upright = photo[100:120, 50:80]
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = np.ascontiguousarray(stored(upright, orientation))
    pixels, width, height = taken(decode(encoded(turned, kind, exif=exif, **options), 1000, 10**6))

    np.testing.assert_array_equal(pixels, upright)
    assert (width, height) == (30, 20)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_jpegs_come_upright_also_when_the_decoder_reduces_them(orientation, photo):
    upright = photo[:400, :]
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = np.ascontiguousarray(stored(upright, orientation))
    content = encoded(turned, "JPEG", exif=exif, quality=95)
    pixels, width, height = taken(decode(content, 50, 10**6))
    expected = np.asarray(Image.fromarray(upright).resize((80, 50), Image.Resampling.BOX))

    assert (width, height) == (640, 400)
    assert pixels.shape == (50, 80, 3)
    assert np.abs(pixels.astype(int) - expected).mean() < 12


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0garbage!",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x05junk",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x63\0\0\0",  # orientation 99
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x04\0\0\0up\0\0",  # orientation 'up'
    ],
)
def test_broken_exif_is_ignored(exif, photo):
    crop = photo[:20, :30]

    np.testing.assert_array_equal(pixels_of(encoded(crop, "PNG", exif=exif)), crop)
    assert pixels_of(encoded(crop, "JPEG", exif=exif)).shape == (20, 30, 3)


# Kinds of files


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_several_images_the_first_counts(kind):
    frames = [Image.new("RGB", (5, 4), colour) for colour in ("#ff0000", "#00ff00", "#0000ff")]
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    with Image.open(io.BytesIO(content)) as image:
        assert image.n_frames == 3

    np.testing.assert_array_equal(pixels_of(content), np.full((4, 5, 3), [255, 0, 0]))


def test_what_a_file_is_decides_its_content_not_a_name(photo):
    # decode is never told a name: a PNG called .jpg is a PNG.
    np.testing.assert_array_equal(pixels_of(encoded(photo[:9, :9], "PNG")), photo[:9, :9])


@pytest.mark.parametrize(
    "content",
    [
        b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
        b"<svg xmlns='http://www.w3.org/2000/svg' width='10' height='10'/>",
        b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n",
        b"SIMPLE  =                    T / FITS standard".ljust(2880),
        b"\0" * 100,
        b"\xff\xd8\xff",
        encoded(Image.new("RGB", (16, 16)), "ICO"),
        encoded(Image.new("RGB", (16, 16)), "PDF"),
        encoded(Image.new("RGB", (16, 16)), "EPS"),
    ],
    ids=["html", "svg", "pdf", "eps", "fits", "zeros", "3 bytes", "ico", "real pdf", "real eps"],
)
def test_what_is_no_image_of_a_known_kind_is_refused(content):
    assert problem_of(content) == "not an image"


def test_an_empty_file_is_refused():
    assert problem_of(b"") == "empty"


# Damage


def test_half_a_jpeg_is_refused_though_its_header_is_fine(photo):
    content = encoded(photo, "JPEG")
    half = content[: len(content) // 2]
    Image.open(io.BytesIO(half)).verify()  # which finds nothing

    assert problem_of(half) == "truncated"


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_a_jpeg_lacking_only_its_end_mark_is_refused(options, photo):
    content = encoded(photo[:64, :64], "JPEG", **options)
    assert content[-2:] == b"\xff\xd9"

    assert problem_of(content[:-2]) == "truncated"
    assert problem_of(content[:-1]) == "truncated"


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM"])
def test_half_of_any_file_is_refused(kind, photo):
    content = encoded(photo[:64, :64], kind)

    assert problem_of(content[: len(content) // 2])


@pytest.mark.parametrize(("kind", "end"), [("JPEG", 1), ("PNG", 24)])
def test_wherever_a_file_was_cut_off_it_is_refused(kind, end, photo):
    # The last bytes (of a PNG: its checksums and end chunk) hold nothing of the image.
    content = encoded(photo[:24, :24], kind)
    for length in range(1, len(content) - end, 7):
        assert problem_of(content[:length])


@settings(max_examples=150)
@given(data=st.data(), kind=st.sampled_from(["JPEG", "PNG", "BMP", "GIF", "WEBP", "PPM"]))
def test_damage_anywhere_gives_an_image_or_a_problem_and_nothing_else(data, kind):
    content = bytearray(encoded(Image.linear_gradient("L").resize((12, 9)), kind))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.sampled_from([0, 1, 127, 128, 255]))
    try:
        pixels_of(bytes(content))
    except ImageProblem as problem:
        assert str(problem)


# Size


@pytest.mark.parametrize("side", [1001, 13_000, 20_000])
def test_too_many_pixels_are_refused_from_the_header(side):
    # There are no pixels in this file: whoever looked for some would call it truncated.
    assert problem_of(png(side, side)) == "too many pixels"


def test_the_limit_itself_is_allowed():
    content = encoded(Image.new("L", (100, 50)), "PNG")

    assert pixels_of(content, max_pixels=5000).shape == (50, 100, 3)
    assert problem_of(content, max_pixels=4999) == "too many pixels"


MEASURE = """
import resource, sys
from pathlib import Path
from resnetlab.data.store.decode import Image
from resnetlab.data.store.decode import ImageProblem
from resnetlab.data.store.decode import decode
from resnetlab.data.store.jpeg import JPEG_END
from resnetlab.data.store.jpeg import jpeg_pixels
content = Path(sys.argv[1]).read_bytes()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    decode(content, 256, 50_000_000)
except ImageProblem as problem:
    print(problem, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_a_400_megapixel_image_in_a_small_file_costs_no_memory(tmp_path):
    row = b"\0" * (1 + 20_000 // 8)
    file = tmp_path / "bomb.png"
    file.write_bytes(png(20_000, 20_000, row * 20_000))
    assert file.stat().st_size < 60_000
    command = [sys.executable, "-c", MEASURE, str(file)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    problem, grown_mb = said.rsplit(maxsplit=1)
    assert problem == "too many pixels"
    assert int(grown_mb) < 50


def text_chunk(size: int) -> bytes:
    body = b"zTXtnote\0\0" + zlib.compress(b"x" * size, 9)
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))


def test_a_png_that_unfolds_a_huge_note_is_refused():
    assert "too large" in problem_of(png(8, 8, b"\0\xff" * 8, text_chunk(50_000_000))).lower()


# Reduction


@settings(max_examples=40)
@given(st.integers(1, 1300), st.integers(1, 1300), st.integers(1, 300))
@example(283, 300, 37)  # in floating point 283 * (37 / 283) is more than 37
@example(1132, 2000, 37)
def test_the_shorter_side_comes_out_exact_and_the_longer_in_proportion(width, height, short_side):
    content = encoded(Image.new("1", (width, height)), "PNG")
    pixels, full_width, full_height = taken(decode(content, short_side, 10**7))
    shorter, longer = sorted(pixels.shape[:2])

    assert (full_width, full_height) == (width, height)
    assert shorter == min(short_side, width, height)  # never enlarged
    exact = max(width, height) * shorter / min(width, height)
    assert exact - 1e-6 <= longer < exact + 1
    assert (pixels.shape[0] <= pixels.shape[1]) == (height <= width) or shorter == longer


@pytest.mark.parametrize("short_side", [427, 214, 213, 128, 64, 53, 20])
def test_a_reduced_jpeg_keeps_side_and_colour(short_side, photo):
    content = encoded(photo, "JPEG", quality=92)
    reduced, width, height = taken(decode(content, short_side, 10**6))
    full = pixels_of(content)

    assert reduced.shape[0] == short_side
    assert (width, height) == (640, 427)
    # Half a row outside the image counts as one, and the last row here is dark.
    np.testing.assert_allclose(reduced.mean(axis=(0, 1)), full.mean(axis=(0, 1)), atol=0.5)


@pytest.mark.parametrize("short_side", [200, 100, 50])
def test_reduction_by_the_jpeg_decoder_equals_reduction_of_the_pixels(short_side, photo):
    content = encoded(photo, "JPEG", quality=92)
    inside = decode(content, short_side, 10**6).pixels
    after = decode(encoded(pixels_of(content), "PNG"), short_side, 10**6).pixels

    assert np.abs(inside.astype(int) - after).mean() < 5.5


def test_small_images_are_not_enlarged(photo):
    np.testing.assert_array_equal(pixels_of(encoded(photo[:5, :7], "PNG"), 64), photo[:5, :7])
    assert pixels_of(encoded(Image.new("RGB", (1, 1), "red"), "PNG")).tolist() == [[[255, 0, 0]]]


@pytest.mark.parametrize("size", [(20_000, 1), (1, 20_000), (20_000, 40)])
def test_long_strips_work(size):
    pixels, width, height = taken(decode(encoded(Image.new("L", size, 77), "PNG"), 32, 10**6))

    assert (width, height) == size
    assert min(pixels.shape[:2]) == min(32, *size)
    assert (pixels == 77).all()


# Side by side


def test_threads_leave_the_filters_of_warnings_as_they_were(monkeypatch):
    """The first thread goes while the second still decodes, and warns, as Pillow does of oddities."""
    content = encoded(Image.new("RGB", (4, 4)), "PNG")
    both_inside, first_gone = threading.Barrier(2), threading.Event()
    real = module.reduce_upright

    def first(*args):
        both_inside.wait(timeout=10)
        return real(*args)

    def second(*args):
        both_inside.wait(timeout=10)
        assert first_gone.wait(timeout=10)
        warnings.warn("an oddity", stacklevel=1)
        return real(*args)

    turns = iter([first, second])
    monkeypatch.setattr(module, "reduce_upright", lambda *args: next(turns)(*args))
    before = list(warnings.filters)
    with ThreadPoolExecutor(2) as pool:
        decodes = [pool.submit(decode, content, 8, 100) for _ in range(2)]
        wait(decodes, timeout=10, return_when=FIRST_COMPLETED)
        first_gone.set()
        assert [item.result().width for item in decodes] == [4, 4]

    assert warnings.filters == before


# JPEG by the faster decoder


FORMS = [
    {"quality": 90},
    {"quality": 90, "progressive": True},
    {"quality": 90, "subsampling": 0},
    {"quality": 60, "restart_marker_rows": 1},
    {"quality": 95, "keep_rgb": True},
]


def as_pillow_decodes(content: bytes) -> np.ndarray | None:
    try:
        return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    except OSError:
        return None


@pytest.mark.parametrize("scale", [1, 2, 4, 8])
@pytest.mark.parametrize("options", FORMS)
def test_the_faster_decoder_gives_the_pixels_of_the_other(options, scale, photo):
    content = encoded(photo[:373, :501], "JPEG", **options)
    image = Image.open(io.BytesIO(content))
    found = jpeg_pixels(content, image, scale)
    image.draft("RGB", (501 // scale, 373 // scale))

    np.testing.assert_array_equal(found, np.asarray(image))


@pytest.mark.parametrize(
    "ending", [b"\0" * 8, JPEG_END, b"a note after the image", b"\xff\xd8\xff\xe1"]
)
def test_what_stands_behind_a_jpeg_changes_nothing(ending, photo):
    content = encoded(photo[:40, :50], "JPEG")

    np.testing.assert_array_equal(pixels_of(content + ending), pixels_of(content))


@settings(max_examples=150)
@given(data=st.data(), options=st.sampled_from(FORMS), cut=st.booleans())
def test_a_damaged_jpeg_is_seen_by_both_decoders_alike(data, options, cut):
    whole = encoded(load_sample_image("china.jpg")[200:248, 200:264], "JPEG", **options)
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        start = whole.index(b"\xff\xda")  # from the first scan on
        place = data.draw(st.integers(start, len(content) - 1))
        content[place : place + cut] = bytes([data.draw(st.sampled_from([0, 1, 128, 217, 255]))])
        if data.draw(st.booleans()):
            del content[place : place + 9]
    if data.draw(st.booleans()):
        content += JPEG_END
    expected = as_pillow_decodes(bytes(content))
    if expected is None:
        with pytest.raises(ImageProblem):
            decode(bytes(content), 1000, 10**6)
    else:
        np.testing.assert_array_equal(pixels_of(bytes(content)), expected)
