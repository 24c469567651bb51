"""The first screen: what was trained on what, how good it is, what to beware of; and what is luck."""

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

from scipy.special import ndtri

from resnetlab.report.drawing.style import SPLIT_NAMES
from resnetlab.report.formats import (
    absent_classes,
    duration,
    listed,
    percent,
    percent_range,
    plural,
)

Json = Mapping[str, Any]


def sentences(metrics: Json, ledger: Sequence[Json]) -> list[str]:
    """Return what was trained on what, and what to beware of first; the verdict stands between them."""
    return [trained(metrics), beware(metrics, ledger)]


def trained(metrics: Json) -> str:
    """Return what was trained on what, and for how long."""
    model, training, data = (metrics.get(key, {}) for key in ("model", "training", "dataset"))
    name, images = model.get("name"), sum(data.get("counts", {}).get("train", []))
    classes = plural(len(data.get("classes", [])), "class")
    if not training or not name:
        return f"{name} was measured here, not trained." if name else ""
    took = f" in {duration(training['seconds'])}" if training.get("seconds") else ""
    return f"{name} was trained on {plural(images, 'image')} of {classes}{took}."


def beware(metrics: Json, ledger: Sequence[Json]) -> str:
    """Return the one thing that a reader should know first."""
    split = "test" if "test" in metrics else "val"
    score, data = metrics[split], metrics.get("dataset", {})
    if split == "test" and len(ledger) > 1:
        return (
            f"Beware: the test split was opened {len(ledger)} times; with every look that a choice follows from "
            "it is less of a test."
        )
    if absent := absent_classes(score):
        return f"Beware: no {SPLIT_NAMES[split]} image shows {listed(absent[:5])}, of which nothing is known."
    if data.get("warnings"):
        return f"Beware: {data['warnings'][0].removesuffix('.')}."
    if weak := weakest(score):
        return (
            f"Beware: of class {weak['class']} it finds only {percent(weak['recall']['value'])} "
            f"({percent_range(weak['recall'])}, {plural(weak['support'], 'image')})."
        )
    width = score["accuracy"]["high"] - score["accuracy"]["low"]
    if width > 0.04:
        return (
            f"Beware: {plural(score['samples'], 'image')} are few; by chance alone the figure may be off by "
            f"{50 * width:.1f} points either way."
        )
    return "Beware: the figure holds for images like these; another camera, place or time can be harder."


def weakest(score: Json) -> Json | None:
    """Return the class that is found least often, where that is surely below the accuracy of all."""
    rows: list[Json] = [row for row in score.get("per_class", []) if row["support"]]
    low = min(rows, key=lambda row: float(row["recall"]["value"]), default=None)
    if low is None or low["recall"]["high"] >= score["accuracy"]["value"]:
        return None
    return low


def luck(metrics: Json, ledger: Sequence[Json]) -> list[str]:
    """Return how much of the best of several looks can be luck: at epochs on validation, at the test."""
    found = []
    epochs = metrics.get("training", {}).get("epochs_run", 0)
    if "val" in metrics and epochs > 1:
        points = best_of(epochs, metrics["val"])
        found.append(
            f"On validation the best of {epochs} epochs was taken: up to {points:.1f} points of its "
            "accuracy there can be luck."
        )
    if "test" in metrics and len(ledger) == 1:
        found.append(
            "The test split was opened once and chose nothing: none of its figures is luck of the draw."
        )
    elif "test" in metrics and len(ledger) > 1:
        points = best_of(len(ledger), metrics["test"])
        found.append(
            f"If the best of the {len(ledger)} looks at the test split were told, up to {points:.1f} points "
            "of it could be luck."
        )
    return found


def best_of(n: int, score: Json) -> float:
    """Return by how many points the best of `n` equally good models is expected above the truth.

    At most: as if each were measured on images of its own. Blom's approximation of the largest of `n` normal
    values. Source: Blom 1958, Statistical Estimates and Transformed Beta-Variables.
    """
    accuracy, images = score["accuracy"]["value"], score["samples"]
    largest = float(ndtri((n - 0.375) / (n + 0.25))) if n > 1 else 0.0
    return 100 * largest * sqrt(max(accuracy * (1 - accuracy), 0.25 / (images + 1)) / images)
