"""The temperature is the one that makes held-out confidences right, and never boundless."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from resnetlab.errors import DataError
from resnetlab.evaluation.confidence.temperature import LIMITS, fit_temperature
from resnetlab.evaluation.metrics import losses
from resnetlab.evaluation.predictions import Predictions


def honest(n: int, k: int, seed: int = 0, times: float = 1.0) -> Predictions:
    """Labels drawn by the very probabilities that the logits say, which are then `times` too sharp."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, k)) * 2
    labels = (softmax(logits, axis=1).cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    names = [f"{i:06}" for i in range(n)]
    return Predictions.make(names, labels, logits * times, [f"c{i}" for i in range(k)])


@pytest.mark.parametrize("times", [0.25, 1.0, 3.0])
def test_the_sharpness_that_was_put_in_is_found(times):
    assert fit_temperature(honest(20_000, 5, times=times)) == pytest.approx(times, rel=0.03)


def test_it_is_the_minimum_of_the_loss_that_an_optimiser_of_scipy_finds():
    predictions = honest(30_000, 4, times=2.0)
    found = minimize_scalar(
        lambda log_t: losses(predictions, np.exp(log_t)).mean(), bounds=(-2, 2), method="bounded"
    )
    assert fit_temperature(predictions) == pytest.approx(np.exp(found.x), rel=1e-3)


def test_images_that_are_all_predicted_correctly_ask_for_no_boundless_confidence():
    logits = np.tile([2.0, 0.0, 0.0], (50, 1))
    predictions = Predictions.make([str(i) for i in range(50)], [0] * 50, logits, list("abc"))
    sure = predictions.probs_at(fit_temperature(predictions)).max()
    assert 0.96 < sure < 0.995, "fifty images allow about one mistake in fifty"


def test_logits_that_say_nothing_meet_the_limit():
    wrong = np.tile([-5.0, 5.0], (40, 1))
    predictions = Predictions.make([str(i) for i in range(40)], [0] * 40, wrong, ["a", "b"])
    assert fit_temperature(predictions) == LIMITS[1]


def test_labels_must_be_known():
    with pytest.raises(DataError, match="1 of 1 predictions have no known label"):
        fit_temperature(Predictions.make(["a"], [-1], [[0.0, 1.0]], ["x", "y"]))


@given(st.integers(2, 6), st.integers(1, 40), st.floats(0.01, 300), st.integers(0, 99))
def test_no_image_changes_its_class_and_probabilities_stay_probabilities(k, n, times, seed):
    predictions = honest(n, k, seed, times)
    temperature = fit_temperature(predictions)
    assert LIMITS[0] <= temperature <= LIMITS[1]
    probs = predictions.probs_at(temperature)
    assert probs.sum(axis=1) == pytest.approx(1)
    own = np.take_along_axis(probs, predictions.predicted[:, None], axis=1)[:, 0]
    assert (own == probs.max(axis=1)).all()
