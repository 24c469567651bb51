"""Logits adjusted by the classes' frequencies: of a network that knows them too well, it helps the rare."""

import numpy as np
import pytest
import torch

from resnetlab.evaluation.metrics import quick_scores
from resnetlab.training.adjustment import TAUS, adjust_head, best_tau
from resnetlab.training.inputs import plain_view
from resnetlab.training.predict import predict

CLASSES = ("high", "middle", "low")
COUNTS = np.array([900, 90, 10])


@pytest.fixture
def biased(train, make_recipe, tmp_path):
    """A network that learned evenly, and then to expect the first class far more often."""
    classifier, _ = train(make_recipe(training__epochs=1), tmp_path)
    with torch.no_grad():
        classifier.head.weight *= 0.02  # unsure
        classifier.head.bias += torch.tensor(np.log(COUNTS / COUNTS.sum()), dtype=torch.float32)
    return classifier


def test_the_amount_that_undoes_it_is_found(biased, make_samples, make_recipe):
    val, recipe = make_samples(60, seed=5), make_recipe()

    tau, scores = best_tau(biased, val, CLASSES, COUNTS, recipe)

    assert set(scores) == set(TAUS)
    assert tau > 0
    assert scores[tau] == max(scores.values()) > scores[0.0]


def test_the_head_takes_it_in(biased, make_samples, make_recipe):
    val, recipe = make_samples(60, seed=5), make_recipe()
    _, scores = best_tau(biased, val, CLASSES, COUNTS, recipe)

    adjust_head(biased, COUNTS, 1.0)

    found = quick_scores(predict(biased, val, plain_view(recipe), CLASSES, 0, 0))
    assert found["balanced_accuracy"] == pytest.approx(scores[1.0])


def test_nothing_changes_without(biased):
    before = biased.head.bias.clone()

    adjust_head(biased, COUNTS, 0.0)

    assert torch.equal(biased.head.bias, before)
