"""A file is whole or not there, whatever happens while it is written."""

import csv
import errno
import json
import os
import stat

import pytest

from resnetlab.errors import CheckpointError, MachineError
from resnetlab.system import files
from resnetlab.system.files import read_csv, read_json, whole, write_csv, write_json, write_text


def test_a_file_appears_whole(tmp_path):
    path = tmp_path / "new" / "folder" / "file.txt"

    with whole(path) as temporary:
        temporary.write_text("all")
        assert temporary.parent == path.parent  # a rename works within a file system alone
        assert not path.exists()

    assert path.read_text() == "all"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_exception_the_old_content_stands_and_nothing_else_is_left(tmp_path, error):
    path = tmp_path / "file.txt"
    path.write_text("old")

    with pytest.raises(error), whole(path) as temporary:
        temporary.write_text("ne")
        raise error

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_content_is_on_disk_before_the_name_and_the_name_before_it_counts(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    synced = []
    monkeypatch.setattr(files, "sync", lambda name: synced.append((name, path.exists())))

    with whole(path) as temporary:
        temporary.write_text("all")

    assert synced == [(temporary, False), (tmp_path, True)]


def test_others_may_read_a_result(tmp_path):
    write_text(tmp_path / "file.txt", "all")

    assert stat.S_IMODE((tmp_path / "file.txt").stat().st_mode) == 0o644


def test_a_file_with_the_longest_name_can_be_written(tmp_path):
    path = tmp_path / ("n" * 255)

    write_text(path, "all")

    assert path.read_text() == "all"


def test_text_is_utf8_and_a_stray_byte_of_a_file_name_becomes_its_escape(tmp_path):
    write_text(tmp_path / "file.txt", "Katze 猫 " + os.fsdecode(b"caf\xe9"))

    assert (tmp_path / "file.txt").read_bytes() == "Katze 猫 caf\\udce9".encode()


@pytest.mark.parametrize("value", [{"ö": [1, 2.5, None, "猫"]}, [], "caf\udce9", 0.1 + 0.2])
def test_json_reads_back_the_same(tmp_path, value):
    write_json(tmp_path / "file.json", value)

    assert read_json(tmp_path / "file.json") == value


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_refuses_what_is_no_json_and_keeps_the_old_file(tmp_path, value):
    path = tmp_path / "file.json"
    write_json(path, {"loss": 1})

    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"loss": value})

    assert json.loads(path.read_text()) == {"loss": 1}


def test_csv_keeps_newlines_commas_quotes_and_every_digit(tmp_path):
    path = tmp_path / "table.csv"
    rows = [["a,b", 'say "no"', "two\nlines"], [0.1 + 0.2, 1e-300, ""], ["猫", "caf\udce9", None]]

    write_csv(path, ["first", "second", "third, last"], rows)

    with path.open(newline="", encoding="utf-8") as file:
        table = list(csv.reader(file))
    assert table[0] == ["first", "second", "third, last"]
    assert table[1] == rows[0]
    assert [float(cell) for cell in table[2][:2]] == rows[1][:2]
    assert table[3] == ["猫", "caf\\udce9", ""]


def test_csv_reads_back_as_a_mapping_a_row(tmp_path):
    write_csv(tmp_path / "table.csv", ["id", "note"], [["a", "x, y"], ["b", ""]])

    assert read_csv(tmp_path / "table.csv") == [
        {"id": "a", "note": "x, y"},
        {"id": "b", "note": ""},
    ]


def test_every_cell_of_a_csv_is_read_back(tmp_path):
    cells = ["plain", 'a,"b"', "line\nbreak", "return\rin it", "both\r\nof them", "", " blank "]
    write_csv(tmp_path / "table.csv", cells, [cells, cells[::-1]])

    with (tmp_path / "table.csv").open(newline="") as file:
        header, row, reverse = csv.reader(file)
    assert header == row == reverse[::-1] == cells


@pytest.mark.parametrize("trouble", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_disk_is_told_and_the_old_file_stands(tmp_path, monkeypatch, trouble):
    path = tmp_path / "file.txt"
    write_text(path, "old")

    def refuse(_: int) -> None:
        raise OSError(trouble, os.strerror(trouble))

    monkeypatch.setattr(files.os, "fsync", refuse)
    with pytest.raises(MachineError, match=r"what was there stands\. Make room"):
        write_text(path, "new")

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


# What was whole and is so no more.


@pytest.mark.parametrize("content", [b"", b'{"loss": 1', b"\xff\xfe", b"no", b"[" * 100_000, None])
def test_damaged_json_is_named(tmp_path, content):
    path = tmp_path / "metrics.json"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(CheckpointError) as caught:
        read_json(path)

    assert str(caught.value).startswith(f"{path}: is damaged (")
    assert str(caught.value).endswith("); bring back a copy of it")


def test_json_of_another_kind_is_damaged(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text("[1]")

    assert read_json(path, list) == [1]
    with pytest.raises(CheckpointError) as caught:
        read_json(path, dict)
    assert str(caught.value) == (
        f"{path}: is damaged (holds no dict, but list); bring back a copy of it"
    )


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "its end is missing"),
        (b"epoch,loss\n1,0.25\n2,0.1", "its end is missing"),
        (b"epoch,loss\n1\n", "its lines differ in length"),
        (b"epoch,loss\n1,2,3\n", "its lines differ in length"),
        (b'epoch,loss\n1,"2\n', "unexpected end of data"),
        (b"epoch,\xff\n", "can't decode byte"),
        (None, "No such file"),
    ],
)
def test_a_damaged_csv_is_named(tmp_path, content, why):
    path = tmp_path / "history.csv"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(CheckpointError) as caught:
        read_csv(path)

    assert str(caught.value).startswith(f"{path}: is damaged (")
    assert why in str(caught.value)
