"""What a search will do, settled before it begins: space, sampler, machine, trials, time."""

import hashlib
import json
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from resnetlab.data.catalog import Catalog
from resnetlab.data.store.pixels import PixelStore
from resnetlab.recipe import Choice, Recipe, Training
from resnetlab.recipe.training import OF_THE_MACHINE
from resnetlab.system.progress import log
from resnetlab.training.defaults import resolve_listed, resolve_training
from resnetlab.tuning.space import DEFAULT_TRIALS, check_space, grid, most

if TYPE_CHECKING:
    from resnetlab.models import Classifier

SEARCH_RECIPE = "search.yaml"  # what the search started from; recipe.yaml is the retraining's
NEVER = float("inf")


def complete(recipe: Recipe) -> Recipe:
    """Return the recipe with what its search leaves open filled in, but for what images or a budget decide."""
    tuning = recipe.tuning
    values: dict[str, Any] = {
        "data.folds": tuning.folds if tuning.folds > 1 else None,
        "data.fold": 0,
    }
    recipe = recipe.override(values)
    space, values = recipe.tuning.space, {}
    for key in ("data.image_size", "evaluation.image_size"):
        if key in space:  # images are kept at the largest size that a trial needs
            values[key] = most(recipe, key)
    if tuning.sampler is None:
        listed = all(isinstance(setting, Choice) for setting in space.values())
        values["tuning.sampler"] = "grid" if space and listed and tuning.trials is None else "tpe"
    return recipe.override(values)


def usual_space(training: Training) -> dict[str, Any]:
    """Return what is searched where nothing is named: learning rate and weight decay, which matter most.

    Both lie around what `training`, with no 'auto' left, would take; no weight decay stays none.
    """
    lr, decay = float(training.lr), float(training.weight_decay)
    space = {"training.lr": {"low": lr / 30, "high": lr * 3, "log": True}}
    if decay:
        space["training.weight_decay"] = {"low": decay / 10, "high": decay * 10, "log": True}
    return space


def settle_search(recipe: Recipe, catalog: Catalog, jobs: int) -> tuple[Recipe, "Classifier"]:
    """Return the recipe with the machine's settings, shared by `jobs` processes, weights and epochs.

    The rest of 'auto' is settled for each trial, as it may depend on what the trial draws. Beside it
    the network of the recipe as it stands. A recipe that names nothing to search gets the usual space.
    """
    if recipe.training.threads == "adaptive":  # every trial on the same number
        log("note: training.threads=adaptive is for one training; a search keeps one number")
        recipe = recipe.override({"training.threads": "auto"})
    resolved, network = resolve_listed(recipe, catalog)
    training = resolved.training
    if not recipe.tuning.space:
        recipe = recipe.override({"tuning.space": usual_space(training)})
        check_space(recipe)
    space = recipe.tuning.space
    values: dict[str, Any] = {
        "training.device": training.device,
        "training.monitor": training.monitor,
        "training.precision": training.precision,
        "training.feature_precision": training.feature_precision,
        "training.threads": max(1, int(training.threads) // jobs),
    }
    if "training.epochs" not in space:  # a search counts in epochs
        values["training.epochs"] = training.epochs
    if not space.keys() & {"model.name", "model.weights"}:
        values["model.weights"] = resolved.model.weights
    return recipe.override(values), network


def digest_of(recipe: Recipe) -> str:
    """Return what tells this search from others, whichever machine takes part in it."""
    tree = recipe.model_dump(mode="json")
    tree["training"] = {k: v for k, v in tree["training"].items() if k not in OF_THE_MACHINE}
    tree["data"] = {k: v for k, v in tree["data"].items() if k not in ("workers", "store")}
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:8]


def planned(
    recipe: Recipe,
    catalog: Catalog,
    store: PixelStore,
    deadline: float,
    retrain: bool = True,
    done: int = 0,
) -> tuple[Recipe, float, str | None]:
    """Return the recipe with trials and pruner, until when to search, and the plan in words.

    With `retrain` time is kept for a training at the end; `done` trials have ended already, where a
    search goes on.
    """
    tuning = recipe.tuning
    grid_size = len(grid(recipe)) if tuning.sampler == "grid" else None
    count = tuning.trials or grid_size or DEFAULT_TRIALS
    count = min(count, grid_size or count)
    if deadline == NEVER:
        pruner = tuning.pruner or ("none" if grid_size else "halving")
        return recipe.override({"tuning.trials": count, "tuning.pruner": pruner}), NEVER, None
    from resnetlab.tuning.budget import MOST_TRIALS, plan_search
    from resnetlab.tuning.cost import cost_of
    from resnetlab.tuning.trial import make_folds

    folds, epochs = make_folds(catalog, recipe), most(recipe, "training.epochs")
    train = len(folds[0].catalog.rows("train"))
    trial = resolve_training(recipe, folds[0].catalog.counts("train"))
    cost = cost_of(folds[0].catalog, store, trial)
    wanted = max((tuning.trials or grid_size or MOST_TRIALS) - done, 0)
    growth = len(catalog.rows("train")) / train if retrain else 0.0
    left = deadline - time.monotonic()
    plan = plan_search(left, cost, len(folds), epochs, growth, recipe, wanted, done)
    log(f"plan: {plan.sentence}")
    recipe = recipe.override({"tuning.trials": done + plan.trials, "tuning.pruner": plan.pruner})
    return recipe, time.monotonic() + plan.search_s, plan.sentence


def all_train(catalog: Catalog) -> Catalog:
    """Return the catalog with everything but the test split in the training split."""
    splits = np.where(catalog.split == "val", "train", catalog.split).astype(object)
    return catalog.with_columns(split=splits)
