"""Seeds as repeats: Student's intervals, against SciPy."""

import numpy as np
import pytest
from scipy import stats

from resnetlab.evaluation.repeats import compare_repeats
from resnetlab.recipe import Recipe
from resnetlab.workflows.evidence.comparing import repeats_of

A = {0: 0.91, 1: 0.93, 2: 0.92}
B = {0: 0.88, 1: 0.91, 2: 0.90}


def test_the_same_seeds_are_compared_in_pairs():
    found = compare_repeats({"a": A, "b": B})
    (pair,) = found["pairs"]
    expected = stats.ttest_rel(list(A.values()), list(B.values())).confidence_interval(0.95)
    assert pair["difference"]["value"] == pytest.approx(0.0233, abs=1e-4)
    assert (pair["difference"]["low"], pair["difference"]["high"]) == pytest.approx(tuple(expected))
    assert pair["sentence"] == "Over seeds a is 2.3 points [0.9, 3.8] more accurate than b: shown."


def test_other_seeds_are_compared_after_welch():
    other = {seed + 10: score for seed, score in B.items()} | {20: 0.95}
    (pair,) = compare_repeats({"a": A, "b": other})["pairs"]
    expected = stats.ttest_ind(
        list(A.values()), list(other.values()), equal_var=False
    ).confidence_interval(0.95)
    assert (pair["difference"]["low"], pair["difference"]["high"]) == pytest.approx(tuple(expected))
    assert pair["sentence"].endswith("not shown.")


def test_a_mean_has_students_interval_and_a_single_run_none():
    found = compare_repeats({"a": A, "alone": {0: 0.99}})
    a, alone = found["groups"]
    scores = np.array(list(A.values()))
    expected = stats.t.interval(0.95, 2, scores.mean(), stats.sem(scores))
    assert (a["accuracy"]["low"], a["accuracy"]["high"]) == pytest.approx(expected)
    assert (a["runs"], alone["runs"]) == (3, 1)
    assert found["pairs"] == []


def test_intervals_cover_and_equal_recipes_are_rarely_told_apart():
    rng, covered = np.random.default_rng(0), 0
    for _ in range(1000):
        draws = rng.normal(0.9, 0.01, (2, 3))
        a, b = (dict(enumerate(row)) for row in draws)
        found = compare_repeats({"a": a, "b": b})["pairs"][0]["difference"]
        covered += found["low"] <= 0 <= found["high"]
    assert 0.93 <= covered / 1000 <= 0.97


def test_repeats_are_runs_that_differ_in_their_seed_and_their_machine_alone():
    plain = Recipe()
    recipes = {
        "photos": plain,
        "photos-2": plain.override({"seed": 1, "training.threads": 1}),
        "other": plain.override({"training.epochs": 3}),
    }
    assert repeats_of(recipes) == {"photos": ["photos", "photos-2"], "other": ["other"]}


def test_equal_differences_over_two_seeds_are_no_certainty():
    scores = {"a": {0: 0.91, 1: 0.92}, "b": {0: 0.90, 1: 0.91}}
    (pair,) = compare_repeats(scores, resolution=0.01)["pairs"]
    assert pair["sentence"].endswith("not shown.")
    strangers = {"a": {0: 0.91, 1: 0.91}, "b": {2: 0.90, 3: 0.90}}
    (pair,) = compare_repeats(strangers, resolution=0.01)["pairs"]
    assert pair["difference"]["low"] < 0 < pair["difference"]["high"]
