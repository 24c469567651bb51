"""Which of several runs is better, and whether the images at hand can show it.

All runs predict the same images, so what counts is where two of them disagree: the test is
McNemar's exact one on the images that only one run predicts correctly, adjusted after Holm for
the number of pairs; the interval is Tango's for paired proportions.
"""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnetlab.errors import DataError, RecipeError
from resnetlab.evaluation.intervals import Interval, wilson
from resnetlab.evaluation.metrics import quick_scores
from resnetlab.evaluation.paired import (
    balanced_interval,
    holm,
    images_to_show,
    mcnemar,
    mcnemar_mid_p,
    paired_interval,
    smallest_difference,
)
from resnetlab.evaluation.predictions import Predictions

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
    labels = runs[names[0]].in_id_order().labels
    pairs = [
        {
            "a": a,
            "b": b,
            **_compare(correct[a], correct[b], confidence),
            "balanced_difference": balanced_interval(
                correct[a] & ~correct[b], correct[b] & ~correct[a], labels, confidence
            ),
        }
        for a, b in combinations(names, 2)
    ]
    samples = len(correct[names[0]])
    adjusted = holm([pair["p_value"] for pair in pairs])
    for pair, p_adjusted in zip(pairs, adjusted, strict=True):
        shown = p_adjusted < 1 - confidence and _excludes_zero(pair["difference"])
        pair["p_adjusted"] = p_adjusted
        pair["verdict"] = "shown" if shown else "not shown"
        pair["images_more"] = None if shown else _images_more(pair, samples, confidence, len(pairs))
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
        "mid_p": mcnemar_mid_p(only_a, only_b),
    }


def _images_more(pair: dict[str, Any], samples: int, confidence: float, pairs: int) -> int | None:
    """Return how many images more would show a difference as large; None where there is none."""
    disagree = (pair["only_a_right"] + pair["only_b_right"]) / samples
    needed = images_to_show(abs(pair["difference"]["value"]), disagree, (1 - confidence) / pairs)
    return None if needed is None else max(needed - samples, 1)


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
    p, more = _p_text(pair["p_adjusted"]), ""
    if pair["images_more"] is not None:
        more = f" About {_rounded(pair['images_more'])} more of their kind would show a difference this large."
    ahead = f"{pair['a']} is {points} more accurate than {pair['b']} {limits}"
    if pair["verdict"] == "shown":
        return f"{ahead}: shown ({p})."
    if _excludes_zero(difference):
        test = "the exact test" if pairs == 1 else f"the exact test over all {pairs} pairs"
        return f"{ahead}, but {test} does not show it ({p}).{more}"
    return (
        f"{pair['a']} and {pair['b']} differ by {points} {limits}: "
        f"{samples:,} images cannot show which is better ({p}).{more}"
    )


def _rounded(count: int) -> str:
    """Return a number of images to two digits: more would say more than is known."""
    return f"{float(f'{count:.2g}'):,.0f}"


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
