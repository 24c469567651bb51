"""What a training ends with: which weights are kept, whether flips are asked too, what came of it."""

from typing import TYPE_CHECKING, Any

from resnetlab.data.batches import Samples
from resnetlab.data.catalog import Catalog
from resnetlab.evaluation.confidence.temperature import fit_temperature
from resnetlab.evaluation.predictions import Predictions
from resnetlab.evaluation.shift.reference import Reference, images_needed
from resnetlab.recipe import Recipe
from resnetlab.runs.run import Run
from resnetlab.system.progress import log

if TYPE_CHECKING:
    from resnetlab.models import Classifier


def settle_flips(
    classifier: "Classifier", val: Samples, classes: tuple[str, ...], recipe: Recipe
) -> Recipe:
    """Return the recipe in which it is settled whether predictions ask about flips too."""
    from resnetlab.training.flips import try_flips

    if recipe.evaluation.horizontal_flip != "if_better":
        return recipe
    helps = False
    if len(val):
        found = try_flips(classifier, val, classes, recipe)
        helps = found.helps
        way = "falls" if found.gain > 0 else "rises"
        log(
            f"flips   the loss on validation {way} by {abs(found.gain):.3f} (standard error {found.error:.3f}) "
            f"where each image's horizontal flip is asked too: {'taken' if helps else 'left out'}"
        )
    classifier.horizontal_flip = helps
    return recipe.override({"evaluation.horizontal_flip": helps})


def settle_adjustment(
    classifier: "Classifier", val: Samples, catalog: Catalog, recipe: Recipe
) -> Recipe:
    """Return the recipe in which it is settled how logits are adjusted by the classes' frequencies.

    The head of the classifier has taken it in then.
    """
    from resnetlab.training.adjustment import adjust_head, best_tau

    tau, counts = recipe.evaluation.logit_adjustment, catalog.counts("train")
    if tau == "fit":
        tau = 0.0
        if len(val):
            tau, scores = best_tau(classifier, val, catalog.classes, counts, recipe)
            log(
                f"logits  adjusted by {tau:g} of the classes' log frequencies: balanced accuracy on validation "
                f"{scores[tau]:.1%}, without {scores[0.0]:.1%}"
            )
    adjust_head(classifier, counts, tau)
    return recipe.override({"evaluation.logit_adjustment": tau})


def held_out(run: Run, val: Predictions | None) -> Predictions | None:
    """Return the predictions for validation; where nothing validates, those that folds of a search have left."""
    left = run.predictions("val")
    return Predictions.load(left) if val is None and left.is_file() else val


def calibrate(held: Predictions | None) -> float:
    """Return the temperature that fits predictions for images not learned from, and say what it is."""
    if held is None:
        return 1.0
    temperature = fit_temperature(held)
    log(f"calibrated: the logits are divided by {temperature:.2f}, fitted on {len(held):,} images")
    return temperature


def know_familiar(
    classifier: "Classifier",
    splits: dict[str, Samples],
    predictions: Predictions | None,
    temperature: float,
    recipe: Recipe,
) -> Reference | None:
    """Return what tells images unlike the training images; say where there is none, and why."""
    from resnetlab.deploy.shift.features import reference_for

    reference = reference_for(
        classifier, splits["train"], splits["val"], predictions, temperature, recipe
    )
    if reference is None:
        log(
            "note: images unlike the training images will not be told from others: that takes "
            f"{images_needed()} validation images, here are {len(splits['val'])}"
        )
    return reference


def describe_training(
    run: Run,
    history: list[dict[str, Any]],
    best: int,
    recipe: Recipe,
    images: int,
    seconds: float,
    before: float = 0.0,
) -> dict[str, Any]:
    """Return what came of a training, as plain values; without epochs, of the head alone.

    `best` is the epoch (from 1) whose weights are handed over, 0 without any. `images` were shown in the
    `seconds` since it was begun, or gone on with; `before` is what earlier sittings took.
    """
    from resnetlab.training.history import scores

    training, monitor = recipe.training, recipe.training.monitor
    known = run.metrics.get("training", {})  # where a finished one was made longer
    start = run.metrics.get("head", run.metrics.get("start", {}))
    at_first = start.get("score", start.get(monitor))
    tuned = history[best - 1][f"val_{monitor}"] if history else None
    sign = -1 if monitor == "loss" else 1
    kept = at_first is not None and (tuned is None or sign * at_first >= sign * tuned)
    finished = len(history) == int(training.epochs)
    return {
        "epochs": training.epochs,
        "epochs_run": len(history),
        "best_epoch": best,
        "monitor": monitor,
        "best_score": tuned if history else at_first,
        "highest_score": max(scores(history, monitor)) if tuned is not None and sign > 0 else None,
        "head_kept": kept and training.head_first,
        "start_kept": kept and not training.head_first,
        "seconds": before + seconds,
        "images_per_second": images / seconds if images else known.get("images_per_second"),
        "precision": training.precision,
        "device": training.device,
        "stopped": "all epochs done" if finished else "early stopping",
    }
