"""Parts of the images on which a model is worse are found, and chance is not taken for one."""

import numpy as np
import pytest
from sklearn import metrics as sk

from resnetlab.errors import DataError
from resnetlab.evaluation.predictions import Predictions
from resnetlab.evaluation.subgroups import folders, require_few, size_bands, subgroup_scores


def with_accuracy(right: np.ndarray) -> Predictions:
    labels = np.arange(len(right)) % 3
    logits = np.eye(3)[np.where(right, labels, (labels + 1) % 3)] * 4
    return Predictions.make([f"{i:05}" for i in range(len(right))], labels, logits, list("abc"))


def test_a_camera_that_is_worse_is_named_first_and_shown():
    rng = np.random.default_rng(0)
    camera = np.array(["one", "two", "three"])[np.arange(600) % 3]
    predictions = with_accuracy(rng.random(600) < np.where(camera == "two", 0.6, 0.95))
    first, *others = subgroup_scores(predictions, camera)
    assert (first["value"], first["differs"]) == ("two", "lower")
    assert first["accuracy"]["low"] < 0.6 < first["accuracy"]["high"]
    assert {row["differs"] for row in others} <= {None, "higher"}
    part = predictions.take(camera == "two")
    expected = sk.f1_score(part.labels, part.predicted, average="macro")
    assert first["macro_f1"] == pytest.approx(expected)


def test_equal_cameras_are_called_different_in_5_of_100_cases_at_most():
    called = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        predictions = with_accuracy(rng.random(200) < 0.85)
        rows = subgroup_scores(predictions, rng.integers(4, size=200))
        called += any(row["differs"] for row in rows)
    assert called <= 5


def test_frames_of_one_clip_are_not_many_images():
    right = np.repeat(np.arange(12) % 4 > 0, 20)
    camera = np.repeat(np.array(["a", "b", "b", "b"] * 3), 20)
    alone = subgroup_scores(with_accuracy(right), camera)
    clips = subgroup_scores(with_accuracy(right), camera, groups=np.repeat(np.arange(12), 20))
    assert alone[0]["p_value"] < 1e-9 < clips[0]["p_value"]


def test_a_column_of_too_many_values_is_refused():
    with pytest.raises(DataError, match=r"'width' must be 100 at most\. Got 150, such as '0'"):
        require_few("width", np.arange(150))


def test_sizes_come_in_quarters_of_the_shorter_side():
    width = np.array([100, 200, 300, 400, 900])
    found = size_bands(width, np.full(5, 350))
    assert found.tolist() == ["100-200 px", "200-300 px", "300-350 px", "300-350 px", "300-350 px"]
    assert set(size_bands(np.full(3, 8), np.full(3, 9))) == {"8 px"}


def test_folders_of_ids():
    assert folders(np.array(["a/b/1.png", "2.png"], dtype=object)).tolist() == ["a/b", "."]
