"""What is searched: settings with their bounds, and how sets of values are drawn from them."""

import json
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from itertools import product
from math import exp, floor, log
from typing import TYPE_CHECKING, Any

import numpy as np

from resnetlab.errors import RecipeError
from resnetlab.recipe import RECIPE_KEYS, Choice, Range, Recipe, no_such_key, without_index

if TYPE_CHECKING:
    import optuna

Space = Mapping[str, Choice | Range]
Values = dict[str, Any]  # by dotted key of the recipe

# Of data, only what doesn't change which images are trained or evaluated on.
SEARCHABLE_DATA = ("data.image_size", "data.fit", "data.normalize", "data.augment")
NOT_SEARCHABLE = {
    "seed": "every trial gets the same seeds, so that trials differ by their settings alone",
    "tuning": "it is the search itself",
    "data": "it decides which images there are, and trials are compared on the same ones",
    "evaluation.confidence": "it changes no prediction",
    "evaluation.resamples": "it changes no prediction",
    "training.monitor": "it is what trials are compared by",
    "training.device": "it changes how fast, not what",
    "training.threads": "it changes how fast, not what",
    "training.log": "it changes nothing",
    "training.checkpoint_minutes": "it changes nothing",
}
DEFAULT_TRIALS = 20


def check_space(recipe: Recipe) -> None:
    """Raise RecipeError that lists all that is wrong with what a recipe wants searched."""
    space = recipe.tuning.space
    faults = [fault for key in space for fault in faults_of(recipe, key)]
    if not faults:
        try:
            in_order(space)
        except CycleError as error:
            faults.append(
                f"the conditions of {' and '.join(error.args[1][1:])} wait for each other"
            )
    if not faults and recipe.tuning.sampler == "grid":
        try:
            grid(recipe)
        except RecipeError as error:
            faults.append(str(error))
    if faults:
        raise RecipeError("tuning.space: " + "; ".join(faults))
    if fewest_epochs(recipe) == 0:
        raise RecipeError(
            "training.epochs must be 1 or more in a search, which compares epochs. Got 0; to search for the "
            "head alone: --freeze all --epochs 10"
        )


def fewest_epochs(recipe: Recipe) -> Any:
    """Return the fewest epochs that a trial may have; auto where that is not settled yet."""
    setting = recipe.tuning.space.get("training.epochs")
    if setting is None:
        return recipe.training.epochs
    return min(setting.choices) if isinstance(setting, Choice) else setting.low


def faults_of(recipe: Recipe, key: str) -> Iterator[str]:
    """Give what is wrong with one searched setting."""
    if without_index(key) not in RECIPE_KEYS:
        yield no_such_key(key, RECIPE_KEYS)
        return
    reason = next(
        (why for name, why in NOT_SEARCHABLE.items() if f"{key}.".startswith(f"{name}.")), ""
    )
    if reason and not key.startswith(SEARCHABLE_DATA):
        yield f"'{key}' can't be searched: {reason}"
        return
    setting = recipe.tuning.space[key]
    bounds = setting.choices if isinstance(setting, Choice) else (setting.low, setting.high)
    for value in bounds:
        try:
            recipe.override({key: value})
        except RecipeError as error:
            yield str(error).removeprefix("recipe: ")
    for other, allowed in setting.when.items():
        if other not in recipe.tuning.space:
            yield f"'{key}' depends on '{other}', which is not searched"
        elif (watched := recipe.tuning.space[other]) and isinstance(watched, Choice):
            strange = [value for value in allowed if value not in watched.choices]
            if strange:
                yield f"'{key}' waits for {other} to be {strange[0]!r}, which it never is"


def is_whole(recipe: Recipe, key: str) -> bool:
    """Return whether a range gives whole numbers: its bounds are, and the recipe takes no others."""
    setting = recipe.tuning.space[key]
    assert isinstance(setting, Range)
    if not all(float(bound).is_integer() for bound in (setting.low, setting.high)):
        return False
    try:
        recipe.override({key: setting.low + 0.5})
    except RecipeError:
        return True
    return False


def in_order(space: Space) -> list[str]:
    """Return the searched keys, each after those that it depends on."""
    graph = {key: sorted(setting.when) for key, setting in space.items()}
    return list(TopologicalSorter(graph).static_order())


def matters(setting: Choice | Range, values: Values) -> bool:
    """Return whether a setting matters beside the values that were drawn before it."""
    return all(values.get(key) in allowed for key, allowed in setting.when.items())


def grid(recipe: Recipe) -> list[Values]:
    """Return every combination, the last setting changing fastest.

    Raises RecipeError for a range without a step: it has no end of values.
    """
    space = recipe.tuning.space
    points = {key: points_of(recipe, key) for key in space}
    cells: list[Values] = []
    for combination in product(*points.values()):
        drawn, cell = dict(zip(points, combination, strict=True)), Values()
        for key in in_order(space):
            if matters(space[key], cell):
                cell[key] = drawn[key]
        cell = {key: cell[key] for key in space if key in cell}
        if cell not in cells:  # those that differ in what doesn't matter are one
            cells.append(cell)
    return cells


def points_of(recipe: Recipe, key: str) -> list[Any]:
    """Return all values of a setting. Raises RecipeError where there is no end of them."""
    setting = recipe.tuning.space[key]
    if isinstance(setting, Choice):
        return list(setting.choices)
    if setting.step is None:
        raise RecipeError(f"'{key}' is a range without a step, of which no grid can be made")
    count = floor((setting.high - setting.low) / setting.step + 1e-9) + 1
    values = [setting.low + index * setting.step for index in range(count)]
    return [round(value) for value in values] if is_whole(recipe, key) else values


def drawn(recipe: Recipe, count: int) -> list[Values]:
    """Return `count` sets of values, at random or spread evenly, as the recipe's sampler says.

    Set number i depends on seed and i alone. Source of the even spread: Halton 1960, scrambled.
    """
    space, seed = recipe.tuning.space, recipe.seed
    if recipe.tuning.sampler == "qmc":
        from scipy.stats import qmc

        cube = qmc.Halton(len(space), rng=seed).random(count)
    else:
        generators = (np.random.Generator(np.random.Philox(key=[seed, i])) for i in range(count))
        cube = np.array([generator.random(len(space)) for generator in generators])
    place = {key: column for column, key in enumerate(space)}
    sets = []
    for row in cube:
        values: Values = {}
        for key in in_order(space):
            if matters(space[key], values):
                values[key] = value_at(recipe, key, float(row[place[key]]))
        sets.append({key: values[key] for key in space if key in values})
    return sets


def value_at(recipe: Recipe, key: str, share: float) -> Any:
    """Return the value at a share, 0 up to 1, of the way through a setting."""
    setting = recipe.tuning.space[key]
    if isinstance(setting, Choice):
        return setting.choices[int(share * len(setting.choices))]
    if setting.step is not None:
        points = points_of(recipe, key)
        return points[int(share * len(points))]
    low, high = setting.low, setting.high
    if is_whole(recipe, key):
        if setting.log:  # every whole number has as much room as rounding gives it
            return round(exp(log(low - 0.5) + share * (log(high + 0.5) - log(low - 0.5))))
        return int(low) + int(share * (int(high) - int(low) + 1))
    if setting.log:
        return exp(log(low) + share * (log(high) - log(low)))
    return low + share * (high - low)


def suggest(recipe: Recipe, trial: "optuna.Trial") -> Values:
    """Return the values of a trial: those it was given, or what Optuna's sampler thinks best."""
    space = recipe.tuning.space
    values: Values = {}
    for key in in_order(space):
        setting = space[key]
        if not matters(setting, values):
            continue
        if isinstance(setting, Choice):
            names = {as_name(value): value for value in setting.choices}
            values[key] = names[trial.suggest_categorical(key, list(names))]
        elif is_whole(recipe, key):
            bounds = int(setting.low), int(setting.high)
            values[key] = trial.suggest_int(
                key, *bounds, step=int(setting.step or 1), log=setting.log
            )
        else:
            values[key] = trial.suggest_float(
                key, setting.low, setting.high, step=setting.step, log=setting.log
            )
    return {key: values[key] for key in space if key in values}


def as_name(value: Any) -> Any:
    """Return a choice as Optuna can store it: a list becomes its JSON."""
    return json.dumps(value) if isinstance(value, list | tuple | dict) else value


def most(recipe: Recipe, key: str) -> int:
    """Return the largest value, in any trial, of a setting that is a whole number."""
    setting = recipe.tuning.space.get(key)
    if setting is None:
        value: Any = recipe
        for name in key.split("."):
            value = getattr(value, name)
        return int(value)
    return int(max(setting.choices) if isinstance(setting, Choice) else setting.high)
