"""What several verbs do on their way."""

import hashlib
from datetime import UTC, datetime
from typing import Any, Literal

from resnetlab import evidence
from resnetlab.data.batches import samples_of
from resnetlab.data.catalog import PARTS, Catalog
from resnetlab.data.pixels import PixelStore
from resnetlab.evaluation.metrics import score
from resnetlab.evaluation.predictions import Predictions
from resnetlab.files import write_json
from resnetlab.inspection import describe_pictures
from resnetlab.pictures import Pictures
from resnetlab.progress import say
from resnetlab.recipe import Recipe, evaluation_size
from resnetlab.run import Run


def begin_run(run: Run, pictures: Pictures, part: str) -> None:
    """Write what is known before the work: catalog, environment, data set, statistics of a part."""
    from resnetlab.training.hardware import environment

    say(f"run {run.folder}")
    catalog = pictures.catalog
    counts = {part: len(catalog.part(part)) for part in PARTS}
    say("parts " + ", ".join(f"{part} {count:,}" for part, count in counts.items() if count))
    catalog.save(run.catalog_file)
    write_json(run.folder / "environment.json", environment() | {"started": now()})
    run.add_metrics(dataset=describe_pictures(pictures, part))


def measure(
    run: Run,
    catalog: Catalog,
    store: PixelStore,
    recipe: Recipe,
    classifier: Any,
    part: Literal["val", "test"],
) -> dict[str, Any]:
    """Predict a part, and write predictions, metrics and pictures into the run."""
    from resnetlab.training.predict import predict as predict_samples
    from resnetlab.training.shown import plain_view

    samples = samples_of(catalog, store, part)
    workers = int(recipe.data.workers)
    predictions = predict_samples(
        classifier, samples, plain_view(recipe), catalog.classes, recipe.seed, workers
    )
    if part == "test":
        run.add_to_ledger(ledger_entry(run, predictions))
    predictions.save(run.predictions(part))
    scores = score(predictions, recipe.evaluation.confidence, recipe.evaluation.resamples)
    run.add_metrics(**{part: scores})
    evidence.draw_results(run, part, predictions, scores, samples, recipe)
    return scores


def ledger_entry(run: Run, predictions: Predictions) -> dict[str, Any]:
    """Return the line that tells when, by which recipe and with which answers a test part was opened."""
    recipe_bytes = (run.folder / "recipe.yaml").read_bytes()
    right = predictions.predicted == predictions.labels
    return {
        "opened": now(),
        "recipe_sha256": hashlib.sha256(recipe_bytes).hexdigest(),
        "predictions_sha256": hashlib.sha256(predictions.logits.tobytes()).hexdigest(),
        "accuracy": float(right.mean()),
    }


def describe_model(classifier: Any, recipe: Recipe) -> dict[str, Any]:
    """Return name, size and cost of a network."""
    from resnetlab.models.stages import stage_table

    image_size = evaluation_size(recipe)
    parameters = list(classifier.parameters())
    return {
        "name": recipe.model.name,
        "parameters": sum(p.numel() for p in parameters),
        "trainable": sum(p.numel() for p in parameters if p.requires_grad),
        "macs": stage_table(classifier, image_size)[-1].macs,
        "image_size": image_size,
    }


def now() -> str:
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
