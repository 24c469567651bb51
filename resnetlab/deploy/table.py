"""Predictions as a table: one row a file."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnetlab.system.files import write_csv

if TYPE_CHECKING:
    from resnetlab.deploy.predictor import FilePrediction


def prediction_rows(
    predictions: "Sequence[FilePrediction]", classes: Sequence[str]
) -> list[dict[str, Any]]:
    """Return a row a file: what the model says and how sure it is."""
    rows = []
    for prediction in predictions:
        probs = [None] * len(classes) if prediction.probs is None else prediction.probs.tolist()
        best = None if prediction.probs is None else int(prediction.probs.argmax())
        rows.append(
            {
                "file": str(prediction.path),
                "class": None if best is None else classes[best],
                "probability": None if best is None else probs[best],
                "probabilities": dict(zip(classes, probs, strict=True)),
                "problem": prediction.problem,
            }
        )
    return rows


def write_predictions(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write predictions as CSV: file, class, probability, problem, then each class's probability."""
    classes = list(rows[0]["probabilities"])
    header = ["file", "class", "probability", "problem", *(f"p_{name}" for name in classes)]
    table = [
        [
            row["file"],
            row["class"],
            row["probability"],
            row["problem"],
            *row["probabilities"].values(),
        ]
        for row in rows
    ]
    write_csv(path, header, table)
