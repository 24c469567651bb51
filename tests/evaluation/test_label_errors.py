"""Planted label errors are found, far more often than by chance, and a person decides."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from resnetlab.errors import DataError
from resnetlab.evaluation.label_errors import (
    as_table,
    confident_class,
    find_label_errors,
    read_corrections,
)
from resnetlab.evaluation.predictions import Predictions


def planted(share: float, seed: int = 0) -> tuple[Predictions, set[str]]:
    """Scanned digits with wrong labels, predicted out of fold; return the ids of the wrong ones."""
    pixels, labels = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    wrong = rng.choice(len(labels), round(share * len(labels)), replace=False)
    given = labels.copy()
    given[wrong] = (labels[wrong] + rng.integers(1, 10, len(wrong))) % 10
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300))
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    probs = cross_val_predict(model, pixels, given, cv=folds, method="predict_proba")
    ids = [f"{i:04}" for i in range(len(labels))]
    predictions = Predictions.make(ids, given, np.log(probs), [str(k) for k in range(10)])
    return predictions, {ids[row] for row in wrong}


@pytest.mark.parametrize(("share", "precision"), [(0.02, 0.75), (0.05, 0.85)])
def test_the_first_suggestions_are_planted_errors_far_beyond_chance(share, precision):
    predictions, wrong = planted(share)
    suspects, estimate = find_label_errors(predictions)
    first = {suspect.id for suspect in suspects[: len(wrong)]}
    assert len(first & wrong) / len(wrong) > precision, f"by chance it would be {share}"
    found = {suspect.id for suspect in suspects}
    assert len(found & wrong) / len(wrong) > 0.9
    assert share / 1.5 < estimate < share + 0.035, "the model's own errors are counted in"


def test_a_suspect_says_what_both_classes_have():
    suspects, _ = find_label_errors(planted(0.02)[0])
    own = [suspect.label_prob for suspect in suspects]
    assert own == sorted(own)
    assert all(suspect.label_prob < suspect.suggested_prob for suspect in suspects)
    assert all(suspect.label != suspect.suggested for suspect in suspects)


def test_thresholds_are_those_of_the_paper():
    probs = np.array([[0.9, 0.1], [0.5, 0.5], [0.3, 0.7], [0.45, 0.55]])
    labels = np.array([0, 0, 1, 1])
    # The mean over label 0 is 0.7, over label 1 0.625: the last image reaches neither.
    assert confident_class(probs, labels).tolist() == [0, -1, 1, -1]


def test_the_class_alone_is_not_enough():
    from dataclasses import replace

    with pytest.raises(DataError, match="a predicted class is not enough"):
        find_label_errors(replace(planted(0.02)[0], scored=False))


def test_a_table_is_left_for_a_person_and_an_empty_one_corrects_nothing():
    suspects, _ = find_label_errors(planted(0.02)[0])
    header, rows = as_table(suspects)
    table = [dict(zip(header, row, strict=True)) for row in rows]
    assert {row["correct"] for row in table} == {""}
    ids = [row["id"] for row in table]
    with pytest.raises(DataError, match="corrects nothing"):
        read_corrections(table, ids, ["0", "1"], "suspects.csv")


def test_corrections_name_a_class_or_drop_the_image():
    rows = [
        {"id": "a", "correct": "cat"},
        {"id": "b", "correct": "drop"},
        {"id": "c", "correct": ""},
    ]
    assert read_corrections(rows, "abc", ["dog", "cat"], "t.csv") == {"a": 1, "b": None}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": "z", "correct": "cat"}, "t.csv: line 2: there is no image 'z' in the data"),
        (
            {"id": "a", "correct": "cats"},
            r"'cats' is neither a class nor 'drop', did you mean 'cat'\?",
        ),
        ({"id": "a", "label": "cat"}, "needs the columns id and correct; it has id, label"),
    ],
)
def test_what_can_be_no_correction_is_named(row, message):
    with pytest.raises(DataError, match=message):
        read_corrections([row], "abc", ["dog", "cat"], "t.csv")
