"""Accuracy under corruptions is counted per corruption and strength, in groups where images belong together."""

import numpy as np
import pytest

from resnetlab.evaluation.intervals import wilson
from resnetlab.evaluation.predictions import Predictions
from resnetlab.evaluation.shift.robustness import robustness


def predictions(right: int, of: int = 40) -> Predictions:
    logits = np.tile([1.0, 0.0], (of, 1))
    logits[right:] = [0.0, 1.0]
    return Predictions.make([f"{i:03}" for i in range(of)], np.zeros(of), logits, ("a", "b"))


def test_each_curve_holds_the_accuracy_of_its_strengths():
    noise = {0.1: predictions(30), 0.2: predictions(20)}
    found = robustness(predictions(38), {"noise": noise}, np.arange(40))
    assert found["clean"] == pytest.approx(wilson(38, 40), abs=0.01)
    points = found["curves"][0]["strengths"]
    assert [each["strength"] for each in points] == [0.1, 0.2]
    assert points[0]["accuracy"] == pytest.approx(wilson(30, 40), abs=0.01)
    assert found["mean"] == (30 + 20) / 80


def test_images_that_belong_together_give_wider_intervals():
    curve = {"noise": {0.1: predictions(20)}}
    alone = robustness(predictions(38), curve, np.arange(40))
    together = robustness(predictions(38), curve, np.arange(40) // 10)
    width = [
        each["curves"][0]["strengths"][0]["accuracy"]["high"]
        - each["curves"][0]["strengths"][0]["accuracy"]["low"]
        for each in (alone, together)
    ]
    assert width[1] > 1.5 * width[0]
