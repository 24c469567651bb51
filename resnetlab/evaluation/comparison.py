"""Which of several runs is better, and whether the images at hand can show it.

All runs predict the same images, so what counts is where two of them disagree: the test is
McNemar's exact one on the images that only one run predicts correctly, adjusted after Holm for
the number of pairs; the interval is Tango's for paired proportions.
"""

from collections.abc import Mapping
from itertools import combinations
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from resnetlab.errors import DataError, RecipeError
from resnetlab.evaluation.intervals import Interval, wilson
from resnetlab.evaluation.metrics import quick_scores
from resnetlab.evaluation.predictions import Predictions

POWER = 0.8  # how often `smallest_difference` would be found, the usual choice
Correct = NDArray[np.bool_]  # (N,) whether each image is predicted correctly


def compare_all(runs: Mapping[str, Predictions], confidence: float = 0.95) -> dict[str, Any]:
    """Compare every pair of runs (name: predictions) and say in words what is shown.

    `runs` come back best first, `pairs` with the better one as `a`. The result can be written as
    JSON. Raises RecipeError for fewer than two runs, DataError for runs on different images.
    """
    if len(runs) < 2:
        raise RecipeError(f"A comparison needs at least two runs, got {len(runs)}.")
    correct = _correct_by_id(runs)
    names = sorted(runs, key=lambda name: (-int(correct[name].sum()), name))
    pairs = [
        {"a": a, "b": b, **_compare(correct[a], correct[b], confidence)}
        for a, b in combinations(names, 2)
    ]
    samples = len(correct[names[0]])
    adjusted = holm([pair["p_value"] for pair in pairs])
    for pair, p_adjusted in zip(pairs, adjusted, strict=True):
        shown = p_adjusted < 1 - confidence and _excludes_zero(pair["difference"])
        pair["p_adjusted"] = p_adjusted
        pair["verdict"] = "shown" if shown else "not shown"
        pair["sentence"] = _sentence(pair, samples, len(pairs))
    discordant = float(np.median([p["only_a_right"] + p["only_b_right"] for p in pairs])) / samples
    smallest = smallest_difference(samples, discordant, (1 - confidence) / len(pairs))
    return {
        "samples": samples,
        "confidence": confidence,
        "absent": absent(runs[names[0]]),
        "runs": [_run(name, runs[name], confidence) for name in names],
        "pairs": pairs,
        "smallest_difference": smallest,
        "summary": _summary(names, pairs, samples, smallest),
    }


def compare_pair(a: Predictions, b: Predictions, confidence: float = 0.95) -> dict[str, Any]:
    """Return difference (accuracy a - b, paired), only_a_right, only_b_right and p_value.

    Rows are matched by id. Raises DataError where the two hold different images or labels.
    """
    correct = _correct_by_id({"a": a, "b": b})
    return _compare(correct["a"], correct["b"], confidence)


def paired_interval(
    only_a_right: int, only_b_right: int, n: int, confidence: float = 0.95
) -> Interval:
    """Return the difference of two accuracies on the same `n` images with Tango's score interval.

    Source: Tango 1998, Statistics in Medicine 17, 891-908.
    """
    z = float(ndtri((1 + confidence) / 2))
    return Interval(
        value=(only_a_right - only_b_right) / n,
        low=_lower_limit(only_a_right, only_b_right, n, z),
        high=-_lower_limit(only_b_right, only_a_right, n, z),
    )


def mcnemar(only_a_right: int, only_b_right: int) -> float:
    """Return the exact two-sided p: had both runs the same accuracy, each disagreement is a coin.

    Source: McNemar 1947, Psychometrika 12, 153-157, with the binomial in place of chi-squared.
    """
    from scipy.stats import binomtest  # takes a second to load, which other verbs need not wait for

    disagreements = only_a_right + only_b_right
    return float(binomtest(only_a_right, disagreements).pvalue) if disagreements else 1.0


def holm(p_values: list[float]) -> list[float]:
    """Adjust p-values so that one false finding among all of them is as rare as with a single test.

    Source: Holm 1979, Scandinavian Journal of Statistics 6, 65-70.
    """
    order = np.argsort(p_values, kind="stable")
    scaled = np.asarray(p_values)[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return [float(p) for p in adjusted]


def smallest_difference(n: int, discordant: float, alpha: float) -> float:
    """Return the smallest true difference in accuracy that `n` images show in 4 of 5 cases.

    Two runs disagree on the share `discordant` 0..1 of the images; `alpha` is the level of the
    test after adjustment. Connor's sample size n = ((z_a √D + z_b √(D - d²)) / d)² solved for d
    gives d = k √D. The difference can't be larger than the disagreement: where D is too small for
    anything to be shown, the answer is d = D = k², every disagreement in favour of one run. It is
    1 where so few images show nothing at all.
    Source: Connor 1987, Biometrics 43, 207-211.
    """
    if 2 * 0.5**n >= alpha:  # the exact p of one run correct and the other wrong on every image
        return 1.0
    z_a, z_b = float(ndtri(1 - alpha / 2)), float(ndtri(POWER))
    k = (z_a * sqrt(n) + z_b * sqrt(max(n + z_b**2 - z_a**2, 0.0))) / (n + z_b**2)
    return min(max(k * sqrt(discordant), k**2), 1.0)


def _correct_by_id(runs: Mapping[str, Predictions]) -> dict[str, Correct]:
    """Return for each run which images it predicts correctly, all in the same order."""
    tables = {}
    for name, predictions in runs.items():
        predictions.require_labels()
        tables[name] = predictions.in_id_order()
    (first, reference), *others = tables.items()
    for name, table in others:
        _require_same_images(first, reference, name, table)
    return {name: table.predicted == table.labels for name, table in tables.items()}


def _require_same_images(a: str, first: Predictions, b: str, second: Predictions) -> None:
    advice = "Compare runs made on the same split: same data, same seed, same data.split."
    if first.classes != second.classes:
        raise DataError(f"The classes of {a} and {b} differ. {advice}")
    strays = set(first.ids) ^ set(second.ids)
    if strays:
        raise DataError(
            f"{a} and {b} do not predict the same images: {len(strays)} ids are in one of them "
            f"only, the first is {min(strays)!r}. {advice}"
        )
    relabelled = int((first.labels != second.labels).sum())
    if relabelled:
        raise DataError(f"{relabelled} images have another label in {a} than in {b}. {advice}")


def _compare(a: Correct, b: Correct, confidence: float) -> dict[str, Any]:
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    return {
        "difference": paired_interval(only_a, only_b, len(a), confidence),
        "only_a_right": only_a,
        "only_b_right": only_b,
        "p_value": mcnemar(only_a, only_b),
    }


def _lower_limit(plus: int, minus: int, n: int, z: float) -> float:
    """Find the smallest difference d that the score test does not refuse, at most the observed.

    The test's variance takes the maximum-likelihood share q of `minus` images given d.
    """
    from scipy.optimize import brentq

    observed = (plus - minus) / n
    if observed == -1:
        return -1.0

    def excess(d: float) -> float:
        b = (2 * n - plus + minus) * d - plus - minus
        q = (sqrt(max(b * b + 8 * n * minus * d * (1 - d), 0.0)) - b) / (4 * n)
        return plus - minus - n * d - z * sqrt(max(n * (2 * q + d * (1 - d)), 0.0))

    # At the observed difference itself the variance may be 0: a root, but not the limit.
    return float(brentq(excess, -1.0, observed - 1e-9))


def _excludes_zero(interval: Interval) -> bool:
    return interval["low"] > 0 or interval["high"] < 0


def absent(predictions: Predictions) -> list[str]:
    """Return the classes of which none of the images is."""
    here = set(predictions.labels.tolist())
    return [name for label, name in enumerate(predictions.classes) if label not in here]


def _run(name: str, predictions: Predictions, confidence: float) -> dict[str, Any]:
    scores = quick_scores(predictions)
    correct = int((predictions.predicted == predictions.labels).sum())
    return {
        "name": name,
        "accuracy": wilson(correct, len(predictions), confidence),
        "loss": scores["loss"] if predictions.scored else None,
        "macro_f1": scores["macro_f1"],
    }


def _sentence(pair: dict[str, Any], samples: int, pairs: int) -> str:
    """Return what is shown; where interval and test disagree, the sentence says so."""
    difference: Interval = pair["difference"]
    points = f"{_points(difference['value'])} points"
    limits = f"[{_points(difference['low'])}, {_points(difference['high'])}]"
    p = _p_text(pair["p_adjusted"])
    ahead = f"{pair['a']} is {points} more accurate than {pair['b']} {limits}"
    if pair["verdict"] == "shown":
        return f"{ahead}: shown ({p})."
    if _excludes_zero(difference):
        test = "the exact test" if pairs == 1 else f"the exact test over all {pairs} pairs"
        return f"{ahead}, but {test} does not show it ({p})."
    return (
        f"{pair['a']} and {pair['b']} differ by {points} {limits}: "
        f"{samples:,} images cannot show which is better ({p})."
    )


def _points(share: float) -> str:
    """Return a share in percentage points; a small one never as 0.0."""
    text = f"{100 * share:z.1f}"
    return f"{100 * share:.1g}" if share and text == "0.0" else text


def _p_text(p: float) -> str:
    if p < 0.001:
        return "p < 0.001"
    return f"p = {p:.2g}" if p < 0.995 else "p = 1.0"


def _summary(names: list[str], pairs: list[dict[str, Any]], samples: int, smallest: float) -> str:
    """Name a best run only where it is shown to be better than every other one."""
    best, *others = names
    beaten = [pair["b"] for pair in pairs if pair["a"] == best and pair["verdict"] == "shown"]
    rivals = [name for name in others if name not in beaten]
    if not rivals:
        return f"{best} is shown to be better than {_listed(others)}."
    worse = f"; {_listed(beaten)} {_is(beaten)} shown to be worse than {best}" if beaten else ""
    enough = f" (about {_points(smallest)} points would show)" if smallest < 1 else ""
    return (
        f"{samples:,} images cannot show which of {_listed([best, *rivals])} is best"
        f"{enough}{worse}."
    )


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _is(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"
