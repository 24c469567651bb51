"""Trials as lines through their settings: parallel coordinates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, MaxNLocator

from resnetlab.report.drawing.style import (
    INK,
    MUTED,
    PAPER,
    SPLIT_COLOURS,
    WIDTH,
    bare,
    drawing,
    panel,
    shorten,
)
from resnetlab.report.trials import (
    chosen_number,
    has_score,
    highest,
    measure_title,
    ranked,
    scaled,
    score_text,
    setting_names,
    setting_text,
)

Json = Mapping[str, Any]
Heights = dict[int, float]
Ticks = list[tuple[float, str]]

CHOSEN, PALE = SPLIT_COLOURS["val"], "#b3bcc6"
RIGHT = 1.5  # inches beside the last axis, for the score and the name of the chosen trial
_HALO = [withStroke(linewidth=2.5, foreground=PAPER)]  # keeps letters readable on lines
_SCORES = LinearSegmentedColormap.from_list("scores", ["#d3dee8", "#7ea6ca", "#0b5fa5"])
_LETTER = 0.066  # inches that a letter takes on the average
_BELOW = -0.1  # where a line passes an axis whose setting its trial does not have


@dataclass(frozen=True)
class _Axis:
    """An upright axis: the height (0 to 1) of each trial by its number, and what stands where."""

    name: str
    heights: Heights
    ticks: Ticks
    passed: bool = False  # whether there are trials without this setting, whose lines pass below


def parallel_coordinates(search: Json, path: Path) -> None:
    """Draw a line a trial through its settings to its score, best on top; the chosen one thick.

    Pruned trials are dashed and end at the score that they reported last.
    """
    trials = [trial for trial in ranked(search) if _end(trial) is not None]
    columns = [_setting_axis(key, search, trials) for key in search["space"]]
    columns.append(_score_axis(search, trials))
    gap = max(0.6, (WIDTH - 0.2 - RIGHT) / (len(columns) - 1))
    longest = _LETTER * max(len(column.name) for column in columns)
    slanted = longest > gap - 0.1
    top = 0.35 + 0.5 * longest * slanted
    height = max(2.8, 0.19 * max(len(column.ticks) for column in columns))
    width = gap * (len(columns) - 1) + RIGHT
    bottom = 0.6 if any(column.passed for column in columns) else 0.12
    with drawing(path, width + 0.2, top + height + bottom) as figure:
        axes = panel(figure, 0.1, top, width, height)
        bare(axes)
        axes.set(xlim=(-0.1 / gap, (width - 0.1) / gap), ylim=(0, 1), xticks=[], yticks=[])
        _draw_trials(axes, columns, trials, search)
        for position, column in enumerate(columns):
            _draw_axis(axes, position, column, slanted, int(gap / _LETTER) - 1)


def _end(trial: Json) -> float | None:
    """Return where a line ends: the mean, or what a pruned trial reported last."""
    if has_score(trial):
        return float(trial["mean"])
    if trial["state"] == "pruned" and trial["reported"]:
        return float(trial["reported"][-1][1])
    return None


def _setting_axis(key: str, search: Json, trials: Sequence[Json]) -> _Axis:
    values = {trial["number"]: trial["values"][key] for trial in trials if key in trial["values"]}
    entry = search["space"][key]
    if "choices" in entry:
        heights, ticks = _choices(entry["choices"], values)
    else:
        heights, ticks = _range(entry, values)
    without = [trial["number"] for trial in trials if trial["number"] not in values]
    heights |= _around(_BELOW, without, 0.04)
    return _Axis(shorten(setting_names(search)[key], 30), heights, ticks, bool(without))


def _choices(choices: Sequence[Any], values: Mapping[int, Any]) -> tuple[Heights, Ticks]:
    heights: Heights = {}
    centres = [(row + 0.5) / len(choices) for row in range(len(choices))]
    for centre, choice in zip(centres, choices, strict=True):
        numbers = [number for number, value in values.items() if value == choice]
        heights |= _around(centre, numbers, 0.3 / len(choices))
    return heights, list(zip(centres, map(setting_text, choices), strict=True))


def _around(centre: float, numbers: Sequence[int], room: float) -> Heights:
    """Spread trials around a height, the first on top, so that no line hides another."""
    half = min(room, 0.02 * (len(numbers) - 1))
    heights = np.linspace(centre + half, centre - half, len(numbers))
    return dict(zip(numbers, heights.tolist(), strict=True))


def _range(entry: Json, values: Mapping[int, float]) -> tuple[Heights, Ticks]:
    low, high, log = entry["low"], entry["high"], entry["log"]
    heights = _heights(list(values.values()), low, high, log)
    whole = isinstance(low, int) and isinstance(high, int)
    inside = (LogLocator() if log else MaxNLocator(4, integer=whole)).tick_values(low, high)
    ticks = [(0.0, setting_text(low)), (1.0, setting_text(high))]
    for height, value in zip(_heights(inside, low, high, log), inside, strict=True):
        if 0.08 < height < 0.92:  # the ends are named already
            ticks.append((height, setting_text(float(value))))
    return dict(zip(values, heights, strict=True)), ticks


def _heights(values: Sequence[float], low: float, high: float, log: bool = False) -> list[float]:
    """Return where values lie between `low` (0) and `high` (1), never outside."""
    placed, start, end = (
        np.log(each) if log else np.asarray(each, dtype=float) for each in (values, low, high)
    )
    return [float(height) for height in np.clip((placed - start) / ((end - start) or 1), 0, 1)]


def _score_axis(search: Json, trials: Sequence[Json]) -> _Axis:
    ends = {trial["number"]: scaled(_end(trial), search) for trial in trials}
    low, high = min(ends.values()), highest(ends.values(), search)
    bottom, top = (high, low) if search["monitor"] == "loss" else (low, high)
    if low == high:
        bottom, top = low - 0.5, low + 0.5
    heights = dict(zip(ends, _heights(list(ends.values()), bottom, top), strict=True))
    inside = [value for value in MaxNLocator(5).tick_values(low, high) if low <= value <= high]
    ticks = [
        (height, f"{value:.4g}")
        for height, value in zip(_heights(inside, bottom, top), inside, strict=True)
        if abs(height - heights.get(chosen_number(search), _BELOW))
        > 0.06  # its own label stands there
    ]
    return _Axis(f"mean {measure_title(search)}", heights, ticks)


def _draw_axis(axes: Axes, position: int, column: _Axis, slanted: bool, letters: int) -> None:
    axes.plot([position, position], [0, 1], color=MUTED, linewidth=0.7, zorder=3)
    title = {"rotation": 30 * slanted, "rotation_mode": "anchor", "fontweight": "bold"}
    write(axes, column.name, (position, 1), (-2, 11), INK, **title)
    for height, text in column.ticks:
        text = shorten(text, max(4, letters))
        write(axes, text, (position, height), (4, 0), MUTED, fontsize=8, va="center")
    if column.passed:
        write(axes, "–", (position, _BELOW), (0, -17), MUTED, ha="center", fontsize=12)


def _draw_trials(
    axes: Axes, columns: Sequence[_Axis], trials: Sequence[Json], search: Json
) -> None:
    scored = sum(map(has_score, trials))
    for rank, trial in reversed(list(enumerate(trials))):  # the best come last and lie on top
        number = trial["number"]
        heights = [column.heights[number] for column in columns]
        if number == chosen_number(search):
            axes.plot(heights, "o-", color=CHOSEN, linewidth=2.6, ms=4, zorder=4, clip_on=False)
            name_chosen(axes, trial, (len(columns) - 1, heights[-1]), search)
        elif has_score(trial):
            # By rank, as single bad scores would leave all others the same colour.
            colour = _SCORES(1 - rank / scored)
            axes.plot(heights, color=colour, linewidth=1.1, alpha=alpha_for(trials), clip_on=False)
        else:
            axes.plot(heights, "--", color=PALE, linewidth=0.6, zorder=1, clip_on=False)


def write(
    axes: Axes,
    text: str,
    place: tuple[float, float],
    offset: tuple[float, float],
    colour: str,
    **look: Any,
) -> None:
    """Write so many points beside a place, readable on whatever lines run there."""
    axes.annotate(
        text,
        place,
        offset,
        textcoords="offset points",
        color=colour,
        path_effects=_HALO,
        zorder=5,
        annotation_clip=False,
        **look,
    )


def name_chosen(axes: Axes, trial: Json, place: tuple[float, float], search: Json) -> None:
    """Write number and score of the chosen trial beside a place."""
    text = f"trial {trial['number']}  {score_text(trial['mean'], search['monitor'])}"
    write(axes, text, place, (7, 0), CHOSEN, va="center", fontweight="bold")


def alpha_for(trials: Sequence[Json]) -> float:
    """Return how opaque lines are: many of them must not hide each other."""
    return max(0.4, min(1.0, 30 / len(trials)))
