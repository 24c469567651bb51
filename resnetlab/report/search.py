"""The figures of a search for the best settings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from resnetlab.report.drawing.curves import learning_curves
from resnetlab.report.drawing.parallel import (
    CHOSEN,
    PALE,
    RIGHT,
    alpha_for,
    name_chosen,
    parallel_coordinates,
)
from resnetlab.report.drawing.style import (
    INK,
    MUTED,
    SPLIT_COLOURS,
    WIDTH,
    bare,
    drawing,
    panel,
    row_pitch,
    shorten,
)
from resnetlab.report.formats import plural
from resnetlab.report.trials import (
    chosen_number,
    has_score,
    highest,
    measure_title,
    ranked,
    scaled,
    setting_names,
)

Json = Mapping[str, Any]

_QUIET = "#9fb6cc"
_CURVES = WIDTH - 0.5 - RIGHT  # inches


def draw_search(search: Json, folder: Path) -> None:
    """Draw what search.json holds into search-*.png and curves-folds.png of a folder.

    What can't be drawn is left out: trials without at least two scores, unknown importance, the
    curves of a trial without history.
    """
    if sum(map(has_score, search["trials"])) >= 2:
        parallel_coordinates(search, folder / "search-parallel.png")
        if any(trial["reported"] for trial in search["trials"]):
            trial_curves(search, folder / "search-trials.png")
    if search["importance"]:
        importance(search, folder / "search-importance.png")
    history = [row for row in search["history"] if row["fold"] >= 0]
    if any(row[f"val_{search['monitor']}"] is not None for row in history):
        best_epoch = _best_epoch(history, search["monitor"])
        learning_curves(history, best_epoch, folder / "curves-folds.png")


def importance(search: Json, path: Path) -> None:
    """Draw how much of the score each setting explains, in per cent, the largest first."""
    names = setting_names(search)
    rows = sorted(search["importance"].items(), key=lambda row: -float(row[1]))
    pitch, size = row_pitch(len(rows))
    with drawing(path, WIDTH, len(rows) * pitch + 0.2, "constrained") as figure:
        axes = figure.subplots()
        bare(axes)
        bars = axes.barh(
            range(len(rows)), [100 * share for _, share in rows], 0.6, color=SPLIT_COLOURS["train"]
        )
        axes.bar_label(bars, fmt="{:.0f} %", padding=3, fontsize=size, color=MUTED)
        axes.set(xlim=(0, 112 * max(share for _, share in rows)), xticks=[])
        axes.set_yticks(
            range(len(rows)),
            [shorten(names.get(key, key), 40) for key, _ in rows],
            fontsize=size,
            color=INK,
        )
        axes.invert_yaxis()


def trial_curves(search: Json, path: Path) -> None:
    """Draw the score that every trial reported over its epochs, fold after fold.

    The chosen trial is named at its end; a cross ends a pruned one.
    """
    trials = [trial for trial in ranked(search) if trial["reported"]]
    pruned = sum(trial["state"] == "pruned" for trial in search["trials"])
    folds, epochs = search["folds"] * search["repeats"], search["epochs_max"]
    with drawing(path, WIDTH, 3.5) as figure:
        axes = panel(figure, 0.5, 0.5, _CURVES, 2.5)
        for trial in reversed(trials):
            _draw_curve(axes, trial, search, alpha_for(trials))
        measure, comma, unit = measure_title(search).partition(",")
        axes.set_title(f"Mean {measure} so far{comma}{unit}", pad=18)
        if pruned:
            note = f"{pruned:,} of {plural(len(search['trials']), 'trial')} pruned"
            axes.set_title(
                note, loc="right", pad=18, fontsize=8.5, fontweight="normal", color=MUTED
            )
        axes.set_xlim(0.5, folds * epochs + 0.5)
        scores = [scaled(score, search) for trial in trials for _, score in trial["reported"]]
        axes.set_ylim(top=min(axes.get_ylim()[1], 1.05 * highest(scores, search)))
        axes.grid(visible=False, axis="x")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("epoch" if folds == 1 else "epochs, fold after fold")
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
        if folds > 1:
            _mark_folds(axes, folds, epochs)


def _draw_curve(axes: Axes, trial: Json, search: Json, alpha: float) -> None:
    steps = [step for step, _ in trial["reported"]]
    scores = [scaled(score, search) for _, score in trial["reported"]]
    dot = "o" if len(steps) == 1 else ""
    if trial["number"] == chosen_number(search):
        axes.plot(steps, scores, color=CHOSEN, linewidth=2.2, marker=dot, zorder=4)
        name_chosen(axes, trial, (steps[-1], scores[-1]), search)
    elif has_score(trial):
        axes.plot(steps, scores, color=_QUIET, linewidth=0.9, alpha=alpha, marker=dot, ms=3)
    else:
        axes.plot(steps, scores, color=PALE, linewidth=0.7, zorder=1)
    if trial["state"] == "pruned":
        axes.plot(steps[-1], scores[-1], "x", color=MUTED, ms=4, mew=0.9, zorder=3)


def _mark_folds(axes: Axes, folds: int, epochs: int) -> None:
    every = -(-folds // 20)  # beyond twenty folds not each has room for its name
    axes.set_xticks(range(every * epochs, folds * epochs + 1, every * epochs))
    for fold in range(folds):
        if fold:
            axes.axvline(fold * epochs + 0.5, color=MUTED, linewidth=0.6)
        if fold % every == 0:
            name = f"fold {fold + 1}" if folds <= 12 else str(fold + 1)
            place = ((fold + 0.5) * epochs + 0.5, 1)
            across = axes.get_xaxis_transform()
            axes.annotate(name, place, (0, 4), across, "offset points", ha="center", color=MUTED)


def _best_epoch(history: Sequence[Json], monitor: str) -> int:
    """Return the epoch whose mean over the folds is best, of those that every fold reached."""
    scores: dict[int, list[float]] = {}
    for row in history:
        if row[f"val_{monitor}"] is not None:  # not every epoch need be validated
            scores.setdefault(row["epoch"], []).append(float(row[f"val_{monitor}"]))
    folds = max(map(len, scores.values()))
    means = {epoch: np.mean(each) for epoch, each in scores.items() if len(each) == folds}
    best = min if monitor == "loss" else max
    return best(means, key=lambda epoch: float(means[epoch]))
