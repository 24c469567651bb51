"""Predictions that another tool wrote are read as they are meant, or the table says what it lacks."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from resnetlab.errors import DataError
from resnetlab.evaluation.metrics import SCORED, score
from resnetlab.evaluation.predictions import Predictions
from resnetlab.evaluation.tables import read_predictions


@pytest.fixture
def table(tmp_path):
    def write(text: str, name: str = "table.csv") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_probabilities_come_back_as_they_were(table):
    path = table("id,label,cat,dog\na.jpg,dog,0.25,0.75\nb.jpg,cat,1,0\n")
    found = read_predictions(path)
    assert found.scores == "probabilities"
    assert found.predictions.classes == ("cat", "dog")
    assert found.predictions.labels.tolist() == [1, 0]
    np.testing.assert_allclose(found.predictions.probs, [[0.25, 0.75], [1, 0]], atol=1e-7)


def test_rows_that_do_not_add_up_to_one_are_logits(table):
    found = read_predictions(table("id,label,cat,dog\na,dog,-2,3\nb,cat,4,0\n"))
    assert found.scores == "logits"
    assert found.predictions.logits.tolist() == [[-2, 3], [4, 0]]


def test_rounded_probabilities_are_still_probabilities(table):
    path = table("id,label,p_a,p_b,p_c\n1,a,0.33,0.33,0.33\n2,b,0.1,0.8,0.1\n3,c,0,0,1\n")
    assert read_predictions(path).scores == "probabilities"


@pytest.mark.parametrize("prefix", ["p_", "prob_", "logit_"])
def test_columns_with_a_prefix_are_classes_also_those_without_an_image(table, prefix):
    path = table(f"file,true,age,{prefix}cat,{prefix}dog\n1,cat,30,0.9,0.1\n2,cat,40,0.2,0.8\n")
    found = read_predictions(path)
    assert found.predictions.classes == ("cat", "dog")
    assert found.columns["age"].tolist() == ["30", "40"]


def test_labels_may_be_the_numbers_of_classes(table):
    path = table("id,label,cat,dog\n007,1,0.2,0.8\n008,0,0.7,0.3\n")
    found = read_predictions(path, ["cat", "dog"])
    assert found.predictions.labels.tolist() == [1, 0]
    assert found.predictions.ids.tolist() == ["007", "008"], "an id is text, zeros and all"


@pytest.mark.parametrize("header", ["Image,Label,Predicted", "Bild,label,PRED"])
def test_ids_and_labels_are_text_however_their_columns_are_spelled(table, header):
    predictions = read_predictions(table(f"{header}\n0001,01,01\n0002,02,01\n")).predictions
    assert predictions.ids.tolist() == ["0001", "0002"]
    assert predictions.classes == ("01", "02")


def test_classes_that_are_numbers_come_in_the_order_of_the_columns(table):
    path = table("id,label,0,1,10\na,10,0.1,0.1,0.8\nb,0,1,0,0\nc,1,0,1,0\n")
    assert read_predictions(path).predictions.classes == ("0", "1", "10")


def test_a_predicted_class_alone_gives_every_figure_that_needs_no_more(table):
    path = table("id,label,predicted\na,cat,cat\nb,dog,cat\nc,bird,bird\n")
    predictions = read_predictions(path).predictions
    assert predictions.classes == ("bird", "cat", "dog")
    found = score(predictions, resamples=10)
    assert found["accuracy"]["value"] == pytest.approx(2 / 3)
    assert {name: found[name] for name in SCORED} == dict.fromkeys(SCORED)


def test_another_column_is_kept_for_subgroups(table):
    path = table("id,label,camera,cat,dog\na,cat,left,0.6,0.4\nb,dog,right,0.6,0.4\n")
    assert read_predictions(path).columns["camera"].tolist() == ["left", "right"]


def test_a_column_of_numbers_that_may_be_a_class_is_asked_about(table):
    path = table("id,label,cat,dog,bird\na,cat,0.6,0.3,0.1\nb,dog,0.1,0.4,0.5\n")
    with pytest.raises(DataError, match=r"column 'bird' may be a class.*--classes"):
        read_predictions(path)
    assert read_predictions(path, ["cat", "dog", "bird"]).predictions.classes[2] == "bird"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,cat,dog\na,1,0\n", "has no column of labels"),
        ("id,label,name\na,cat,x\n", "neither a column for each class nor one of the predicted"),
        ("id,label,predicted\na,,cat\n", "1 of 1 rows have no label"),
        ("id,label,p_cat,p_dog\na,cow,1,0\n", "column 'label' holds 'cow'"),
        (
            "id,label,p_cat,p_dog\na,cat,1,\nb,dog,1,0\n",
            "row 2 holds no finite number in column 'p_dog'",
        ),
        ("id,label,p_cat,p_cat\na,cat,1,0\n", "two columns named 'p_cat'"),
        ("id,label,p_cat\n", "has no rows"),
        ("", "can't be read as a table"),
    ],
)
def test_a_table_says_what_it_lacks(table, text, message):
    with pytest.raises(DataError, match=message):
        read_predictions(table(text))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.csv: can't be read"):
        read_predictions(tmp_path / "none.csv")


def test_parquet_of_another_tool_and_our_own(tmp_path):
    values = {"id": ["a", "b"], "label": ["x", "y"], "x": [0.9, 0.2], "y": [0.1, 0.8]}
    pa.parquet.write_table(pa.table(values), tmp_path / "other.parquet")
    other = read_predictions(tmp_path / "other.parquet").predictions
    assert other.predicted.tolist() == [0, 1]
    own = Predictions.make(["a"], [1], [[0.5, 2.0]], ["x", "y"])
    own.save(tmp_path / "own.parquet")
    assert read_predictions(tmp_path / "own.parquet").predictions.logits.tolist() == [[0.5, 2.0]]


def test_classes_in_another_order_are_the_same_predictions():
    one = Predictions.make(["a", "b"], [0, 2], [[3, 1, 0], [0, 1, 5]], ["x", "y", "z"])
    other = one.with_classes(["z", "x", "y"])
    assert other.classes == ("z", "x", "y")
    assert other.labels.tolist() == [1, 0]
    assert other.logits.tolist() == [[0, 3, 1], [5, 0, 1]]
    with pytest.raises(DataError, match="the classes differ: q, z"):
        one.with_classes(["q", "x", "y"])
