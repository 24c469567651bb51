"""Accuracy against what it costs: minutes of training, parameters, multiply-adds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from resnetlab.report.drawing.style import SERIES, WIDTH, drawing, panel, shorten, spread
from resnetlab.report.formats import large

Json = Mapping[str, Any]
LEAST_RANGE = 10  # times the least cost at which an axis ends: two ticks of 1, 2, 5 stand on it


def costs_of(metrics: Json) -> dict[str, float]:
    """Return what is known of a run's costs, each above 0, by the title of its panel."""
    training, model = metrics.get("training", {}), metrics.get("model", {})
    known = {
        "Training, minutes": training.get("seconds", 0) / 60,
        "Parameters": model.get("parameters", 0),
        "Multiply-adds an image": model.get("macs", 0),
    }
    return {title: cost for title, cost in known.items() if cost}


def cost_plot(runs: Sequence[Json], costs: Mapping[str, Mapping[str, float]], path: Path) -> bool:
    """Draw each run's accuracy with its interval over each of its costs; False where too little is known.

    `runs` give name and accuracy, `costs` by name what `costs_of` returns.
    """
    titles = [
        title
        for title in ("Training, minutes", "Parameters", "Multiply-adds an image")
        if sum(title in costs.get(run["name"], {}) for run in runs) > 1
    ]
    if not titles:
        return False
    height = max(2.4, 0.22 * len(runs))
    wide = (WIDTH - 2.2) / len(titles)
    with drawing(path, WIDTH, height + 0.9) as figure:
        for column, title in enumerate(titles):
            axes = panel(figure, 0.5 + column * wide, 0.35, wide - 0.3, height)
            axes.set_title(title)
            _points(axes, runs, costs, title)
            if column:
                axes.tick_params(labelleft=False)
            else:
                axes.set_ylabel("accuracy, %")
        _names(axes, runs, height)
    return True


def _points(
    axes: Axes, runs: Sequence[Json], costs: Mapping[str, Mapping[str, float]], title: str
) -> None:
    for index, run in enumerate(runs):
        accuracy, cost = run["accuracy"], costs.get(run["name"], {}).get(title)
        if cost is None:
            continue
        colour = SERIES[index % len(SERIES)]
        low, high = 100 * accuracy["low"], 100 * accuracy["high"]
        axes.vlines(cost, low, high, colors=colour, linewidth=1.3, alpha=0.55)
        axes.plot(cost, 100 * accuracy["value"], "os^Dv"[index % 5], color=colour, ms=5)
    axes.set_xscale("log")
    lows, highs = ([100 * run["accuracy"][end] for run in runs] for end in ("low", "high"))
    margin = 0.06 * (max(highs) - min(lows))
    axes.set_ylim(min(lows) - margin, max(highs) + margin)
    axes.margins(x=0.2)
    _widen(axes)
    minutes = title.endswith("minutes")
    axes.xaxis.set_major_locator(
        LogLocator(subs=(1, 2, 5) if np.ptp(np.log10(axes.get_xlim())) < 2 else (1,))
    )
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:g}" if minutes else large(value))
    )
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.spines["left"].set_visible(False)


def _widen(axes: Axes) -> None:
    """Let an axis of costs that hardly differ span LEAST_RANGE, so that it has ticks."""
    low, high = axes.get_xlim()
    missing = LEAST_RANGE / (high / low)
    if missing > 1:
        axes.set_xlim(low / missing**0.5, high * missing**0.5)


def _names(axes: Axes, runs: Sequence[Json], height: float) -> None:
    """Name the runs beside the last panel, at the height of their accuracy."""
    low, high = axes.get_ylim()
    ends = [(100 * run["accuracy"]["value"] - low) / (high - low) for run in runs]
    for index, (run, place) in enumerate(zip(runs, spread(ends, 0.17 / height, 0, 1), strict=True)):
        text = f"{shorten(run['name'], 20)}  {100 * run['accuracy']['value']:.1f} %"
        axes.annotate(
            text,
            (1.05, place),
            xycoords="axes fraction",
            va="center",
            color=SERIES[index % len(SERIES)],
        )
