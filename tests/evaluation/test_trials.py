from math import sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from resnetlab.evaluation.trials import (
    best_trial,
    cheapest_within_one_error,
    compare_trials,
    corrected_t_test,
)

DIFFERENCES = st.lists(st.floats(-1, 1), min_size=2, max_size=30).filter(
    lambda values: np.std(values) > 1e-6
)


@given(DIFFERENCES)
def test_without_shared_training_images_it_is_the_paired_t_test(differences):
    row = np.array(differences)
    interval, p_value = corrected_t_test(row, ratio=0.0, confidence=0.95)

    theirs = stats.ttest_1samp(row, 0.0)
    assert p_value == pytest.approx(theirs.pvalue, abs=1e-12)
    limits = theirs.confidence_interval(0.95)
    assert (interval["low"], interval["high"]) == pytest.approx((limits.low, limits.high))


@given(DIFFERENCES, st.floats(0.01, 1))
def test_shared_training_images_widen_the_interval_by_nadeau_and_bengios_factor(differences, ratio):
    row = np.array(differences)
    plain, _ = corrected_t_test(row, 0.0, 0.95)
    corrected, _ = corrected_t_test(row, ratio, 0.95)

    wider = sqrt((1 / len(row) + ratio) / (1 / len(row)))
    widths = [found["high"] - found["low"] for found in (plain, corrected)]
    assert widths[1] == pytest.approx(wider * widths[0])
    assert corrected["value"] == plain["value"]


def test_five_folds_of_a_worked_example():
    # t = mean / sqrt((1/5 + 1/4) var) with 4 degrees of freedom, by hand.
    row = np.array([0.02, 0.04, 0.01, 0.03, 0.05])
    interval, p_value = corrected_t_test(row, ratio=0.25, confidence=0.95)

    t = 0.03 / sqrt(0.45 * 0.00025)
    assert p_value == pytest.approx(2 * stats.t.sf(t, 4))
    assert interval["low"] == pytest.approx(0.03 - stats.t.ppf(0.975, 4) * sqrt(0.45 * 0.00025))


def test_equal_differences_over_two_folds_prove_nothing():
    # Three images more in both of two folds of 100: chance gives such a tie often enough.
    _, p_value = corrected_t_test(np.array([0.03, 0.03]), 1.0, 0.95, resolution=0.01)
    assert p_value > 0.05


def test_no_difference_at_all_has_a_p_of_one():
    assert corrected_t_test(np.zeros(5), 0.25, 0.95)[1] == 1.0


def test_the_best_is_named_and_the_others_are_held_against_it():
    scores = {0: [0.5, 0.52, 0.51, 0.5, 0.52], 3: [0.9, 0.92, 0.91, 0.9, 0.92]}
    facts = compare_trials(scores, True, validated_on=0.2)

    assert facts[3]["verdict"] == "best"
    assert facts[3]["difference"] is None
    assert facts[0]["verdict"] == "shown"
    assert facts[0]["difference"]["value"] == pytest.approx(-0.4)
    assert facts[0]["difference"]["high"] < 0


def test_of_losses_the_smaller_is_better():
    scores = {0: [0.5, 0.6], 1: [0.9, 0.9]}
    assert best_trial(scores, larger_is_better=False) == 0
    assert compare_trials(scores, False, 0.5)[0]["verdict"] == "best"


def test_of_equal_trials_the_first_is_the_best():
    assert best_trial({4: [0.5, 0.5], 2: [0.5, 0.5]}, True) == 2


def test_with_one_fold_nothing_is_said_about_differences():
    facts = compare_trials({0: [0.5], 1: [0.9]}, True, 0.1)
    assert facts[0]["verdict"] is None
    assert facts[0]["difference"] is None
    assert facts[0]["spread"] is None


def test_p_values_are_adjusted_for_all_pairs_that_might_have_been_looked_at():
    scores = {n: list(0.5 + 0.01 * n + 0.001 * np.arange(5) * (-1) ** n) for n in range(6)}
    facts = compare_trials(scores, True, 0.2)
    alone = compare_trials({0: scores[0], 5: scores[5]}, True, 0.2)

    assert facts[0]["p_adjusted"] > alone[0]["p_adjusted"]


def test_equal_settings_are_hardly_ever_told_apart():
    """20 settings that differ by chance alone, 200 searches: any 'shown' is a false finding."""
    generator = np.random.default_rng(0)
    false = 0
    for _ in range(200):
        scores = {n: list(generator.normal(0.5, 0.03, 5)) for n in range(20)}
        facts = compare_trials(scores, True, validated_on=0.2)
        false += any(row["verdict"] == "shown" for row in facts.values())
    assert false <= 10  # 5 % of 200


def test_one_standard_error_takes_the_cheapest_that_is_near_enough():
    scores = {0: [0.80, 0.90, 0.85], 1: [0.84, 0.85, 0.83], 2: [0.60, 0.61, 0.60]}
    costs = {0: (9.0, 1), 1: (3.0, 1), 2: (1.0, 1)}
    # The error of the best is 0.05 / sqrt(3) = 0.029: trial 1 is 0.01 below it, trial 2 far below.
    assert cheapest_within_one_error(scores, costs, True) == 1


def test_of_equally_cheap_ones_the_better_is_taken():
    scores = {0: [0.80, 0.90], 1: [0.84, 0.85], 2: [0.83, 0.84]}
    costs = dict.fromkeys(scores, (1.0, 1))
    assert cheapest_within_one_error(scores, costs, True) == 0


def test_with_one_fold_no_error_is_known_and_the_best_is_taken():
    assert cheapest_within_one_error({0: [0.9], 1: [0.8999]}, {0: (9.0,), 1: (1.0,)}, True) == 0


def test_no_interval_goes_beyond_what_scores_can_differ_by():
    facts = compare_trials({0: [0.1, 0.9], 1: [0.9, 0.9]}, True, 0.5, bound=1.0)
    assert (facts[0]["difference"]["low"], facts[0]["difference"]["high"]) == (-1.0, 1.0)
