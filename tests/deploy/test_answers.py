"""Predictions as people want them: tables in three forms, a competition's form, sorted folders."""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from resnetlab.deploy.answers.rows import prediction_row
from resnetlab.deploy.answers.sorting import Sorter
from resnetlab.deploy.answers.submission import Submission, read_sample
from resnetlab.deploy.answers.writers import GROUP, Form, check_ending, table_writer
from resnetlab.deploy.predictor import FilePrediction
from resnetlab.errors import DataError, RecipeError

CLASSES = ("cat", "dog", 'a "bird", big')
PROBS = np.array([0.2, 0.5, 0.3])


def row(
    name: str = "1.png", probs: np.ndarray | None = PROBS, top: int = 1, below=None, **marks: bool
) -> dict:
    problem = "" if probs is not None else "empty"
    return prediction_row(FilePrediction(Path(name), probs, problem, **marks), CLASSES, top, below)


# Rows


def test_a_row_names_the_likeliest_classes_first():
    found = row(top=2)
    assert (found["class"], found["probability"]) == ("dog", 0.5)
    assert found["top"] == [("dog", 0.5), ('a "bird", big', 0.3)]


@pytest.mark.parametrize(("below", "mark"), [(None, None), (0.5, False), (0.51, True)])
def test_what_lies_below_the_threshold_is_uncertain(below, mark):
    assert row(below=below)["uncertain"] is mark


# Tables


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".jsonl"])
def test_every_form_of_table_holds_the_same(tmp_path, ending):
    out = tmp_path / f"answers{ending}"
    with table_writer(out, Form(CLASSES, 2, ("uncertain",))) as write:
        write(row("ä, b.png", top=2, below=0.6))
        write(row("\udcff.png", None, 2, 0.6))
        assert not out.exists(), "a table is whole or not there"
    first, second = read(out)
    assert (first["file"], first["class"], float(first["probability"])) == ("ä, b.png", "dog", 0.5)
    assert str(first["uncertain"]) == "True"
    assert second["file"] == r"\udcff.png"
    assert second["problem"] == "empty"
    assert not second["class"]


def read(path: Path) -> list[dict]:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_more_rows_than_are_kept_at_once_are_all_written(tmp_path):
    with table_writer(tmp_path / "a.parquet", Form(CLASSES)) as write:
        for number in range(2 * GROUP + 1):
            write(row(f"{number}.png"))
    files = pq.read_table(tmp_path / "a.parquet")["file"].to_pylist()
    assert files == [f"{number}.png" for number in range(2 * GROUP + 1)]


def test_an_error_on_the_way_leaves_the_table_that_was_there(tmp_path):
    out = tmp_path / "a.csv"
    out.write_text("before")
    with pytest.raises(ZeroDivisionError), table_writer(out, Form(CLASSES)) as write:
        write(row())
        raise ZeroDivisionError
    assert out.read_text() == "before"
    assert list(tmp_path.iterdir()) == [out]


def test_an_ending_that_says_no_form_is_refused():
    with pytest.raises(RecipeError, match=r"--out must end in \.csv, \.parquet, \.jsonl"):
        check_ending(Path("answers.xlsx"))


# Submissions


@pytest.fixture
def sample_of(tmp_path):
    def make(text: str, classes: tuple[str, ...] = CLASSES) -> Submission:
        (tmp_path / "sample.csv").write_text(text)
        return Submission(read_sample(tmp_path / "sample.csv", classes), classes)

    return make


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ("id,label\n1,cat\n", ["dog"]),
        ("id,label\n1,0\n", ["1"]),
        ('id,dog,cat,"a ""bird"", big"\n1,0,0,0\n', ["0.5", "0.2", "0.3"]),
    ],
    ids=["names", "numbers", "probabilities"],
)
def test_labels_are_of_the_kind_that_the_sample_has(sample_of, tmp_path, text, cells):
    submission = sample_of(text)
    ids = submission.files_for([Path("test/1.png")])
    submission.add(ids[Path("test/1.png")], row("test/1.png"))
    submission.write(tmp_path / "out.csv")
    header, line = csv.reader((tmp_path / "out.csv").read_text().splitlines())
    assert header == next(csv.reader([text.splitlines()[0]]))
    assert line == ["1", *cells]


def test_of_two_classes_a_sample_with_fractions_wants_the_probability_of_the_second(sample_of):
    submission = sample_of("id,label\n1,0.5\n", ("cat", "dog"))
    answer = FilePrediction(Path("1.jpg"), np.array([0.25, 0.75]))
    submission.add("1", prediction_row(answer, ("cat", "dog")))
    assert submission.cells == {"1": [0.75]}


def test_classes_that_are_numbers_stay_those_numbers(sample_of):
    submission = sample_of("id,label\n1,0\n", ("3", "7"))
    answer = FilePrediction(Path("1.jpg"), np.array([0.25, 0.75]))
    submission.add("1", prediction_row(answer, ("3", "7")))
    assert [str(cell) for cell in submission.cells["1"]] == ["7"]


@pytest.mark.parametrize(
    ("cell", "classes", "said"),
    [
        ("0", CLASSES, 'takes numbers: cat=0, dog=1, a "bird", big=2\n'),
        ("0", ("a", "b", "c", "d", "e", "f"), "takes numbers: a=0, b=1, c=2, d=3, e=4, ...\n"),
        (
            "0",
            ("cat", "dog"),
            "cat=0, dog=1 (the sample has whole ones; fractions would ask for",
        ),
        ("0", ("3", "7"), "numbers (the sample has whole ones; fractions would ask for"),
        ("0.5", ("cat", "dog"), "note: column label takes the probability of dog\n"),
        ("cat", ("cat", "dog"), ""),
        ("0", ("3", "7", "9"), ""),
    ],
)
def test_what_a_sample_leaves_open_about_its_column_is_said(sample_of, capsys, cell, classes, said):
    sample_of(f"id,label\n1,{cell}\n", classes)
    error = capsys.readouterr().err
    assert said in error
    assert bool(error) == bool(said)


def test_ids_keep_the_samples_order_and_may_be_paths_names_or_stems(sample_of):
    submission = sample_of("id,label\nb/2,cat\n1.png,cat\nc/3.png,cat\n")
    files = [Path("x/1.png"), Path("x/b/2.png"), Path("x/c/3.png"), Path("x/extra.png")]
    assert list(submission.files_for(files).values()) == ["b/2", "1.png", "c/3.png"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["1.png"], "6 ids have no image ('2', '3', '4', '5', '6', ...)"),
        ([f"{n}.png" for n in range(1, 8)] + ["b/1.png"], "1 ids have several images ('1')"),
    ],
)
def test_an_id_without_one_image_is_refused_before_any_work(sample_of, files, message):
    submission = sample_of("id,label\n" + "".join(f"{n},cat\n" for n in range(1, 8)))
    with pytest.raises(DataError) as error:
        submission.files_for(map(Path, files))
    assert message in str(error.value)


def test_an_image_that_can_not_be_read_is_no_row_left_out(sample_of, tmp_path):
    submission = sample_of("id,label\n1,cat\n")
    submission.add("1", row("1.png", None))
    with pytest.raises(DataError, match=r"1 images can not be read \('1: empty'\)"):
        submission.write(tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,label\n1,cat\n1,dog\n", "1 ids stand in it twice"),
        ("id,label\n", "has no rows"),
        ("id,cat,cow\n1,0,0\n", "3 names are a column or a class, but not both"),
    ],
)
def test_a_sample_that_does_not_suit_is_refused(sample_of, text, message):
    with pytest.raises(DataError, match=message):
        sample_of(text)


# Sorted folders


def test_images_are_linked_into_the_folders_of_their_classes(tmp_path):
    for name in ("a/1.png", "b/1.png", "bad.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    sorter = Sorter(tmp_path / "sorted", {Path("z.zip/1.png"): lambda: b"within"})
    sorter.add(row(str(tmp_path / "a/1.png")))
    sorter.add(row(str(tmp_path / "b/1.png")))
    sorter.add(row(str(tmp_path / "b/1.png"), below=0.9))
    sorter.add(row(str(tmp_path / "b/1.png"), below=0.9, out_of_distribution=True))
    sorter.add(row(str(tmp_path / "bad.png"), None))
    sorter.add(row("z.zip/1.png"))
    contents = {
        str(path.relative_to(tmp_path / "sorted")): path.read_bytes()
        for path in (tmp_path / "sorted").rglob("*.png")
    }
    assert contents == {
        "dog/1.png": b"a/1.png",
        "dog/1-2.png": b"b/1.png",
        "dog/1-3.png": b"within",
        "_uncertain/dog/1.png": b"b/1.png",
        "_out_of_distribution/1.png": b"b/1.png",
        "_unusable/bad.png": b"bad.png",
    }
    assert (tmp_path / "sorted" / "dog" / "1.png").is_symlink()
