"""What a run shows: pictures, page and tables, drawn from what the other layers found."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from resnetlab.data.batches import Samples, View, samples_of
from resnetlab.data.catalog import Catalog
from resnetlab.data.pixels import PixelStore
from resnetlab.evaluation.predictions import Predictions
from resnetlab.files import read_csv, write_csv, write_json
from resnetlab.recipe import Augment, Recipe, evaluation_size
from resnetlab.run import Run

if TYPE_CHECKING:
    from resnetlab.deploy.predictor import Answer
    from resnetlab.tuning.range_test import Rates

SHOWN = 24  # pictures in a sample or a gallery of mistakes
VIEWS = 7  # augmented views beside each original


def draw_data(run: Run, catalog: Catalog, store: PixelStore, recipe: Recipe) -> None:
    """Draw the classes in each part, and some training pictures as the network will see them."""
    from resnetlab.report.figures import class_distribution
    from resnetlab.report.pictures import contact_sheet

    counts = {part: catalog.counts(part).tolist() for part in ("train", "val", "test")}
    class_distribution(counts, catalog.classes, run.figures / "classes.png")
    samples = samples_of(catalog, store, "train")
    rows = []
    for label, name in enumerate(catalog.classes[:10]):
        row = int(np.flatnonzero(samples.labels == label)[0])
        rows.append((name, augmented_views(samples, row, recipe)))
    contact_sheet(rows, run.figures / "augmented.png")


def augmented_views(samples: Samples, row: int, recipe: Recipe) -> list[np.ndarray]:
    """Return a picture as it is shown in evaluation, then as in the first epochs of training."""
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
    part: str,
    predictions: Predictions,
    scores: dict[str, Any],
    samples: Samples,
    recipe: Recipe,
) -> None:
    """Draw confusion, classes, a sample of predictions and the surest mistakes of a part."""
    from resnetlab.report.figures import confusion_matrix, per_class_scores

    classes, matrix = predictions.classes, scores["confusion_matrix"]
    confusion_matrix(matrix, classes, run.figures / f"confusion-{part}.png", normalised=False)
    confusion_matrix(
        matrix, classes, run.figures / f"confusion-{part}-normalised.png", normalised=True
    )
    per_class_scores(scores["per_class"], run.figures / f"per-class-{part}.png")
    # The samples are in the order of a content hash: the first are as good as drawn by lot.
    draw_pictures(
        run.figures / f"samples-{part}.png",
        np.arange(len(samples))[:SHOWN],
        predictions,
        samples,
        recipe,
    )
    wrong = np.flatnonzero(predictions.predicted != predictions.labels)
    surest_first = wrong[np.argsort(-predictions.probs[wrong].max(axis=1), kind="stable")]
    mistakes = run.figures / f"mistakes-{part}.png"
    mistakes.unlink(missing_ok=True)
    if len(wrong):
        draw_pictures(mistakes, surest_first[:SHOWN], predictions, samples, recipe)


def draw_pictures(
    path: Path, rows: np.ndarray, predictions: Predictions, samples: Samples, recipe: Recipe
) -> None:
    """Draw some pictures with their true and predicted names."""
    from resnetlab.report.pictures import sample_predictions

    size = evaluation_size(recipe)
    images = np.empty((len(rows), size, size, 3), dtype=np.uint8)
    for row, out in zip(rows, images, strict=True):
        samples.render(int(row), View(size, recipe.data.fit), out)
    names = predictions.classes
    sample_predictions(
        list(images),
        [names[label] for label in predictions.labels[rows]],
        [names[label] for label in predictions.predicted[rows]],
        predictions.probs[rows].max(axis=1).tolist(),
        path,
    )


def write_report(run: Run, history: Sequence[dict[str, Any]] | None = None) -> None:
    """Write the run's report; with the history, draw its curves first."""
    from resnetlab.report.curves import learning_curves
    from resnetlab.report.page import write_run_report

    if history is not None:
        learning_curves(history, run.metrics["training"]["best_epoch"], run.figures / "curves.png")
    write_run_report(run.folder)


def draw_search(run: Run, search: dict[str, Any]) -> None:
    """Draw the trials of a search, and the folds of the chosen one."""
    from resnetlab.report.search import draw_search as draw

    draw(search, run.figures)


def draw_rates(path: Path, rates: "Rates") -> None:
    """Draw the loss over the rates of a range test."""
    from resnetlab.report.curves import rate_curve

    rate_curve(rates.rates, rates.losses, rates.smoothed, rates.suggested, path)


def write_comparison(out: Path, comparison: dict[str, Any], runs: dict[str, Run]) -> None:
    """Write pictures, figures and page of a comparison."""
    from resnetlab.report.curves import overlaid_curves
    from resnetlab.report.figures import difference_plot
    from resnetlab.report.page import write_comparison_page

    figures = {"curves": out / "curves.png", "differences": out / "differences.png"}
    histories = {name: run.folder / "history.csv" for name, run in runs.items()}
    trained = {name: path for name, path in histories.items() if path.is_file()}
    if trained:  # what was only measured here has no curves
        overlaid_curves({name: read_csv(path) for name, path in trained.items()}, figures["curves"])
    else:
        del figures["curves"]
    difference_plot(comparison, figures["differences"])
    write_json(out / "comparison.json", comparison)
    facts = [{"name": name, **run.metrics} for name, run in runs.items()]
    write_comparison_page(comparison, figures, out / "comparison.html", facts)


def prediction_rows(answers: "Sequence[Answer]", classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return a row a file: what the model says and how sure it is."""
    rows = []
    for answer in answers:
        probs = [None] * len(classes) if answer.probs is None else answer.probs.tolist()
        best = None if answer.probs is None else int(answer.probs.argmax())
        rows.append(
            {
                "file": str(answer.path),
                "class": None if best is None else classes[best],
                "probability": None if best is None else probs[best],
                "probabilities": dict(zip(classes, probs, strict=True)),
                "problem": answer.problem,
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


def card(run: Run, recipe: Recipe) -> str:
    """Return the text that goes with a model: what it is for, and where its figures stand."""
    facts = run.metrics
    data, model = facts["dataset"], facts["model"]
    classes = ", ".join(data["classes"])
    went_on = [entry["changes"] for entry in run.environment.get("went_on_anyway", [])]
    changed = "".join(
        f"\nIt went on although this had changed: {'; '.join(each)}.\n" for each in went_on
    )
    return f"""# {data["name"]}: {model["name"]}

Names the class of a picture: {classes}.

Trained on {sum(data["counts"]["train"])} pictures by resnetlab, seed {recipe.seed}; pictures reach it at
{model["image_size"]} × {model["image_size"]} px. How good it is, and how sure that is, stands in the
report of the run it came from. It knows these classes only and will name one of them for any picture.
{changed}
    resnetlab predict . pictures/
"""
