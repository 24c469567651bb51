"""What a run is worth on parts of its images."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from resnetlab.data.catalog import Catalog
from resnetlab.errors import RecipeError
from resnetlab.evaluation.predictions import Predictions
from resnetlab.evaluation.subgroups import folders, require_few, size_bands, subgroup_scores
from resnetlab.recipe import did_you_mean
from resnetlab.runs.run import Run
from resnetlab.workflows.evidence.measuring import rows_of

COLUMNS: dict[str, Callable[[Catalog], np.ndarray]] = {
    "folder": lambda catalog: folders(catalog.ids),
    "size": lambda catalog: size_bands(catalog.width, catalog.height),
    "width": lambda catalog: catalog.width,
    "height": lambda catalog: catalog.height,
    "fold": lambda catalog: catalog.fold,
    "format": lambda catalog: np.array(
        [str(each).rpartition(".")[2].lower() for each in catalog.ids]
    ),
}


def require_columns(by: Sequence[str], catalog: Catalog, split: Literal["val", "test"]) -> None:
    """Raise RecipeError for a name that is no column, DataError for one of too many values in a split."""
    for name in by:
        if name not in COLUMNS:
            raise RecipeError(
                f"--by must be one of {', '.join(COLUMNS)}. Got '{name}'{did_you_mean(name, COLUMNS)}"
            )
        require_few(name, COLUMNS[name](catalog)[catalog.rows(split)])


def subgroups_of(
    run: Run, split: Literal["val", "test"], by: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    """Return the figures of the parts of a split, by each of these columns."""
    predictions, catalog = Predictions.load(run.predictions(split)), Catalog.load(run.catalog_file)
    rows = rows_of(catalog, predictions)
    confidence = run.recipe.evaluation.confidence
    groups = catalog.group[rows]
    return {
        name: subgroup_scores(predictions, COLUMNS[name](catalog)[rows], confidence, groups)
        for name in by
    }
