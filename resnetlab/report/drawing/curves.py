"""Curves over the epochs, of one run or of several."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from resnetlab.report.drawing.style import (
    INK,
    MUTED,
    PAPER,
    SERIES,
    SPLIT_COLOURS,
    SPLIT_NAMES,
    WIDTH,
    drawing,
    panel,
    shorten,
    spread,
)

_QUIET: dict[str, Any] = {"fontsize": 8, "fontweight": "normal", "color": MUTED}

History = Sequence[Mapping[str, Any]]  # rows of history.csv, its texts or its numbers


@dataclass(frozen=True)
class Curve:
    """One line of a panel: where it goes and what stands at its end."""

    epochs: np.ndarray
    values: np.ndarray
    label: str
    colour: str
    dashes: str = "-"


def learning_curves(history: History, best_epoch: int | None, path: Path) -> None:
    """Draw loss and accuracy of training and validation; folds, where there are some, in columns.

    `best_epoch` is marked: the one whose weights are kept.
    """
    folds = sorted({int(row.get("fold", -1)) for row in history})
    if len(folds) == 1:
        _one_run(history, best_epoch, path)
    else:
        _folds_side_by_side(history, folds, best_epoch, path)


def _one_run(history: History, best_epoch: int | None, path: Path) -> None:
    with drawing(path, WIDTH, 3.1) as figure:
        for column, measure in enumerate(("loss", "accuracy")):
            axes = panel(figure, 0.5 + column * 4.55, 0.35, 3.1, 2.2)
            axes.set_title(_title(measure))
            curves = _splits(history, measure)
            _draw(axes, curves)
            _label_ends(axes, curves, height=2.2)
            kept = _ring_best(axes, curves, best_epoch)
            if kept is not None:
                value = f"{kept:.3f}" if measure == "loss" else f"{kept:.1f} %"
                axes.set_title(f"kept, epoch {best_epoch}: {value}", loc="right", **_QUIET)


def _folds_side_by_side(
    history: History, folds: Sequence[int], best_epoch: int | None, path: Path
) -> None:
    wide = max(1.2, (WIDTH - 1.6) / len(folds))  # beyond six folds the image grows
    with drawing(path, wide * len(folds) + 1.6, 4.6) as figure:
        for row, measure in enumerate(("loss", "accuracy")):
            first: Axes | None = None
            for column, fold in enumerate(folds):
                axes = panel(figure, 0.5 + column * wide, 0.35 + row * 2.1, wide - 0.15, 1.65)
                if first is None:
                    first = axes
                    axes.set_ylabel(_title(measure))
                else:
                    axes.sharey(first)
                    axes.tick_params(labelleft=False)
                rows = [line for line in history if int(line["fold"]) == fold]
                curves = _splits(rows, measure)
                _draw(axes, curves)
                _ring_best(axes, curves, best_epoch)
                axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
                if row == 0:
                    axes.set_title(f"Fold {fold + 1}")
                    if best_epoch is not None:
                        axes.set_title(f"best: {best_epoch}", loc="right", **_QUIET)
                    axes.set_xlabel("")
            # The last column's scale is final only now that every fold is drawn.
            _label_ends(axes, curves, height=1.65)


def overlaid_curves(
    histories: Mapping[str, History], path: Path, times: Mapping[str, Sequence[float]] | None = None
) -> None:
    """Draw validation accuracy and loss of several runs, each named where its line ends.

    With the `times` at which each one's epochs ended, in seconds, over minutes.
    """
    height = max(2.5, 0.19 * len(histories))
    with drawing(path, WIDTH, 2 * height + 1.5) as figure:
        for row, measure in enumerate(("accuracy", "loss")):
            axes = panel(figure, 0.5, 0.35 + row * (height + 0.75), 5.9, height)
            axes.set_title(f"Validation {_title(measure).lower()}")
            curves = [
                Curve(*_values(history, f"val_{measure}"), shorten(name, 26), *_line_style(index))
                for index, (name, history) in enumerate(histories.items())
            ]
            if times is not None:
                curves = [
                    replace(curve, epochs=np.asarray(times[name])[curve.epochs - 1] / 60)
                    for curve, name in zip(curves, histories, strict=True)
                    if len(curve.epochs)
                ]
            curves = [curve for curve in curves if len(curve.epochs)]
            _draw(axes, curves)
            if times is not None:
                axes.xaxis.set_major_locator(MaxNLocator(6))
                axes.set_xlabel("minutes")
            form = "%.1f %%" if measure == "accuracy" else "%.3f"
            _label_ends(axes, curves, height, form)


def lr_curve(
    lrs: np.ndarray, losses: np.ndarray, smoothed: np.ndarray, suggested: float, path: Path
) -> None:
    """Draw the loss of each step over its learning rate, both (N,), the suggestion marked."""
    with drawing(path, WIDTH * 0.7, 3.4) as figure:
        axes = panel(figure, 0.6, 0.35, WIDTH * 0.7 - 0.9, 2.5)
        axes.set_title("Loss over the learning rate")
        axes.plot(lrs, losses, color=MUTED, lw=0.8, alpha=0.5)
        axes.plot(lrs, smoothed, color=SERIES[0])
        axes.axvline(suggested, color=INK, lw=0.8, ls="--")
        low, high = float(smoothed.min()), float(smoothed[0])
        axes.set_ylim(low - 0.15 * (high - low), high + 0.5 * (high - low))
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        axes.annotate(
            f"suggested: {suggested:.2g}",
            (suggested, 1),
            (5, -10),
            textcoords="offset points",
            xycoords=("data", "axes fraction"),
            fontsize=8,
        )
        axes.set_xlabel("learning rate")


def _line_style(index: int) -> tuple[str, str]:
    """Return colour and dashes of a run; dashes change when the colours are used up."""
    return SERIES[index % len(SERIES)], ("-", "--", ":")[index // len(SERIES) % 3]


def _title(measure: str) -> str:
    return "Loss" if measure == "loss" else "Accuracy, %"


def _splits(history: History, measure: str) -> list[Curve]:
    curves = [
        Curve(*_values(history, f"{split}_{measure}"), SPLIT_NAMES[split], SPLIT_COLOURS[split])
        for split in ("train", "val")
    ]
    return [curve for curve in curves if len(curve.epochs)]


def _values(history: History, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Return epochs and the mean over the folds of a column, without what was not measured."""
    by_epoch: dict[int, list[float]] = {}
    for row in history:
        value = row.get(key)
        if value not in (None, "") and np.isfinite(float(value)):
            by_epoch.setdefault(int(row["epoch"]), []).append(float(value))
    epochs = sorted(by_epoch)
    scale = 100 if key.endswith("accuracy") else 1
    return np.array(epochs), scale * np.array([np.mean(by_epoch[epoch]) for epoch in epochs])


def _draw(axes: Axes, curves: Sequence[Curve]) -> None:
    for curve in curves:
        marker = "o" if len(curve.epochs) <= 12 else ""
        axes.plot(curve.epochs, curve.values, curve.dashes, color=curve.colour, marker=marker, ms=3)
    axes.margins(x=0.02)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.grid(visible=False, axis="x")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("epoch")


def _label_ends(
    axes: Axes, curves: Sequence[Curve], height: float, form: str | None = None
) -> None:
    """Name each line to the right of its end; names that would touch move apart."""
    if not curves:
        return
    low, high = axes.get_ylim()
    axes.set_ylim(low, high)
    ends = [(curve.values[-1] - low) / (high - low) for curve in curves]
    edge = axes.get_xlim()[1]
    for curve, end, place in zip(curves, ends, spread(ends, 0.17 / height, 0, 1), strict=True):
        text = f"{curve.label}  {form % curve.values[-1]}" if form else curve.label
        axes.annotate(
            text,
            (curve.epochs[-1], curve.values[-1]),
            (1.045, place),
            textcoords="axes fraction",
            va="center",
            color=curve.colour,
            arrowprops={
                "arrowstyle": "-",
                "color": curve.colour,
                "linewidth": 0.6,
                "alpha": 0.6 if curve.epochs[-1] < edge or abs(end - place) > 0.01 else 0,
                "shrinkA": 1,
                "shrinkB": 3,
                "relpos": (0, 0.5),
            },
        )


def _ring_best(axes: Axes, curves: Sequence[Curve], epoch: int | None) -> float | None:
    """Ring the epoch whose weights are kept on the last curve (validation); return its value."""
    where = np.flatnonzero(curves[-1].epochs == epoch) if curves else np.array([])
    if epoch is None or not len(where):
        return None
    value = float(curves[-1].values[where[0]])
    axes.axvline(epoch, color=MUTED, linewidth=0.7, linestyle=(0, (2, 2)), zorder=1)
    axes.plot(epoch, value, "o", ms=6.5, mfc=PAPER, mec=INK, mew=1.2, zorder=4)
    return value
