"""Which of several networks is fine-tuned: the one on whose features a head does best."""

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from resnetlab.data.batches import samples_of
from resnetlab.data.catalog import Catalog
from resnetlab.data.dataset import Dataset, divide
from resnetlab.data.splits import folds
from resnetlab.errors import DataError
from resnetlab.recipe import Recipe
from resnetlab.system.progress import duration, log
from resnetlab.training.defaults import resolve_listed
from resnetlab.workflows.plan import describe_plan
from resnetlab.workflows.steps import read_and_say

if TYPE_CHECKING:
    from resnetlab.models import Classifier

Candidate = tuple[Recipe, "Classifier"]
FOLDS = (5, 3, 2)  # as many as the rarest class allows


def settle_candidates(recipe: Recipe, catalog: Catalog) -> list[Candidate]:
    """Return the settled recipe of each network that may be fine-tuned, and the network with its weights.

    Raises MachineError where the weights of one can't be had: all are looked for before images are read.
    """
    names = recipe.model.candidates or (recipe.model.name,)
    each = [recipe.override({"model.name": name, "model.candidates": []}) for name in names]
    return [resolve_listed(settings, catalog) for settings in each]


def read_and_choose(
    name: str, catalog: Catalog, candidates: list[Candidate]
) -> tuple[Dataset, "Classifier"]:
    """Read listed images; return the data set with the recipe of the best candidate, and its network."""
    return choose(read_and_say(name, catalog, candidates[0][0]), candidates)


def choose(dataset: Dataset, candidates: list[Candidate]) -> tuple[Dataset, "Classifier"]:
    """Return the data set with the recipe of the best candidate, and its network; log how each did."""
    from resnetlab.training.head import cross_validate_head

    if len(candidates) == 1:
        return dataset, candidates[0][1]
    catalog = divide(dataset.catalog, dataset.recipe)
    train = samples_of(catalog, dataset.store, "train")
    fold_of = dict(zip(catalog.ids, folds_of(catalog, dataset.recipe.seed), strict=True))
    own = np.array([fold_of[id_] for id_ in train.ids])
    scores = []
    for recipe, network in candidates:
        started = time.monotonic()
        scores.append(cross_validate_head(network, train, own, recipe))
        took = duration(time.monotonic() - started)
        log(
            f"head on {recipe.model.name}: {scores[-1]:.1%} in {own.max() + 1} folds of training, {took}"
        )
    recipe, network = candidates[int(np.argmax(scores))]
    log(describe_plan(recipe, catalog))
    settled = dataset.recipe.model_dump()["data"]  # when the images were read
    recipe = recipe.override(
        {
            "data.value_range": settled["value_range"],
            "data.augment.flip": settled["augment"]["flip"],
        }
    )
    return replace(dataset, recipe=recipe), network


def folds_of(catalog: Catalog, seed: int) -> np.ndarray:
    """Return the fold of each image outside the test split, near-duplicates together; else -1."""
    catalog = catalog.with_columns(fold=np.full(len(catalog), -1))
    *more, fewest = FOLDS
    for count in more:
        try:
            return folds(catalog, count, seed)
        except DataError:
            continue
    return folds(catalog, fewest, seed)
