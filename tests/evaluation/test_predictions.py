import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resnetlab.errors import CheckpointError, DataError
from resnetlab.evaluation.predictions import Predictions

LOGITS = [[2.0, 0.0, 1.0], [0.0, 3.0, 3.0]]


def two_images(**changes) -> Predictions:
    columns = {"ids": ["a", "b"], "labels": [0, 2], "logits": LOGITS, "classes": ["x", "y", "z"]}
    return Predictions.make(**(columns | changes))


def assert_same(a: Predictions, b: Predictions) -> None:
    assert a.classes == b.classes
    for name in ("ids", "labels", "logits", "fold", "seed"):
        left, right = getattr(a, name), getattr(b, name)
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right)


def test_columns_have_the_promised_types_and_a_single_fold_or_seed_stands_for_all():
    predictions = two_images(fold=3)
    assert predictions.logits.dtype == np.float32
    assert predictions.labels.dtype == predictions.fold.dtype == predictions.seed.dtype == np.int64
    assert predictions.fold.tolist() == [3, 3]
    assert predictions.seed.tolist() == [0, 0]
    assert len(predictions) == 2


def test_probs_are_the_softmax_in_float64():
    probs = two_images().probs
    assert probs.dtype == np.float64
    np.testing.assert_allclose(probs[0], np.exp(LOGITS[0]) / np.exp(LOGITS[0]).sum(), rtol=1e-12)


def test_of_equal_logits_the_first_class_is_predicted():
    assert two_images().predicted.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": [0]}, r"2 images and 3 classes need labels of shape \(2,\), got \(1,\)"),
        ({"classes": ["x", "y"]}, r"need logits of shape \(2, 2\), got \(2, 3\)"),
        ({"labels": [0, 3]}, r"Labels must be -1 \(unknown\) or 0 to 2, got 3"),
        ({"labels": [-2, 0]}, "got -2"),
        ({"logits": [[np.nan, np.inf, 0], [0, 0, 0]]}, "2 of 6 logits are not finite"),
    ],
)
def test_columns_that_do_not_fit_are_refused_with_what_was_found(changes, message):
    with pytest.raises(DataError, match=message):
        two_images(**changes)


def test_unknown_labels_cannot_be_scored_and_are_counted():
    with pytest.raises(DataError, match="1 of 2 predictions have no known label"):
        two_images(labels=[0, -1]).require_labels()


def test_an_empty_table_cannot_be_scored():
    empty = Predictions.make([], [], np.zeros((0, 3)), ["x", "y", "z"])
    with pytest.raises(DataError, match="no predictions to score"):
        empty.require_labels()


def test_in_id_order_sorts_every_column():
    ordered = two_images(ids=["b", "a"], seed=[7, 8]).in_id_order()
    assert ordered.ids.tolist() == ["a", "b"]
    assert ordered.labels.tolist() == [2, 0]
    assert ordered.logits.tolist() == LOGITS[::-1]
    assert ordered.seed.tolist() == [8, 7]


def test_an_image_that_appears_twice_is_refused_as_evidence():
    with pytest.raises(DataError, match="1 ids appear more than once, the first is 'a'"):
        two_images(ids=["a", "a"]).in_id_order()


@settings(deadline=None, max_examples=40)
@given(st.lists(st.text(max_size=12), max_size=6), st.integers(1, 4), st.randoms())
def test_a_saved_table_comes_back_bit_for_bit(tmp_path_factory, ids, k, random):
    rows = len(ids)
    predictions = Predictions.make(
        ids,
        [random.randrange(-1, k) for _ in ids],
        np.array([random.uniform(-1e30, 1e30) for _ in range(rows * k)]).reshape(rows, k),
        [f"class {i}, \n🐈" for i in range(k)],
        fold=[random.randrange(-1, 5) for _ in ids],
        seed=[random.randrange(9) for _ in ids],
    )
    path = tmp_path_factory.mktemp("round") / "predictions-val.parquet"
    predictions.save(path)
    assert_same(Predictions.load(path), predictions)


def test_ids_with_commas_newlines_and_emoji_survive(tmp_path):
    odd = two_images(ids=["a,b\n'c'.jpg", "photos/🐈 \t\0.png"])
    odd.save(tmp_path / "p.parquet")
    assert_same(Predictions.load(tmp_path / "p.parquet"), odd)


def test_the_folder_name_adds_no_column(tmp_path):
    path = tmp_path / "seed=5" / "p.parquet"
    two_images().save(path)
    assert Predictions.load(path).seed.tolist() == [0, 0]


def test_saving_leaves_only_the_finished_file(tmp_path):
    two_images().save(tmp_path / "p.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["p.parquet"]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def turn_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(np.float32(3.0).tobytes())] ^= 1
    path.write_bytes(content)


def other_table(path: Path) -> None:
    pq.write_table(pa.table({"id": ["a"]}), path)


def other_columns(path: Path) -> None:
    pq.write_table(pa.table({"id": ["a"]}, metadata={"classes": json.dumps(["x"])}), path)


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        turn_a_bit,
        other_table,
        other_columns,
        lambda path: path.write_text("id,label\n"),
        lambda path: path.write_bytes(b""),
        Path.unlink,
    ],
    ids=["cut", "bit", "other table", "other columns", "text", "empty", "missing"],
)
def test_a_file_that_is_no_whole_table_is_refused_by_name(tmp_path, damage):
    path = tmp_path / "predictions-val.parquet"
    two_images().save(path)
    damage(path)
    with pytest.raises(CheckpointError, match=f"{path} holds no whole table of predictions"):
        Predictions.load(path)
