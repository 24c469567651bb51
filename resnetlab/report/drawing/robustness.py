"""Accuracy under corruptions, as small multiples."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from resnetlab.report.drawing.style import INK, MUTED, SPLIT_COLOURS, WIDTH, drawing, panel

COLUMNS = 4
HEIGHT = 1.75  # inches of a row


def robustness_curves(found: Mapping[str, Any], path: Path) -> None:
    """Draw a panel a corruption: accuracy with its interval over the strength, 0 for none."""
    curves, clean = found["curves"], found["clean"]
    rows = -(-len(curves) // COLUMNS)
    wide = WIDTH / COLUMNS
    colour = SPLIT_COLOURS["train"]
    with drawing(path, WIDTH, rows * HEIGHT + 0.1) as figure:
        for place, curve in enumerate(curves):
            left, top = place % COLUMNS * wide, place // COLUMNS * HEIGHT
            axes = panel(figure, left + 0.38, top + 0.25, wide - 0.5, HEIGHT - 0.62)
            points = [clean, *(each["accuracy"] for each in curve["strengths"])]
            value, low, high = (
                100 * np.array([point[key] for point in points]) for key in ("value", "low", "high")
            )
            axes.axhline(100 * clean["value"], color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
            axes.fill_between(range(len(points)), low, high, color=colour, alpha=0.18, linewidth=0)
            axes.plot(value, color=colour, marker="o", ms=3)
            axes.set_title(curve["corruption"], color=INK)
            axes.set(xlim=(-0.2, len(points) - 0.8), ylim=(0, 101))
            axes.set_xticks(
                range(len(points)),
                ["0", *(f"{each['strength']:g}" for each in curve["strengths"])],
            )
            if place % COLUMNS:
                axes.tick_params(labelleft=False)
