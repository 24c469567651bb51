"""The training loop. Reads downwards: for each epoch train, predict, score, record, save, stop."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from resnetlab.data.batches import Samples, Source, batches, plan_epoch, resampled
from resnetlab.errors import DivergedError, MachineError, StoppedError
from resnetlab.evaluation.metrics import quick_scores
from resnetlab.models.classifier import Classifier
from resnetlab.recipe import Recipe
from resnetlab.runs.trackers import Tracker, tracker_of
from resnetlab.system import ranks
from resnetlab.system.progress import Progress, log
from resnetlab.training.checkpoint_manager import START, CheckpointManager, EpochProgress
from resnetlab.training.hardware.device import make_fabric
from resnetlab.training.hardware.micro_batches import micro_batches_for
from resnetlab.training.history import (
    History,
    kept_epoch,
    out_of_patience,
    plateau_scores,
    write_history,
)
from resnetlab.training.initial import network_with
from resnetlab.training.inputs import evaluation_inputs, plain_view, training_inputs, training_view
from resnetlab.training.optim.learner import NO_SYNC_IN_PARTS, Learner, address, make_learner
from resnetlab.training.optim.losses import make_criterion
from resnetlab.training.optim.schedules import lr_factor
from resnetlab.training.predict import as_images, predict
from resnetlab.training.reconstruction import Reconstructing
from resnetlab.training.stored_features import Rest
from resnetlab.training.watch import Watch

CHECK_EVERY = 10  # steps between two looks at whether the loss is finite; each look waits for a GPU


@dataclass(frozen=True)
class EpochResult:
    """What an epoch of training showed: means over its images, and images a second."""

    loss: float
    accuracy: float
    lr: float  # at its middle
    rate: float
    done: EpochProgress  # at its end


def fit(
    fabric: Fabric,
    classifier: Classifier,
    train: Samples,
    val: Samples,
    classes: tuple[str, ...],
    recipe: Recipe,
    folder: Path,
    on_epoch_end: Callable[[History, str], None] = lambda history, line: log(line),
    name: str = "",
    watch: Watch | None = None,
) -> History:
    """Train to the end of the recipe, or until patience runs out; return the history.

    Writes history.csv, checkpoints/last and checkpoints/best into `folder` after each epoch, `last`
    also in between, and goes on from it where it is there. The recipe must be resolved: no 'auto'
    in it. Without validation samples the last epoch counts as the best. `on_epoch_end` gets the history and
    a line about its last epoch; what it raises ends the training there. `name` begins the title of
    the progress bar; `watch` tells what it sees on the way. Where there are more processes, each batch
    is divided among all. Raises DivergedError, and StoppedError, once saved, where an end is asked for.
    """
    training = recipe.training
    state = {name: tensor.cpu() for name, tensor in classifier.state_dict().items()}
    with ranks.together(follow, state, train, val, classes, recipe, folder):
        fabric.to_device(classifier.to(memory_format=torch.channels_last))
        trained: torch.nn.Module
        trained, inputs = training_inputs(fabric.device, classifier, train, recipe)
        scored, held_out = evaluation_inputs(classifier, val, recipe)
        criterion = make_criterion(training, classes, train.labels)
        if training.reconstruction:
            trained = Reconstructing(classifier)
        learner = make_learner(fabric, classifier, trained, training, criterion)
        checkpoints = CheckpointManager(folder / "checkpoints", classifier, learner)
        is_new = ranks.on_main(lambda: not checkpoints.there)
        done, history = checkpoints.resume(recipe.model.weights), checkpoints.history
        tracker = tracker_of(recipe, folder, name)
        if training.schedule == "plateau" and not len(val):
            log("note: nothing validates; schedule=plateau goes by the training loss")
        if is_new:
            learner.micro_batches = micro_batches_that_fit(learner, inputs, recipe)
            if training.on_divergence == "restart":
                ranks.on_main(lambda: checkpoints.save(START))  # to come back to

        def after_step(step: int, sums: torch.Tensor) -> None:
            if watch is not None:
                watch.after_step(step, sums)
            checkpoints.after_step(step, sums)

        while len(history) < int(training.epochs):
            if out_of_patience(history, training.monitor, training.patience):
                break
            if watch is not None:
                watch.begin_epoch(history)
            try:
                result = train_epoch(learner, inputs, recipe, history, done, after_step, name)
                try:
                    with learner.averaged():
                        row = score_epoch(scored, held_out, classes, recipe, result, history)
                except StoppedError:
                    checkpoints.save(result.done)
                    raise
            except DivergedError as error:
                done = checkpoints.restart(error, recipe.model.weights)
                continue
            if training.threads == "adaptive":
                row["threads"] = torch.get_num_threads()
            history.append(row)
            if watch is not None:
                watch.end_epoch(history)
            line = describe_row(row, int(training.epochs), result)
            ranks.on_main(
                partial(keep_epoch, folder, checkpoints, tracker, on_epoch_end, line, len(val))
            )
            done = START
        if ranks.is_main():
            checkpoints.before.unlink(missing_ok=True)  # nothing goes on from here
        return history


def follow(
    state: dict[str, torch.Tensor],
    train: Samples,
    val: Samples,
    classes: tuple[str, ...],
    recipe: Recipe,
    folder: Path,
) -> None:
    """Take this process's part in a training that the main one does, and keep nothing of it."""
    training = recipe.training
    threads = training.threads if isinstance(training.threads, int) else None
    fabric = make_fabric(str(training.device), str(training.precision), threads)
    classifier = network_with(recipe, len(classes), state)
    fit(fabric, classifier, train, val, classes, recipe, folder)


def keep_epoch(
    folder: Path,
    checkpoints: CheckpointManager,
    tracker: Tracker | None,
    on_epoch_end: Callable[[History, str], None],
    line: str,
    images: int,
) -> None:
    """Tell of an epoch that is done, scored by so many images, and write what it has left."""
    history, learner = checkpoints.history, checkpoints.learner
    on_epoch_end(history, line)
    is_best = kept_epoch(history, learner.training, images) == len(history)
    if is_best:
        with learner.averaged():
            checkpoints.save(START, "best")
    write_history(folder, history)
    if tracker is not None:
        tracker.tell_epoch(history[-1])
    # Last: only now is the epoch done; a run cut before repeats it and writes the same again.
    checkpoints.end_epoch(is_best)


def micro_batches_that_fit(learner: Learner, samples: Source, recipe: Recipe) -> int:
    """Return into how many micro-batches a batch must be divided so that memory holds it; log it."""
    batch_size = -(-min(recipe.training.batch_size, len(samples)) // ranks.world())
    view = training_view(
        recipe, max(int(recipe.training.epochs) - 1, 0)
    )  # the last epoch has the largest

    def count() -> int:
        images = learner.fabric.to_device(as_images(samples.batch(np.arange(1), view).images))
        return micro_batches_for(learner.model, images, batch_size)

    micro_batches = ranks.on_main(count)
    if micro_batches > 1:
        if ranks.world() > 1 and recipe.training.sync_batchnorm:
            raise MachineError(NO_SYNC_IN_PARTS)
        log(
            f"note: memory does not hold {batch_size} images at once; each batch is shown in "
            f"{micro_batches} micro-batches, a step is still over all of it"
        )
    return micro_batches


def train_epoch(
    learner: Learner,
    samples: Source,
    recipe: Recipe,
    history: History,
    done: EpochProgress = START,
    after_step: Callable[[int, torch.Tensor], None] = lambda step, sums: None,
    name: str = "",
) -> EpochResult:
    """Show every training image once, from a place on, in the epoch that follows the history.

    `after_step` is told how many steps of the epoch are done, and the sums of loss and correct (2,).
    """
    training, epoch = recipe.training, len(history)
    plan = plan_epoch(len(samples), training.batch_size, recipe.seed, epoch)
    if training.sampler != "shuffled":
        shown = resampled(samples.labels, training.sampler, recipe.seed, epoch)
        plan = [shown[rows] for rows in plan]
    steps = [plan[i : i + training.accumulate] for i in range(0, len(plan), training.accumulate)]
    batches_done = done.step * training.accumulate
    stream = batches(
        samples, plan[batches_done:], training_view(recipe, epoch), int(recipe.data.workers)
    )
    plateau = training.schedule == "plateau"
    past = plateau_scores(history, training.monitor) if plateau else []
    totals = torch.tensor(done.sums, device=learner.fabric.device)  # loss and correct
    images_done = sum(map(len, plan[:batches_done]))
    title = f"{name}epoch {epoch + 1}/{training.epochs}"
    learner.model.train()
    with Progress(title, len(samples), done=images_done, stoppable=False) as progress:
        for step, group in enumerate(steps[done.step :], done.step):
            now = epoch + (step + 0.5) / len(steps)
            factor = lr_factor(training, now, past)
            seed = address(recipe.seed, epoch, step)
            totals += learner.step(
                list(islice(stream, len(group))),
                factor,
                seed,
                epoch * len(steps) + step,
                now,
                epoch + 1 if step == len(steps) - 1 else None,
            )
            progress.advance(sum(map(len, group)))
            if step % CHECK_EVERY == 0 or step == len(steps) - 1:
                raise_if_diverged(totals, epoch, step)
            after_step(step + 1, totals)
        # What the last step did to the weights, no loss of this epoch shows.
        weights = torch.nn.utils.get_total_norm(learner.model.parameters())
        raise_if_diverged(weights, epoch, len(steps) - 1)
        middle = lr_factor(training, epoch + 0.5, past) * learner.lr_scale
        loss, correct = totals.tolist()
        return EpochResult(
            loss=loss / len(samples),
            accuracy=correct / len(samples),
            lr=float(training.lr) * middle,
            rate=progress.rate,
            done=EpochProgress(len(steps), (loss, correct)),
        )


def score_epoch(
    classifier: Classifier | Rest,
    val: Source,
    classes: tuple[str, ...],
    recipe: Recipe,
    result: EpochResult,
    history: History,
) -> dict[str, Any]:
    """Predict the validation split and return the epoch's row of the history."""
    row = {
        "epoch": len(history) + 1,
        "fold": -1,
        "lr": result.lr,
        "train_loss": result.loss,
        "train_accuracy": result.accuracy,
    }
    names = ("loss", "accuracy", "balanced_accuracy", "macro_f1")
    if not len(val):
        return row | {f"val_{name}": None for name in names}
    view = plain_view(recipe)
    workers = int(recipe.data.workers)
    found = predict(classifier, val, view, classes, recipe.seed, workers)
    measured = ranks.on_main(lambda: quick_scores(found))
    return row | {f"val_{name}": measured[name] for name in names}


def raise_if_diverged(sums: torch.Tensor, epoch: int, step: int) -> None:
    """Raise DivergedError where a sum is no finite number: then one of its terms is none either."""
    if not torch.isfinite(sums).all():
        raise DivergedError(
            f"epoch {epoch + 1}, step {step + 1}: the loss is no longer a finite number"
        )


def describe_row(row: dict[str, Any], epochs: int, result: EpochResult) -> str:
    """Return one line about an epoch."""
    text = f"epoch {row['epoch']:>3}/{epochs}  train loss {row['train_loss']:.3f} accuracy {row['train_accuracy']:.1%}"
    if row["val_loss"] is not None:
        text += f"  validation loss {row['val_loss']:.3f} accuracy {row['val_accuracy']:.1%}"
    return f"{text}  {result.rate:,.0f} images/s"
