"""How a model takes images that show none of its classes."""

from pathlib import Path
from typing import Any

import numpy as np

from resnetlab.data.sources.unlabelled import read_unlabelled
from resnetlab.errors import DataError, RecipeError
from resnetlab.evaluation.shift.foreign import foreign_scores
from resnetlab.report import results
from resnetlab.runs.run import Run, bundle_of
from resnetlab.system.progress import log
from resnetlab.workflows.evidence.measuring import renew_card


def evaluate_foreign(model: Path, images: Path) -> dict[str, Any]:
    """Measure how many of a folder's foreign images a run or bundle tells; a run keeps it with its report.

    The test split stays closed. Raises DataError where no image is sound, RecipeError where the
    bundle can't tell.
    """
    from resnetlab.deploy.predictor import Predictor

    predictor = Predictor(bundle_of(model), backend="torch")
    if predictor.reference is None:
        raise RecipeError(
            f"{model}: can't tell images unlike its training images: {predictor.why_not_told}; train again "
            "with enough validation images"
        )
    answers = list(predictor.stream(list(read_unlabelled([images]).items())))
    sound = [each for each in answers if each.probs is not None]
    if not sound:
        raise DataError(f"{images}: holds no sound image")
    if len(sound) < len(answers):
        log(f"note: {len(answers) - len(sound)} of {len(answers)} files are no sound image")
    distances = np.array([each.distance for each in sound])
    probs = np.array([each.probs for each in sound])
    found = {"name": str(images)} | foreign_scores(
        predictor.reference, distances, probs, predictor.classes
    )
    if (model / "recipe.yaml").is_file():
        run = Run(model)
        with run.held():
            run.add_metrics(foreign=found)
            renew_card(run, run.recipe)
            results.write_report(run)
    return found
