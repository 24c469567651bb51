"""A run's network on corrupted views of a split."""

from typing import Any, Literal

from resnetlab.data.augment.corrupt import CORRUPTIONS, STRENGTHS, Corrupted
from resnetlab.data.batches import samples_of
from resnetlab.evaluation.predictions import Predictions
from resnetlab.evaluation.shift.robustness import robustness
from resnetlab.report.drawing.robustness import robustness_curves
from resnetlab.runs.run import Run
from resnetlab.system.progress import log
from resnetlab.workflows.evidence.measuring import rows_of
from resnetlab.workflows.steps import return_to


def robustness_of(run: Run, split: Literal["val", "test"]) -> dict[str, Any]:
    """Return the accuracy of a run that is held under each corruption and strength; draw its curves.

    `split` was predicted before. The network computes every image 35 times more.
    """
    from resnetlab.deploy.bundle import load_bundle
    from resnetlab.training.inputs import plain_view
    from resnetlab.training.predict import predict

    classifier, _ = load_bundle(run.bundle)
    catalog, store = return_to(run, False)
    samples, recipe = samples_of(catalog, store, split), run.recipe
    clean = Predictions.load(run.predictions(split))
    view, workers, seed = plain_view(recipe), int(recipe.data.workers), recipe.seed
    found: dict[str, dict[float, Predictions]] = {}
    for name, (_, strengths) in CORRUPTIONS.items():
        log(f"robustness: {name}")
        found[name] = {
            strengths[number - 1]: predict(
                classifier,
                Corrupted(samples, name, number, seed),
                view,
                catalog.classes,
                seed,
                workers,
            )
            for number in STRENGTHS
        }
    groups = catalog.group[rows_of(catalog, clean)]
    scores = robustness(clean, found, groups, recipe.evaluation.confidence)
    robustness_curves(scores, run.figures / f"robustness-{split}.png")
    return scores
