"""When a training is saved, and where it goes on."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from resnetlab.errors import CheckpointError, DivergedError
from resnetlab.models.classifier import Classifier
from resnetlab.recipe import Training
from resnetlab.system import interruption, ranks
from resnetlab.system.files import sync
from resnetlab.system.progress import log
from resnetlab.training.checkpoint import frozen_digest, load_checkpoint, save_checkpoint
from resnetlab.training.history import History
from resnetlab.training.optim.learner import Learner


@dataclass(frozen=True)
class EpochProgress:
    """A place in an epoch: the steps done, and the sums of loss and correct over their images."""

    step: int = 0
    sums: tuple[float, float] = (0.0, 0.0)


START = EpochProgress()
MOST_RESTARTS = 3  # after divergence


@dataclass
class CheckpointManager:
    """Saves a training in its folder: after each epoch, every few minutes, and when it is to end.

    Of many processes the main one saves, and each goes on from there: the folder must be where all see it.
    """

    checkpoints: Path
    classifier: Classifier
    learner: Learner
    history: History = field(default_factory=list)

    def __post_init__(self) -> None:
        self.last = self.checkpoints / "last.safetensors"
        self.before = self.checkpoints / "before.safetensors"
        self.best = self.checkpoints / "best.safetensors"
        self.frozen = frozen_digest(self.classifier)
        self.saved_at = self.stepped_at = time.monotonic()
        self.saving_s = 1.0

    @property
    def there(self) -> list[Path]:
        """Return the checkpoints to go on from, the latest first; none where the training is new."""
        return [path for path in (self.last, self.before) if path.is_file()]

    def resume(self, weights: str) -> EpochProgress:
        """Load the last checkpoint where there is one; return the place in the epoch to go on from.

        Raises CheckpointError where the frozen stages, which came from `weights`, are others now.
        """
        if not self.there:
            return START
        saved = self.load_first(self.there)
        if saved["frozen"] != self.frozen:
            raise CheckpointError(
                f"{self.last}: its frozen stages had other weights than model.weights={weights} "
                "has now; bring those back"
            )
        self.history[:] = saved["history"]
        self.learner.micro_batches, self.learner.restarts = (
            saved["micro_batches"],
            saved["restarts"],
        )
        if "threads" in saved:  # they decide the bits of the epoch that was cut
            torch.set_num_threads(saved["threads"])
        loss, correct = saved["sums"]
        return EpochProgress(saved["step"], (loss, correct))

    def load_first(self, paths: Sequence[Path]) -> dict[str, Any]:
        """Load the first checkpoint that is sound; return its progress. Raises CheckpointError."""
        try:
            learner = self.learner
            return load_checkpoint(paths[0], self.classifier, learner.optimizer, learner.average)
        except CheckpointError as error:
            if len(paths) == 1:
                raise
            log(f"note: {error}; the one before is taken")
            return self.load_first(paths[1:])

    def restart(self, error: DivergedError, weights: str) -> EpochProgress:
        """Go back to the last checkpoint, at half the learning rate; return the place to go on from.

        Raises the error, with what to do about it, where the recipe says so or that didn't help.
        """
        training, restarts = self.learner.training, self.learner.restarts
        if training.on_divergence == "stop" or restarts == MOST_RESTARTS:
            raise DivergedError(f"{error}; {advice(training, self.learner.lr_scale)}") from error
        done = self.resume(weights)
        self.learner.restarts = restarts + 1
        log(
            f"note: {error}; back to the last checkpoint, in epoch {len(self.history) + 1}, at half "
            f"the learning rate (restart {restarts + 1} of at most {MOST_RESTARTS})"
        )
        return done

    def after_step(self, step: int, sums: torch.Tensor) -> None:
        """Save where it is time to. Raises StoppedError, once saved, where an end is asked for.

        `step` steps of the epoch are done, `sums` (2,) are of loss and correct.
        """
        now = time.monotonic()
        ahead_s = 2 * (now - self.stepped_at) + 2 * self.saving_s  # another step must fit in
        self.stepped_at = now
        stop = interruption.asked_of_any(ahead_s)
        due = now - self.saved_at > 60 * self.learner.training.checkpoint_minutes
        if (stop or due) and ranks.is_main():
            weights = torch.nn.utils.get_total_norm(self.classifier.parameters())
            if torch.isfinite(sums).all() and weights.isfinite():  # else the loop will say so
                self.save(EpochProgress(step, tuple(sums.tolist())))
        if stop:
            raise stop

    def end_epoch(self, is_best: bool) -> None:
        """Write that an epoch is done; what `best` holds just now is not written twice."""
        if is_best and self.learner.average is None:
            try:
                self.link_best()
            except OSError:  # not every file system can give a file two names
                self.save(START)
        else:
            self.save(START)

    def link_best(self) -> None:
        """Let `last` be the file that `best` is: both are replaced, and never written into."""
        link = self.last.with_suffix(".link")
        link.unlink(missing_ok=True)
        os.link(self.best, link)
        if self.last.is_file():
            self.last.replace(self.before)
        link.replace(self.last)
        sync(self.checkpoints)

    def save(self, done: EpochProgress, name: str = "last") -> None:
        """Write a checkpoint of where it stands; of many processes the main one does."""
        if not ranks.is_main():
            return
        started = time.monotonic()
        progress = {
            "history": self.history,
            "step": done.step,
            "sums": list(done.sums),
            "frozen": self.frozen,
            "micro_batches": self.learner.micro_batches,
            "restarts": self.learner.restarts,
        }
        if self.learner.training.threads == "adaptive":
            progress["threads"] = torch.get_num_threads()
        path = self.checkpoints / f"{name}.safetensors"
        if path == self.last and path.is_file():
            path.replace(self.before)  # it counts until the next one is there
        average = None if name == "best" else self.learner.average  # best holds nothing but it
        save_checkpoint(path, self.classifier, self.learner.optimizer, average, progress)
        self.saved_at = time.monotonic()
        self.saving_s = self.saved_at - started


def advice(training: Training, lr_scale: float) -> str:
    """Return what to do about a training that diverged, at a learning rate of which `lr_scale` was left."""
    ways = [f"lower training.lr ({float(training.lr) * lr_scale / 10:.2g} is a good next try)"]
    if training.clip_norm is None:
        ways.append("set training.clip_norm=1")
    if training.precision == "bf16":
        ways.append("set training.precision=fp32")
    return ", or ".join(ways)
