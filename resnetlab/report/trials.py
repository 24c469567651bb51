"""The trials of a search in order, and in words; on the page, on the terminal and in figures."""

from collections.abc import Collection, Mapping
from statistics import median
from typing import Any

from resnetlab.report.formats import percent, points

Json = Mapping[str, Any]


def has_score(trial: Json) -> bool:
    """Return whether a trial ran to its end and was scored."""
    return trial["state"] == "finished" and trial["mean"] is not None


def ranked(search: Json) -> list[Json]:
    """Return the trials best first; those without a score follow in the order of their numbers."""
    sign = 1 if search["monitor"] == "loss" else -1
    return sorted(
        search["trials"],
        key=lambda trial: (
            not has_score(trial),
            sign * trial["mean"] if has_score(trial) else 0,
            trial["number"],
        ),
    )


def setting_names(search: Json) -> dict[str, str]:
    """Return the last word of each searched key, or all of a key where another ends alike."""
    last_words = [key.rpartition(".")[2] for key in search["space"]]
    return {
        key: word if last_words.count(word) == 1 else key
        for key, word in zip(search["space"], last_words, strict=True)
    }


def setting_text(value: Any) -> str:
    """Return a setting as a recipe would write it, numbers to three digits."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "none"}[value]
    if isinstance(value, list):
        return f"[{', '.join(map(setting_text, value))}]"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def measure_name(monitor: str) -> str:
    """Return 'balanced accuracy', or 'macro F1'."""
    return monitor.replace("_", " ").replace("f1", "F1")


def score_text(value: float, monitor: str) -> str:
    """Return '36.6 %', or '0.412' of a loss."""
    return f"{value:.3f}" if monitor == "loss" else percent(value)


def spread_text(spread: float, monitor: str) -> str:
    """Return '1.2', in percentage points, or '0.012' of a loss."""
    return f"{spread:.3f}" if monitor == "loss" else f"{100 * spread:.1f}"


def difference_text(difference: Mapping[str, float], monitor: str) -> str:
    """Return '+3.2 (+0.4 to +6.1)' in percentage points, or a difference in loss likewise."""
    if monitor != "loss":
        return points(difference)
    value, low, high = (f"{difference[key]:+.3f}" for key in ("value", "low", "high"))
    return f"{value} ({low} to {high})".replace("-", "−")


def verdict_text(trial: Json, search: Json) -> str:
    """Return what came of a trial: 'best', 'not shown', 'pruned at fold 1, epoch 3'."""
    text = "shown to be worse" if trial["verdict"] == "shown" else trial["verdict"]
    text = text or trial["state"]
    if trial["reason"]:
        text += f"{':' if trial['state'] == 'failed' else ''} {trial['reason']}"
    other = trial["number"] == search["chosen"] != search["best"]
    return f"{text}, chosen" if other else text


def highest(values: Collection[float], search: Json) -> float:
    """Return where a scale of scores ends: a loss that exploded must not flatten the others."""
    if search["monitor"] != "loss":
        return max(values)
    return min(max(values), 3 * median(values))


def scaled(value: Any, search: Json) -> float:
    """Return a score as it is drawn: in per cent, a loss as it is."""
    return float(value) if search["monitor"] == "loss" else 100 * float(value)


def measure_title(search: Json) -> str:
    """Return 'accuracy, %', or 'loss'."""
    measure = measure_name(search["monitor"])
    return measure if measure == "loss" else f"{measure}, %"


def chosen_number(search: Json) -> int:
    """Return the number of the chosen trial, -1 where there is none."""
    return -1 if search["chosen"] is None else int(search["chosen"])
