"""Planning a search to a time: how many trials fit, and how much is kept for what follows."""

from dataclasses import dataclass
from math import floor, log
from typing import Literal

from resnetlab.errors import RecipeError
from resnetlab.recipe import Recipe
from resnetlab.report.formats import plural
from resnetlab.system.progress import duration
from resnetlab.tuning.cost import Cost
from resnetlab.tuning.sampling import REDUCTION, first_rung

RETRAINING_SHARE = 1.15  # of what it should take: machines are not always equally fast
REPORT_S = 20  # for evidence, images and page
MOST_TRIALS = 200


@dataclass(frozen=True)
class Plan:
    """What fits into a budget."""

    trials: int
    pruner: Literal["none", "median", "halving", "hyperband"]
    search_s: float  # until the search must end, from now
    sentence: str


def plan_search(
    budget_s: float,
    cost: Cost,
    folds: int,
    epochs: int,
    growth: float,
    recipe: Recipe,
    wanted: int,
    done: int = 0,
) -> Plan:
    """Return how many trials fit, and whether the less promising must be given up early for that.

    A full trial has `folds` times `epochs` epochs; what frozen stages give is stored for the first and serves
    all. The retraining has `epochs`, each `growth` times as long, 0 for none. At most `wanted` trials
    are planned, beside those that are `done`. Raises RecipeError where there is no room for the
    retraining, nor for a trial where none is done.
    """
    epoch_s, once_s = cost.epoch_s, folds * cost.once_s(epochs)
    retraining_s = RETRAINING_SHARE * growth * (epochs * epoch_s + cost.once_s(epochs)) + REPORT_S
    full_s, search_s = folds * epochs * epoch_s, budget_s - retraining_s
    trials_s = search_s if done else search_s - once_s
    after = "the retraining" if growth else "the report"
    kept = f"{duration(retraining_s)} are kept for {after}"
    before = f", what frozen stages give {duration(once_s)} before" if once_s and not done else ""
    pruner, more = recipe.tuning.pruner, "more " if done else ""
    if done and search_s >= 0 and (trials_s < full_s or not wanted):
        why = "all are done" if not wanted else f"another would take {duration(full_s)}"
        return Plan(0, pruner or "none", 0.0, f"no more trials ({why}); {kept}")
    if trials_s < full_s:
        raise RecipeError(
            f"--budget is too short: a trial takes {duration(full_s)} here ({plural(folds, 'fold')} of {epochs} "
            f"epochs, {epoch_s:.1f} s each){before} and {after} {duration(retraining_s)}; give at least "
            f"{duration(once_s + full_s + retraining_s)}, or take fewer folds or epochs"
        )
    in_full = floor(trials_s / full_s)
    if wanted <= in_full or pruner == "none":
        count = min(wanted, in_full)
        sentence = f"{count} {more}trials to their end, {epoch_s:.1f} s an epoch{before}; {kept}"
        return Plan(count, pruner or "none", search_s, sentence)
    steps, first = folds * epochs, first_rung(epochs)
    rungs = floor(log(steps / first) / log(REDUCTION))
    # Of each trial: the epochs to the first rung, then to each other one with what is left of them.
    last = steps / (first * REDUCTION**rungs)
    usual = first * (1 + rungs * (1 - 1 / REDUCTION) + (last - 1) / REDUCTION)
    count = min(wanted, MOST_TRIALS, 1 + floor((trials_s - full_s) / (usual * epoch_s)))
    stops = ", ".join(str(first * REDUCTION**rung) for rung in range(rungs + 1))
    chosen = pruner or "halving"
    sentence = (
        f"{count} {more}trials, {epoch_s:.1f} s an epoch{before}; the less promising are given up early "
        f"({chosen}{f', rungs at {stops} of {steps} epochs' if chosen == 'halving' else ''}); {kept}"
    )
    return Plan(count, chosen, search_s, sentence)
