"""The calibration error is right on average, its interval holds the truth, its parts are scikit-learn's."""

import json

import numpy as np
import pytest
from scipy.special import softmax
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from resnetlab.evaluation.confidence.calibration import (
    brier_scores,
    describe_calibration,
    equal_mass_bins,
    expected_calibration_error,
)
from resnetlab.evaluation.predictions import Predictions

SKILL = 4.0


def model(n: int, temperature: float, rng: np.random.Generator, k: int = 10):
    """Return confidences (N,), whether each prediction is correct, and how often it would be.

    The model's are the best possible logits, divided by `temperature`.
    """
    labels = rng.integers(k, size=n)
    seen = rng.normal(size=(n, k)) * 1.5
    seen[np.arange(n), labels] += SKILL
    best = seen * SKILL / 1.5**2  # the logits of Bayes' own posterior
    said, true = softmax(best / temperature, axis=1), softmax(best, axis=1)
    predicted = best.argmax(axis=1)
    return said.max(axis=1), predicted == labels, true[np.arange(n), predicted]


def ece(confidence, correct):
    return expected_calibration_error(equal_mass_bins(confidence, correct))


def some(n: int = 300) -> Predictions:
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=n)
    logits = rng.normal(size=(n, 3))
    logits[np.arange(n), labels] += 1.5
    return Predictions.make([f"{i:04}" for i in range(n)], labels, logits, list("abc"))


@pytest.mark.parametrize("temperature", [1.0, 0.8, 0.5, 1.6])
@pytest.mark.parametrize("n", [300, 2000])
def test_the_interval_holds_the_true_error_in_93_of_100_cases_at_least(temperature, n):
    rng = np.random.default_rng(1)
    confidence, _, true = model(300_000, temperature, rng)
    truth, trials = float(np.abs(confidence - true).mean()), 300
    found = [ece(*model(n, temperature, rng)[:2]) for _ in range(trials)]
    # A hair of room: with nothing wrong the truth is 0, and the lowest limit is 0 too.
    held = sum(one["low"] <= truth + 1e-9 and truth <= one["high"] for one in found)
    assert held >= 0.93 * trials


def test_chance_alone_is_taken_off_where_confidences_are_right():
    rng = np.random.default_rng(2)
    plain, debiased = [], []
    for _ in range(100):
        confidence, correct, _ = model(1000, 1.0, rng)
        bins = equal_mass_bins(confidence, correct)
        plain.append((np.abs(bins.confidence - bins.accuracy) * bins.images).sum() / 1000)
        debiased.append(expected_calibration_error(bins)["value"])
    assert np.mean(debiased) < 0.65 * np.mean(plain)


def test_a_gross_error_is_found_as_large_as_it_is():
    confidence = np.full(4000, 0.9)
    correct = np.arange(4000) % 2 == 0
    assert ece(confidence, correct)["value"] == pytest.approx(0.4, abs=0.01)


def test_confidence_of_exactly_one_lies_in_no_bin_of_its_own():
    """As it does in torchmetrics (thread 3510)."""
    confidence = np.ones(1000)
    correct = np.arange(1000) % 10 != 0
    bins = equal_mass_bins(confidence, correct)
    assert bins.images.tolist() == [66, 67, 67] * 5
    assert ece(confidence, correct)["value"] == pytest.approx(0.1, abs=0.005)


def test_a_model_that_is_always_right_still_has_an_interval():
    found = ece(np.ones(100), np.ones(100, dtype=bool))
    assert found["value"] == found["low"] == 0
    assert 0.005 < found["high"] < 0.05


def test_bins_are_scikit_learns_quantiles():
    rng = np.random.default_rng(3)
    confidence, correct, _ = model(3000, 0.7, rng)
    bins = equal_mass_bins(confidence, correct)
    accuracy, mean = calibration_curve(correct, confidence, n_bins=15, strategy="quantile")
    assert bins.confidence == pytest.approx(mean, abs=2e-3)
    assert bins.accuracy == pytest.approx(accuracy, abs=0.01)


def test_few_images_are_not_spread_over_many_bins():
    assert len(equal_mass_bins(np.full(79, 0.5), np.ones(79, dtype=bool)).images) == 1


def test_the_brier_score_equals_scikit_learns():
    predictions = some()
    expected = sk.brier_score_loss(
        predictions.labels, predictions.probs, labels=[0, 1, 2], scale_by_half=False
    )
    found = describe_calibration(predictions)
    assert found["brier"]["value"] == pytest.approx(expected)
    assert brier_scores(predictions.probs, predictions.labels).mean() == pytest.approx(expected)


def test_the_loss_equals_scikit_learns_before_and_after():
    predictions = some()
    found = describe_calibration(predictions, temperature=2.0)
    for part, t in ((found, 1.0), (found["calibrated"], 2.0)):
        expected = sk.log_loss(predictions.labels, predictions.probs_at(t), labels=[0, 1, 2])
        assert part["loss"]["value"] == pytest.approx(expected)


def test_the_order_of_the_images_changes_nothing_and_the_result_is_json():
    predictions = some()
    shuffled = predictions.take(np.random.default_rng(4).permutation(len(predictions)))
    found = describe_calibration(predictions, 1.3)
    assert found == describe_calibration(shuffled, 1.3)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
