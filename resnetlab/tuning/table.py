"""What a search found: all trials side by side, which is best, and whether that is shown."""

import statistics
from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from resnetlab.evaluation.trials import best_trial, cheapest_within_one_error, compare_trials
from resnetlab.recipe import Recipe
from resnetlab.report.trials import measure_name, score_text, setting_text
from resnetlab.tuning.space import most
from resnetlab.tuning.study import Search
from resnetlab.tuning.trial import Fold, row_of

STATES = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "running",
    TrialState.WAITING: "waiting",
}
FOR_IMPORTANCE = 5  # finished trials, at least


def describe_search(search: Search, recipe: Recipe, folds: Sequence[Fold]) -> dict[str, Any]:
    """Return all that is known of a search as plain values: search.json."""
    tuning, monitor = recipe.tuning, recipe.training.monitor
    trials = search.trials()
    rows = {trial.number: row_of_trial(trial) for trial in trials}
    scores = {number: row["scores"] for number, row in rows.items() if row["state"] == "finished"}
    catalog = folds[0].catalog
    validated = min(len(fold.catalog.rows("val")) for fold in folds)
    facts = compare_trials(
        scores,
        monitor != "loss",
        validated / (validated + len(catalog.rows("train"))),
        recipe.evaluation.confidence,
        1 / validated if monitor == "accuracy" else 0.0,
        inf if monitor == "loss" else 1.0,
    )
    for number, row in rows.items():
        row |= facts.get(number, {"mean": row["mean"], "verdict": None})
    chosen = choose(scores, rows, tuning.select, monitor != "loss")
    history = trials[chosen].user_attrs.get("history", []) if chosen is not None else []
    epochs = None if chosen is None else epochs_of(recipe, rows[chosen]["values"], history)
    epochs_max = most(recipe, "training.epochs")
    done = {
        "name": search.study.study_name,
        "sampler": tuning.sampler,
        "pruner": tuning.pruner,
        "select": tuning.select,
        "monitor": monitor,
        "folds": tuning.folds,
        "repeats": tuning.repeats,
        "epochs_max": epochs_max,
        "seed": recipe.seed,
        "confidence": recipe.evaluation.confidence,
        "space": {key: plain(setting) for key, setting in tuning.space.items()},
        "trials": list(rows.values()),
        "best": best_trial(scores, monitor != "loss") if scores else None,
        "chosen": chosen,
        "epochs": epochs,
        "epochs_run": sum(row["epochs_run"] for row in rows.values()),
        "epochs_in_full": sum(
            len(folds) * int(row["values"].get("training.epochs", epochs_max))
            for row in rows.values()
            if row["state"] != "failed"
        ),
        "importance": importance(search, recipe) if len(scores) >= FOR_IMPORTANCE else None,
        "history": history,
        "plan": search.study.user_attrs.get("plan"),
    }
    return done | {"summary": summarise(done)}


def row_of_trial(trial: FrozenTrial) -> dict[str, Any]:
    """Return what is known of one trial by itself."""
    facts = trial.user_attrs
    reported = sorted(trial.intermediate_values.items())
    state = "stopped" if facts.get("stopped") else STATES[trial.state]
    reason = facts.get("reason", "")
    if state == "failed" and not reason:
        reason = "its process ended without a word"
    return {
        "number": trial.number,
        "state": state,
        "values": facts.get("values", {}),
        "mean": reported[-1][1] if reported and state in ("pruned", "stopped") else None,
        "spread": None,
        "scores": facts.get("scores", []),
        "epochs_run": facts.get("epochs_run", 0),
        "seconds": facts.get("seconds"),
        "macs": facts.get("macs"),
        "parameters": facts.get("parameters"),
        "reported": [list(pair) for pair in reported],
        "difference": None,
        "p_adjusted": None,
        "reason": reason,
    }


def choose(
    scores: Mapping[int, Sequence[float]],
    rows: Mapping[int, Mapping[str, Any]],
    select: str,
    larger_is_better: bool,
) -> int | None:
    """Return the number of the trial to retrain by; where none was finished, the one farthest on."""
    if scores and select == "one-se":
        costs = {number: (rows[number]["macs"], rows[number]["parameters"]) for number in scores}
        return cheapest_within_one_error(scores, costs, larger_is_better)
    if scores:
        return best_trial(scores, larger_is_better)
    begun = {
        number: row["reported"][-1]
        for number, row in rows.items()
        if row["state"] == "stopped" and row["reported"]
    }
    sign = 1 if larger_is_better else -1
    return max(begun, key=lambda n: (begun[n][0], sign * begun[n][1], -n), default=None)


def epochs_of(
    recipe: Recipe, values: Mapping[str, Any], history: Sequence[Mapping[str, Any]]
) -> int:
    """Return for how many epochs to train by a trial's values, without looking at any test split.

    As many as the trial; where patience ended its folds, the median of their best epochs.
    """
    if recipe.training.patience is None or not history:
        return int(values.get("training.epochs", recipe.training.epochs))
    folds = {row["fold"] for row in history}
    histories = ([dict(row) for row in history if row["fold"] == fold] for fold in sorted(folds))
    return int(statistics.median_high([row_of(each, recipe)["epoch"] for each in histories]))


def plain(setting: Any) -> dict[str, Any]:
    """Return a searched setting as plain values, without what is not said."""
    values: dict[str, Any] = setting.model_dump(mode="json")
    if not values["when"]:
        del values["when"]
    return values


def importance(search: Search, recipe: Recipe) -> dict[str, float] | None:
    """Return how much of the variation in scores each setting explains, largest first.

    None where it can't be told. Source: Hutter, Hoos and Leyton-Brown 2014, An Efficient Approach
    for Assessing Hyperparameter Importance.
    """
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=recipe.seed)
    try:
        return optuna.importance.get_param_importances(search.study, evaluator=evaluator)
    except (ValueError, RuntimeError, ZeroDivisionError):
        return None  # all scores are equal, or no setting is in all trials


def summarise(search: Mapping[str, Any]) -> str:
    """Return in a sentence or two which trial is best, and whether that is shown."""
    rows = {row["number"]: row for row in search["trials"]}
    others = [row for row in rows.values() if row["state"] == "finished"]
    best = search["best"]
    if best is None:
        failed = [row["reason"] for row in rows.values() if row["state"] == "failed"]
        why = f"; {len(failed)} failed, the first because {failed[0]}" if failed else ""
        ahead = "" if search["chosen"] is None else f"; trial {search['chosen']} was ahead"
        return f"No trial was finished{ahead}{why}."
    mean = score_text(rows[best]["mean"], search["monitor"])
    what = measure_name(search["monitor"])
    start = f"Trial {best} has the best mean {what}, {mean}"
    shown = sum(row["verdict"] == "shown" for row in others)
    rest = len(others) - 1 - shown
    runs = search["folds"] * search["repeats"]
    if not rest and not shown:
        text = f"{start}; no other was finished."
    elif runs == 1:
        text = f"{start}; a single validation split can't show how sure that is (--folds 5 could)."
    elif not rest:
        text = f"{start}, and is shown to be better than {each_of(shown)}."
    elif not shown:
        text = (
            f"{start}, but no difference is shown: {runs} folds can't tell it from {any_of(rest)}."
        )
    else:
        text = (
            f"{start}, and is shown to be better than {shown} of the {shown + rest} others; {runs} folds "
            "can't tell it from the rest."
        )
    if search["chosen"] != best:
        text += (
            f" Trial {search['chosen']} is the cheapest within one standard error, and is taken."
        )
    return text


def each_of(count: int) -> str:
    """Return 'the other one' or 'each of the 5 others'."""
    return "the other one" if count == 1 else f"each of the {count} others"


def any_of(count: int) -> str:
    """Return 'the other one' or 'any of the 5 others'."""
    return "the other one" if count == 1 else f"any of the {count} others"


def value_text(values: Mapping[str, Any]) -> str:
    """Return 'lr 0.01, optimizer sgd' and the like."""
    return ", ".join(
        f"{key.rpartition('.')[2]} {setting_text(value)}" for key, value in values.items()
    )
