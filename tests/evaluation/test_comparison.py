import json
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from resnetlab.errors import DataError, RecipeError
from resnetlab.evaluation.comparison import compare_all
from resnetlab.evaluation.paired import (
    holm,
    images_to_show,
    mcnemar,
    mcnemar_mid_p,
    paired_interval,
    smallest_difference,
)
from resnetlab.evaluation.predictions import Predictions


def answers(right, ids=None) -> Predictions:
    """Answers to two-class images, right where `right` says so."""
    right = np.asarray(right, dtype=bool)
    labels = np.arange(len(right)) % 2
    logits = np.eye(2)[np.where(right, labels, 1 - labels)]
    ids = [f"{i:04}" for i in range(len(right))] if ids is None else ids
    return Predictions.make(ids, labels, logits, ["x", "y"])


def pair_with(both: int, only_a: int, only_b: int, neither: int) -> dict[str, Predictions]:
    a = np.repeat([1, 1, 0, 0], [both, only_a, only_b, neither])
    b = np.repeat([1, 0, 1, 0], [both, only_a, only_b, neither])
    return {"resnet18": answers(a), "mlp": answers(b)}


@pytest.mark.parametrize(
    ("counts", "confidence", "low", "high", "rounding"),
    [
        # Fagerland, Lydersen and Laake 2014, Statistics in Medicine 33, 2850-2875, after
        # Bentur 2009 (n = 21) and Cavo 2012 (n = 161); the last from R's PropCIs::scoreci.mp.
        ((7, 1, 21), 0.95, 0.026, 0.517, 5e-4),
        ((16, 6, 161), 0.95, 0.0054, 0.1240, 5e-5),
        ((28, 25, 618), 0.90, -0.0148, 0.0247, 5e-5),
    ],
)
def test_the_paired_interval_equals_published_ones(counts, confidence, low, high, rounding):
    found = paired_interval(*counts, confidence)
    assert found["low"] == pytest.approx(low, abs=rounding)
    assert found["high"] == pytest.approx(high, abs=rounding)


@pytest.mark.parametrize("counts", [(0, 0, 30), (30, 0, 30), (0, 30, 30)])
def test_the_paired_interval_has_width_where_the_runs_agree_or_never_do(counts):
    found = paired_interval(*counts)
    # With one or no kind of disagreement the score interval is Wilson's with its z² / (n + z²).
    assert found["high"] - found["low"] >= 3.84 / 33.85
    assert -1 <= found["low"] <= found["value"] <= found["high"] <= 1


def test_nineteen_of_twenty_paired_intervals_hold_the_truth():
    # Exact coverage: over all outcomes of 30 images, weighed by how likely they are.
    n, shares = 30, (0.15, 0.05)
    held = 0.0
    for plus in range(n + 1):
        for minus in range(n + 1 - plus):
            outcome = [plus, minus, n - plus - minus]
            chance = stats.multinomial.pmf(outcome, n, [*shares, 1 - sum(shares)])
            if chance > 1e-7:
                found = paired_interval(plus, minus, n)
                held += chance * (found["low"] <= shares[0] - shares[1] <= found["high"])
    assert 0.935 <= held <= 0.975


@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemars_p_is_the_chance_of_a_coin_as_lopsided(only_a, only_b):
    n, least = only_a + only_b, max(only_a, only_b)
    tail = sum(comb(n, k) for k in range(least, n + 1)) / 2**n
    assert mcnemar(only_a, only_b) == pytest.approx(min(2 * tail, 1.0))


def test_mcnemars_p_equals_a_published_one():
    assert mcnemar(6, 16) == pytest.approx(0.052479, abs=1e-6)


def test_holm_multiplies_the_smallest_most_and_keeps_the_order():
    # As R's p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm").
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.7, 0.6]) == [1.0, 1.0]


def exact_power(n: int, discordant: float, difference: float, alpha: float) -> float:
    """The chance that McNemar's exact test shows a true difference, over all outcomes."""
    share, power = (1 + difference / discordant) / 2, 0.0
    for m in range(n + 1):
        wins = np.arange(m + 1)
        shows = 2 * stats.binom.cdf(np.minimum(wins, m - wins), m, 0.5) < alpha
        power += stats.binom.pmf(m, n, discordant) * stats.binom.pmf(wins, m, share)[shows].sum()
    return power


@pytest.mark.parametrize(("n", "discordant", "alpha"), [(120, 0.2, 0.05), (150, 0.3, 0.01)])
def test_the_smallest_difference_is_shown_in_about_four_of_five_cases(n, discordant, alpha):
    difference = smallest_difference(n, discordant, alpha)
    assert 0.7 < exact_power(n, discordant, difference, alpha) < 0.82


def test_the_smallest_difference_solves_connors_equation():
    n, share, alpha = 400, 0.15, 0.05
    d = smallest_difference(n, share, alpha)
    z_a, z_b = stats.norm.ppf([0.975, 0.8])
    assert ((z_a * share**0.5 + z_b * (share - d * d) ** 0.5) / d) ** 2 == pytest.approx(n)


def test_runs_that_hardly_disagree_need_as_many_disagreements_as_they_differ():
    d = smallest_difference(400, 0.0, 0.05)
    assert (
        d
        == smallest_difference(400, d / 2, 0.05)
        == pytest.approx(smallest_difference(400, d, 0.05))
    )


def test_five_images_show_nothing():
    assert smallest_difference(5, 0.5, 0.05) == 1.0


def test_a_difference_that_the_test_shows_is_said_so():
    found = compare_all(pair_with(150, 12, 1, 17))
    (pair,) = found["pairs"]
    assert (pair["only_a_right"], pair["only_b_right"]) == (12, 1)
    assert pair["verdict"] == "shown"
    assert pair["sentence"] == (
        "resnet18 is 6.1 points more accurate than mlp [2.7, 10.8]: shown (p = 0.0034)."
    )
    assert found["summary"] == "resnet18 is shown to be better than mlp."


def test_a_difference_that_the_test_does_not_show_crowns_nobody():
    found = compare_all(pair_with(150, 5, 4, 21))
    (pair,) = found["pairs"]
    assert pair["verdict"] == "not shown"
    assert pair["sentence"] == (
        "resnet18 and mlp differ by 0.6 points [-3.2, 4.4]: "
        "180 images cannot show which is better (p = 1.0). "
        "About 13,000 more of their kind would show a difference this large."
    )
    smallest = 100 * smallest_difference(180, 9 / 180, 1 - 0.95)
    assert found["summary"] == (
        "180 images cannot show which of resnet18 and mlp is best "
        f"(about {smallest:.1f} points would show)."
    )


def test_an_interval_without_zero_does_not_speak_against_the_test():
    (pair,) = compare_all(pair_with(59, 16, 6, 80))["pairs"]
    assert pair["difference"]["low"] > 0
    assert pair["verdict"] == "not shown"
    assert pair["sentence"] == (
        "resnet18 is 6.2 points more accurate than mlp [0.5, 12.4], "
        "but the exact test does not show it (p = 0.052). "
        "About 120 more of their kind would show a difference this large."
    )


def test_a_limit_next_to_zero_is_not_written_as_zero():
    (pair,) = compare_all(pair_with(9900, 33, 17, 50))["pairs"]
    assert 0 < pair["difference"]["low"] < 0.0005
    assert "[0.02, 0.3]" in pair["sentence"]


def test_many_pairs_need_more_to_be_shown_and_the_sentence_says_so():
    runs = pair_with(150, 9, 1, 20)
    assert compare_all(runs)["pairs"][0]["verdict"] == "shown"
    found = compare_all(runs | {"cnn": runs["mlp"]})
    assert [pair["verdict"] for pair in found["pairs"]] == ["not shown"] * 3
    assert "but the exact test over all 3 pairs does not show it" in found["pairs"][0]["sentence"]
    p_values = [pair["p_value"] for pair in found["pairs"]]
    assert [pair["p_adjusted"] for pair in found["pairs"]] == holm(p_values)


def test_the_summary_names_rivals_and_beaten_runs():
    right = np.arange(200) < 180
    almost, poor = right.copy(), right.copy()
    almost[0], poor[:40] = False, False
    found = compare_all({"poor": answers(poor), "almost": answers(almost), "top": answers(right)})
    assert [run["name"] for run in found["runs"]] == ["top", "almost", "poor"]
    assert found["summary"].startswith("200 images cannot show which of top and almost is best")
    assert found["summary"].endswith("; poor is shown to be worse than top.")


def test_the_table_of_runs_holds_accuracy_loss_and_macro_f1():
    found = compare_all(pair_with(10, 5, 0, 5))
    assert found["samples"] == 20
    assert [set(run) for run in found["runs"]] == [{"name", "accuracy", "loss", "macro_f1"}] * 2
    low, high = stats.binomtest(15, 20).proportion_ci(0.95, method="wilson")
    assert found["runs"][0]["accuracy"] == pytest.approx({"value": 0.75, "low": low, "high": high})
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_rows_are_matched_by_id_not_by_place():
    runs = pair_with(3, 2, 1, 4)
    turned = runs["mlp"].take(np.arange(10)[::-1])
    assert compare_all(runs | {"mlp": turned})["pairs"] == compare_all(runs)["pairs"]


def test_other_images_are_refused_with_their_number_and_the_way_out():
    a, b = answers([1, 1, 0], ["p", "q", "r"]), answers([1, 1, 0], ["p", "s", "t"])
    with pytest.raises(DataError) as error:
        compare_all({"mlp": a, "cnn": b})
    assert str(error.value) == (
        "mlp and cnn do not predict the same images: 4 ids are in one of them only, the first "
        "is 'q'. Compare runs made on the same split: same data, same seed, same data.split."
    )


def test_other_labels_are_refused_with_their_number():
    a = answers([1, 1, 0])
    b = Predictions.make(a.ids, [1, 1, 0], a.logits, a.classes)
    with pytest.raises(DataError, match="1 images have another label in a than in b"):
        compare_all({"a": a, "b": b})


def test_other_classes_are_refused():
    a = answers([1, 1, 0])
    b = Predictions.make(a.ids, a.labels, a.logits, ["y", "x"])
    with pytest.raises(DataError, match="The classes of a and b differ"):
        compare_all({"a": a, "b": b})


def test_unknown_labels_are_refused():
    a = answers([1, 1, 0])
    b = Predictions.make(a.ids, [-1, -1, 0], a.logits, a.classes)
    with pytest.raises(DataError, match="2 of 3 predictions have no known label"):
        compare_all({"a": a, "b": b})


def test_one_run_is_no_comparison():
    with pytest.raises(RecipeError, match="at least two runs, got 1"):
        compare_all({"only": answers([1])})


outcomes = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 40), st.floats(0.5, 0.999))
def test_comparing_the_other_way_round_turns_the_sign(only_a, only_b, others, confidence):
    samples = only_a + only_b + others
    there = paired_interval(only_a, only_b, samples, confidence)
    back = paired_interval(only_b, only_a, samples, confidence)
    assert mcnemar(only_a, only_b) == mcnemar(only_b, only_a)
    assert there["value"] == -back["value"]
    assert (there["low"], there["high"]) == (-back["high"], -back["low"])


@settings(deadline=None)
@given(outcomes, st.floats(0.5, 0.999))
def test_the_paired_interval_holds_the_difference_and_lies_in_minus_1_to_1(rows, confidence):
    a, b = (answers(column) for column in zip(*rows, strict=True))
    difference = compare_all({"a": a, "b": b}, confidence)["pairs"][0]["difference"]
    assert -1 <= difference["low"] <= difference["value"] <= difference["high"] <= 1


@settings(deadline=None)
@given(outcomes, st.randoms())
def test_the_order_of_images_and_runs_changes_nothing(rows, random):
    a, b = (answers(column) for column in zip(*rows, strict=True))
    order = list(range(len(rows)))
    random.shuffle(order)
    turned = {"b": b.take(np.array(order)), "a": a}
    assert compare_all(turned)["pairs"] == compare_all({"a": a, "b": b})["pairs"]


@settings(deadline=None)
@given(outcomes, st.floats(0.5, 0.999))
def test_what_is_shown_has_an_interval_without_zero_and_a_small_p(rows, confidence):
    a, b = (answers(column) for column in zip(*rows, strict=True))
    (pair,) = compare_all({"a": a, "b": b}, confidence)["pairs"]
    if pair["verdict"] == "shown":
        assert pair["difference"]["low"] > 0
        assert pair["p_adjusted"] < 1 - confidence


@pytest.mark.parametrize(("a", "b"), [(12, 4), (4, 12), (0, 6), (7, 6), (1, 0)])
def test_the_mid_p_counts_half_of_what_was_observed(a, b):
    observed = 2 * comb(a + b, min(a, b)) * 0.5 ** (a + b)
    assert mcnemar_mid_p(a, b) == pytest.approx(mcnemar(a, b) - observed / 2)


def test_without_a_difference_the_mid_p_is_one():
    assert mcnemar_mid_p(0, 0) == mcnemar_mid_p(5, 5) == 1.0


def test_equal_models_are_called_different_in_5_of_100_cases_at_most_by_either_p():
    rng = np.random.default_rng(0)
    disagreements = rng.binomial(400, 0.08, size=2000)
    only_a = rng.binomial(disagreements, 0.5)
    pairs = [(int(a), int(n - a)) for a, n in zip(only_a, disagreements, strict=True)]
    exact = sum(mcnemar(*pair) < 0.05 for pair in pairs)
    mid = sum(mcnemar_mid_p(*pair) < 0.05 for pair in pairs)
    assert exact <= mid <= 100
    assert mid > 60, "close to what it says, where the exact one is far below"


@pytest.mark.parametrize(("difference", "discordant"), [(0.02, 0.08), (0.05, 0.3), (0.01, 0.02)])
def test_so_many_images_show_the_difference_in_4_of_5_cases(difference, discordant):
    n = images_to_show(difference, discordant, 0.05)
    assert smallest_difference(n, discordant, 0.05) == pytest.approx(difference, rel=0.02)
    rng = np.random.default_rng(1)
    shares = [(discordant + difference) / 2, (discordant - difference) / 2, 1 - discordant]
    found = [mcnemar_mid_p(int(a), int(b)) < 0.05 for a, b, _ in rng.multinomial(n, shares, 500)]
    assert 0.72 < np.mean(found) < 0.88


def test_no_difference_is_shown_by_no_number_of_images():
    assert images_to_show(0.0, 0.1, 0.05) is None


def test_frames_of_two_clips_show_nothing_that_two_images_would_not():
    right = np.repeat([True, False], 50)
    runs = {"a": answers(np.ones(100)), "b": answers(right)}
    clips = {f"{number:04}": number // 50 for number in range(100)}

    (alone,), (together,) = compare_all(runs)["pairs"], compare_all(runs, groups=clips)["pairs"]

    assert alone["verdict"] == "shown"
    assert together["verdict"] == "not shown"
    assert together["difference"]["value"] == alone["difference"]["value"]
    assert "100 images in 2 groups cannot show" in together["sentence"]
    assert together["only_a_right"] == 50, "what was seen is told as it was"


def test_equal_runs_on_groups_are_rarely_told_apart():
    rng, told = np.random.default_rng(0), 0
    groups = {f"{number:04}": number // 10 for number in range(400)}
    for _ in range(400):
        a, b = (np.repeat(rng.random(40) < 0.8, 10) for _ in "ab")
        (pair,) = compare_all({"a": answers(a), "b": answers(b)}, groups=groups)["pairs"]
        told += pair["p_value"] < 0.05
    assert told / 400 <= 0.06
