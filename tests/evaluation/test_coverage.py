"""Intervals of all averages hold the truth in about as many cases as they promise, on simulated test sets."""

import numpy as np
import pytest

from resnetlab.evaluation.confidence.calibration import describe_calibration
from resnetlab.evaluation.metrics import score
from resnetlab.evaluation.predictions import Predictions

TRIALS = 200
NAMES = (
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "weighted_f1",
    "kappa",
    "matthews",
    "loss",
    "top3",
)


def drawn(n: int, seed: int) -> Predictions:
    """Images of five uneven classes, and a model that is right about four times in five."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(5, size=n, p=[0.35, 0.25, 0.2, 0.12, 0.08])
    logits = rng.normal(size=(n, 5))
    logits[np.arange(n), labels] += 2.2
    return Predictions.make([f"{i:06}" for i in range(n)], labels, logits, list("abcde"))


@pytest.fixture(scope="module")
def held() -> dict[str, float]:
    """In which share of the trials each interval held what half a million images say."""
    truth = score(drawn(500_000, 10**6), resamples=2) | describe_brier(drawn(500_000, 10**6))
    found = dict.fromkeys((*NAMES, "brier"), 0)
    for seed in range(TRIALS):
        table = drawn(300, seed)
        scores = score(table, resamples=200) | describe_brier(table)
        for name in found:
            one = scores[name]
            found[name] += one["low"] <= truth[name]["value"] <= one["high"]
    return {name: count / TRIALS for name, count in found.items()}


def describe_brier(table: Predictions) -> dict[str, dict[str, float]]:
    return {"brier": describe_calibration(table)["brier"]}


@pytest.mark.parametrize("name", [*NAMES, "brier"])
def test_an_interval_of_95_per_cent_holds_in_92_to_99_of_100_cases(held, name):
    """Of 200 trials at 95 %, chance alone leaves 184 to 196."""
    assert 0.92 <= held[name] <= 0.995, held
