"""Training a run again, to see whether the same comes out."""

from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from resnetlab.data.catalog import Catalog
from resnetlab.errors import DataError, RecipeError
from resnetlab.evaluation.predictions import Predictions
from resnetlab.runs.differences import tree_differences
from resnetlab.runs.reopen import reopen_data
from resnetlab.runs.run import Run, create_run, open_run
from resnetlab.runs.trackers import require_tracker
from resnetlab.runs.unfinished import (
    discarded_without_recipe,
    lasting,
    require_trained,
    unfinished,
)
from resnetlab.system.files import read_csv, write_json
from resnetlab.system.progress import log
from resnetlab.system.requirements import require_space, require_writable
from resnetlab.workflows.plan import checkpoint_bytes
from resnetlab.workflows.steps import begin_run, changes_of_recipe
from resnetlab.workflows.training import (
    finish_training,
    train_on,
)

# Entries of environment.json that tell runs apart but change no bit.
NO_CAUSES = {"command", "started", "seed", "recipe", "git_here", "went_on_anyway"}


def reproduce(folder: Path, out: Path = Path("runs")) -> Run:
    """Train a finished run again, by its recipe on its images and splits, as a new run `x-again`.

    What agrees with the first run and what does not is written into its reproduction.json. Raises
    DataError where the run isn't finished or its images have changed, RecipeError where its recipe
    has, MachineError where `out` can't be written or what the recipe asks for isn't here.
    """
    from resnetlab.training.hardware.device import choose_device
    from resnetlab.training.initial import build_network

    original = open_run(folder)
    require_trained(original)
    if "training" not in original.metrics:
        raise DataError(f"{folder}: was not trained here, so there is nothing to do again")
    changes = changes_of_recipe(original)
    if changes:
        raise RecipeError(
            f"{folder / 'recipe.yaml'}: was changed since the run began: {'; '.join(changes)}; "
            "put it back, or train by it as a new run"
        )
    require_writable(out)
    require_tracker(original.recipe)
    choose_device(str(original.recipe.training.device))
    classes = Catalog.load(original.catalog_file).classes
    network = build_network(original.recipe, len(classes))
    require_space(out, checkpoint_bytes(network), "the checkpoints")
    compare_bits(original, original)  # a damaged file shows before the training, not after it
    run = create_run(out, f"{original.name}-again")
    log(f"run {run.folder}")
    with run.held(), discarded_without_recipe(run):
        train_again(run, original)
    return run


def go_on_reproducing(folder: Path, arguments: dict[str, Any], anyway: bool) -> None:
    """Go on with a run that repeats another."""
    run = Run(folder)
    with run.held():
        train_again(run, open_run(Path(arguments["original"])), anyway)


def train_again(run: Run, original: Run, anyway: bool = False) -> None:
    """Train by the recipe of another run into one that is held, and compare the two."""
    with unfinished(run.folder, "reproduce", original=lasting(original.folder)):
        if (run.folder / "recipe.yaml").is_file():
            train_on(run, anyway)
        else:
            catalog, store, _ = reopen_data(original, original.recipe)
            dataset = original.metrics["dataset"] | {"notes": list(catalog.notes)}
            begin_run(run, catalog, dataset, original.recipe)
            finish_training(run, catalog, store, run.recipe)
        write_json(run.reproduction_file, compare_bits(original, run))


def compare_bits(original: Run, run: Run) -> dict[str, Any]:
    """Return what of a run is the same to the bit as in another, and how far off the rest is.

    `causes` are the differences between the two environments that may explain it.
    """
    compared = {
        "weights": compare_weights(original, run),
        "history": compare_histories(original, run),
        "predictions": compare_predictions(original, run),
    }
    same = all(each["same"] for each in compared.values() if each is not None)
    facts = {"original": original.name, "same": same, **compared}
    return facts | {"summary": summarise(facts), "causes": possible_causes(original, run)}


def compare_weights(original: Run, run: Run) -> dict[str, Any]:
    """Return whether the weights handed over are the same, and the largest difference of one."""
    from resnetlab.deploy.bundle import FACTS, load_bundle, read_facts

    digests = [read_facts(each.bundle / FACTS)[1] for each in (original, run)]
    first, second = (load_bundle(each.bundle)[0].state_dict() for each in (original, run))
    apart = (farthest(first[name].numpy(), second[name].numpy()) for name in first)
    return {"same": digests[0] == digests[1], "sha256": digests, "largest_difference": max(apart)}


def compare_histories(original: Run, run: Run) -> dict[str, Any]:
    """Return whether every figure of every epoch is the same, else the first epoch that differs.

    A head alone has no epochs.
    """
    if original.recipe.training.epochs == 0:
        return {"same": True, "differs_from_epoch": None}
    first, second = (read_csv(each.folder / "history.csv") for each in (original, run))
    pairs = enumerate(zip_longest(first, second), 1)
    differs = next((epoch for epoch, (one, other) in pairs if one != other), None)
    return {"same": differs is None, "differs_from_epoch": differs}


def compare_predictions(original: Run, run: Run) -> dict[str, Any] | None:
    """Return how far apart the predictions on the validation split are; None where there is none."""
    files = [each.predictions("val") for each in (original, run)]
    if not all(file.is_file() for file in files):
        return None
    first, second = (Predictions.load(file).in_id_order() for file in files)
    return {
        "same": np.array_equal(first.logits, second.logits),
        "images": len(first),
        "largest_logit_difference": farthest(first.logits, second.logits),
        "different_answers": int((first.predicted != second.predicted).sum()),
        "accuracy": [float((each.predicted == each.labels).mean()) for each in (first, second)],
    }


def farthest(first: np.ndarray, second: np.ndarray) -> float:
    """Return the largest difference between two arrays of one shape."""
    return float(np.abs(first.astype(np.float64) - second).max(initial=0))


def possible_causes(original: Run, run: Run) -> list[str]:
    """Return what of two runs differs beside recipe and images, one line each."""
    found = tree_differences(original.environment, run.environment)
    lines = [line for key, line in found if key.split(".")[0] not in NO_CAUSES]
    for each in (original, run):
        for entry in each.environment.get("went_on_anyway", []):
            changes = "; ".join(entry["changes"])
            lines.append(f"{each.name} went on although something had changed: {changes}")
    return lines


def summarise(facts: dict[str, Any]) -> str:
    """Return one sentence on what agrees with the first run, or by how much it does not."""
    weights, history, predictions = facts["weights"], facts["history"], facts["predictions"]
    if facts["same"]:
        seen = predictions and f" and predictions of {predictions['images']} validation images"
        return f"the same to the bit as {facts['original']}: weights, history{seen or ''}"
    differences = [f"weights differ by up to {weights['largest_difference']:.2g}"]
    if not history["same"]:
        differences.append(f"history from epoch {history['differs_from_epoch']} on")
    if predictions is not None:
        before, after = predictions["accuracy"]
        differences.append(f"logits by up to {predictions['largest_logit_difference']:.2g}")
        differences.append(f"{predictions['different_answers']} of {predictions['images']} answers")
        differences.append(f"accuracy {before:.2%} -> {after:.2%}")
    return f"not the same as {facts['original']}: {', '.join(differences)}"
