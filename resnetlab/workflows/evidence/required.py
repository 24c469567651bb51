"""What is required of a run's figures, looked at before a split is opened for them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from resnetlab.data.catalog import Catalog
from resnetlab.evaluation.confidence.conformal import conformal
from resnetlab.evaluation.predictions import Predictions
from resnetlab.evaluation.requirements import Requirement, figure
from resnetlab.evaluation.shift.robustness import robustness
from resnetlab.runs.run import Run
from resnetlab.workflows.evidence.measuring import evidence, validation_of


def require_names(
    run: Run, required: Sequence[Requirement], cover: float, by_class: bool, robust: bool
) -> None:
    """Raise RecipeError for a requirement that names no figure which scoring this run will give."""
    if required:
        scores = example_scores(run, cover, by_class, robust)
        for each in required:
            figure(scores, each.key)


def example_scores(run: Run, cover: float, by_class: bool, robust: bool) -> dict[str, Any]:
    """Return scores of made up predictions, one image a class: their names are those of a run's scores."""
    catalog = Catalog.load(run.catalog_file)
    groups = len(np.unique(catalog.group))
    catalog = catalog.with_columns(group=np.arange(len(catalog)))  # of one image each
    classes, val = catalog.classes, validation_of(run)
    ids = catalog.ids[: len(classes)]
    labels = np.arange(len(ids))
    made = Predictions.make(ids, labels, np.eye(len(classes))[labels], classes)
    scores = evidence(made, val, catalog, run.recipe, 1.0) | {"groups": groups}
    scores["conformal"] = conformal(made, val, cover, by_class)
    if robust:
        scores["robustness"] = robustness(made, {"noise": {1.0: made}}, labels)
    return scores
