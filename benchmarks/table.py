"""From the lines of a run to its tables."""

from statistics import median
from typing import Any

from benchmarks.measure import Line
from benchmarks.plan import Comparison, Settings

Rows = dict[str, dict[str, Any]]  # by name: the middle of each metric, or 'error'

MORE, LESS = "images/s", "first step, s"  # what is compared, and which is better
RATIO = {MORE: "ours is × as fast", LESS: "ours starts × sooner"}


def rows_of(comparison: Comparison, lines: list[Line], settings: Settings) -> Rows:
    """Return the medians over the rounds of every contestant that was measured, and the ratios."""
    rows: Rows = {}
    for name in comparison.contestants:
        here = {"title": comparison.title, "name": name, "settings": settings.key()}
        found = [line for line in lines if here.items() <= line.items()]
        measured = [line["metrics"] for line in found if "metrics" in line]
        if measured:
            rows[name] = {key: middle([each[key] for each in measured]) for key in measured[0]}
        elif found:
            rows[name] = {"error": found[-1]["error"]}
    ours = rows.get(next(iter(comparison.contestants), ""), {})
    for row in rows.values():
        for metric in RATIO:
            if row is not ours and metric in row and metric in ours:
                better = ours[metric] / row[metric]
                row[RATIO[metric]] = better if metric == MORE else 1 / better
    return rows


def middle(values: list[Any]) -> Any:
    """Return the median of numbers; of words the last."""
    return values[-1] if isinstance(values[-1], str) else median(values)


def markdown(comparison: Comparison, rows: Rows) -> str:
    """Return a comparison as Markdown, fit to be pasted."""
    metrics = list(dict.fromkeys(metric for row in rows.values() for metric in row))
    metrics = [metric for metric in metrics if metric != "error"] or ["result"]
    lines = [f"### {comparison.title}", "", "| " + " | ".join(["", *metrics]) + " |"]
    lines.append("|---" * (1 + len(metrics)) + "|")
    for name, row in rows.items():
        cells = [short(row.get(metric, "")) for metric in metrics]
        if "error" in row:
            cells[0] = row["error"].replace("|", "/")
        lines.append("| " + " | ".join([name, *cells]) + " |")
    return "\n".join([*lines, "", *([comparison.note, ""] if comparison.note else [])])


def short(value: float | str) -> str:
    """Return a value with three digits that count."""
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
