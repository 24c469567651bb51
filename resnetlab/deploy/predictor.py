"""Prediction from files with nothing but a bundle."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from resnetlab.data.augment.draw import PLAIN
from resnetlab.data.augment.render import render
from resnetlab.data.formats import why_not_by_name
from resnetlab.data.store.decode import ImageProblem, decode
from resnetlab.deploy.bundle import load_bundle
from resnetlab.deploy.choice import CALIBRATED, COMPARED, Runtime, choose, named
from resnetlab.deploy.fold import calibrated, folded
from resnetlab.deploy.runtimes import by_torch, check_backend
from resnetlab.errors import CheckpointError
from resnetlab.system.allocator import keep_freed_memory
from resnetlab.system.progress import Progress
from resnetlab.system.remarks import remarks_collected
from resnetlab.system.threads import in_order, threads

FEW = 64  # images below which nothing is tried: PyTorch in fp32 predictions at once
AHEAD = 3  # batches decoded while the network works on another

Read = Callable[[Path], bytes]
Prepared = np.ndarray | ImageProblem


@dataclass(frozen=True)
class FilePrediction:
    """What the model says about one file: probabilities (K,), or the reason why there are none."""

    path: Path
    probs: np.ndarray | None
    problem: str = ""


class Predictor:
    """A bundle, ready to predict; the same preparation as in training and evaluation.

    `backend` is one of deploy.runtimes.BACKENDS, or 'auto': the fastest that keeps the class that
    fp32 gives, for few images fp32 itself. `runtime` is what answered last. Raises RecipeError
    for an unknown backend, MachineError for one that is not installed.
    """

    def __init__(self, bundle: Path, device: str = "cpu", backend: str = "auto") -> None:
        check_backend(backend, device)
        keep_freed_memory()
        classifier, self.facts = load_bundle(bundle)
        network = calibrated(folded(classifier), self.facts.temperature)
        self.classifier = network.to(device).to(memory_format=torch.channels_last)
        self.backend = backend
        self.exact = self.runtime = Runtime("torch", by_torch(self.classifier))
        self.settled: Runtime | None = None

    def predict(
        self,
        paths: Sequence[Path],
        batch_size: int = 32,
        workers: int | None = None,
        read: Read = Path.read_bytes,
    ) -> list[FilePrediction]:
        """Return a prediction for every file, in order; a file that is no sound image says why.

        `workers` threads (None: one a core) decode the next batches while the network works on one.
        `read` gives a file's bytes, or raises OSError.
        """
        prepare = partial(self._prepare, read)
        predictions: list[FilePrediction] = []
        with (
            remarks_collected("decoders of images"),
            threads(workers or os.cpu_count() or 1) as pool,
            Progress("predicting", len(paths)) as progress,
        ):
            self.runtime = runtime = self._settle(paths, pool, prepare)
            for chunk, images in prepared_ahead(paths, batch_size, pool, prepare):
                predictions += predict_batch(runtime, chunk, images)
                progress.advance(len(chunk))
        return predictions

    def _settle(
        self, paths: Sequence[Path], pool: ThreadPoolExecutor, prepare: Callable[[Path], Prepared]
    ) -> Runtime:
        """Decide who computes; a choice once made on many images stays for the next many."""
        by_itself = self.backend == "auto"
        if self.backend == "torch" or (by_itself and len(paths) < FEW):
            return self.exact
        if self.settled is None:
            wanted = COMPARED if by_itself else COMPARED + CALIBRATED
            found = in_order(pool, prepare, spread(paths, wanted), AHEAD)
            sound = [image for image in found if isinstance(image, np.ndarray)]
            if not sound:
                return self.exact
            samples = np.stack(sound)
            self.settled = (
                choose(self.classifier, samples, len(paths))
                if by_itself
                else named(self.backend, self.classifier, samples)
            )
        return self.settled

    def _prepare(self, read: Read, path: Path) -> Prepared:
        facts = self.facts
        if why := why_not_by_name(path.name):
            return ImageProblem(why)
        try:
            image = decode(
                read(path), facts.short_side, facts.max_pixels, value_range=facts.value_range
            )
        except OSError as error:
            return ImageProblem(f"can't be read ({error.strerror})")
        except ImageProblem as problem:
            return problem
        out = np.empty((facts.image_size, facts.image_size, 3), dtype=np.uint8)
        render(image.pixels, PLAIN, np.zeros(3), facts.fit, out)
        return out


def predict_batch(
    runtime: Runtime, paths: Sequence[Path], images: Sequence[Prepared]
) -> list[FilePrediction]:
    """Return the predictions to a batch: one computation for all that are sound.

    Raises CheckpointError where a logit is no finite number, which no sound bundle gives.
    """
    sound = [image for image in images if isinstance(image, np.ndarray)]
    probs = runtime.probabilities(np.stack(sound)) if sound else np.empty(0)
    if not np.isfinite(probs).all():
        raise CheckpointError("the model's logits are not finite: its weights are damaged")
    each = iter(probs)
    return [
        FilePrediction(path, None, str(image))
        if isinstance(image, ImageProblem)
        else FilePrediction(path, next(each))
        for path, image in zip(paths, images, strict=True)
    ]


def prepared_ahead(
    paths: Sequence[Path],
    batch_size: int,
    pool: ThreadPoolExecutor,
    prepare: Callable[[Path], Prepared],
) -> Iterator[tuple[Sequence[Path], list[Prepared]]]:
    """Give the batches in order, each with its prepared images, at most AHEAD of them early."""
    stream = in_order(pool, prepare, paths, AHEAD * batch_size)
    for start in range(0, len(paths), batch_size):
        chunk = paths[start : start + batch_size]
        yield chunk, list(islice(stream, len(chunk)))


def spread(paths: Sequence[Path], count: int) -> Sequence[Path]:
    """Return at most `count` of the paths, from the first to the last: folders are often classes."""
    step = max(1, -(-len(paths) // count))
    return paths[::step]
