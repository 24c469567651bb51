"""How the images of a set spread over what can be measured on them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from resnetlab.report.drawing.style import INK, MUTED, WIDTH, bare, drawing

BINS = 40


def histograms(columns: Mapping[str, np.ndarray], path: Path) -> None:
    """Draw a histogram of each column (M,), three in a row, the outermost 0.5 % gathered at the ends."""
    rows = -(-len(columns) // 3)
    with drawing(path, WIDTH, 1.5 * rows, "constrained") as figure:
        panels = figure.subplots(rows, 3).ravel()
        for axes, (name, values) in zip(panels, columns.items(), strict=True):
            bare(axes)
            low, high = np.percentile(values, [0.5, 99.5])
            if low == high:
                low, high = low - 0.5, high + 0.5
            axes.hist(np.clip(values, low, high), bins=BINS, range=(low, high), color=INK)
            axes.set_title(name, fontsize=8.5, color=MUTED)
            axes.set_yticks([])
