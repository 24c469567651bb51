"""Figures and page of a run, from its predictions, scores and samples."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from resnetlab.data.batches import Samples, View, samples_of
from resnetlab.data.catalog import Catalog
from resnetlab.data.store.pixels import PixelStore
from resnetlab.evaluation.predictions import Predictions
from resnetlab.recipe import Augment, Recipe, evaluation_size
from resnetlab.runs.run import Run

SHOWN = 24  # images in a sample or a gallery of mistakes
VIEWS = 7  # augmented views beside each original


def draw_data(run: Run, catalog: Catalog, store: PixelStore, recipe: Recipe) -> None:
    """Draw the classes in each split, and some training images as the network will see them."""
    from resnetlab.report.drawing.figures import class_distribution
    from resnetlab.report.drawing.galleries import contact_sheet

    counts = {split: catalog.counts(split).tolist() for split in ("train", "val", "test")}
    class_distribution(counts, catalog.classes, run.figures / "classes.png")
    samples = samples_of(catalog, store, "train")
    rows = []
    for label, name in enumerate(catalog.classes[:10]):
        row = int(np.flatnonzero(samples.labels == label)[0])
        rows.append((name, augmented_views(samples, row, recipe)))
    contact_sheet(rows, run.figures / "augmented.png")


def draw_restored(run: Run, images: np.ndarray, restored: np.ndarray) -> None:
    """Draw images and what an autoencoder makes of them, both uint8 (N, S, S, 3)."""
    from resnetlab.report.drawing.galleries import contact_sheet

    rows = [("image", list(images)), ("restored", list(restored))]
    contact_sheet(rows, run.figures / "restored.png")


def augmented_views(samples: Samples, row: int, recipe: Recipe) -> list[np.ndarray]:
    """Return an image as evaluation sees it, then as the first epochs of training do."""
    assert isinstance(recipe.data.augment, Augment), "the recipe must be resolved"
    size, fit = int(recipe.data.image_size), recipe.data.fit
    views = [View(size, fit)]
    views += [View(size, fit, recipe.data.augment, recipe.seed, epoch) for epoch in range(VIEWS)]
    images = np.empty((len(views), size, size, 3), dtype=np.uint8)
    for view, out in zip(views, images, strict=True):
        samples.render(row, view, out)
    return list(images)


def draw_results(
    run: Run,
    split: str,
    predictions: Predictions,
    scores: dict[str, Any],
    samples: Samples,
    recipe: Recipe,
    cams: Mapping[int, np.ndarray] | None = None,
    train: Samples | None = None,
    near: Mapping[int, np.ndarray] | None = None,
) -> None:
    """Draw confusion matrix, scores of each class, sample predictions and surest mistakes of a split.

    `cams` are maps (S, S) from 0 to 1 of where the network saw what it predicted, by row; `near` are the
    rows of `train` nearest in feature space.
    """
    from resnetlab.report.thumbnails import training_pictures, write_thumbnails

    draw_scores(run, split, predictions, scores)
    temperature = scores["calibration"]["temperature"]
    shown = training_pictures(train, near, recipe) if train is not None and near else {}
    write_thumbnails(run, split, predictions, samples, recipe, cams or {}, temperature, shown)
    # The samples are in the order of a content hash: the first are as good as drawn by lot.
    rows = np.arange(len(samples))[:SHOWN]
    sample = run.figures / f"samples-{split}.png"
    draw_images(sample, rows, predictions.take(rows), samples, recipe, temperature)
    wrong = np.flatnonzero(predictions.predicted != predictions.labels)
    surest_first = wrong[np.argsort(-predictions.probs[wrong].max(axis=1), kind="stable")]
    mistakes = run.figures / f"mistakes-{split}.png"
    mistakes.unlink(missing_ok=True)
    if len(wrong):
        rows = surest_first[:SHOWN]
        draw_images(mistakes, rows, predictions.take(rows), samples, recipe, temperature)


def draw_scores(run: Run, split: str, predictions: Predictions, scores: dict[str, Any]) -> None:
    """Draw what needs no image: confusion matrix, scores of each class, calibration; tables as CSV."""
    from resnetlab.report.drawing.charts import reliability_diagram, risk_coverage_curve
    from resnetlab.report.drawing.figures import confusion_matrix, per_class_scores
    from resnetlab.report.files import write_tables

    classes, matrix = predictions.classes, scores["confusion_matrix"]
    confusion_matrix(matrix, classes, run.figures / f"confusion-{split}.png", normalised=False)
    confusion_matrix(
        matrix, classes, run.figures / f"confusion-{split}-normalised.png", normalised=True
    )
    per_class_scores(scores["per_class"], run.figures / f"per-class-{split}.png")
    write_tables(run.folder / "tables", split, scores)
    if "calibration" in scores:
        reliability_diagram(scores["calibration"], run.figures / f"reliability-{split}.png")
    if "selective" in scores:
        risk_coverage_curve(scores["selective"], run.figures / f"risk-coverage-{split}.png")


def draw_images(
    path: Path,
    rows: np.ndarray,
    predictions: Predictions,
    samples: Samples,
    recipe: Recipe,
    temperature: float = 1.0,
) -> None:
    """Draw the images in these rows of the samples with their true and predicted classes.

    `predictions` are those of the rows, in their order; confidences are those by the bundle's `temperature`.
    """
    from resnetlab.report.drawing.galleries import sample_predictions

    size = evaluation_size(recipe)
    images = np.empty((len(rows), size, size, 3), dtype=np.uint8)
    for row, out in zip(rows, images, strict=True):
        samples.render(int(row), View(size, recipe.data.fit), out)
    names = predictions.classes
    sample_predictions(
        list(images),
        [names[label] for label in predictions.labels],
        [names[label] for label in predictions.predicted],
        predictions.probs_at(temperature).max(axis=1).tolist(),
        path,
    )


def write_report(run: Run, history: Sequence[dict[str, Any]] | None = None) -> None:
    """Write the run's report; with the history, draw its curves first."""
    from resnetlab.report.drawing.curves import learning_curves
    from resnetlab.report.page import write_run_report

    if history is not None:
        learning_curves(history, run.metrics["training"]["best_epoch"], run.figures / "curves.png")
    write_run_report(run.folder)
