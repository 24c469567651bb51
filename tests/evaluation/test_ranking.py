"""Rankings equal scikit-learn's; their intervals hold the truth and have a width at 1."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from resnetlab.evaluation.predictions import Predictions
from resnetlab.evaluation.ranking import area_interval, average_precision, ranking_scores, top_k


def guesses(n: int, k: int, skill: float, seed: int, decimals: int = 8) -> Predictions:
    rng = np.random.default_rng(seed)
    labels = rng.integers(k, size=n)
    logits = rng.normal(size=(n, k))
    logits[np.arange(n), labels] += skill
    names = [f"{i:05}" for i in range(n)]
    return Predictions.make(names, labels, logits.round(decimals), [f"c{i}" for i in range(k)])


@pytest.mark.parametrize("decimals", [8, 0], ids=["no ties", "many ties"])
@pytest.mark.parametrize("skill", [0.0, 1.0, 4.0])
def test_areas_and_precisions_equal_scikit_learns(skill, decimals):
    predictions = guesses(200, 4, skill, seed=1, decimals=decimals)
    found = ranking_scores(predictions)
    one_hot = np.eye(4)[predictions.labels]
    area = sk.roc_auc_score(one_hot, predictions.probs, average=None)
    precision = sk.average_precision_score(one_hot, predictions.probs, average=None)
    assert [row["auroc"]["value"] for row in found["per_class"]] == pytest.approx(area.tolist())
    for row, expected in zip(found["per_class"], precision, strict=True):
        assert row["average_precision"]["value"] == pytest.approx(expected)
    macro = sk.roc_auc_score(
        predictions.labels, predictions.probs, multi_class="ovr", average="macro"
    )
    assert found["auroc"]["value"] == pytest.approx(macro)
    assert found["average_precision"]["value"] == pytest.approx(precision.mean())


def test_the_area_of_two_classes_is_that_of_either():
    predictions = guesses(80, 2, 1.0, seed=2)
    expected = sk.roc_auc_score(predictions.labels, predictions.probs[:, 1])
    first, second = ranking_scores(predictions)["per_class"]
    assert first["auroc"]["value"] == pytest.approx(expected)
    assert second["auroc"]["value"] == pytest.approx(expected)


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_top_k_equals_scikit_learns(k):
    predictions = guesses(150, 6, 1.0, seed=3)
    expected = sk.top_k_accuracy_score(predictions.labels, predictions.logits, k=k)
    assert top_k(predictions, k)["value"] == pytest.approx(expected)


def test_there_is_no_top_k_of_k_classes():
    assert top_k(guesses(9, 3, 1.0, seed=0), 3) is None


def test_a_class_without_images_has_no_area():
    predictions = Predictions.make(["a", "b"], [0, 1], [[2, 0, 1], [0, 2, 1]], list("xyz"))
    found = ranking_scores(predictions)
    assert found["per_class"][2] == {"auroc": None, "average_precision": None}
    assert found["auroc"]["value"] == 1


def test_a_single_class_has_no_ranking():
    predictions = Predictions.make(["a", "b"], [0, 0], [[2, 0], [0, 2]], list("xy"))
    assert ranking_scores(predictions)["auroc"] is None


def test_a_perfect_ranking_still_has_an_interval():
    found = area_interval(1.0, 20, 80)
    assert found["high"] == 1
    assert 0.85 < found["low"] < 0.99


@pytest.mark.parametrize(("n", "skill"), [(60, 1.0), (200, 2.0), (200, 0.3)])
def test_the_intervals_hold_the_truth_in_93_of_100_cases_at_least(n, skill):
    large = ranking_scores(guesses(60_000, 3, skill, seed=9))
    trials, held = 200, {"auroc": 0, "average_precision": 0, "class": 0}
    for seed in range(trials):
        found = ranking_scores(guesses(n, 3, skill, seed))
        for name in ("auroc", "average_precision"):
            held[name] += found[name]["low"] <= large[name]["value"] <= found[name]["high"]
        one, truth = found["per_class"][0]["auroc"], large["per_class"][0]["auroc"]["value"]
        held["class"] += one["low"] <= truth <= one["high"]
    precision = held.pop("average_precision")  # of few images the roughest
    assert precision >= 0.91 * trials
    assert min(held.values()) >= 0.93 * trials, held


@given(st.integers(1, 60), st.floats(0, 1), st.integers(1, 60))
def test_an_interval_of_an_area_holds_it_within_0_and_1(m, area, n):
    found = area_interval(area, m, n)
    assert 0 <= found["low"] <= area <= found["high"] <= 1


def test_average_precision_of_ties_is_scikit_learns():
    own = np.array([True, False, True, False])
    scores = np.array([0.5, 0.5, 0.5, 0.1])
    assert average_precision(scores, own) == pytest.approx(sk.average_precision_score(own, scores))
