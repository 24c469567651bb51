"""Flips at test time are taken where validation clearly gains by them, and only there."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import log_softmax

from resnetlab.training.flips import FlipTrial, try_flips
from resnetlab.training.inputs import plain_view
from resnetlab.training.predict import predict

CLASSES = ("a", "b", "c")


@pytest.fixture
def recipe(make_recipe):
    return make_recipe(model__name="cnn", data__normalize="half")


def log_probs(classifier, samples, recipe, flip: bool):
    """Return what the network says of images, asked with or without flips."""
    classifier.horizontal_flip = flip
    found = predict(classifier, samples, plain_view(recipe), CLASSES, 0, 0)
    classifier.horizontal_flip = False
    return log_softmax(found.logits, axis=1)


def test_they_are_taken_where_the_loss_falls_by_them(make_samples, make_classifier, recipe):
    classifier, samples = make_classifier(recipe), make_samples(60)
    gains = log_probs(classifier, samples, recipe, True) - log_probs(
        classifier, samples, recipe, False
    )

    for choose, helps in ((np.argmax, True), (np.argmin, False)):
        labelled = replace(samples, labels=choose(gains, axis=1))
        found = try_flips(classifier, labelled, CLASSES, recipe)
        assert found.helps == helps
        assert found.gain == pytest.approx(
            np.take_along_axis(gains, labelled.labels[:, None], axis=1).mean(), abs=1e-6
        )
    assert not classifier.horizontal_flip, "it is left as it was"


def test_a_gain_that_could_be_chance_is_none():
    assert FlipTrial(0.02, 0.005).helps
    assert not FlipTrial(0.02, 0.015).helps
    assert not FlipTrial(0.0, 0.0).helps, "symmetric images"
    assert not FlipTrial(0.02, np.inf).helps, "a single image"
