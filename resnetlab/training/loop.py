"""The training loop. Reads downwards: for each epoch train, predict, score, record, save, stop."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from resnetlab.data.batches import Batch, Samples, Source, batches, plan_epoch
from resnetlab.errors import DivergedError, StoppedError
from resnetlab.evaluation.metrics import quick_scores
from resnetlab.models.classifier import Classifier
from resnetlab.progress import Progress, say
from resnetlab.recipe import Recipe
from resnetlab.training.frozen import Rest
from resnetlab.training.history import (
    History,
    best_epoch,
    out_of_patience,
    scores,
    write_history,
)
from resnetlab.training.keeper import START, Keeper, Place
from resnetlab.training.losses import cross_entropy
from resnetlab.training.optimizers import make_optimizer, set_rate
from resnetlab.training.predict import DIVERGED, as_images, predict
from resnetlab.training.schedules import rate_factor
from resnetlab.training.shown import plain_view, training_view, what_is_asked, what_learns

CHECK_EVERY = 10  # steps between two looks at whether the loss is finite; each look waits for a GPU


@dataclass(frozen=True)
class Learned:
    """What an epoch of training showed: means over its pictures, and pictures a second."""

    loss: float
    accuracy: float
    rate: float
    place: Place  # at its end


def fit(
    fabric: Fabric,
    classifier: Classifier,
    train: Samples,
    val: Samples,
    classes: tuple[str, ...],
    recipe: Recipe,
    folder: Path,
) -> History:
    """Train to the end of the recipe, or until patience runs out; return the history.

    Writes history.csv, checkpoints/last and checkpoints/best into `folder` after each epoch, `last`
    also in between, and goes on from it where it is there. The recipe must be resolved: no 'auto'
    in it. Without validation samples the last epoch counts as the best. Raises DivergedError, and
    StoppedError, once saved, where an end is asked for.
    """
    training = recipe.training
    fabric.to_device(classifier.to(memory_format=torch.channels_last))
    part, shown = what_learns(fabric.device, classifier, train, recipe)
    asked, held_out = what_is_asked(classifier, val, recipe)
    model, optimizer = fabric.setup(part, make_optimizer(classifier, training))
    keeper = Keeper(folder / "checkpoints", classifier, optimizer, training.checkpoint_minutes)
    place, history = keeper.resume(recipe.model.weights), keeper.history
    for epoch in range(len(history), training.epochs):
        if out_of_patience(history, training.monitor, training.patience):
            break
        learned = train_epoch(
            fabric, model, optimizer, shown, recipe, epoch, history, place, keeper.after_step
        )
        try:
            row = score_epoch(asked, held_out, classes, recipe, epoch, learned, history)
        except StoppedError:
            keeper.save(learned.place)
            raise
        history.append(row)
        say(describe_row(row, training.epochs, learned))
        if best_epoch(history, training.monitor) == epoch + 1:
            keeper.save(START, "best")
        write_history(folder, history, training.log)
        # Last: only now is the epoch done; a run cut before repeats it and writes the same again.
        keeper.save(START)
        place = START
    keeper.before.unlink(missing_ok=True)  # nothing goes on from here
    return history


def train_epoch(
    fabric: Fabric,
    model: Any,
    optimizer: Any,
    samples: Source,
    recipe: Recipe,
    epoch: int,
    history: History,
    place: Place = START,
    after_step: Callable[[int, torch.Tensor], None] = lambda step, sums: None,
) -> Learned:
    """Show every training picture once, from a place on; `epoch` counts from 0.

    `after_step` is told how many steps of the epoch are done, and the sums of loss and hits (2,).
    """
    training = recipe.training
    plan = plan_epoch(len(samples), training.batch_size, recipe.seed, epoch)
    steps = [plan[i : i + training.accumulate] for i in range(0, len(plan), training.accumulate)]
    begun = place.step * training.accumulate
    stream = batches(samples, plan[begun:], training_view(recipe, epoch), int(recipe.data.workers))
    past = scores(history, training.monitor)
    totals = torch.tensor(place.sums, device=fabric.device)  # loss and hits
    shown = sum(map(len, plan[:begun]))
    title = f"epoch {epoch + 1}/{training.epochs}"
    model.train()
    with Progress(title, len(samples), done=shown, stoppable=False) as progress:
        for step, group in enumerate(steps[place.step :], place.step):
            time = epoch + (step + 0.5) / len(steps)
            set_rate(optimizer, rate_factor(training, time, past))
            seed_dropout(fabric.device, address(recipe.seed, epoch, step))
            pictures = sum(map(len, group))
            for batch in islice(stream, len(group)):
                totals += learn(fabric, model, batch, training.label_smoothing, pictures)
                progress.advance(len(batch.rows))
            if training.clip_norm is not None:
                fabric.clip_gradients(
                    model, optimizer, max_norm=training.clip_norm, error_if_nonfinite=False
                )
            optimizer.step()
            optimizer.zero_grad()
            if step % CHECK_EVERY == 0 or step == len(steps) - 1:
                refuse_divergence(totals, epoch, step)
            after_step(step + 1, totals)
        # What the last step did to the weights, no loss of this epoch shows.
        refuse_divergence(torch.nn.utils.get_total_norm(model.parameters()), epoch, len(steps) - 1)
        loss, accuracy = (totals / len(samples)).tolist()
        loss_sum, hits = totals.tolist()
        return Learned(loss, accuracy, progress.rate, Place(len(steps), (loss_sum, hits)))


def learn(
    fabric: Fabric, model: Any, batch: Batch, label_smoothing: float, pictures: int
) -> torch.Tensor:
    """Add a batch's gradients, as its share of a step over `pictures`; return summed loss and hits.

    The loss returned is without smoothing, so that it compares with validation's.
    """
    images = fabric.to_device(as_images(batch.images))
    labels = fabric.to_device(torch.from_numpy(batch.labels))
    logits = model(images)
    fabric.backward(cross_entropy(logits, labels, label_smoothing).sum() / pictures)
    with torch.no_grad():
        plain = cross_entropy(logits, labels, 0.0).sum()
        return torch.stack([plain, (logits.argmax(dim=1) == labels).sum().to(plain.dtype)])


def score_epoch(
    classifier: Classifier | Rest,
    val: Source,
    classes: tuple[str, ...],
    recipe: Recipe,
    epoch: int,
    learned: Learned,
    history: History,
) -> dict[str, Any]:
    """Predict the validation part and return the epoch's row of the history."""
    training = recipe.training
    past = scores(history, training.monitor)
    row = {
        "epoch": epoch + 1,
        "fold": -1,
        "lr": float(training.lr) * rate_factor(training, epoch + 0.5, past),
        "train_loss": learned.loss,
        "train_accuracy": learned.accuracy,
    }
    names = ("loss", "accuracy", "balanced_accuracy", "macro_f1")
    if not len(val):
        return row | {f"val_{name}": None for name in names}
    view = plain_view(recipe)
    workers = int(recipe.data.workers)
    measured = quick_scores(predict(classifier, val, view, classes, recipe.seed, workers))
    return row | {f"val_{name}": measured[name] for name in names}


def seed_dropout(device: torch.device, seed: int) -> None:
    """Seed one device's numbers; torch.manual_seed does all, which costs more than a small step."""
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)


def address(*numbers: int) -> int:
    """Return a 63-bit seed that belongs to these numbers and to no others."""
    digest = hashlib.sha256(",".join(map(str, numbers)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def refuse_divergence(sums: torch.Tensor, epoch: int, step: int) -> None:
    """Raise DivergedError where a sum is no finite number: then a part of it is none either."""
    if not torch.isfinite(sums).all():
        raise DivergedError(f"epoch {epoch + 1}, step {step + 1}: {DIVERGED}")


def describe_row(row: dict[str, Any], epochs: int, learned: Learned) -> str:
    """Return one line about an epoch."""
    text = f"epoch {row['epoch']:>3}/{epochs}  train loss {row['train_loss']:.3f} accuracy {row['train_accuracy']:.1%}"
    if row["val_loss"] is not None:
        text += f"  validation loss {row['val_loss']:.3f} accuracy {row['val_accuracy']:.1%}"
    return f"{text}  {learned.rate:,.0f} pictures/s"
