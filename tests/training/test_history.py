"""What is derived from the history: the best epoch, the end of patience, the table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnetlab.recipe import Training
from resnetlab.system.files import read_csv
from resnetlab.training.history import (
    COLUMNS,
    best_epoch,
    kept_epoch,
    out_of_patience,
    scores,
    write_history,
)


def history_of(*values: float | None, name: str = "val_accuracy") -> list[dict]:
    """Return a history in which one column has these values, an epoch each."""
    rest = dict.fromkeys(COLUMNS, None if None in values else 0.5)
    return [
        rest | {"epoch": epoch, "fold": -1, "lr": 0.1, "train_loss": 1.5, name: value}
        for epoch, value in enumerate(values, start=1)
    ]


@pytest.mark.parametrize("monitor", ["accuracy", "balanced_accuracy", "macro_f1"])
def test_the_best_epoch_has_the_highest_score(monitor):
    assert best_epoch(history_of(0.1, 0.7, 0.3, name=f"val_{monitor}"), monitor) == 2


def test_a_loss_is_best_where_it_is_lowest():
    history = history_of(0.9, 0.2, 0.4, name="val_loss")

    assert best_epoch(history, "loss") == 2
    assert scores(history, "loss") == [-0.9, -0.2, -0.4]


def test_of_equal_epochs_the_last_is_the_best_for_its_rate_is_lower():
    assert best_epoch(history_of(0.1, 0.7, 0.3, 0.7, 0.6), "accuracy") == 4


@pytest.mark.parametrize(("images", "kept"), [(0, 2), (10, 4), (100, 3), (400, 2)])
def test_the_last_epoch_is_kept_that_images_can_not_tell_from_the_best(images, kept):
    history = history_of(0.5, 0.9, 0.88, 0.85)

    assert kept_epoch(history, Training(monitor="accuracy"), images) == kept


def test_with_patience_or_by_the_loss_the_best_epoch_is_kept():
    history = history_of(0.5, 0.9, 0.88)
    assert kept_epoch(history, Training(monitor="accuracy", patience=2), images=10) == 2
    by_loss = history_of(0.9, 0.2, 0.3, name="val_loss")
    assert kept_epoch(by_loss, Training(monitor="loss"), images=10) == 2


@given(st.lists(st.integers(0, 20), min_size=1, max_size=30))
def test_what_is_kept_epoch_by_epoch_is_what_is_kept_of_all(correct):
    history = history_of(*(count / 20 for count in correct))
    training = Training(monitor="accuracy")
    saved = [
        epochs
        for epochs in range(1, len(history) + 1)
        if kept_epoch(history[:epochs], training, images=20) == epochs
    ]

    assert saved[-1] == kept_epoch(history, training, images=20)


@pytest.mark.parametrize("monitor", ["accuracy", "loss"])
def test_without_validation_the_last_epoch_is_the_best(monitor):
    history = history_of(None, None, None)

    assert best_epoch(history, monitor) == 3
    assert not out_of_patience(history, monitor, patience=1)


@pytest.mark.parametrize(
    ("values", "patience", "out"),
    [
        ([], 1, False),
        ([0.5], 1, False),
        ([0.5, 0.5], 1, True),  # as good is not better
        ([0.5, 0.4], 2, False),
        ([0.5, 0.4, 0.4], 2, True),
        ([0.5, 0.4, 0.6], 1, False),
        ([0.5, 0.4, 0.4], None, False),
    ],
)
def test_patience_ends_after_so_many_epochs_without_a_new_best(values, patience, out):
    assert out_of_patience(history_of(*values), "accuracy", patience) == out


def test_the_table_has_a_row_an_epoch_and_every_digit(tmp_path):
    history = history_of(0.1 + 0.2, 1 / 3)

    write_history(tmp_path, history)

    table = read_csv(tmp_path / "history.csv")
    assert tuple(table[0]) == COLUMNS
    assert [int(row["epoch"]) for row in table] == [1, 2]
    assert [float(row["val_accuracy"]) for row in table] == [0.1 + 0.2, 1 / 3]


def test_what_was_not_measured_is_left_empty(tmp_path):
    write_history(tmp_path, history_of(None))

    assert read_csv(tmp_path / "history.csv")[0]["val_loss"] == ""
