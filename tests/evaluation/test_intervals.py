import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from resnetlab.evaluation import intervals
from resnetlab.evaluation.intervals import covering, stratified, wilson, wilson_share


@given(st.integers(1, 100_000), st.floats(0, 1), st.floats(0.5, 0.999))
def test_wilson_equals_scipys(n, share, confidence):
    successes = round(share * n)
    found = wilson(successes, n, confidence)
    expected = stats.binomtest(successes, n).proportion_ci(confidence, method="wilson")
    assert found["value"] == successes / n
    assert found["low"] == pytest.approx(expected.low, abs=1e-12)
    assert found["high"] == pytest.approx(expected.high, abs=1e-12)


@given(st.floats(0, 1), st.floats(1e-3, 1e9), st.floats(0.01, 0.9999))
def test_a_share_lies_in_its_interval_and_that_in_0_to_1(share, n, confidence):
    found = wilson_share(share, n, confidence)
    assert 0 <= found["low"] <= share == found["value"] <= found["high"] <= 1


def test_of_no_images_nothing_is_known():
    assert wilson(0, 0) == {"value": 0.0, "low": 0.0, "high": 1.0}


def test_a_mean_over_equal_classes_rests_on_all_images():
    assert intervals.effective_size(np.array([20, 20, 20])) == pytest.approx(60)


def test_a_mean_over_classes_rests_on_few_images_where_one_class_is_rare():
    # Kish: (Σw)² / Σw², each image weighing one over the size of its class.
    weights = np.repeat([1 / 1000, 1 / 1], [1000, 1])
    kish = weights.sum() ** 2 / (weights**2).sum()
    assert intervals.effective_size(np.array([1000, 1])) == pytest.approx(kish)
    assert kish < 4


def test_the_mean_has_students_interval():
    values = np.random.default_rng(0).exponential(size=30)
    found = intervals.mean_interval(values, 0.9)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert found["value"] == pytest.approx(values.mean())
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high))


def test_a_single_value_has_no_width():
    assert intervals.mean_interval(np.array([2.0])) == {"value": 2.0, "low": 2.0, "high": 2.0}


def test_every_resample_keeps_the_size_of_every_class():
    strata = np.array([2, 0, 2, 2, 1, 0])
    for drawn in stratified(strata, resamples=20, seed=0):
        assert np.bincount(strata[drawn]).tolist() == [2, 1, 3]


def test_every_member_of_a_class_is_drawn_equally_often():
    strata = np.array([0, 1, 1, 1, 1])
    times = np.bincount(np.concatenate(list(stratified(strata, resamples=4000, seed=1))))
    assert times[0] == 4000
    assert stats.chisquare(times[1:]).pvalue > 0.001


def test_the_seed_decides_the_draws():
    def draws(seed: int) -> list[list[int]]:
        return [drawn.tolist() for drawn in stratified(np.zeros(50, int), 3, seed)]

    assert draws(4) == draws(4)
    assert draws(4) != draws(5)


def test_covering_takes_the_wider_limit_on_each_side():
    formula = {"value": 0.5, "low": 0.1, "high": 0.6}
    drawn = np.linspace(0.2, 0.8, 101)
    found = covering(formula, drawn, 0.9)
    assert found == {"value": 0.5, "low": 0.1, "high": pytest.approx(0.77)}
