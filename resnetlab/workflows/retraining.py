"""What follows a search: the network trained with the best settings, on all but the test split."""

from typing import Any

import numpy as np

from resnetlab.data.batches import samples_of
from resnetlab.evaluation.confidence.temperature import fit_temperature
from resnetlab.recipe import Recipe
from resnetlab.report import results
from resnetlab.runs.run import Run
from resnetlab.training.defaults import resolve_training
from resnetlab.tuning.planning import all_train
from resnetlab.tuning.search import Work
from resnetlab.tuning.trial import PREDICTIONS, out_of_fold
from resnetlab.workflows.evidence.measuring import evidence
from resnetlab.workflows.steps import begin_run
from resnetlab.workflows.training import finish_training


def best_recipe(work: Work, facts: dict[str, Any]) -> Recipe:
    """Return the recipe of the retraining: the best values, on all but the test split, to the end.

    Nothing validates it: what its setting is worth, the folds have shown.
    """
    values = next(row["values"] for row in facts["trials"] if row["number"] == facts["chosen"])
    train, val, test = work.recipe.data.split
    best = work.recipe.override(
        values
        | {
            "training.epochs": facts["epochs"],
            "training.patience": None,
            "data.split": [train + val, 0.0, test],
            "data.folds": None,
        }
    )
    catalog = all_train(work.catalog)
    return resolve_training(best, catalog.counts("train"))


def retrain(run: Run, work: Work, best: Recipe, facts: dict[str, Any]) -> None:
    """Train by the best recipe on all images but the test split, as the run that this folder is."""
    show_out_of_fold(run, work, best, facts)
    catalog = all_train(work.catalog)
    dataset = run.metrics["dataset"]
    counts = {split: catalog.counts(split).tolist() for split in dataset["counts"]}
    begin_run(run, catalog, dataset | {"counts": counts}, best)
    finish_training(run, catalog, work.store, best)


def show_out_of_fold(run: Run, work: Work, best: Recipe, facts: dict[str, Any]) -> None:
    """Write what the chosen trial's networks answered for images that they hadn't learned from."""
    folds = range(work.recipe.tuning.folds)  # of the first repeat
    folders = [work.search.fold_folder(facts["chosen"], fold) for fold in folds]
    if not all((folder / PREDICTIONS).is_file() for folder in folders):
        return  # it was stopped, or run on another machine
    catalog = work.catalog
    if len(folds) > 1:
        splits = np.where(catalog.split == "train", "val", catalog.split).astype(object)
        catalog = catalog.with_columns(split=splits)
    samples = samples_of(catalog, work.store, "val")
    predictions = out_of_fold(folders)
    row_of = {id_: row for row, id_ in enumerate(predictions.ids)}
    predictions = predictions.take(np.array([row_of[id_] for id_ in samples.ids]))
    predictions.save(run.predictions("val"))
    scores = evidence(predictions, predictions, catalog, best, fit_temperature(predictions))
    run.add_metrics(val=scores)
    results.draw_results(run, "val", predictions, scores, samples, best)
