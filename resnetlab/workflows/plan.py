"""What a training will do, settled and said before it begins: its name, its epochs, its space."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnetlab.data.catalog import Catalog
from resnetlab.data.dataset import Dataset, divide, name_of
from resnetlab.data.defaults import DEFAULT_NETWORK, peek_short_sides
from resnetlab.recipe import Recipe
from resnetlab.report.formats import plural
from resnetlab.system.progress import duration, log

if TYPE_CHECKING:
    from resnetlab.models import Classifier

HEAD_SHARE = 0.6  # of an epoch's time: features, of few images with their flips
BUDGET_MARGIN = 1.1  # of what an epoch should take: machines are not always equally fast
TINY_PX, MANY_TINY = 40, 40_000  # of such images training from scratch was ahead: docs/results.md


def in_time(dataset: Dataset, deadline: float, asked: Recipe, most: int | None = None) -> Recipe:
    """Return the recipe of a data set with as many epochs as end before `deadline`, by time.monotonic.

    There are `most` at most. What `asked`, the recipe as it was given, leaves open of learning rate and
    warm-up is theirs.
    """
    from resnetlab.training.defaults import MOST_EPOCHS, WARMUP_FRAC, suggest_lr
    from resnetlab.tuning.budget import REPORT_S
    from resnetlab.tuning.cost import cost_of

    recipe = dataset.recipe
    cost = cost_of(divide(dataset.catalog, recipe), dataset.store, recipe)
    left = deadline - time.monotonic() - REPORT_S
    if recipe.training.head_first:
        left -= HEAD_SHARE * (cost.epoch_s + cost.view_s)
    fitting = (
        epochs
        for epochs in range(1, (most or MOST_EPOCHS) + 1)
        if BUDGET_MARGIN * (epochs * cost.epoch_s + cost.once_s(epochs)) <= left
    )
    epochs = max(fitting, default=1)
    once = cost.once_s(epochs)
    before = f", after {duration(once)} for what frozen stages give," if once else ""
    log(f"plan: {plural(epochs, 'epoch')} of {duration(cost.epoch_s)}{before} fit into the budget")
    views = min(int(recipe.training.frozen_views), epochs)
    values: dict[str, Any] = {"training.epochs": epochs, "training.frozen_views": views}
    if recipe.training.optimizer == "adamw" and asked.training.warmup_epochs == "auto":
        values["training.warmup_epochs"] = round(WARMUP_FRAC * epochs, 2)
    recipe = recipe.override(values)
    if asked.training.lr == "auto":
        count = len(divide(dataset.catalog, recipe).rows("train"))
        lr = suggest_lr(recipe, recipe.model.weights != "none", count)
        recipe = recipe.override({"training.lr": lr})
    return recipe


def describe_plan(recipe: Recipe, catalog: Catalog) -> str:
    """Return two lines on what was chosen, and why."""
    training, model = recipe.training, recipe.model
    grows = f"{training.start_size} to " if training.start_size and training.epochs else ""
    sizes = f"{grows}{recipe.data.image_size} px"
    if recipe.evaluation.image_size:
        sizes += f" in training, {recipe.evaluation.image_size} in evaluation"
    weights = "random weights" if model.weights == "none" else f"weights {model.weights}"
    by = f"; {training.monitor.replace('_', ' ')} decides which epoch is kept"
    why = f"{len(catalog):,} images of {len(catalog.classes)} classes, on {training.device}"
    parts = {"none": "all of it", "all": "its head"}
    all_of_it = parts.get(model.freeze, f"what comes after {model.freeze}")
    begun = f"its head on features, then {all_of_it}" if training.head_first else all_of_it
    how = (
        f"{begun}: {plural(int(training.epochs), 'epoch')}, {training.optimizer}, lr {training.lr:g}, layer decay "
        f"{training.layer_decay:g}, {training.precision} ({why})"
        f"{by if training.monitor == 'balanced_accuracy' else ''}"
    )
    if not training.epochs:
        how = f"its head on features, {training.feature_precision} ({why})"
    return f"network {model.name}, {weights}, {sizes}\nlearns  {how}"


def describe_alternative(recipe: Recipe, catalog: Catalog) -> str | None:
    """Return a line on the recipe that is ahead of transfer where there are very many tiny images."""
    enlarged = recipe.model.name == DEFAULT_NETWORK and recipe.model.weights != "none"
    if not enlarged or recipe.training.device != "cpu" or len(catalog) < MANY_TINY:
        return None
    side = peek_short_sides(catalog)
    if side > TINY_PX:
        return None
    return (
        f"note: for so many images of {side:g} px training from scratch is likely to be ahead on this machine: "
        "--recipe cifar10-fast"
    )


def run_name(data: Path, recipe: Recipe) -> str:
    """Return the data set's name, with the network's where that is not the default."""
    network = recipe.model.name
    return name_of(data) if network == DEFAULT_NETWORK else f"{name_of(data)}-{network}"


def checkpoint_bytes(network: "Classifier") -> int:
    """Return what the best checkpoint, the last two and the next take at most."""
    weights = sum(4 * parameter.numel() for parameter in network.parameters())
    return 4 * 3 * weights  # weights and up to two moments for each
