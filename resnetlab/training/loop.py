"""The training loop. Reads downwards: for each epoch train, predict, score, record, save, stop."""

import hashlib
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from resnetlab.data.batches import Batch, Samples, Source, View, batches, plan_epoch
from resnetlab.errors import CheckpointError, DivergedError
from resnetlab.evaluation.metrics import quick_scores
from resnetlab.models.classifier import Classifier
from resnetlab.progress import Progress, say
from resnetlab.recipe import Augment, Recipe, evaluation_size
from resnetlab.training.checkpoint import frozen_digest, load_checkpoint, save_checkpoint
from resnetlab.training.frozen import Precision, Rest, store_features
from resnetlab.training.history import (
    History,
    best_epoch,
    out_of_patience,
    scores,
    write_history,
)
from resnetlab.training.losses import cross_entropy
from resnetlab.training.optimizers import make_optimizer, set_rate
from resnetlab.training.predict import DIVERGED, as_images, predict
from resnetlab.training.resident import ResidentSamples, may_reside
from resnetlab.training.schedules import rate_factor, size_of_epoch

CHECK_EVERY = 10  # steps between two looks at whether the loss is finite; each look waits for a GPU


@dataclass(frozen=True)
class Learned:
    """What an epoch of training showed: means over its pictures, and pictures a second."""

    loss: float
    accuracy: float
    rate: float


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

    Writes history.csv, checkpoints/last and checkpoints/best into `folder` after each epoch, and
    goes on from `last` where it is there. The recipe must be resolved: no 'auto' in it. Without
    validation samples the last epoch counts as the best. Raises DivergedError.
    """
    training = recipe.training
    checkpoints = folder / "checkpoints"
    fabric.to_device(classifier.to(memory_format=torch.channels_last))
    part, shown = what_learns(fabric.device, classifier, train, recipe)
    asked, held_out = what_is_asked(classifier, val, recipe)
    model, optimizer = fabric.setup(part, make_optimizer(classifier, training))
    history: History = []
    frozen, last = frozen_digest(classifier), checkpoints / "last.safetensors"
    if last.is_file():
        saved = load_checkpoint(last, classifier, optimizer)
        history = saved["history"]
        if saved["frozen"] != frozen:
            raise CheckpointError(
                f"{last}: its frozen stages had other weights than model.weights={recipe.model.weights} "
                "has now; bring those back"
            )
    for epoch in range(len(history), training.epochs):
        if out_of_patience(history, training.monitor, training.patience):
            break
        learned = train_epoch(fabric, model, optimizer, shown, recipe, epoch, history)
        history.append(score_epoch(asked, held_out, classes, recipe, epoch, learned, history))
        say(describe_row(history[-1], training.epochs, learned))
        progress = {"history": history, "frozen": frozen}
        if best_epoch(history, training.monitor) == epoch + 1:
            save_checkpoint(checkpoints / "best.safetensors", classifier, optimizer, progress)
        write_history(folder, history, training.log)
        # Last: only now is the epoch done; a run cut before repeats it and writes the same again.
        save_checkpoint(last, classifier, optimizer, progress)
    return history


def what_learns(
    device: torch.device, classifier: Classifier, train: Samples, recipe: Recipe
) -> tuple[Classifier | Rest, Source]:
    """Return the part of the network that works in each step, and what it learns from.

    The whole of it and the pictures; or what follows the frozen stages, and what those gave.
    """
    training = recipe.training
    if views := stored_views(classifier, recipe):
        precision: Precision = "bf16" if training.precision == "bf16" else "fp32"
        view, workers = training_view(recipe, 0), int(recipe.data.workers)
        return Rest(classifier), store_features(classifier, train, view, views, precision, workers)
    if may_reside(train, device):
        return classifier, ResidentSamples.of(train, device)
    return classifier, train


def what_is_asked(
    classifier: Classifier, val: Samples, recipe: Recipe
) -> tuple[Classifier | Rest, Source]:
    """Return the part of the network that is scored after each epoch, and on what; in fp32."""
    # A picture and its mirror image pass through the frozen stages apart: that isn't stored.
    if not stored_views(classifier, recipe) or recipe.evaluation.mirror:
        return classifier, val
    workers = int(recipe.data.workers)
    return Rest(classifier), store_features(classifier, val, plain_view(recipe), 1, "fp32", workers)


def stored_views(classifier: Classifier, recipe: Recipe) -> int:
    """Return how many views of the pictures are kept behind frozen stages; 0 where none is."""
    return int(recipe.training.frozen_views) if classifier.frozen else 0


def train_epoch(
    fabric: Fabric,
    model: Any,
    optimizer: Any,
    samples: Source,
    recipe: Recipe,
    epoch: int,
    history: History,
) -> Learned:
    """Show every training picture once; `epoch` counts from 0."""
    training = recipe.training
    plan = plan_epoch(len(samples), training.batch_size, recipe.seed, epoch)
    steps = [plan[i : i + training.accumulate] for i in range(0, len(plan), training.accumulate)]
    stream = batches(samples, plan, training_view(recipe, epoch), int(recipe.data.workers))
    past = scores(history, training.monitor)
    totals = torch.zeros(2, device=fabric.device)  # loss and hits
    model.train()
    with Progress(f"epoch {epoch + 1}/{training.epochs}", len(samples)) as progress:
        for step, group in enumerate(steps):
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
        # What the last step did to the weights, no loss of this epoch shows.
        refuse_divergence(torch.nn.utils.get_total_norm(model.parameters()), epoch, len(steps) - 1)
        loss, accuracy = (totals / len(samples)).tolist()
        return Learned(loss, accuracy, progress.rate)


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


def training_view(recipe: Recipe, epoch: int) -> View:
    """Return how pictures are shown in an epoch of training."""
    augment = recipe.data.augment
    assert isinstance(augment, Augment), "the recipe must be resolved"
    size = size_of_epoch(recipe.training, int(recipe.data.image_size), epoch)
    return View(size, recipe.data.fit, augment, recipe.seed, epoch)


def plain_view(recipe: Recipe) -> View:
    """Return how pictures are shown in evaluation."""
    return View(evaluation_size(recipe), recipe.data.fit)


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
