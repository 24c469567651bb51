"""A split measured: predicted, scored, drawn, and written into the run."""

import hashlib
from typing import Any, Literal

import numpy as np

from resnetlab.data.batches import Samples, samples_of
from resnetlab.data.catalog import Catalog
from resnetlab.data.store.pixels import PixelStore
from resnetlab.deploy.card import card
from resnetlab.evaluation.confidence.calibration import describe_calibration
from resnetlab.evaluation.confidence.conformal import PROMISE, conformal
from resnetlab.evaluation.confidence.selective import describe_selection
from resnetlab.evaluation.metrics import score
from resnetlab.evaluation.predictions import Predictions
from resnetlab.recipe import Recipe
from resnetlab.report import results
from resnetlab.runs.run import Run
from resnetlab.system import interruption
from resnetlab.system.files import write_text
from resnetlab.workflows.steps import now, recipe_digest


def measure(
    run: Run,
    catalog: Catalog,
    store: PixelStore,
    recipe: Recipe,
    classifier: Any,
    split: Literal["val", "test"],
    temperature: float,
    opened: int = 0,
) -> dict[str, Any]:
    """Predict a split, and write predictions, metrics and images into the run.

    `temperature` is the bundle's. `opened` is how often the test split was opened before; a look
    that was cut off after the ledger had its line gets no second one.
    """
    samples = samples_of(catalog, store, split)
    predictions = predict_split(classifier, samples, catalog, recipe)
    assert predictions is not None, "a split without images is refused before"
    if split == "test" and len(run.ledger) == opened:
        run.add_to_ledger(ledger_entry(run, predictions))
    return record(run, classifier, catalog, samples, recipe, predictions, split, temperature)


def predict_split(
    classifier: Any, samples: Samples, catalog: Catalog, recipe: Recipe
) -> Predictions | None:
    """Return a classifier's predictions for a split, as evaluation sees its images; None for no images."""
    from resnetlab.training.inputs import plain_view
    from resnetlab.training.predict import predict as predict_samples

    if not len(samples):
        return None
    view, workers = plain_view(recipe), int(recipe.data.workers)
    return predict_samples(classifier, samples, view, catalog.classes, recipe.seed, workers)


def record(
    run: Run,
    classifier: Any,
    catalog: Catalog,
    samples: Samples,
    recipe: Recipe,
    predictions: Predictions,
    split: Literal["val", "test"],
    temperature: float,
) -> dict[str, Any]:
    """Write the predictions for a split, what they show, and its images into the run; return the scores."""
    predictions.save(run.predictions(split))
    interruption.raise_if_requested()
    val = predictions if split == "val" else validation_of(run)
    scores = evidence(predictions, val, catalog, recipe, temperature)
    run.add_metrics(**{split: scores})
    renew_card(run, recipe)
    interruption.raise_if_requested()
    cams = attention(classifier, samples, predictions, recipe)
    train = samples_of(catalog, samples.store, "train")
    near = neighbours(run, classifier, train, samples, predictions, recipe)
    results.draw_results(run, split, predictions, scores, samples, recipe, cams, train, near)
    return scores


def attention(
    classifier: Any, samples: Samples, predictions: Predictions, recipe: Recipe
) -> dict[int, np.ndarray]:
    """Return where the network saw the predicted class, (S, S) from 0 to 1, for the rows of the surest errors.

    Nothing for a network whose maps have no places.
    """
    import torch

    from resnetlab.models.attribution import grad_cam
    from resnetlab.report.thumbnails import galleries
    from resnetlab.training.inputs import plain_view
    from resnetlab.training.predict import as_images

    rows = galleries(predictions)["surest_errors"]
    if not len(rows):
        return {}
    images = as_images(samples.batch(rows, plain_view(recipe)).images)
    device = next(classifier.parameters()).device
    classes = torch.from_numpy(predictions.predicted[rows])
    cams = grad_cam(classifier, images.to(device), classes.to(device))
    return {} if cams is None else dict(zip(rows.tolist(), cams.cpu().numpy(), strict=True))


def neighbours(
    run: Run,
    classifier: Any,
    train: Samples,
    samples: Samples,
    predictions: Predictions,
    recipe: Recipe,
) -> dict[int, np.ndarray]:
    """Return the rows of the training images nearest to the surest errors, by the rows of those.

    Nothing where the run's bundle holds no reference of its training images.
    """
    from resnetlab.deploy.bundle import FACTS, read_facts
    from resnetlab.deploy.shift.features import nearest_training
    from resnetlab.deploy.shift.reference import load_reference
    from resnetlab.report.thumbnails import galleries

    rows = galleries(predictions)["surest_errors"]
    if not len(rows) or not (run.bundle / FACTS).is_file():
        return {}
    facts, _ = read_facts(run.bundle / FACTS)
    reference = load_reference(run.bundle, facts.reference)
    if reference is None:
        return {}
    near = nearest_training(classifier, reference, train, samples, rows, recipe)
    return dict(zip(rows.tolist(), near, strict=True))


def renew_card(run: Run, recipe: Recipe) -> None:
    """Write into the card of a run's bundle what was measured since; a run that only measures has none."""
    from resnetlab.deploy.bundle import CARD

    if (run.bundle / CARD).is_file():
        write_text(run.bundle / CARD, card(run, recipe))


def validation_of(run: Run) -> Predictions | None:
    """Return a run's predictions for validation, by which thresholds are chosen; None where it has none."""
    path = run.predictions("val")
    return Predictions.load(path) if path.is_file() else None


def evidence(
    predictions: Predictions,
    val: Predictions | None,
    catalog: Catalog,
    recipe: Recipe,
    temperature: float,
) -> dict[str, Any]:
    """Return what predictions show, as metrics.json holds it for a split; `val` chooses thresholds and sets.

    Measured on `val` itself, these and what the temperature gives are optimistic.
    """
    confidence = recipe.evaluation.confidence
    groups = catalog.group[rows_of(catalog, predictions)]
    val_groups = None if val is None else catalog.group[rows_of(catalog, val)]
    scores = score(predictions, confidence, recipe.evaluation.resamples, groups=groups)
    return scores | {
        "calibration": describe_calibration(predictions, temperature, confidence),
        "selective": describe_selection(
            predictions, val, temperature, confidence, groups, val_groups
        ),
        "conformal": conformal(
            predictions, val, PROMISE, temperature=temperature, confidence=confidence
        ),
    }


def rows_of(catalog: Catalog, predictions: Predictions) -> np.ndarray:
    """Return the rows (N,) of a catalog that predictions are of."""
    row_of = {id_: row for row, id_ in enumerate(catalog.ids)}
    return np.array([row_of[id_] for id_ in predictions.ids], dtype=np.int64)


def ledger_entry(run: Run, predictions: Predictions) -> dict[str, Any]:
    """Return the line that tells when, by which recipe and with which predictions a test split was opened."""
    right = predictions.predicted == predictions.labels
    return {
        "opened": now(),
        "recipe_sha256": recipe_digest(run),
        "predictions_sha256": hashlib.sha256(predictions.logits.tobytes()).hexdigest(),
        "accuracy": float(right.mean()),
    }
