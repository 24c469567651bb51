"""Training, from the data to the finished run."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from resnetlab.data.batches import samples_of
from resnetlab.data.catalog import Catalog
from resnetlab.data.dataset import Dataset, divide, list_data, name_of
from resnetlab.data.description import describe_dataset
from resnetlab.data.export import export_split
from resnetlab.data.store.pixels import PixelStore
from resnetlab.evaluation.confidence.selective import promised_thresholds
from resnetlab.recipe import Recipe, validate
from resnetlab.report import results
from resnetlab.report.formats import plural
from resnetlab.runs.run import Run, create_run
from resnetlab.runs.trackers import require_tracker, tracker_of
from resnetlab.runs.unfinished import FILE, discarded_without_recipe, lasting, unfinished
from resnetlab.system.files import read_csv
from resnetlab.system.progress import duration, log
from resnetlab.system.requirements import (
    require_empty,
    require_outside,
    require_space,
    require_writable,
)
from resnetlab.workflows.candidates import read_and_choose, settle_candidates
from resnetlab.workflows.ending import (
    calibrate,
    describe_training,
    held_out,
    know_familiar,
    settle_adjustment,
    settle_flips,
)
from resnetlab.workflows.evidence.measuring import predict_split, record, rows_of
from resnetlab.workflows.plan import (
    checkpoint_bytes,
    describe_alternative,
    describe_plan,
    in_time,
    run_name,
)
from resnetlab.workflows.resuming.continuing import describe_start, leave_out_seen
from resnetlab.workflows.resuming.lengthening import lengthen
from resnetlab.workflows.start import begin, hand_over
from resnetlab.workflows.steps import begin_run, describe_model, from_bundle, return_to, say_notes

if TYPE_CHECKING:
    from resnetlab.models import Classifier


def train(
    data: Path,
    recipe: Recipe | None = None,
    out: Path = Path("runs"),
    name: str | None = None,
    export_split_to: Path | None = None,
    budget_s: float | None = None,
    most_epochs: int | None = None,
) -> Run:
    """Audit, split, train, evaluate on validation; write bundle and report; return the run.

    With `budget_s`, epochs that the recipe leaves open are as many as fit into so many seconds,
    `most_epochs` at most.
    Raises DataError, RecipeError, MachineError, DivergedError.
    """
    recipe, begun = from_bundle(recipe or Recipe()), time.monotonic()
    asked = recipe
    require_writable(out)
    if export_split_to is not None:
        require_empty(export_split_to)
        require_outside(export_split_to, data)
    require_tracker(recipe)
    catalog, recipe = list_data(data, recipe)
    say_notes(catalog)
    # Whatever may be wrong with network, weights, device or disk shows before hours of reading.
    candidates = settle_candidates(recipe, catalog)
    settled, network = candidates[0]
    if len(candidates) == 1:
        log(describe_plan(settled, catalog))
    named = asked.model.name != "auto" or asked.model.candidates
    if not named and (alternative := describe_alternative(settled, catalog)):
        log(alternative)
    if settled.model.head == "weights":
        log(describe_start(settled, catalog))
    run = new_run(out, name or run_name(data, recipe), network)
    arguments = {
        "data": lasting(data),
        "recipe": (recipe if len(candidates) > 1 else settled).model_dump(mode="json"),
        "export_split_to": export_split_to and lasting(export_split_to),
    }
    with run.held(), discarded_without_recipe(run), unfinished(run.folder, "train", **arguments):
        dataset, network = read_and_choose(name_of(data), catalog, candidates)
        if budget_s is not None and asked.training.epochs == "auto":
            timed = in_time(dataset, begun + budget_s, asked, most_epochs)
            dataset = replace(dataset, recipe=timed)
        catalog = settle_splits(run, dataset, export_split_to)
        finish_training(run, catalog, dataset.store, dataset.recipe, network)
    return run


def new_run(out: Path, name: str, network: "Classifier") -> Run:
    """Create the folder of a run where there is space for its checkpoints, and say which it is."""
    require_space(out, checkpoint_bytes(network), "the checkpoints")
    run = create_run(out, name)
    log(f"run {run.folder}")
    return run


def settle_splits(run: Run, dataset: Dataset, export_split_to: Path | None) -> Catalog:
    """Divide the images, write down all that was settled before the training; return the catalog."""
    catalog = leave_out_seen(divide(dataset.catalog, dataset.recipe), dataset.recipe)
    if export_split_to is not None:
        export_split(catalog, export_split_to)
    findings = describe_dataset(replace(dataset, catalog=catalog), "train")
    begin_run(run, catalog, findings, dataset.recipe)
    return catalog


def go_on_training(folder: Path, arguments: dict[str, Any], anyway: bool) -> None:
    """Go on with a training; one that was cut before its images were read begins with that."""
    run = Run(folder)
    with run.held(), unfinished(folder, "train", **arguments):
        if (folder / "recipe.yaml").is_file():
            if "more" in arguments:  # it was finished, and is made longer
                lengthen(run, arguments["more"])
            train_on(run, anyway)
            return
        recipe = validate(arguments["recipe"], str(folder / FILE))
        require_tracker(recipe)
        data, export_split_to = Path(arguments["data"]), arguments["export_split_to"]
        listed, recipe = list_data(data, recipe)
        candidates = settle_candidates(recipe, listed)
        dataset, network = read_and_choose(name_of(data), listed, candidates)
        catalog = settle_splits(run, dataset, export_split_to and Path(export_split_to))
        finish_training(run, catalog, dataset.store, dataset.recipe, network)


def train_on(run: Run, anyway: bool) -> None:
    """Train to the end from the last checkpoint, where recipe and images are what they were.

    With `anyway`, training images that have changed or gone are left out from here on.
    """
    require_tracker(run.recipe)
    catalog, store = return_to(run, anyway)
    if len(catalog.rows("train")) < sum(run.metrics["dataset"]["counts"]["train"]):
        leave_out(run, catalog)
    finish_training(run, catalog, store, run.recipe)


def leave_out(run: Run, catalog: Catalog) -> None:
    """Write down a catalog in which more images are quarantined than when the run began."""
    catalog.save(run.catalog_file)
    findings = run.metrics["dataset"]
    findings["used"] = len(catalog.rows("all"))
    findings["counts"] = {split: catalog.counts(split).tolist() for split in findings["counts"]}
    findings["problems"] = [
        {"id": catalog.ids[row], "problem": catalog.problem[row]}
        for row in np.flatnonzero(~catalog.sound)
    ]
    run.add_metrics(dataset=findings)


def finish_training(
    run: Run,
    catalog: Catalog,
    store: PixelStore,
    recipe: Recipe,
    network: "Classifier | None" = None,
) -> None:
    """Train to the end, from the last checkpoint where there is one; then evidence and bundle.

    `network` is the one that settling the recipe gave, where that was just done.
    """
    from resnetlab.training.checkpoint import load_checkpoint
    from resnetlab.training.hardware.device import make_fabric, starting_threads
    from resnetlab.training.head import fit_head
    from resnetlab.training.initial import initial_classifier
    from resnetlab.training.loop import fit
    from resnetlab.training.optim.optimizers import learning_table
    from resnetlab.training.reconstruction import restored_images
    from resnetlab.training.watch import watch_training

    classifier = initial_classifier(recipe, catalog, store, network)
    training = recipe.training
    threads = starting_threads(training)
    fabric = make_fabric(str(training.device), str(training.precision), threads)
    run.add_metrics(model=describe_model(classifier, recipe))
    splits = {split: samples_of(catalog, store, split) for split in ("train", "val")}
    done = epochs_done(run)
    watch = Stopwatch(run, done)
    if not run.checkpoint("last").is_file():
        begin(run, classifier, splits, catalog, recipe)
    history: list[dict[str, Any]] = []
    kept = 0
    if training.epochs:
        log(
            "\n".join(["what learns, and how fast at most:", *learning_table(classifier, training)])
        )
        history = fit(
            fabric,
            classifier,
            splits["train"],
            splits["val"],
            catalog.classes,
            recipe,
            run.folder,
            watch.end_epoch,
            watch=watch_training(splits["train"].labels, training),
        )
        kept = len(load_checkpoint(run.checkpoint("best"), classifier)["history"])
    seconds = watch.sitting
    trained = max(len(history) - done, 0)
    if trained:
        log(f"trained {plural(trained, 'epoch')} in {duration(seconds)}")
    results.draw_data(run, catalog, store, recipe)
    if training.reconstruction and len(splits["val"]):
        shown = restored_images(classifier, splits["val"], results.VIEWS + 1, recipe)
        results.draw_restored(run, *shown)
    images = trained * len(splits["train"])
    facts = describe_training(run, history, kept, recipe, images, seconds, watch.before)
    if history and (facts["head_kept"] or facts["start_kept"]):
        before = "the head alone" if training.head_first else "the network it began with"
        log(f"note: no epoch was better on validation than {before}, which is kept")
        classifier = initial_classifier(recipe, catalog, store)
        if training.head_first:
            fit_head(classifier, splits["train"], splits["val"], recipe)
    recipe = settle_flips(classifier, splits["val"], catalog.classes, recipe)
    recipe = settle_adjustment(classifier, splits["val"], catalog, recipe)
    settled = recipe.evaluation
    run.add_metrics(
        training=facts
        | {
            "horizontal_flip": settled.horizontal_flip,
            "logit_adjustment": settled.logit_adjustment,
        }
    )
    predictions = predict_split(classifier, splits["val"], catalog, recipe)
    held = held_out(run, predictions)
    temperature = calibrate(held)
    thresholds = {}
    if held is not None:
        groups = catalog.group[rows_of(catalog, held)]
        thresholds = promised_thresholds(held, temperature, groups)
    reference = know_familiar(classifier, splits, predictions, temperature, recipe)
    hand_over(run, classifier, catalog, recipe, temperature, reference, thresholds)
    if predictions is not None:
        record(run, classifier, catalog, splits["val"], recipe, predictions, "val", temperature)
    results.write_report(run, history or None)
    if tracker := tracker_of(recipe, run.folder):
        tracker.tell_result()


class Stopwatch:
    """Seconds of training: those of this sitting, and those `before` it, of epochs that are done."""

    def __init__(self, run: Run, done: int) -> None:
        self.run, self.times = run, run.times[:done]
        known = run.metrics.get("training", {}).get("seconds", 0.0)  # of one that was finished
        self.before = self.times[-1] if self.times else known
        self.started = time.monotonic()

    @property
    def sitting(self) -> float:
        """Seconds since this sitting began."""
        return time.monotonic() - self.started

    def end_epoch(self, history: Sequence[dict[str, Any]], line: str) -> None:
        """Say what an epoch brought, and write down when it ended, if that is known of those before it."""
        log(line)
        if len(self.times) == len(history) - 1:
            self.times.append(self.before + self.sitting)
            self.run.write_times(self.times)


def epochs_done(run: Run) -> int:
    """Return how many epochs of a run were trained before it was cut off, or made longer."""
    file = run.folder / "history.csv"
    return len(read_csv(file)) if file.is_file() else 0
