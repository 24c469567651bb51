"""Sets of classes with a promised cover, on a run's splits."""

from typing import Any, Literal

from resnetlab.errors import DataError
from resnetlab.evaluation.confidence.conformal import PROMISE, conformal, fit_sets
from resnetlab.evaluation.predictions import Predictions
from resnetlab.runs.run import Run
from resnetlab.workflows.evidence.measuring import validation_of


def require_promise(run: Run, cover: float | None, by_class: bool) -> None:
    """Raise DataError where a promise was asked for that the run's validation is too small for."""
    if cover is None and not by_class:
        return
    val = validation_of(run)
    if val is None:
        raise DataError(f"{run.folder}: has no validation images, by which sets are fitted")
    fit_sets(val, cover or PROMISE, by_class)


def conformal_of(
    run: Run, split: Literal["val", "test"], cover: float, by_class: bool
) -> dict[str, Any]:
    """Return what sets fitted on a run's validation hold on a split."""
    predictions = Predictions.load(run.predictions(split))
    temperature = run.metrics[split]["calibration"]["temperature"]
    confidence = run.recipe.evaluation.confidence
    return conformal(predictions, validation_of(run), cover, by_class, temperature, confidence)
