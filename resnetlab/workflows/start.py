"""What a training begins with: a head fitted on features, or the network of an earlier run."""

from dataclasses import asdict
from typing import TYPE_CHECKING

from resnetlab.data.batches import Samples
from resnetlab.data.catalog import Catalog
from resnetlab.deploy.card import card
from resnetlab.evaluation.metrics import quick_scores
from resnetlab.evaluation.shift.reference import Reference
from resnetlab.recipe import Recipe
from resnetlab.runs.run import Run
from resnetlab.system.progress import duration, log

if TYPE_CHECKING:
    from resnetlab.models import Classifier


def begin(
    run: Run, classifier: "Classifier", splits: dict[str, Samples], catalog: Catalog, recipe: Recipe
) -> None:
    """Do what comes before the first epoch: fit the head, or measure the network that came along."""
    if recipe.training.head_first:
        begin_with_head(run, classifier, splits, catalog, recipe)
    elif recipe.model.head == "weights" and len(splits["val"]):
        measure_start(run, classifier, splits["val"], catalog, recipe)


def measure_start(
    run: Run, classifier: "Classifier", val: Samples, catalog: Catalog, recipe: Recipe
) -> None:
    """Say how good the network of an earlier run is before it learns on."""
    from resnetlab.training.inputs import plain_view
    from resnetlab.training.predict import predict

    view, workers = plain_view(recipe), int(recipe.data.workers)
    found = quick_scores(predict(classifier, val, view, catalog.classes, recipe.seed, workers))
    run.add_metrics(start=found)
    log(f"before any training: validation accuracy {found['accuracy']:.1%}")


def begin_with_head(
    run: Run, classifier: "Classifier", splits: dict[str, Samples], catalog: Catalog, recipe: Recipe
) -> None:
    """Fit the head on the features, say how good that is, and leave a bundle that can be used.

    What learns on begins with a looser one.
    """
    from resnetlab.training.head import fit_head, loosen_head

    found = fit_head(classifier, splits["train"], splits["val"], recipe)
    run.add_metrics(head=asdict(found))
    hand_over(run, classifier, catalog, recipe)
    text = f"head alone, on features: {duration(found.seconds)}"
    if found.accuracy is not None and found.neighbours is not None:
        text += (
            f", validation accuracy {found.accuracy:.1%} (nearest images {found.neighbours:.1%})"
        )
    log(f"{text}; it can be used from now on: {run.bundle}")
    if recipe.training.epochs:
        loosen_head(classifier, splits["train"], recipe)


def hand_over(
    run: Run,
    classifier: "Classifier",
    catalog: Catalog,
    recipe: Recipe,
    temperature: float = 1.0,
    reference: Reference | None = None,
    thresholds: dict[str, float] | None = None,
) -> None:
    """Write the bundle of a run as its network stands."""
    from resnetlab.deploy.bundle import facts_for, save_bundle

    facts = facts_for(recipe, catalog.classes, temperature, thresholds)
    save_bundle(run.bundle, classifier, facts, card(run, recipe), reference)
