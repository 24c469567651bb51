"""One bundle, ready to compute by whichever runtime suits the work; torch is loaded where it is needed."""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from resnetlab.deploy.bundle import FACTS, load_bundle, read_facts
from resnetlab.deploy.export.exported import Exported, is_exported, load_exported, ready_in
from resnetlab.deploy.preparation import Preparation
from resnetlab.deploy.runtime import Runtime, seconds_of
from resnetlab.deploy.runtimes import by_torch, check_backend
from resnetlab.deploy.shift.reference import load_reference
from resnetlab.errors import RecipeError
from resnetlab.system.allocator import keep_freed_memory

if TYPE_CHECKING:
    from resnetlab.models.classifier import Classifier

FEW = 64  # images below which nothing is tried: what is ready answers at once
WORTH_S = 20.0  # work left from which loading torch and trying what is fastest can pay


class Model:
    """A bundle, or a model exported from one, ready to compute probabilities.

    `backend` is one of deploy.runtimes.BACKENDS, or 'auto': a model exported into the bundle, else
    the fastest that keeps the class that fp32 gives, for few images fp32 itself. Raises RecipeError
    for an unknown backend, MachineError for one that is not installed, CheckpointError.
    """

    def __init__(self, folder: Path, device: str = "cpu", backend: str = "auto") -> None:
        check_backend(backend, device)
        keep_freed_memory()
        self.folder, self.device, self.backend = folder, device, backend
        self.settled: Runtime | None = None
        ready: Exported | None = None
        if is_exported(folder):
            if backend != "auto":
                raise RecipeError(
                    f"{folder}: is an exported model and computes by its own runtime; leave "
                    f"--backend {backend} out, or give the bundle it was made from"
                )
            ready = load_exported(folder)
            self.facts, self.digest, self.alone = ready.facts, ready.digest, True
        else:
            self.facts, self.digest = read_facts(folder / FACTS)
            self.alone = False
            if backend == "auto" and device == "cpu":
                ready = ready_in(folder, self.digest)
        self.preparation = Preparation.of(self.facts)
        self.reference = load_reference(folder, self.facts.reference)
        self.ready = None if ready is None else ready.runtime
        self.runtime = self.ready or self.exact

    @cached_property
    def classifier(self) -> "Classifier":
        """The network, its norms folded, its logits calibrated. Raises CheckpointError where the bundle is damaged."""
        import torch

        from resnetlab.deploy.fold import calibrated, folded

        loaded, facts = load_bundle(self.folder)
        network = calibrated(folded(loaded), facts.temperature)
        return network.to(self.device).to(memory_format=torch.channels_last)

    @cached_property
    def exact(self) -> Runtime:
        """PyTorch in fp32."""
        return Runtime("torch", by_torch(self.classifier))

    def settle(self, sample: Callable[[int], Sequence[np.ndarray]], count: float) -> None:
        """Decide who computes the next `count` images; a choice once made stays.

        `sample` gives at most so many of them, prepared.
        """
        if self.settled is None:
            self.settled = self._chosen(sample, count)
        self.runtime = self.settled or self.ready or self.exact

    def _chosen(
        self, sample: Callable[[int], Sequence[np.ndarray]], count: float
    ) -> Runtime | None:
        """Return whom trying has shown to be best, None where nothing was tried."""
        by_itself = self.backend == "auto"
        if self.alone or self.backend == "torch" or (by_itself and count < FEW):
            return None
        if self.ready is not None:
            images = sample(1)
            if not len(images) or seconds_of(self.ready, np.stack(images)) * count < WORTH_S:
                return None
        from resnetlab.deploy import choice

        wanted = choice.COMPARED if by_itself else choice.COMPARED + choice.CALIBRATED
        found = sample(wanted)
        if not len(found):
            return None
        samples = np.stack(found)
        if by_itself:
            return choice.choose(self.classifier, samples, count)
        return choice.named(self.backend, self.classifier, samples)
