"""Prediction from files with nothing but a bundle, or the mean over several."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path

import numpy as np

from resnetlab.data.formats import why_not_by_name
from resnetlab.data.store.decode import ImageProblem
from resnetlab.deploy.model import FEW, Model
from resnetlab.errors import CheckpointError, RecipeError
from resnetlab.evaluation.shift.reference import Reference
from resnetlab.system.progress import Progress
from resnetlab.system.remarks import remarks_collected
from resnetlab.system.threads import in_order, threads

AHEAD = 3  # batches decoded while the network works on another
BATCH = 32

Read = Callable[[], bytes]  # gives a file's bytes, or raises OSError
Item = tuple[Path, Read]
Views = list[np.ndarray]  # one image as each distinct preparation makes it, uint8 (S, S, 3)
Prepared = Views | ImageProblem


@dataclass(frozen=True)
class Answer:
    """Probabilities (K,) of an image, and its distance to the training images where that can be told."""

    probs: np.ndarray
    distance: float | None = None


@dataclass(frozen=True)
class FilePrediction:
    """What the model says about one file: probabilities (K,), or the reason why there are none.

    `distance` to the nearest training image in feature space, None where the model can't tell;
    `out_of_distribution` where it is larger than familiar images' are.
    """

    path: Path
    probs: np.ndarray | None
    problem: str = ""
    distance: float | None = None
    out_of_distribution: bool | None = None


@dataclass(frozen=True)
class Near:
    """A training image that is near to another in feature space: its class, and a small JPEG of it."""

    label: str
    jpeg: bytes


class Predictor:
    """A bundle, ready to predict; the same preparation as in training and evaluation.

    Of several bundles the probabilities are averaged; their classes must be the same, in any order.
    The first tells what is unlike its training images. See Model for `backend` and errors. Raises
    CheckpointError where the classes differ.
    """

    def __init__(
        self, bundles: Path | Sequence[Path], device: str = "cpu", backend: str = "auto"
    ) -> None:
        folders = [bundles] if isinstance(bundles, Path) else list(bundles)
        self.models = [Model(folder, device, backend) for folder in folders]
        self.facts = self.models[0].facts
        self.classes = self.facts.classes
        self.orders = [class_order(self.models[0], model) for model in self.models]
        self.preparations = list(dict.fromkeys(model.preparation for model in self.models))

    @property
    def runtime(self) -> str:
        """What answered last, in a line."""
        return "; ".join(dict.fromkeys(str(model.runtime) for model in self.models))

    @property
    def reference(self) -> Reference | None:
        """What images are held against to tell those unlike the training images; None: it can't be told."""
        return self.models[0].reference

    def threshold(self, uncertain_below: float | None, max_error: float | None) -> float | None:
        """Return the probability below which an answer is uncertain, None where none is marked.

        With `max_error`, 0..1, what is not marked is wrong at most that often, which validation promised. Raises
        RecipeError where it can't.
        """
        if max_error is None:
            return uncertain_below
        if len(self.models) > 1:
            raise RecipeError("--max-error goes with one model: of a mean nothing was promised")
        if self.models[0].backend == "openvino-int8":
            raise RecipeError(
                "--max-error was promised by probabilities that 8 bits change; leave --backend openvino-int8 out"
            )
        promised = {float(rate): below for rate, below in self.facts.thresholds.items()}
        kept = [rate for rate in promised if rate <= max_error]
        if not kept:
            said = ", ".join(f"{rate:g}" for rate in sorted(promised)) or "none"
            raise RecipeError(
                f"--max-error {max_error:g} can't be promised by this model's validation images, which were too few "
                f"or too often wrong; error rates that can be: {said}"
            )
        return promised[max(kept)]

    @property
    def has_pictures(self) -> bool:
        """Whether the training images nearest to an image can be shown."""
        known = self.reference
        return known is not None and known.pictures is not None and not self.why_not_told

    def nearest_training(self, views: Views, count: int) -> list[Near]:
        """Return the training images nearest to one image in feature space, the nearest first.

        Only of a model that `has_pictures`; of several the first tells.
        """
        model, reference = self.models[0], self.reference
        assert reference is not None and reference.pictures is not None
        pictures = reference.pictures
        features = model.runtime.answer(views[self.preparations.index(model.preparation)][None])[1]
        assert features is not None, "a runtime that tells distances gives features"
        (rows,) = reference.nearest(features, count)
        return [
            Near(self.classes[pictures.labels[row]], pictures.jpegs[row]) for row in rows.tolist()
        ]

    @property
    def why_not_told(self) -> str:
        """Why images unlike the training images are not told by this model, '' where they are."""
        if self.reference is None:
            return "its bundle holds no reference of them"
        if self.models[0].backend == "openvino-int8":
            return "in 8 bits there are no features to compare"
        return ""

    def predict(
        self,
        paths: Sequence[Path],
        batch_size: int = BATCH,
        workers: int | None = None,
        read: Callable[[Path], bytes] = Path.read_bytes,
    ) -> list[FilePrediction]:
        """Return a prediction for every file, in order; a file that is no sound image says why."""
        items = [(path, partial(read, path)) for path in paths]
        return list(self.stream(items, batch_size, workers))

    def stream(
        self, items: Iterable[Item], batch_size: int = BATCH, workers: int | None = None
    ) -> Iterator[FilePrediction]:
        """Give a prediction for every file, in order and as they come, in bounded memory.

        `workers` threads (None: one a core) decode the next batches while the network works on one.
        Where `items` has a length, progress knows the time left.
        """
        count = len(items) if isinstance(items, Sequence) else None
        with (
            remarks_collected("decoders of images"),
            threads(workers or os.cpu_count() or 1) as pool,
            Progress("predicting", count) as progress,
        ):
            items = self._settle(items, count, pool)
            for chunk, images in prepared_ahead(items, batch_size, pool, self.prepare):
                yield from self.predict_batch([path for path, _ in chunk], images)
                progress.advance(len(chunk))

    def prepare(self, item: Item) -> Prepared:
        """Return an image as each preparation makes it, or what is wrong with it."""
        path, read = item
        if why := why_not_by_name(path.name):
            return ImageProblem(why)
        try:
            content = read()
            return [prepare(content) for prepare in self.preparations]
        except OSError as error:
            return ImageProblem(f"can't be read ({error.strerror or error})")
        except ImageProblem as problem:
            return problem

    def predict_batch(
        self, paths: Sequence[Path], images: Sequence[Prepared]
    ) -> Iterator[FilePrediction]:
        """Give the predictions to a batch: one computation for all that are sound."""
        sound = [image for image in images if not isinstance(image, ImageProblem)]
        each = iter(self.answers(sound) if sound else ())
        for path, image in zip(paths, images, strict=True):
            if isinstance(image, ImageProblem):
                yield FilePrediction(path, None, str(image))
            else:
                yield self.told(path, next(each))

    def told(self, path: Path, answer: Answer) -> FilePrediction:
        """Return an answer as that to a file, with whether it is unlike the training images."""
        outside = None
        if answer.distance is not None and self.reference is not None:
            outside = answer.distance > self.reference.threshold
        return FilePrediction(path, answer.probs, "", answer.distance, outside)

    def answers(self, views: Sequence[Views]) -> list[Answer]:
        """Return what is said of prepared images, probabilities in float64 in the order of `classes`.

        Raises CheckpointError where a logit is no finite number, which no sound bundle gives.
        """
        batches = {
            preparation: np.stack([view[place] for view in views])
            for place, preparation in enumerate(self.preparations)
        }
        outputs = [model.runtime.answer(batches[model.preparation]) for model in self.models]
        found = [probs[:, order] for (probs, _), order in zip(outputs, self.orders, strict=True)]
        probs: np.ndarray = found[0] if len(found) == 1 else np.mean(found, axis=0)
        if not np.isfinite(probs).all():
            raise CheckpointError("the model's logits are not finite: its weights are damaged")
        features = outputs[0][1]
        if self.reference is None or features is None:
            return [Answer(each) for each in probs]
        distances = self.reference.distances_of(features).tolist()
        return [Answer(*each) for each in zip(probs, distances, strict=True)]

    def _settle(
        self, items: Iterable[Item], count: int | None, pool: ThreadPoolExecutor
    ) -> Iterable[Item]:
        """Let each model decide who computes; return the items, of which some may have been waited for."""
        if isinstance(items, Sequence):
            known: Sequence[Item] = items
        else:
            items = iter(items)
            known = list(islice(items, FEW))
            items = chain(known, items)
            count = None if len(known) == FEW else len(known)
        for model in self.models:
            view = self.preparations.index(model.preparation)

            def sample(wanted: int, view: int = view) -> list[np.ndarray]:
                found = in_order(pool, self.prepare, spread(known, wanted), wanted)
                return [image[view] for image in found if not isinstance(image, ImageProblem)]

            model.settle(sample, float("inf") if count is None else count)
        return items


def class_order(first: Model, model: Model) -> list[int]:
    """Return where a model has each class of the first. Raises CheckpointError where they differ."""
    classes = model.facts.classes
    odd = sorted(set(first.facts.classes) ^ set(classes))
    if odd:
        raise CheckpointError(
            f"{first.folder} and {model.folder} can't be averaged: only one of them knows '{odd[0]}'"
        )
    return [classes.index(name) for name in first.facts.classes]


def prepared_ahead(
    items: Iterable[Item],
    batch_size: int,
    pool: ThreadPoolExecutor,
    prepare: Callable[[Item], Prepared],
) -> Iterator[tuple[list[Item], list[Prepared]]]:
    """Give the batches in order, each with its prepared images, at most AHEAD of them early."""

    def both(item: Item) -> tuple[Item, Prepared]:
        return item, prepare(item)

    stream = in_order(pool, both, items, AHEAD * batch_size)
    while batch := list(islice(stream, batch_size)):
        yield [item for item, _ in batch], [image for _, image in batch]


def spread(items: Sequence[Item], count: int) -> Sequence[Item]:
    """Return at most `count` of the items, from the first to the last: folders are often classes."""
    step = max(1, -(-len(items) // count))
    return items[::step]
