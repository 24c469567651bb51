"""Charts of calibration and of selective prediction."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from resnetlab.report.drawing.style import INK, MUTED, SPLIT_COLOURS, WIDTH, drawing, panel

Json = Mapping[str, Any]


def reliability_diagram(calibration: Json, path: Path) -> None:
    """Draw accuracy over confidence with its interval, as the logits come and calibrated."""
    same = calibration["temperature"] == 1
    parts = [("Calibrated", calibration["calibrated"])]
    if not same:
        parts = [("As the network says it", calibration), *parts]
    else:
        parts = [("Confidence and accuracy", calibration)]
    with drawing(path, 4.2 * len(parts), 3.9) as figure:
        for column, (title, part) in enumerate(parts):
            axes = panel(figure, 0.55 + column * 4.2, 0.35, 3.0, 3.0)
            axes.set_title(f"{title}: ECE {100 * part['ece']['value']:.1f} %")
            _reliability(axes, part["reliability"])
            if column == 0:
                axes.set_ylabel("accuracy, %")


def _reliability(axes: Axes, bins: Sequence[Json]) -> None:
    confidence = 100 * np.array([one["confidence"] for one in bins])
    value, low, high = (
        100 * np.array([one["accuracy"][key] for one in bins]) for key in ("value", "low", "high")
    )
    least = max(0.0, 10 * np.floor(min(confidence.min(), low.min()) / 10))
    axes.plot([least, 100], [least, 100], color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.vlines(confidence, low, high, colors=SPLIT_COLOURS["train"], linewidth=1.4, alpha=0.5)
    axes.plot(confidence, value, "o", color=SPLIT_COLOURS["train"], ms=4.5)
    axes.set(xlim=(least, 101), ylim=(least, 101), xlabel="confidence, %")


def risk_coverage_curve(selective: Json, path: Path) -> None:
    """Draw the error rate of the surest images over their share, with its interval."""
    curve = selective["curve"]
    coverage = 100 * np.array([point["coverage"] for point in curve])
    value, low, high = (
        100 * np.array([point["error"][key] for point in curve]) for key in ("value", "low", "high")
    )
    colour = SPLIT_COLOURS["train"]
    with drawing(path, WIDTH * 0.62, 3.3) as figure:
        axes = panel(figure, 0.55, 0.2, WIDTH * 0.62 - 0.8, 2.5)
        axes.fill_between(coverage, low, high, color=colour, alpha=0.18, linewidth=0)
        axes.plot(coverage, value, color=colour)
        for row in selective["thresholds"]:
            if row["threshold"] is None:
                continue
            x, y = 100 * row["coverage"]["value"], 100 * row["error"]["value"]
            axes.plot(x, y, "o", color=INK, ms=4.5)
            axes.annotate(
                f"{100 * row['wanted']:g} % wanted",
                (x, y),
                (0, 8),
                textcoords="offset points",
                ha="right",
                fontsize=8,
            )
        top = max(float(value.max()) * 1.6, float(high[-1]), 1.0)
        axes.set(xlim=(0, 101), ylim=(0, top))
        axes.set_xlabel("coverage: share of the images that get an answer, surest first, %")
        axes.set_ylabel("error rate, %")
