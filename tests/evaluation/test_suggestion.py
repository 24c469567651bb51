"""What is suggested for labelling is uncertain, and of many kinds."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from resnetlab.evaluation.suggestion import margin_uncertainty, suggest_rows


def test_uncertainty_is_one_where_two_classes_are_equal_and_zero_where_one_is_sure():
    found = margin_uncertainty(np.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.2, 0.7, 0.1]]))
    np.testing.assert_allclose(found, [1.0, 0.0, 0.5])


@given(st.integers(1, 60), st.integers(1, 40), st.integers(0, 3), st.booleans())
def test_as_many_images_as_wanted_each_once_the_most_uncertain_first(n, count, seed, copies):
    rng = np.random.default_rng(seed)
    features = np.zeros((n, 4)) if copies else rng.normal(size=(n, 4))
    uncertainty = rng.random(n)

    rows = suggest_rows(features, uncertainty, count)

    assert len(rows) == len(set(rows.tolist())) == min(n, count)
    assert (np.diff(uncertainty[rows]) <= 0).all()
    assert rows.tolist() == suggest_rows(features, uncertainty, count).tolist(), "nothing by lot"


def test_of_five_kinds_that_are_equally_uncertain_each_is_suggested():
    rng = np.random.default_rng(0)
    kinds = np.repeat(np.arange(5), [60, 10, 10, 10, 10])
    features = 10 * np.eye(5)[kinds] + 0.1 * rng.normal(size=(100, 5))
    rows = suggest_rows(features, 0.5 + 0.01 * rng.random(100), 10)
    assert set(kinds[rows]) == set(range(5))


def test_what_is_certain_is_not_suggested_while_enough_is_uncertain():
    rng = np.random.default_rng(0)
    uncertainty = np.where(np.arange(300) < 100, 0.9, 0.01)
    assert suggest_rows(rng.normal(size=(300, 6)), uncertainty, 10).max() < 100
