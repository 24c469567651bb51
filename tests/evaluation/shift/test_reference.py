"""What is far from all training images is told, and of familiar images no more than was promised."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.neighbors import NearestNeighbors

from resnetlab.evaluation.shift.foreign import foreign_scores
from resnetlab.evaluation.shift.reference import (
    MOST,
    MOST_BYTES,
    REFUSED,
    Reference,
    images_needed,
    nearest,
    representatives,
    threshold_for,
    unit,
)


def clouds(seed: int, count: int, place: float = 0.0) -> np.ndarray:
    """Make features (count, 32) around a direction that `place` turns."""
    rng = np.random.default_rng(seed)
    centre = np.zeros(32)
    centre[:2] = np.cos(place), np.sin(place)
    return centre + 0.1 * rng.normal(size=(count, 32))


def reference_of(seed: int = 0, validation: int = 200) -> Reference:
    training = unit(clouds(seed, 300)).astype(np.float16)
    _, distances = nearest(clouds(seed + 1, validation), training)
    confidences = np.random.default_rng(seed).beta(8, 1, validation).astype(np.float32)
    return Reference(training, distances, confidences)


@given(arrays(np.float32, st.integers(19, 300), elements=st.floats(0, 2, width=32)))
def test_one_more_image_of_the_same_kind_is_refused_no_more_often_than_promised(distances):
    """Split conformal: leave each image out in turn and ask about it by the others' threshold."""
    n = len(distances)
    refused = sum(
        distances[row] > threshold_for(np.delete(distances, row))
        for row in range(n)
        if n - 1 >= images_needed()
    )
    assert refused <= REFUSED * n + 1e-9


def test_too_few_validation_images_set_no_threshold():
    assert images_needed() == 19
    threshold_for(np.zeros(19))
    with pytest.raises(AssertionError):
        threshold_for(np.zeros(18))


def test_distances_are_those_of_scikit_learn():
    training, new = clouds(0, 50), clouds(1, 7)
    expected, places = (
        NearestNeighbors(n_neighbors=1, metric="cosine").fit(training).kneighbors(new)
    )

    found_places, found = nearest(new, unit(training))

    np.testing.assert_allclose(found, expected[:, 0], atol=1e-6)
    assert found_places.tolist() == places[:, 0].tolist()


def test_features_that_are_all_zero_are_as_far_as_can_be():
    assert nearest(np.zeros((1, 32)), unit(clouds(0, 5)))[1].tolist() == [1.0]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.sampled_from([8, 10**6]))
def test_every_class_is_represented_the_rare_ones_wholly(labels, width):
    labels = np.array(labels)
    rows = representatives(labels, width)
    limit = max(len(set(labels)), min(MOST, MOST_BYTES // (2 * width)))
    assert len(rows) == min(len(labels), limit)
    assert sorted(set(rows)) == rows.tolist()
    counts = np.bincount(labels[rows], minlength=6)
    everything = np.bincount(labels, minlength=6)
    for label in range(6):  # a class has fewer than another only where it has no more
        assert counts[label] == everything[label] or counts[label] >= counts.max() - 1


def test_foreign_images_are_refused_and_familiar_ones_are_not():
    reference = reference_of()
    familiar = (reference.distances_of(clouds(7, 1000)) > reference.threshold).mean()
    foreign = (reference.distances_of(clouds(8, 100, place=1.5)) > reference.threshold).mean()
    assert familiar < 0.12
    assert foreign == 1.0


def test_foreign_scores_say_what_is_said_of_them():
    reference = reference_of()
    near, far = clouds(7, 40), clouds(8, 60, place=1.5)
    distances = reference.distances_of(np.concatenate([near, far]))
    probs = np.tile([0.95, 0.05], (100, 1))
    probs[50:] = [0.4, 0.6]

    found = foreign_scores(reference, distances, probs, ("cat", "dog"))

    assert found["taken_for"] == {"cat": 50, "dog": 50}
    assert found["sure"]["value"] == 0.5
    assert found["sure_and_kept"]["value"] <= 0.4  # of the familiar ones alone
    assert 0.6 <= found["refused"]["value"] < 0.7
    assert found["auroc"]["low"] < found["auroc"]["value"] < found["auroc"]["high"]
