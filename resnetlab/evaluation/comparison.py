"""Which of several runs is better, and whether the images at hand can show it.

All runs predict the same images, so what counts is where two of them disagree: the test is
McNemar's exact one on the images that only one run predicts correctly, adjusted after Holm for
the number of pairs; the interval is Tango's for paired proportions. Images of one group (frames of a
clip) are no independent ones: by the design effect of the difference fewer of them count.
"""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnetlab.errors import DataError, RecipeError
from resnetlab.evaluation.intervals import Interval, design_effect, wilson
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


def compare_all(
    runs: Mapping[str, Predictions],
    confidence: float = 0.95,
    groups: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Compare every pair of runs (name: predictions) and say in words what is shown.

    `runs` come back best first, `pairs` with the better one as `a`. `groups` tells by its id to which group an
    image belongs. The result can be written as JSON. Raises RecipeError for fewer than two runs, DataError
    for runs on different images.
    """
    if len(runs) < 2:
        raise RecipeError(f"A comparison needs at least two runs, got {len(runs)}.")
    correct = _correct_by_id(runs)
    names = sorted(runs, key=lambda name: (-int(correct[name].sum()), name))
    table = runs[names[0]].in_id_order()
    labels, group = table.labels, grouped(groups, table.ids)
    pairs = [
        {"a": a, "b": b, **_compare(correct[a], correct[b], labels, group, confidence)}
        for a, b in combinations(names, 2)
    ]
    samples = len(correct[names[0]])
    counted = f"{samples:,} images"
    if group is not None:
        counted += f" in {len(np.unique(group)):,} groups"
    adjusted = holm([pair["p_value"] for pair in pairs])
    for pair, p_adjusted in zip(pairs, adjusted, strict=True):
        shown = p_adjusted < 1 - confidence and _excludes_zero(pair["difference"])
        pair["p_adjusted"] = p_adjusted
        pair["verdict"] = "shown" if shown else "not shown"
        pair["images_more"] = None if shown else _images_more(pair, samples, confidence, len(pairs))
        pair["sentence"] = _sentence(pair, counted, len(pairs))
    discordant = float(np.median([p["only_a_right"] + p["only_b_right"] for p in pairs])) / samples
    alone = samples / float(np.median([pair["design_effect"] for pair in pairs]))
    smallest = smallest_difference(alone, discordant, (1 - confidence) / len(pairs))
    return {
        "samples": samples,
        "groups": None if group is None else len(np.unique(group)),
        "confidence": confidence,
        "absent": absent(runs[names[0]]),
        "runs": [_run(name, runs[name], confidence) for name in names],
        "pairs": pairs,
        "smallest_difference": smallest,
        "summary": _summary(names, pairs, counted, smallest),
    }


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


def grouped(groups: Mapping[str, int] | None, ids: NDArray[Any]) -> NDArray[np.int64] | None:
    """Return the group (N,) of each image; None where every one stands alone, or nothing is known of them."""
    if groups is None:
        return None
    group = np.array([groups[id_] for id_ in ids], dtype=np.int64)
    return group if len(np.unique(group)) < len(group) else None


def _compare(
    a: Correct,
    b: Correct,
    labels: NDArray[np.integer],
    group: NDArray[np.int64] | None,
    confidence: float,
) -> dict[str, Any]:
    plus, minus = a & ~b, b & ~a
    design = design_effect(plus.astype(np.int64) - minus, group)
    only_a, only_b = int(plus.sum()), int(minus.sum())
    counted = only_a / design, only_b / design
    whole = round(counted[0]), round(counted[1])
    return {
        "difference": paired_interval(*counted, len(a) / design, confidence),
        "balanced_difference": balanced_interval(plus, minus, labels, confidence, design),
        "only_a_right": only_a,
        "only_b_right": only_b,
        "design_effect": design,
        "p_value": mcnemar(*whole),
        "mid_p": mcnemar_mid_p(*whole),
    }


def _images_more(pair: dict[str, Any], samples: int, confidence: float, pairs: int) -> int | None:
    """Return how many images more would show a difference as large; None where there is none."""
    disagree = (pair["only_a_right"] + pair["only_b_right"]) / samples
    needed = images_to_show(abs(pair["difference"]["value"]), disagree, (1 - confidence) / pairs)
    return None if needed is None else max(round(needed * pair["design_effect"]) - samples, 1)


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


def _sentence(pair: dict[str, Any], counted: str, pairs: int) -> str:
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
        f"{counted} cannot show which is better ({p}).{more}"
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


def _summary(names: list[str], pairs: list[dict[str, Any]], counted: str, smallest: float) -> str:
    """Name a best run only where it is shown to be better than every other one."""
    best, *others = names
    beaten = [pair["b"] for pair in pairs if pair["a"] == best and pair["verdict"] == "shown"]
    rivals = [name for name in others if name not in beaten]
    if not rivals:
        return f"{best} is shown to be better than {_listed(others)}."
    worse = f"; {_listed(beaten)} {_is(beaten)} shown to be worse than {best}" if beaten else ""
    enough = f" (about {_points(smallest)} points would show)" if smallest < 1 else ""
    return f"{counted} cannot show which of {_listed([best, *rivals])} is best{enough}{worse}."


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _is(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"
