"""Evidence on predictions that another tool made."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from resnetlab.errors import RecipeError
from resnetlab.evaluation.confidence.calibration import describe_calibration
from resnetlab.evaluation.metrics import score
from resnetlab.evaluation.subgroups import require_few, subgroup_scores
from resnetlab.evaluation.tables import read_predictions
from resnetlab.recipe import did_you_mean
from resnetlab.report.page import write_run_report
from resnetlab.report.results import draw_scores
from resnetlab.runs.run import Run
from resnetlab.system.files import write_json
from resnetlab.system.progress import log
from resnetlab.system.requirements import require_writable


def evaluate_predictions(
    table: Path,
    classes: Sequence[str] = (),
    by: Sequence[str] = (),
    out: Path | None = None,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """Score a table of predictions, whoever made them; with `out`, write figures and a report there.

    See `evaluation.tables.read_predictions` for its form. `by` names other columns of the table,
    by whose values figures are given too. Raises DataError where the table lacks something, RecipeError
    where `out` holds a run or another page.
    """
    if out is not None:
        require_writable(out)
        require_own(out)
    found = read_predictions(table, classes)
    for name in by:
        if name not in found.columns:
            raise RecipeError(
                f"--by must be another column of {table} ({', '.join(found.columns) or 'it has none'}). "
                f"Got '{name}'{did_you_mean(name, found.columns)}"
            )
        require_few(name, found.columns[name])
    predictions = found.predictions.in_id_order()
    order = {id_: row for row, id_ in enumerate(found.predictions.ids)}
    rows = [order[id_] for id_ in predictions.ids]
    log(f"{table}: {len(predictions):,} images, {len(predictions.classes)} classes, {found.scores}")
    scores = score(predictions, confidence)
    if predictions.scored:
        scores["calibration"] = describe_calibration(predictions, 1.0, confidence)
    if by:
        scores["subgroups"] = {
            name: subgroup_scores(predictions, found.columns[name][rows], confidence) for name in by
        }
    if out is not None:
        run = Run(out)
        dataset = {"name": table.stem, "classes": list(predictions.classes)}
        write_json(out / "metrics.json", {"dataset": dataset, "test": scores})
        draw_scores(run, "test", predictions, scores)
        write_run_report(out)
    return scores


def require_own(out: Path) -> None:
    """Raise RecipeError where a folder holds results other than those that scoring a table leaves."""
    own = Run(out).metrics.get("dataset", {}).keys() == {"name", "classes"}  # a run tells more
    for name in ("recipe.yaml",) if own else ("recipe.yaml", "metrics.json", "report.html"):
        if (out / name).exists():
            raise RecipeError(
                f"--out must be a new folder, or one of an earlier table. Got {out}, which holds {name} of other work"
            )
