"""One step of learning: images forward, gradients back, the weights moved."""

import hashlib
import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from resnetlab.data.batches import Batch
from resnetlab.errors import MachineError
from resnetlab.models.classifier import Classifier
from resnetlab.recipe import Training
from resnetlab.system import ranks
from resnetlab.system.progress import log
from resnetlab.training.hardware.depthwise import fast_depthwise
from resnetlab.training.hardware.micro_batches import out_of_memory
from resnetlab.training.hardware.norms import own_statistics, synchronise
from resnetlab.training.optim.average import Average, make_average
from resnetlab.training.optim.losses import Criterion, cross_entropy
from resnetlab.training.optim.mixup import Mix, draw_mix
from resnetlab.training.optim.optimizers import make_optimizer, set_lr
from resnetlab.training.predict import as_images

NO_SYNC_IN_PARTS = (
    "training.sync_batchnorm needs each process's part of a batch in memory at once, and it isn't there: lower "
    "training.batch_size, take more processes, or leave training.sync_batchnorm out"
)


@dataclass
class Learner:
    """A network with its optimiser, and what else changes from step to step."""

    fabric: Fabric
    model: Any
    optimizer: Any
    training: Training
    criterion: Criterion
    forward: AbstractContextManager[Any] = field(default_factory=nullcontext)  # of the network
    average: Average | None = None
    micro_batches: int = 1  # into which a batch is divided, where memory doesn't hold it at once
    restarts: int = 0  # after divergence; each halves the learning rate

    def step(
        self,
        group: list[Batch],
        factor: float,
        seed: int,
        steps: int,
        time: float = math.inf,
        epochs_done: int | None = None,
    ) -> Tensor:
        """Learn from batches that make one step; return their summed loss and number correct, (2,).

        The learning rate is `factor` of its highest, of stages that have begun to learn at `time`
        (epochs); dropout and mixup follow from the seed. `steps` of the training are done before;
        where this is the last of an epoch, `epochs_done` will be.
        """
        set_lr(self.optimizer, factor * self.lr_scale, time)
        sums = self.gradients(group, seed)
        if ranks.world() > 1:
            self.add_up(group, sums)
        if self.training.clip_norm is not None:
            self.fabric.clip_gradients(
                self.model,
                self.optimizer,
                max_norm=float(self.training.clip_norm),
                error_if_nonfinite=False,
            )
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.update(steps, epochs_done)
        return sums

    def add_up(self, group: list[Batch], sums: Tensor) -> None:
        """Let each process have the gradients and sums of the whole step; norms' statistics in the mean.

        Each counts by its images there: so what norms keep is of the whole batch, and the same everywhere.
        """
        images = sum(len(batch.labels[batch.own]) for batch in group)
        share = images / sum(len(batch.all_labels) for batch in group)
        statistics = own_statistics(self.model)
        for kept in statistics:
            kept.mul_(share) if images else kept.zero_()  # of no images they are no numbers
        gradients = [each.grad for each in self.model.parameters() if each.grad is not None]
        ranks.add_up([*gradients, *statistics, sums])

    @property
    def lr_scale(self) -> float:
        """Return what is left of the learning rate after restarts."""
        return 0.5**self.restarts

    def averaged(self) -> AbstractContextManager[None]:
        """Let the network have its averaged weights for a while, where an average is kept."""
        return nullcontext() if self.average is None else self.average.in_place()

    def gradients(self, group: list[Batch], seed: int) -> Tensor:
        """Add up the gradients of a step, in more micro-batches where memory runs out."""
        while True:
            try:
                return self.backward(group, seed)
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                if ranks.world() > 1 and self.training.sync_batchnorm:
                    raise MachineError(NO_SYNC_IN_PARTS) from error
                if self.micro_batches >= max(len(batch.rows) for batch in group):
                    raise MachineError(
                        "there is no memory for a single image: lower data.image_size, take a "
                        "smaller network, or a device with more"
                    ) from error
            # Outside of the handler, which holds on to what was computed so far.
            self.optimizer.zero_grad()
            self.micro_batches *= 2
            log(
                f"note: memory ran out; each batch is shown in {self.micro_batches} micro-batches from now on, "
                "a step is still over all of it"
            )

    def backward(self, group: list[Batch], seed: int) -> Tensor:
        """Add up the gradients of a step; return summed loss and number correct."""
        seed_dropout(self.fabric.device, address(seed, ranks.rank()) if ranks.rank() else seed)
        total = sum(self.criterion.total(torch.from_numpy(batch.all_labels)) for batch in group)
        sums = torch.zeros(2, device=self.fabric.device)
        for number, batch in enumerate(group):
            images = self.fabric.to_device(as_images(batch.images))
            labels = self.fabric.to_device(torch.from_numpy(batch.labels))
            mix = None
            if self.training.mixup or self.training.cutmix:
                alphas = self.training.mixup, self.training.cutmix
                mix = draw_mix(*alphas, len(labels), address(seed, number), labels.device)
                images = mix.images(images)
            own = torch.arange(len(labels), device=labels.device)[batch.own]
            for rows in own.chunk(self.micro_batches):
                sums += self.learn(images, labels, rows, mix, total)
        return sums

    def learn(
        self, images: Tensor, labels: Tensor, rows: Tensor, mix: Mix | None, total: float
    ) -> Tensor:
        """Add the gradients of a micro-batch, as its share of a step whose images count `total`.

        The loss returned is without smoothing and mixup, so that it compares with validation's.
        """
        whole = len(rows) == len(labels)
        with self.forward:
            logits = self.model(images if whole else images[rows])
        # A network that restores the image gives the errors beside.
        logits, errors = logits if isinstance(logits, tuple) else (logits, None)
        own = labels if whole else labels[rows]
        if mix is None:
            loss = self.criterion(logits, own)
        else:
            others = labels[mix.partners[rows]]
            loss = mix.loss(logits, own, others, self.criterion, mix.share_in(images))
        if errors is not None:
            loss = loss + float(self.training.reconstruction) * errors
        self.fabric.backward(loss.sum() / total)
        with torch.no_grad():
            plain = cross_entropy(logits, own, 0.0).sum()
            return torch.stack([plain, (logits.argmax(dim=1) == own).sum().to(plain.dtype)])


def make_learner(
    fabric: Fabric,
    classifier: Classifier,
    part: nn.Module,
    training: Training,
    criterion: Criterion,
) -> Learner:
    """Return a learner for the part of a classifier that works in each step."""
    classifier.freeze_norms = training.freeze_norms is True
    if training.sync_batchnorm:
        synchronise(part)
    model, optimizer = fabric.setup(part, make_optimizer(classifier, training))
    average, criterion = make_average(classifier, training), criterion.to(fabric.device)
    forward = fast_depthwise(part, str(training.precision), fabric.device.type)
    return Learner(fabric, model, optimizer, training, criterion, forward, average)


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
