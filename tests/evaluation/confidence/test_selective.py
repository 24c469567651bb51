"""The surest answers first: the curve is what counting gives, and a threshold keeps the error it was asked for."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from resnetlab.evaluation.confidence.selective import (
    at_threshold,
    describe_selection,
    promised_thresholds,
    risk_coverage,
    threshold_for,
    upper_limit,
)
from resnetlab.evaluation.predictions import Predictions


def model(n: int, rng: np.random.Generator):
    """Return confidences, and mistakes as often as they say."""
    sure = rng.beta(9, 1, size=n)
    return sure, rng.random(n) > sure


def test_the_curve_is_what_counting_gives():
    sure, wrong = np.array([0.9, 0.5, 0.8, 0.6]), np.array([False, True, False, True])
    curve = risk_coverage(sure, wrong)["curve"]
    assert [point["coverage"] for point in curve] == [0.25, 0.5, 0.75, 1.0]
    assert [point["error"]["value"] for point in curve] == pytest.approx([0, 0, 1 / 3, 1 / 2])
    assert [point["threshold"] for point in curve] == [0.9, 0.8, 0.6, 0.5]


def test_images_of_equal_confidence_are_answered_together():
    curve = risk_coverage(np.ones(4), np.array([False, False, True, True]))["curve"]
    assert [(point["coverage"], point["error"]["value"]) for point in curve] == [(1.0, 0.5)]


def test_the_area_of_a_model_that_knows_its_mistakes_is_the_lower():
    wrong = np.arange(100) >= 80
    knows = risk_coverage(np.linspace(1, 0.5, 100), wrong)["aurc"]
    ignorant = risk_coverage(np.linspace(0.5, 1, 100), wrong)["aurc"]
    assert knows < 0.03 < 0.2 < ignorant


def test_a_threshold_keeps_the_error_in_95_of_100_cases():
    rng = np.random.default_rng(0)
    sure, wrong = model(400_000, rng)
    kept, coverage = 0, []
    for _ in range(200):
        threshold = threshold_for(0.05, *model(2000, rng))
        found = at_threshold(threshold, sure, wrong)
        kept += found["error"]["value"] <= 0.05
        coverage.append(found["coverage"]["value"])
    assert kept >= 190
    assert np.mean(coverage) > 0.4, "and still answers"


def test_a_bundle_promises_the_error_rates_that_validation_can_bear_out():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(400, 3)) * 4
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(3, p=row) for row in probs])
    ids = np.array([f"{number}" for number in range(400)])
    found = promised_thresholds(Predictions.make(ids, labels, logits, ("a", "b", "c")))

    assert "0.005" not in found  # 400 images can't show that
    rates = sorted(map(float, found))
    assert rates[-1] == 0.2
    below = [found[f"{rate:g}"] for rate in rates]
    assert below == sorted(below, reverse=True)  # the rarer errors must be, the surer the answer
    sure, wrong = probs.max(axis=1), probs.argmax(axis=1) != labels
    for rate, threshold in zip(rates, below, strict=True):
        assert wrong[sure >= threshold].mean() <= rate


def test_too_few_images_promise_nothing():
    assert threshold_for(0.01, np.full(50, 0.99), np.zeros(50, dtype=bool)) is None
    assert at_threshold(None, np.ones(3), np.zeros(3, dtype=bool))["coverage"] is None


def test_a_model_without_a_mistake_answers_all():
    assert threshold_for(0.05, np.linspace(0.5, 1, 1000), np.zeros(1000, dtype=bool)) == 0.5


@given(st.integers(0, 30), st.integers(1, 60), st.floats(0.001, 0.3))
def test_the_upper_limit_is_scipys_exact_one(errors, n, delta):
    errors = min(errors, n)
    expected = binomtest(errors, n, alternative="less").proportion_ci(1 - delta, "exact").high
    assert upper_limit(errors, n, delta) == pytest.approx(expected)


def test_thresholds_come_from_validation_alone_and_the_result_is_json():
    rng = np.random.default_rng(3)
    labels = rng.integers(3, size=900)
    logits = rng.normal(size=(900, 3)) + 5 * np.eye(3)[labels]
    both = Predictions.make([f"{i:04}" for i in range(900)], labels, logits, list("abc"))
    val, test = both.take(np.arange(600)), both.take(np.arange(600, 900))
    found = describe_selection(test, val)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert [row["wanted"] for row in found["thresholds"]] == [0.01, 0.02, 0.05]
    assert describe_selection(test)["thresholds"] == []


def test_frames_of_few_clips_promise_less():
    labels = np.zeros(1000, dtype=np.int64)
    logits = np.tile([4.0, 0.0], (1000, 1)) + np.random.default_rng(0).normal(size=(1000, 2)) / 9
    logits[:20] = logits[:20, ::-1]
    images = Predictions.make([f"{i:04}" for i in range(1000)], labels, logits, ("a", "b"))

    assert "0.05" in promised_thresholds(images)
    assert promised_thresholds(images, groups=np.arange(1000)) == promised_thresholds(images)
    assert "0.05" not in promised_thresholds(images, groups=np.repeat(np.arange(10), 100))
