"""Labels that are likely wrong, and what a person made of them."""

from pathlib import Path
from typing import Any

import numpy as np

from resnetlab.data.catalog import Catalog
from resnetlab.errors import DataError
from resnetlab.evaluation.label_errors import as_table, find_label_errors, read_corrections
from resnetlab.evaluation.predictions import Predictions
from resnetlab.evaluation.tables import read_predictions
from resnetlab.runs.run import open_run
from resnetlab.system.files import read_csv, write_csv
from resnetlab.system.requirements import require_writable

LEFT_OUT = "left out by a correction"


def label_errors(place: Path, out: Path | None = None) -> dict[str, Any]:
    """Return the labels that a run, or a table of out-of-fold predictions, speaks against.

    Images that taught the network tell nothing: of a search with folds all but the test split are
    looked at, of a training the validation split, and the test split where it was opened. With
    `out`, writes a table to correct. Raises DataError where nothing was held out.
    """
    if out is not None:
        require_writable(out.parent)
    if place.is_file():
        predictions, images = read_predictions(place).predictions, None
    else:
        predictions, images = held_out(place)
    suspects, share = find_label_errors(predictions)
    if out is not None:
        write_csv(out, *as_table(suspects))
    return {
        "looked_at": len(predictions),
        "images": images,
        "share": share,
        "suspects": [
            {
                "id": each.id,
                "label": each.label,
                "suggested": each.suggested,
                "label_probability": each.label_prob,
                "suggested_probability": each.suggested_prob,
            }
            for each in suspects
        ],
    }


def held_out(folder: Path) -> tuple[Predictions, int]:
    """Return a run's predictions for all images that it had not learned from, and how many it has in all."""
    run = open_run(folder)
    tables = [
        Predictions.load(run.predictions(split))
        for split in ("val", "test")
        if run.predictions(split).is_file()
    ]
    if not tables:
        raise DataError(
            f"{folder}: has no predictions of images that it had not learned from; train with a validation "
            "split, or 'resnetlab tune' with folds"
        )
    joined = Predictions.make(
        np.concatenate([each.ids for each in tables]),
        np.concatenate([each.labels for each in tables]),
        np.concatenate([each.logits for each in tables]),
        tables[0].classes,
    )
    return joined, len(Catalog.load(run.catalog_file).rows("all"))


def corrected(catalog: Catalog, corrections: Path) -> Catalog:
    """Return a catalog with the labels that a person corrected in a table; no file is touched.

    Raises DataError where the table names an image or a class that there is none of.
    """
    if not corrections.is_file():
        raise DataError(f"{corrections}: there is no table of corrections here")
    found = read_corrections(
        read_csv(corrections), list(catalog.ids), catalog.classes, str(corrections)
    )
    labels, problem = catalog.labels.copy(), catalog.problem.copy()
    row_of = {id_: row for row, id_ in enumerate(catalog.ids)}
    for id_, label in found.items():
        if label is None:
            problem[row_of[id_]] = LEFT_OUT
        else:
            labels[row_of[id_]] = label
    return catalog.with_columns(labels=labels, problem=problem)
