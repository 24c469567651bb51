"""Whatever names images to be predicted: patterns, tables, standard input."""

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from resnetlab.data.sources.unlabelled import names_from, read_unlabelled
from resnetlab.errors import DataError


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name in ("1.png", "2.png", "10.png", "deep/a.jpg"):
        path = tmp_path / "new" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(path)
    return tmp_path / "new"


def names_of(found: dict, folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in found]


def test_a_pattern_finds_files_in_natural_order(images):
    assert names_of(read_unlabelled([images / "*.png"]), images) == ["1.png", "2.png", "10.png"]
    assert "deep/a.jpg" in names_of(read_unlabelled([images / "**" / "*.jpg"]), images)


def test_a_pattern_without_a_file_is_told(images):
    with pytest.raises(DataError, match="no file matches this pattern"):
        read_unlabelled([images / "*.tif"])


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(images):
    (images / "[1].png").write_bytes((images / "1.png").read_bytes())
    assert names_of(read_unlabelled([images / "[1].png"]), images) == ["[1].png"]


@pytest.mark.parametrize("header", ["path", "image", "filename"])
def test_a_table_names_images_in_a_column_in_its_order(images, header):
    table = images / "list.csv"
    table.write_text(f"{header},comment\n2.png,x\ndeep/a.jpg,y\n")
    assert names_of(read_unlabelled([table]), images) == ["2.png", "deep/a.jpg"]


def test_a_bare_list_of_names_is_a_table_too(images):
    (images / "list.txt").write_text("2.png\n1.png\n")
    assert names_of(read_unlabelled([images / "list.txt"]), images) == ["2.png", "1.png"]


def test_a_row_without_an_image_stays_and_says_so_when_it_is_read(images):
    (images / "list.csv").write_text("path\n1.png\ngone.png\n")
    found = read_unlabelled([images / "list.csv"])
    assert names_of(found, images) == ["1.png", "gone.png"]
    with pytest.raises(FileNotFoundError):
        found[images / "gone.png"]()


def test_a_table_that_names_no_images_is_told(images):
    (images / "list.csv").write_text("colour,shape\nx,y\nz,u\n")
    with pytest.raises(DataError, match="no column is known to name images"):
        read_unlabelled([images / "list.csv"])


NAMES = st.lists(st.binary(min_size=1).filter(lambda name: not set(name) & set(b"\0\n\r")))


@given(NAMES, st.sampled_from([b"\n", b"\0", b"\r\n"]), st.booleans(), st.integers(1, 9))
def test_names_come_whole_whatever_divides_them_and_however_the_stream_is_cut(
    names, mark, ended, piece
):
    content = mark.join(names) + (mark if ended or mark == b"\0" else b"")
    stream = io.BytesIO(content)
    assert list(names_from(lambda _: stream.read(piece))) == names


@given(NAMES)
def test_a_name_with_a_line_end_comes_whole_where_nul_divides(names):
    names = [b"a\nb", *names]
    stream = io.BytesIO(b"".join(name + b"\0" for name in names))
    assert list(names_from(lambda _: stream.read(1 << 16))) == names
