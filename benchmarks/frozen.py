"""Training on top of frozen stages: what these give stored, against computed in every epoch."""

import contextlib
import io
import re
import tempfile
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.images import photographs, recipe_for
from benchmarks.plan import Comparison, Metrics, Settings


def comparisons(settings: Settings) -> tuple[Comparison, ...]:
    """Return what is compared here."""
    note = (
        "Images a second that training itself reports, without its first epoch. Random weights: "
        "they cost as much as published ones. Computing the store once is not in the figure."
    )
    return tuple(
        Comparison(
            f"Epoch of {what} of ResNet-50 at {settings.size}",
            {
                "resnetlab, features stored": partial(epochs, last, 2),
                "resnetlab, without the store": partial(epochs, last, 0),
            },
            note,
        )
        for last, what in (("layer3", "layer4 and head"), ("all", "the head alone"))
    )


def prepare(settings: Settings) -> None:
    """Build the store of the pixels and all that is kept beside it."""
    from resnetlab.data.dataset import read_data

    read_data(photographs(settings), recipe_for(settings))


def epochs(last: str, views: int, settings: Settings) -> Metrics:
    """Train with the stages up to `last` frozen; the lines that a user sees tell the rate."""
    import resnetlab

    recipe = recipe_for(
        settings,
        **{"model.freeze": last, "training.frozen_views": views},
        **{"training.epochs": 6 if views else 2},
    )
    shown = io.StringIO()
    with tempfile.TemporaryDirectory(dir=settings.work) as out, contextlib.redirect_stderr(shown):
        resnetlab.train(photographs(settings), recipe, Path(out))
    rates = re.findall(r"^epoch .* ([\d,]+) images/s$", shown.getvalue(), re.MULTILINE)
    return {"images/s": median(float(rate.replace(",", "")) for rate in rates[1:])}
