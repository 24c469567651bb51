"""Which of several settings is best, by their scores on the same folds, and whether that is shown.

Folds share most of their training images, so their scores are more alike than independent ones
would be; the test counts that in. It is paired: every setting was tried on the same folds.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import inf, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnetlab.evaluation.intervals import Interval
from resnetlab.evaluation.paired import holm

Scores = Mapping[int, Sequence[float]]  # of each trial, by its number: one score a fold


def compare_trials(
    scores: Scores,
    larger_is_better: bool,
    validated_on: float,
    confidence: float = 0.95,
    resolution: float = 0.0,
    bound: float = inf,
) -> dict[int, dict[str, Any]]:
    """Compare every trial with the best one: mean, spread, `difference` to the best, verdict.

    `validated_on` is the share of the images that one fold validates on. Scores move in steps of
    `resolution` (one image of a fold), which no spread can be below, and can't differ by more than
    `bound` (1 for shares). With a single fold there is no difference to be tested. `shown` means:
    shown to be worse than the best. The p-values are adjusted after Holm for all pairs of trials,
    for any of them might have come out best.
    """
    if not scores:
        return {}
    table = {number: np.asarray(row, dtype=np.float64) for number, row in scores.items()}
    best = best_trial(scores, larger_is_better)
    ratio = validated_on / (1 - validated_on) if validated_on < 1 else 0.0
    facts: dict[int, dict[str, Any]] = {
        number: {
            "mean": float(row.mean()),
            "spread": float(row.std(ddof=1)) if len(row) > 1 else None,
            "difference": None,
            "p_adjusted": None,
            "verdict": "best" if number == best else None,
        }
        for number, row in table.items()
    }
    if len(table[best]) < 2 or len(table) < 2:
        return facts
    pairs = list(combinations(table, 2))
    p_values = [
        corrected_t_test(table[a] - table[b], ratio, confidence, resolution)[1] for a, b in pairs
    ]
    for (a, b), p_adjusted in zip(pairs, holm(p_values), strict=True):
        if best in (a, b):
            number = b if a == best else a
            difference = table[number] - table[best]
            interval, _ = corrected_t_test(difference, ratio, confidence, resolution)
            shown = p_adjusted < 1 - confidence and not interval["low"] <= 0 <= interval["high"]
            low, high = max(interval["low"], -bound), min(interval["high"], bound)
            facts[number] |= {
                "difference": Interval(value=interval["value"], low=low, high=high),
                "p_adjusted": p_adjusted,
                "verdict": "shown" if shown else "not shown",
            }
    return facts


def corrected_t_test(
    differences: NDArray[np.float64], ratio: float, confidence: float, resolution: float = 0.0
) -> tuple[Interval, float]:
    """Return the mean of paired differences, one a fold, with its interval, and the two-sided p.

    The variance of the mean of J differences is taken as (1 / J + `ratio`) times theirs, where
    `ratio` is that of validation to training images: without it, folds that share training
    images look surer than they are. Each score may be half a `resolution` off what a finer measure
    would give; equal differences over two folds are no proof of a small variance.
    Source: Nadeau and Bengio 2003, Machine Learning 52, 239-281.
    """
    from scipy.stats import t  # takes a second to load, which other verbs need not wait for

    count = len(differences)
    mean = float(differences.mean())
    variance = max(float(differences.var(ddof=1)), resolution**2 / 6)  # two rounded scores
    error = sqrt((1 / count + ratio) * variance)
    half = error * float(t.ppf((1 + confidence) / 2, count - 1))
    p_value = 2 * float(t.sf(abs(mean) / error, count - 1)) if error else float(mean == 0)
    return Interval(value=mean, low=mean - half, high=mean + half), p_value


def best_trial(scores: Scores, larger_is_better: bool) -> int:
    """Return the number of the trial with the best mean, the first of equal ones."""
    sign = 1 if larger_is_better else -1
    return max(scores, key=lambda number: (sign * float(np.mean(scores[number])), -number))


def cheapest_within_one_error(
    scores: Scores, costs: Mapping[int, tuple[float, ...]], larger_is_better: bool
) -> int:
    """Return the cheapest trial whose mean is within one standard error of the best one's.

    Of equally cheap ones the better. With one fold no error is known: the best is returned.
    Source: Breiman, Friedman, Olshen and Stone 1984, Classification and Regression Trees, 3.4.3.
    """
    best = best_trial(scores, larger_is_better)
    row = np.asarray(scores[best], dtype=np.float64)
    if len(row) < 2:
        return best
    error = float(row.std(ddof=1)) / sqrt(len(row))
    sign = 1 if larger_is_better else -1
    means = {number: sign * float(np.mean(row)) for number, row in scores.items()}
    near = [number for number, mean in means.items() if mean >= means[best] - error]
    return min(near, key=lambda number: (costs[number], -means[number], number))
