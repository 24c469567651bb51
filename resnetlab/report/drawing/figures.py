"""Charts of the evidence, each from plain numbers to a PNG."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from resnetlab.report.drawing.style import (
    GRID,
    INK,
    MUTED,
    PAPER,
    SPLIT_COLOURS,
    SPLIT_NAMES,
    WIDTH,
    bare,
    drawing,
    row_pitch,
    shorten,
)
from resnetlab.report.formats import points

MOST_BARS = 120  # classes in a distribution; beyond, only the largest and the smallest are drawn
MOST_SCORES = 40
MOST_CELL_NUMBERS = 20

_ERRORS = LinearSegmentedColormap.from_list("errors", ["#fdf1ec", "#f4b79f", "#dd6a4f", "#8e1420"])
_RIGHT = LinearSegmentedColormap.from_list("right", ["#f4f6f8", "#cdd8e3"])


def class_distribution(
    counts: Mapping[str, Sequence[int]], classes: Sequence[str], path: Path
) -> None:
    """Draw how many images each class has, in all and within each split, largest first."""
    splits = {name: np.asarray(values) for name, values in counts.items() if sum(values)}
    total = np.sum([np.asarray(values) for values in counts.values()], axis=0)
    panels = {"all": total, **splits} if len(splits) > 1 else splits or {"all": total}
    order = np.argsort(-total, kind="stable")
    note = ""
    if len(order) > MOST_BARS:
        half = MOST_BARS // 2
        note = f"the {half} largest and the {half} smallest of {len(order):,} classes"
        order = np.concatenate([order[:half], order[-half:]])
    pitch, size = row_pitch(len(order))
    with drawing(path, WIDTH, len(order) * pitch + 0.5, "constrained") as figure:
        for axes, (split, values) in zip(_row(figure, len(panels)), panels.items(), strict=True):
            _bars(axes, values[order], SPLIT_COLOURS.get(split, INK), size)
            name = SPLIT_NAMES.get(split, split).capitalize()
            axes.set_title(f"{name}  {int(values.sum()):,}")
        _name_rows(figure.axes[0], [shorten(classes[index], 26) for index in order], size)
        _note(figure, note)


def _bars(axes: Axes, values: np.ndarray, colour: str, size: float) -> None:
    bare(axes)
    bars = axes.barh(np.arange(len(values)), values, height=0.6, color=colour)
    for label in axes.bar_label(bars, fmt="{:,.0f}", padding=3, fontsize=size, color=MUTED):
        label.set_in_layout(False)  # it lies inside, and measuring hundreds takes its time
    axes.set_xlim(0, max(1, values.max()) * 1.22)
    axes.set_xticks([])


def confusion_matrix(
    matrix: Sequence[Sequence[int]], classes: Sequence[str], path: Path, normalised: bool
) -> None:
    """Draw true classes (rows) against predicted ones; only mistakes carry strong colour.

    Normalised: per cent of each true class. Numbers stand in the cells up to 20 classes.
    """
    values = np.asarray(matrix, dtype=float)
    if normalised:
        values = 100 * values / np.maximum(values.sum(axis=1, keepdims=True), 1)
    number = len(classes)
    cell = np.clip(7.3 / number, 0.073, max(0.36, 1.4 / number))
    side, size = number * cell, min(8.5, cell * 72)
    most = _error_scale(values)
    with drawing(path, side + 2, side + 2, "cropped") as figure:
        axes = figure.add_axes((0.2, 0.1, side / (side + 2), side / (side + 2)))
        colours = _cell_colours(values, most)
        axes.imshow(colours, interpolation="nearest")
        _name_cells(axes, classes, size)
        if number <= MOST_CELL_NUMBERS:
            _write_cells(axes, values, colours, "{:.1f}" if normalised else "{:,.0f}")
        else:
            _colour_key(figure, axes, most, normalised)


def _error_scale(values: np.ndarray) -> float:
    """Return the value of the darkest mistake: never one that is rare beside its class."""
    mistakes = values[~np.eye(len(values), dtype=bool)]
    return float(max(mistakes.max(initial=0), 0.2 * values.sum(axis=1).max(), 1e-9))


def _cell_colours(values: np.ndarray, most: float) -> np.ndarray:
    """Return (K, K, 4): mistakes by the root of their number, so that single ones can be seen."""
    colours = _ERRORS(np.sqrt(values / most))
    colours[values == 0] = (1, 1, 1, 1)
    diagonal = np.arange(len(values))
    right = values[diagonal, diagonal] / np.maximum(values.sum(axis=1), 1e-9)
    colours[diagonal, diagonal] = _RIGHT(right)
    return np.asarray(colours)


def _name_cells(axes: Axes, classes: Sequence[str], size: float) -> None:
    number = len(classes)
    names = [shorten(name, 20) for name in classes]
    bare(axes)
    axes.spines[:].set(visible=True, color=GRID)
    lines = np.arange(number + 1) - 0.5
    axes.set_xticks(lines, minor=True)
    axes.set_yticks(lines, minor=True)
    axes.grid(which="minor", color=GRID, linewidth=0.4)
    axes.tick_params(which="both", length=0, top=True, labeltop=True, labelbottom=False, pad=2)
    if number <= 100:  # beyond, letters would be smaller than can be read
        axes.set_yticks(range(number), names, fontsize=size, color=INK)
        upright = max(map(len, names)) > 4
        axes.set_xticks(range(number), names, fontsize=size, color=INK, rotation=90 * upright)
    axes.set_ylabel("true class")
    axes.set_xlabel("predicted class")
    axes.xaxis.set_label_position("top")


def _write_cells(axes: Axes, values: np.ndarray, colours: np.ndarray, form: str) -> None:
    for (row, column), value in np.ndenumerate(values):
        if value or row == column:
            dark = colours[row, column, :3] @ (0.3, 0.59, 0.11) < 0.6
            colour = PAPER if dark else INK
            text = form.format(value)
            axes.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)


def _colour_key(figure: Figure, axes: Axes, most: float, normalised: bool) -> None:
    place = axes.get_position()
    key = figure.add_axes((place.x1 - 0.25, place.y0 - 0.03, 0.25, 0.01))
    scale = ScalarMappable(Normalize(0, 1), _ERRORS)
    figure.colorbar(scale, cax=key, orientation="horizontal")
    ticks = np.array([0, 0.25, 1])  # of the root scale, so that the key reads in true numbers
    unit = " %" if normalised else ""
    key.set_xticks(np.sqrt(ticks), [f"{most * tick:,.0f}{unit}" for tick in ticks])
    key.set_ylabel("mistakes", rotation=0, ha="right", va="center")
    key.tick_params(length=0)
    key.spines[:].set_visible(False)


def per_class_scores(per_class: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw each class's precision, recall and F1 with their intervals, the lowest F1 first.

    Beyond 40 classes only the 40 lowest are drawn, and the image says so.
    """
    rows = sorted(per_class, key=lambda row: float(row["f1"]["value"]))[:MOST_SCORES]
    note = (
        f"the {len(rows)} lowest F1 of {len(per_class)} classes"
        if len(rows) < len(per_class)
        else ""
    )
    pitch, size = row_pitch(len(rows))
    lowest = min(row[key]["low"] for row in rows for key in ("precision", "recall", "f1"))
    with drawing(path, WIDTH, len(rows) * pitch + 0.8, "constrained") as figure:
        *panels, last = _row(figure, 4, (1, 1, 1, 0.16))
        for axes, key in zip(panels, ("precision", "recall", "f1"), strict=True):
            axes.set_title("F1" if key == "f1" else key.capitalize())
            _whiskers(axes, [row[key] for row in rows], [SPLIT_COLOURS["train"]] * len(rows))
            _percent_axis(axes)
            axes.set_xlim(100 * np.floor(lowest * 10) / 10 - 1, 101)
        bare(last)
        last.set(xlim=(0, 1), xticks=[])
        last.set_title("Images", loc="right", fontweight="normal", color=MUTED)
        for index, row in enumerate(rows):
            text = f"{row['support']:,}"
            last.text(1, index, text, ha="right", va="center", fontsize=size, color=MUTED)
        _name_rows(panels[0], [shorten(row["class"], 26) for row in rows], size)
        _note(figure, note)


def difference_plot(comparison: Mapping[str, Any], path: Path) -> None:
    """Draw the paired differences in accuracy: filled where a difference is shown."""
    pairs = comparison["pairs"]
    with drawing(path, WIDTH, len(pairs) * 0.3 + 0.95, "constrained") as figure:
        axes = figure.subplots()
        shown = [pair["verdict"] == "shown" for pair in pairs]
        colours = [SPLIT_COLOURS["train"] if is_shown else MUTED for is_shown in shown]
        axes.axvline(0, color=INK, linewidth=0.9)
        _whiskers(axes, [pair["difference"] for pair in pairs], colours, shown)
        names = [f"{shorten(pair['a'], 24)} − {shorten(pair['b'], 24)}" for pair in pairs]
        _name_rows(axes, names, 9)
        for row, pair in enumerate(pairs):
            axes.text(
                1.02,
                row,
                points(pair["difference"]),
                va="center",
                transform=axes.get_yaxis_transform(),
            )
        axes.set_xlabel("difference in accuracy, percentage points; filled: shown, hollow: not")
        axes.set_title("←  second is better", loc="left", color=MUTED, fontweight="normal")
        axes.set_title("first is better  →", loc="right", color=MUTED, fontweight="normal")


def _whiskers(
    axes: Axes,
    intervals: Sequence[Mapping[str, float]],
    colours: Sequence[str],
    filled: Iterable[bool] | None = None,
) -> None:
    """Draw a row of dots with their intervals, one below the other, in per cent."""
    rows = np.arange(len(intervals))
    low, value, high = (
        100 * np.array([interval[key] for interval in intervals])
        for key in ("low", "value", "high")
    )
    faces = (
        colours
        if filled is None
        else [colour if full else PAPER for colour, full in zip(colours, filled, strict=True)]
    )
    axes.hlines(rows, low, high, colors=colours, linewidth=1.3, alpha=0.55)
    axes.scatter(
        value, rows, s=20, color=faces, edgecolors=colours, linewidths=1.3, zorder=3, clip_on=False
    )
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)


def _percent_axis(axes: Axes) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f} %"))


def _row(figure: Figure, number: int, widths: Sequence[float] | None = None) -> list[Axes]:
    """Return panels beside each other whose rows lie level."""
    grid = figure.subplots(1, number, sharey=True, squeeze=False, width_ratios=widths)
    return list(grid[0])


def _name_rows(axes: Axes, names: Sequence[str], size: float) -> None:
    axes.set_yticks(range(len(names)), names, fontsize=size, color=INK)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def _note(figure: Figure, text: str) -> None:
    if text:
        figure.suptitle(text, x=0.01, ha="left", fontsize=8.5, color=MUTED)
