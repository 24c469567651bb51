"""Sets keep their promise, equal MAPIE's, and are refused where the images can't bear it."""

import numpy as np
import pytest
from mapie.classification import SplitConformalClassifier
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from resnetlab.errors import DataError
from resnetlab.evaluation.confidence.conformal import (
    conformal,
    describe_sets,
    fit_sets,
    images_needed,
    sets_of,
)
from resnetlab.evaluation.predictions import Predictions


@pytest.fixture(scope="module")
def digits():
    """A model that was trained on few scanned digits, with the pixels and labels it has not seen."""
    pixels, labels = load_digits(return_X_y=True)
    pixels = (pixels + np.random.default_rng(0).normal(0, 8, pixels.shape)) / 16
    model = LogisticRegression(C=0.1, max_iter=200).fit(pixels[:300], labels[:300])
    return model, pixels[300:], labels[300:]


def predicted(model, pixels, labels) -> Predictions:
    names = [f"{i:05}" for i in range(len(labels))]
    logits = model.decision_function(pixels)
    return Predictions.make(names, labels, logits, [str(k) for k in range(10)])


@pytest.mark.parametrize("promise", [0.8, 0.9, 0.95])
def test_sets_equal_those_of_mapie(digits, promise):
    model, pixels, labels = digits
    mapie = SplitConformalClassifier(model, confidence_level=promise, prefit=True)
    mapie.conformalize(pixels[:500], labels[:500])
    expected = mapie.predict_set(pixels[500:])[1][:, :, 0]
    least = fit_sets(predicted(model, pixels[:500], labels[:500]), promise)
    found = sets_of(predicted(model, pixels[500:], labels[500:]).probs, least)
    differ = (found != expected).mean()
    assert differ < 1e-4, "but for float32"


@pytest.mark.parametrize("by_class", [False, True])
def test_new_images_are_covered_as_often_as_promised(digits, by_class):
    model, pixels, labels = digits
    everything = predicted(model, pixels, labels)
    rng = np.random.default_rng(1)
    cover, of_class = [], []
    for _ in range(200):
        order = rng.permutation(len(labels))
        least = fit_sets(everything.take(order[:700]), 0.9, by_class)
        found = describe_sets(everything.take(order[700:]), least)
        cover.append(found["cover"]["value"])
        of_class.append([row["cover"]["value"] for row in found["per_class"]])
    assert 0.895 < np.mean(cover) < 0.915
    worst = np.mean(of_class, axis=0).min()
    assert bool(worst > 0.89) is by_class, "only sets by class promise it for each class"


@pytest.mark.parametrize(("promise", "needed"), [(0.9, 9), (0.95, 19), (0.99, 99)])
def test_a_promise_takes_so_many_images(promise, needed):
    assert images_needed(promise) == needed


def test_too_few_images_are_refused_with_the_number_that_it_takes():
    few = Predictions.make([str(i) for i in range(18)], [0] * 18, np.ones((18, 2)), ["a", "b"])
    with pytest.raises(DataError, match=r"validation has 18 images.* takes 19 at least"):
        fit_sets(few, 0.95)
    assert "takes 19 at least" in conformal(few, few)["refused"]
    assert fit_sets(few, 0.9).shape == (2,)


def test_each_class_needs_enough_images_where_each_is_promised():
    labels = [0] * 40 + [1] * 5
    few = Predictions.make([str(i) for i in range(45)], labels, np.ones((45, 2)), ["a", "b"])
    with pytest.raises(DataError, match="validation of class b has 5 images"):
        fit_sets(few, 0.9, by_class=True)


def test_without_validation_nothing_is_promised():
    one = Predictions.make(["a"], [0], [[1, 0]], ["x", "y"])
    assert "there are none" in conformal(one, None)["refused"]
