"""The verbs: the only place that joins the layers."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np

from resnetlab import evidence
from resnetlab.checks import require_space, require_writable
from resnetlab.data.batches import View, samples_of
from resnetlab.data.catalog import Catalog, objects
from resnetlab.data.export import export_split
from resnetlab.data.moments import moments
from resnetlab.data.offline import write_copies
from resnetlab.data.pixels import PixelStore
from resnetlab.data.sources.folder import SPLIT_NAMES
from resnetlab.data.sources.made import write_digit_sum
from resnetlab.data.sources.table import write_label_table
from resnetlab.data.sources.unlabelled import read_unlabelled
from resnetlab.errors import DataError, MachineError, RecipeError
from resnetlab.evaluation.comparison import compare_all
from resnetlab.evaluation.metrics import score
from resnetlab.evaluation.predictions import Predictions
from resnetlab.files import write_json
from resnetlab.inspection import describe_pictures, plan_parts, write_inspection
from resnetlab.pictures import Pictures, divide, read_data, reopen_data
from resnetlab.progress import duration, say
from resnetlab.recipe import Augment, Recipe, did_you_mean
from resnetlab.resolve import bundle_of, resolve_training, settle_augment
from resnetlab.run import Run, create_run, open_run

# Torch takes seconds to load; what needs it is imported where it is used, so that `inspect`,
# `compare` and `--help` answer at once.

MADE_SETS = {"digit-sum": write_digit_sum}
# Mean and deviation of each channel, for pixel values in 0 to 1.
FIXED_MOMENTS = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}


def inspect(
    data: Path, recipe: Recipe | None = None, out: Path | None = None, fix: Path | None = None
) -> dict[str, Any]:
    """Audit a data set and return what was found; with `out`, write pictures and a page there.

    With `fix`, write a label table of what can be trusted, to train from: its pictures are DATA.
    Raises DataError where the data can't be used at all.
    """
    for folder in (out, fix and fix.parent):
        if folder is not None:
            require_writable(folder)
    pictures = read_data(data, recipe or Recipe())
    findings = describe_pictures(pictures, "all") | {"planned": plan_parts(pictures)}
    if out is not None:
        write_inspection(out, findings, pictures)
    if fix is not None:
        findings["fixed"] = str(write_label_table(fix, pictures.catalog))
    return findings


def make(name: str, out: Path, count: int, seed: int = 0) -> None:
    """Write a made set of pictures into a new folder. Raises RecipeError for a name that is none."""
    if name not in MADE_SETS:
        raise RecipeError(
            f"there is no made set '{name}' (there are: {', '.join(MADE_SETS)}){did_you_mean(name, MADE_SETS)}"
        )
    require_writable(out)
    MADE_SETS[name](out, count, seed)


def augment(data: Path, out: Path, copies: int = 1, recipe: Recipe | None = None) -> int:
    """Write the training pictures and `copies` variations of each as files; return how many files.

    Where DATA is divided into parts, the training part alone. A call that was cut off goes on.
    Raises DataError for a test or validation folder, MachineError where `out` can't be used.
    """
    name = data.resolve().name.lower()
    if SPLIT_NAMES.get(name, "train") != "train":
        raise DataError(
            f"{data}: is a {SPLIT_NAMES[name]} part by its name; what a model is measured on must stay as it is"
        )
    if out.resolve().is_relative_to(data.resolve()):
        raise MachineError(
            f"{out}: lies inside the data, which stays as it is; choose another folder"
        )
    require_writable(out)
    pictures = read_data(data, recipe or Recipe())
    recipe = settle_augment(pictures.recipe)
    part = "train" if (pictures.catalog.split != "").any() else "all"
    if part == "train":
        say("note: only the training part is augmented; what a model is measured on stays as it is")
    samples = samples_of(pictures.catalog, pictures.store, part)
    assert isinstance(recipe.data.augment, Augment), "it was settled"
    view = View(int(recipe.data.image_size), recipe.data.fit, recipe.data.augment, recipe.seed)
    classes, workers = pictures.catalog.classes, int(recipe.data.workers)
    return write_copies(samples, classes, view, copies, out, workers)


def train(
    data: Path,
    recipe: Recipe | None = None,
    out: Path = Path("runs"),
    name: str | None = None,
    export_split_to: Path | None = None,
) -> Run:
    """Audit, split, train, evaluate on validation; write bundle and report; return the run.

    Raises DataError, RecipeError, MachineError, DivergedError.
    """
    for folder in (out, export_split_to):
        if folder is not None:
            require_writable(folder)
    pictures = read_data(data, recipe or Recipe())
    catalog, store = divide(pictures.catalog, pictures.recipe), pictures.store
    if export_split_to is not None:
        export_split(catalog, export_split_to)
    recipe = resolve_training(pictures.recipe, len(catalog.classes))
    require_space(out, checkpoint_bytes(recipe, catalog), "the checkpoints")
    run = create_run(out, name or f"{pictures.name}-{recipe.model.name}")
    with run.held():
        begin_run(run, replace(pictures, catalog=catalog), "train")
        evidence.draw_data(run, catalog, store, recipe)
        run.write_recipe(recipe)  # last of the preparations: from here on the run can be resumed
        finish_training(run, catalog, store, recipe)
    return run


def begin_run(run: Run, pictures: Pictures, part: str) -> None:
    """Write what is known before the work: catalog, environment, data set, statistics of a part."""
    from resnetlab.training.hardware import environment

    say(f"run {run.folder}")
    pictures.catalog.save(run.catalog_file)
    write_json(run.folder / "environment.json", environment() | {"started": now()})
    run.add_metrics(dataset=describe_pictures(pictures, part))


def resume(folder: Path) -> Run:
    """Go on with a training that was cut off; a finished one is left as it is.

    Raises DataError where the pictures have changed since.
    """
    run = open_run(folder)
    with run.held():
        if (run.folder / "report.html").is_file():
            say(f"{run.folder} is finished")
            return run
        catalog, store = reopen_data(run)
        finish_training(run, catalog, store, run.recipe)
    return run


def finish_training(run: Run, catalog: Catalog, store: PixelStore, recipe: Recipe) -> None:
    """Train to the end, from the last checkpoint where there is one; then evidence and bundle."""
    from resnetlab.deploy.bundle import facts_for, save_bundle
    from resnetlab.training.checkpoint import load_checkpoint
    from resnetlab.training.hardware import make_fabric
    from resnetlab.training.history import best_epoch
    from resnetlab.training.loop import fit

    classifier = make_classifier(recipe, catalog, store)
    fabric = make_fabric(str(recipe.training.device), str(recipe.training.precision))
    run.add_metrics(model=describe_model(classifier, recipe))
    parts = {part: samples_of(catalog, store, part) for part in ("train", "val")}
    started = time.monotonic()
    history = fit(
        fabric, classifier, parts["train"], parts["val"], catalog.classes, recipe, run.folder
    )
    seconds = time.monotonic() - started
    say(f"trained {len(history)} epochs in {duration(seconds)}")
    load_checkpoint(run.checkpoint("best"), classifier)
    monitor = recipe.training.monitor
    best = best_epoch(history, monitor)
    finished = len(history) == recipe.training.epochs
    run.add_metrics(
        training={
            "epochs": recipe.training.epochs,
            "epochs_run": len(history),
            "best_epoch": best,
            "monitor": monitor,
            "best_score": history[best - 1][f"val_{monitor}"],
            "seconds": seconds,
            "pictures_per_second": len(history) * len(parts["train"]) / seconds,
            "precision": recipe.training.precision,
            "device": recipe.training.device,
            "stopped": "all epochs done" if finished else "early stopping",
        }
    )
    save_bundle(
        run.bundle, classifier, facts_for(recipe, catalog.classes), evidence.card(run, recipe)
    )
    if len(parts["val"]):
        measure(run, catalog, store, recipe, classifier, "val")
    evidence.write_report(run, history)


def make_classifier(recipe: Recipe, catalog: Catalog, store: PixelStore) -> Any:
    """Return the fresh network of a resolved recipe, its first weights decided by the seed."""
    import torch

    from resnetlab.models import build
    from resnetlab.models.pretrained import load_weights

    torch.manual_seed(recipe.seed)
    mean, std = normalisation(recipe, catalog, store)
    model = recipe.model
    image_size = int(recipe.data.image_size)
    classifier = build(
        model.name, len(catalog.classes), image_size, model.stem, model.dropout, mean, std
    )
    if model.weights != "none":
        load_weights(classifier, model.weights, model.name)
    return classifier


def checkpoint_bytes(recipe: Recipe, catalog: Catalog) -> int:
    """Return what the best checkpoint, the last one and the next take at most."""
    from resnetlab.models import build

    network = build(
        recipe.model.name, len(catalog.classes), int(recipe.data.image_size), recipe.model.stem
    )
    weights = sum(4 * parameter.numel() for parameter in network.parameters())
    return 3 * 3 * weights  # weights and up to two moments for each


def normalisation(
    recipe: Recipe, catalog: Catalog, store: PixelStore
) -> tuple[Sequence[float], Sequence[float]]:
    """Return mean and deviation by which pictures are normalised; 'train' is the training part alone."""
    if recipe.data.normalize in FIXED_MOMENTS:
        return FIXED_MOMENTS[recipe.data.normalize]
    mean, std = moments(store, store.rows_of(catalog)[catalog.part("train")])
    return mean.tolist(), np.maximum(std, 1e-3).tolist()  # a channel without any variation


def measure(
    run: Run,
    catalog: Catalog,
    store: PixelStore,
    recipe: Recipe,
    classifier: Any,
    part: Literal["val", "test"],
) -> dict[str, Any]:
    """Predict a part, and write predictions, metrics and pictures into the run."""
    from resnetlab.training.loop import plain_view
    from resnetlab.training.predict import predict as predict_samples

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


def evaluate(folder: Path, part: Literal["val", "test"] = "test") -> dict[str, Any]:
    """Score a finished run on its validation or test part and renew its report; return the scores.

    Opening the test part leaves a line in the run's ledger. Raises DataError where the part is
    empty or the pictures have changed since the training.
    """
    from resnetlab.deploy.bundle import load_bundle

    run = open_run(folder)
    with run.held():
        classifier, _ = load_bundle(run.bundle)
        catalog, store = reopen_data(run)
        recipe = run.recipe
        if not len(catalog.part(part)):
            raise DataError(
                f"{run.folder}: has no {part} part (its split is {list(recipe.data.split)})"
            )
        if part == "test" and run.ledger:
            times = "once" if len(run.ledger) == 1 else f"{len(run.ledger)} times"
            say(
                f"note: this test part was opened {times} before; each look makes it less of a test"
            )
        scores = measure(run, catalog, store, recipe, classifier, part)
        evidence.write_report(run)
    return scores


def evaluate_bundle(bundle: Path, data: Path, out: Path = Path("runs")) -> Run:
    """Score a bundle on labelled pictures that it was not made from; return the new run.

    Every sound picture counts, whatever part of DATA it lies in. Raises DataError where DATA has
    a class that the bundle doesn't know.
    """
    from resnetlab.deploy.bundle import load_bundle, recipe_of

    require_writable(out)
    classifier, facts = load_bundle(bundle_of(bundle))
    pictures = read_data(data, recipe_of(facts), as_one=True)
    catalog, store, recipe = pictures.catalog, pictures.store, pictures.recipe
    unknown = sorted(set(catalog.classes) - set(facts.classes))
    if unknown:
        raise DataError(
            f"{data}: {bundle} doesn't know class '{unknown[0]}'; it knows {', '.join(facts.classes)}"
        )
    labels = np.array([facts.classes.index(name) for name in catalog.classes])[catalog.labels]
    catalog = catalog.with_columns(
        classes=facts.classes,
        labels=labels,
        split=objects(["test"] * len(catalog)),
        notes=catalog.notes + overlap_notes(bundle, catalog),
    )
    run = create_run(out, f"{pictures.name}-{facts.network}-evaluation")
    with run.held():
        begin_run(run, replace(pictures, catalog=catalog), "test")
        run.write_recipe(recipe)
        run.add_metrics(model=describe_model(classifier, recipe))
        measure(run, catalog, store, recipe, classifier, "test")
        evidence.write_report(run)
    return run


def overlap_notes(model: Path, catalog: Catalog) -> tuple[str, ...]:
    """Return a note where a run has learned from some of these very pictures."""
    learned_from = model / "catalog.parquet"  # a bundle alone can't tell
    if not learned_from.is_file():
        return ()
    known = Catalog.load(learned_from)
    seen = int(np.isin(catalog.sha256, known.sha256[known.part("train")]).sum())
    if not seen:
        return ()
    note = f"{seen} of these {len(catalog)} pictures trained this model: the figures flatter it"
    say(f"note: {note}")
    return (note,)


def compare(folders: Sequence[Path], out: Path | None = None) -> dict[str, Any]:
    """Compare runs on the same pictures, pair by pair; with `out`, write pictures and a page there.

    On the test part where every run has opened it, else on validation. Raises DataError where the
    runs were not measured on the same pictures, RecipeError for fewer than two.
    """
    if out is not None:
        require_writable(out)
    runs = [open_run(folder) for folder in folders]
    names = [run.name for run in runs]
    if len(set(names)) < 2:
        raise RecipeError("compare needs two different runs at least")
    if len(set(names)) < len(names):  # the same name in two folders
        names = [str(run.folder) for run in runs]
    part = next(
        (part for part in ("test", "val") if all(run.predictions(part).is_file() for run in runs)),
        None,
    )
    if part is None:
        raise DataError(
            "the runs share no evaluated part; finish them, or run 'resnetlab evaluate' on each"
        )
    tables = {
        name: Predictions.load(run.predictions(part)) for name, run in zip(names, runs, strict=True)
    }
    comparison = compare_all(tables) | {"split": part}
    if out is not None:
        evidence.write_comparison(out, comparison, dict(zip(names, runs, strict=True)))
    return comparison


def predict(model: Path, images: Sequence[Path], out: Path | None = None) -> list[dict[str, Any]]:
    """Classify files, or folders and archives of files, with a run or a bundle; with `out`, write a CSV.

    Returns a row a file: file, class, probability, one probability a class, problem. A file that
    is no sound picture gets no class but a problem. Raises CheckpointError, DataError.
    """
    from resnetlab.deploy.predictor import Predictor

    if out is not None:
        require_writable(out.parent)
    pictures = read_unlabelled(images)
    predictor = Predictor(bundle_of(model))
    answers = predictor.answer(list(pictures), read=lambda path: pictures[path]())
    rows = evidence.prediction_rows(answers, predictor.facts.classes)
    if out is not None:
        evidence.write_predictions(out, rows)
    return rows


def describe_model(classifier: Any, recipe: Recipe) -> dict[str, Any]:
    """Return name, size and cost of a network."""
    from resnetlab.models.stages import stage_table

    image_size = int(recipe.data.image_size)
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
