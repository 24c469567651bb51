"""Trainings that differ in their seed alone, taken together: what is the recipe's and what is luck."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
from scipy.special import stdtrit

from resnetlab.evaluation.intervals import Interval, mean_interval
from resnetlab.evaluation.trials import corrected_t_test

Scores = Mapping[int, float]  # by seed, an accuracy


def compare_repeats(
    groups: Mapping[str, Scores], confidence: float = 0.95, resolution: float = 0.0
) -> dict[str, Any]:
    """Return the mean accuracy of each group of repeats, and what is shown of the difference of each two.

    Intervals are Student's, over seeds: paired where two groups share two seeds or more, else Welch's.
    Groups of a single run have no interval and are compared with none. Accuracies move in steps of
    `resolution` (one image), which no spread of a difference can be below.
    """
    means = {
        name: mean_interval(np.array(list(scores.values())), confidence)
        for name, scores in groups.items()
    }
    several = sorted((name for name in groups if len(groups[name]) > 1), key=means_of(means))
    pairs = [
        {"a": a, "b": b, "difference": difference(groups[a], groups[b], confidence, resolution)}
        for a, b in combinations(several, 2)
    ]
    for pair in pairs:
        pair["sentence"] = sentence(pair)
    return {
        "groups": [
            {"name": name, "runs": len(groups[name]), "accuracy": means[name]} for name in groups
        ],
        "pairs": pairs,
    }


def means_of(means: Mapping[str, Interval]) -> Any:
    """Return what orders names by their means, the best first."""
    return lambda name: (-means[name]["value"], name)


def difference(a: Scores, b: Scores, confidence: float, resolution: float = 0.0) -> Interval:
    """Return how much better `a` is than `b` on average, with its interval over seeds.

    Source: Welch 1947, Biometrika 34, 28-35, where seeds are not shared.
    """
    shared = sorted(a.keys() & b.keys())
    if len(shared) > 1:
        differences = np.array([a[seed] - b[seed] for seed in shared])
        return corrected_t_test(differences, 0.0, confidence, resolution)[0]
    one, other = (np.array(list(scores.values())) for scores in (a, b))
    rounding = resolution**2 / 12
    errors = np.array([max(each.var(ddof=1), rounding) / len(each) for each in (one, other)])
    value, total = float(one.mean() - other.mean()), float(errors.sum())
    if total == 0:
        return Interval(value=value, low=value, high=value)
    freedom = total**2 / float((errors**2 / [len(one) - 1, len(other) - 1]).sum())
    reach = float(stdtrit(freedom, (1 + confidence) / 2)) * total**0.5
    return Interval(value=value, low=value - reach, high=value + reach)


def sentence(pair: Mapping[str, Any]) -> str:
    """Return in words what the seeds show."""
    found = pair["difference"]
    points, low, high = (f"{100 * found[key]:.1f}" for key in ("value", "low", "high"))
    limits = f"{points} points [{low}, {high}]"
    if found["low"] > 0 or found["high"] < 0:
        return f"Over seeds {pair['a']} is {limits} more accurate than {pair['b']}: shown."
    return f"Over seeds {pair['a']} and {pair['b']} differ by {limits}: not shown."
