"""Drift is said where there is some, and rarely where there is none."""

import numpy as np
import pytest

from resnetlab.evaluation.shift.drift import FALSE_ALARMS, drift
from resnetlab.evaluation.shift.reference import Reference


def reference_from(rng: np.random.Generator, n: int) -> Reference:
    distances, confidences = draw(rng, n)
    return Reference(np.zeros((1, 2), np.float16), distances, confidences)


def draw(rng: np.random.Generator, n: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Draw distances and confidences as skewed as real ones, half of the latter tied at 1."""
    distances = rng.gamma(4, 0.05, n) + shift
    confidences = np.minimum(rng.beta(5, 0.5, n) + 0.02, 1.0)
    return distances.astype(np.float32), confidences.astype(np.float32)


@pytest.mark.parametrize(("validation", "images", "times"), [(50, 100, 600), (200, 500, 150)])
def test_of_images_that_have_not_drifted_few_give_a_false_alarm(validation, images, times):
    rng = np.random.default_rng(validation)
    alarms = sum(
        drift(reference_from(rng, validation), *draw(rng, images)).found() for _ in range(times)
    )
    assert alarms <= 1 + 2 * FALSE_ALARMS * times, (
        f"more than twice the {FALSE_ALARMS:.0%} that was promised"
    )


def test_images_from_further_off_are_drift():
    rng = np.random.default_rng(0)
    found = drift(reference_from(rng, 200), *draw(rng, 300, shift=0.1))
    assert found.found()
    assert found.refused["value"] > 0.05
    assert "unlike the training images" in str(found)
    assert found.as_json()["distance"]["new"] > found.as_json()["distance"]["validation"]


def test_images_that_lie_nearer_and_get_surer_answers_are_no_drift():
    rng = np.random.default_rng(0)
    distances, confidences = draw(rng, 300)
    known = reference_from(rng, 200)
    assert not drift(known, distances / 4, np.ones_like(confidences)).found()


def test_drift_of_the_confidence_alone_is_seen():
    rng = np.random.default_rng(1)
    reference = reference_from(rng, 200)
    distances, confidences = draw(rng, 300)
    assert drift(reference, distances, confidences - 0.2).found()
