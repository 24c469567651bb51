"""Tables as people have them are read alike, and damage is named with its line."""

import csv
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnetlab.data.sources.tables.text_table import read_rows, read_table_file
from resnetlab.errors import DataError

ROWS = [
    {"image": "a.png", "label": "cat"},
    {"image": " b;c,d|e.png", "label": "Löwe, groß"},
    {"image": "line\nbreak.png", "label": 'say "x"'},
]
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"]


def as_csv(rows, delimiter=",", end="\n", encoding="utf-8"):
    """Write rows as a program would, in quotes what needs them."""
    text = ""
    for cells in [list(rows[0]), *(row.values() for row in rows)]:
        line = io.StringIO(newline="")
        # This line end makes the writer put both CR and LF in quotes.
        csv.writer(line, delimiter=delimiter, lineterminator="\r\n").writerow(cells)
        text += line.getvalue().removesuffix("\r\n") + end
    return text.encode(encoding)


# Forms


cells = st.text(
    st.characters(codec="cp1252", exclude_characters="\0", exclude_categories=("Cs",)), max_size=12
)


@given(
    st.lists(st.tuples(cells.map("x{}".format), cells), min_size=1, max_size=5),
    st.sampled_from(",;\t|"),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(ENCODINGS),
)
def test_rows_are_read_alike_in_every_form(pairs, delimiter, end, encoding):
    rows = [{"image": image, "label": label} for image, label in pairs]

    assert read_rows(as_csv(rows, delimiter, end, encoding), "t.csv") == rows


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", list(",;\t|"))
def test_delimiter_line_end_and_encoding_change_no_cell(delimiter, end, encoding):
    assert read_rows(as_csv(ROWS, delimiter, end, encoding), "t.csv") == ROWS


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_utf16_with_a_mark_is_read_whatever_its_byte_order(codec):
    assert read_rows("\ufeffimage;label\r\n图.png;猫\r\n".encode(codec), "t.csv") == [
        {"image": "图.png", "label": "猫"}
    ]


@pytest.mark.parametrize("delimiter", list(",;\t|"))
def test_excels_line_about_the_delimiter_is_honoured(delimiter):
    text = f"sep={delimiter}\r\n" + as_csv(ROWS, delimiter).decode()

    assert read_rows(text.encode("utf-8-sig"), "t.csv") == ROWS


def test_the_header_decides_the_delimiter_quotes_respected():
    assert read_rows(b'"a,b,c";d\n1,5;2,5\n', "t.csv") == [{"a,b,c": "1,5", "d": "2,5"}]


def test_one_column_needs_no_delimiter():
    assert read_rows(b"id\n7\n8\n", "t.csv") == [{"id": "7"}, {"id": "8"}]


def test_blank_lines_are_skipped_and_headers_stripped_but_no_cell():
    content = b"\n image , label\n\n a.png, cat \n  \n,\nb.png,\n\n"

    assert read_rows(content, "t.csv") == [
        {"image": " a.png", "label": " cat "},
        {"image": "b.png", "label": ""},
    ]


# Damage


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "t.csv, line 1: the table is empty"),
        (b"\n\n", "the table is empty"),
        (b"a,b\n", "t.csv: holds one line only; it needs a header and rows below"),
        (b"a,b\n1,2\n\n3,4,5\n", "t.csv, line 4: has 3 cells, the header has 2"),
        (b"a,b\n1\n", "t.csv, line 2: has 1 cells, the header has 2"),
        (b'a,b\n"1\n1",2\n3\n', "t.csv, line 4: has 1 cells"),
        (b"sep=,\na,b\n1\n", "t.csv, line 3: has 1 cells"),
        (b",b\n1,2\n", r"t.csv, line 1: column 1 has no name; .*index=False"),
        (b"\na,b,a \n1,2,3\n", "t.csv, line 2: 2 columns are called 'a'; keep one"),
        (b"a,b\r\n1,2\r\n3,\x00\r\n", "t.csv, line 3: holds a NUL"),
        (b'a,b\n1,2\n"3,4\n5,6\n', "t.csv, line 3: can't be read .*quote too many or too few"),
        (b'a,b\n"1"x,2\n', "t.csv, line 2: can't be read"),
        (b"a,b\n1," + b"x" * 200_000, "t.csv, line 2: can't be read"),
        (b"a,b\n\x81,2\n", "t.csv, line 2: is no text that can be read .*save the table as CSV in UTF-8"),
        (b"\xef\xbb\xbfa,b\n\xff,2\n", "t.csv, line 2: is no text"),
        ("a,b\n1,2\n".encode("utf-16")[:-1], "t.csv, line 2: is no text"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x08", "t.csv, line"),
    ],
)  # fmt: skip
def test_a_damaged_table_is_refused_with_its_line(content, message):
    with pytest.raises(DataError, match=message):
        read_rows(content, "t.csv")


@given(st.binary(max_size=200))
def test_whatever_the_bytes_rows_come_out_or_one_kind_of_error(content):
    try:
        rows = read_rows(content, "t.csv")
    except DataError as error:
        assert str(error).startswith("t.csv")
    else:
        assert all(type(cell) is str for row in rows for cell in row.values())


# Files


def test_a_file_is_read_by_its_ending(tmp_path):
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "d.parquet")
    (tmp_path / "e.JSON").write_text(json.dumps(ROWS))
    for name, delimiter in (("a.csv", ","), ("b.TSV", "\t"), ("c.txt", ";")):
        (tmp_path / name).write_bytes(as_csv(ROWS, delimiter))
    for name in ("a.csv", "b.TSV", "c.txt", "d.parquet", "e.JSON"):
        assert read_table_file(tmp_path / name) == ROWS

    for name in ("d.parquet", "e.JSON"):
        (tmp_path / name).rename(tmp_path / "t.csv")
        with pytest.raises(DataError, match=r"t\.csv"):
            read_table_file(tmp_path / "t.csv")


def test_parquet_cells_are_what_csv_would_have(tmp_path):
    columns = {
        " id ": pa.array([1, 2, None]),
        "score": pa.array([3.0, 0.5, float("nan")]),
        "label": pa.array(["cat", None, "dog"]).dictionary_encode(),
        "image": pa.array([{"bytes": b"x"}] * 3),
        "raw": pa.array([b"x"] * 3),
        "__index_level_0__": pa.array([0, 1, 2]),
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")

    assert read_table_file(tmp_path / "t.parquet") == [
        {"id": "1", "score": "3", "label": "cat"},
        {"id": "2", "score": "0.5", "label": ""},
        {"id": "", "score": "", "label": "dog"},
    ]


def test_damaged_and_missing_files_are_refused_by_name(tmp_path):
    pq.write_table(pa.table({"id": list(range(1000))}), tmp_path / "whole.parquet")
    content = (tmp_path / "whole.parquet").read_bytes()
    damaged = {
        "cut.parquet": content[:-20],
        "empty.parquet": b"",
        "odd.parquet": content[:200] + b"\xff" * 800 + content[1000:],
    }
    for name, split in damaged.items():
        (tmp_path / name).write_bytes(split)
        with pytest.raises(DataError, match=f"{name}: is no Parquet file that can be read"):
            read_table_file(tmp_path / name)
    with pytest.raises(DataError, match=r"gone.csv: can't be read \(No such file"):
        read_table_file(tmp_path / "gone.csv")
    pq.write_table(pa.table({"id": pa.array([], pa.int64())}), tmp_path / "none.parquet")
    with pytest.raises(DataError, match=r"none\.parquet: has no rows"):
        read_table_file(tmp_path / "none.parquet")
