"""The images on which two runs differ."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from resnetlab.data.batches import samples_of
from resnetlab.errors import ResnetlabError
from resnetlab.evaluation.predictions import Predictions
from resnetlab.report.results import draw_images
from resnetlab.runs.reopen import reopen_data
from resnetlab.runs.run import Run
from resnetlab.system.progress import log

PAIRS = 3  # of which images are shown
SHOWN = 16  # on each side


def draw_differing(
    out: Path,
    comparison: Mapping[str, Any],
    runs: Mapping[str, Run],
    predictions: Mapping[str, Predictions],
) -> dict[str, Path]:
    """Draw, for the first pairs, images that only one of the two predicts correctly; return the figures.

    Nothing where no run has the images, or they are no longer what they were.
    """
    if not runs:
        return {}
    run = next(iter(runs.values()))
    try:
        catalog, store, _ = reopen_data(run, run.recipe, None)
    except ResnetlabError as error:
        log(f"note: no images are shown ({error})")
        return {}
    samples = samples_of(catalog, store, comparison["split"])
    row_of = {id_: row for row, id_ in enumerate(samples.ids)}
    figures: dict[str, Path] = {}
    for pair in comparison["pairs"][:PAIRS]:
        for right, wrong in ((pair["a"], pair["b"]), (pair["b"], pair["a"])):
            ids = only_right(predictions[right], predictions[wrong])
            if not ids or not set(ids) <= row_of.keys():
                continue
            shown = predictions[wrong].in_id_order()
            shown = shown.take(np.searchsorted(shown.ids, ids))
            caption = f"Correct by {right}, not by {wrong} ({len(ids):,} images)"
            figures[caption] = out / f"only-{len(figures) + 1}.png"
            rows = np.array([row_of[id_] for id_ in ids[:SHOWN]])
            measured = runs[wrong].metrics[comparison["split"]] if wrong in runs else {}
            temperature = measured.get("calibration", {}).get("temperature", 1.0)
            shown = shown.take(np.arange(len(rows)))
            draw_images(figures[caption], rows, shown, samples, run.recipe, temperature)
    return figures


def only_right(right: Predictions, wrong: Predictions) -> list[str]:
    """Return the ids that only the first predicts correctly, the surest mistakes of the other first."""
    a, b = right.in_id_order(), wrong.in_id_order()
    rows = np.flatnonzero((a.predicted == a.labels) & (b.predicted != b.labels))
    surest_first = rows[np.argsort(-b.probs[rows].max(axis=1), kind="stable")]
    return [str(id_) for id_ in a.ids[surest_first]]
