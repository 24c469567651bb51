"""From images in memory to rows: decoded by threads, computed in batches, by one model from start to end."""

import asyncio
import base64
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from resnetlab.data.store.decode import ImageProblem, decode
from resnetlab.deploy.answers.rows import Row, prediction_row
from resnetlab.deploy.predictor import FilePrediction, Predictor, Prepared
from resnetlab.deploy.server.batching import Batcher
from resnetlab.deploy.server.corrections import Corrections
from resnetlab.deploy.server.limits import Limits, Refusal
from resnetlab.deploy.server.live import Live
from resnetlab.deploy.server.metrics import Metrics
from resnetlab.deploy.shift.arrivals import Arrivals
from resnetlab.deploy.tracing import alone
from resnetlab.errors import RecipeError, ResnetlabError
from resnetlab.system.progress import log

TOP = 5  # classes named in an answer, beside the probabilities of all
WINDOW = 500  # images that are looked at together for drift
FALSE_ALARMS = 0.001  # among windows of images that have not drifted
NEAR = 4  # training images shown beside an image
NO_IMAGE = "not an image"


class Service:
    """A model that answers many at once."""

    def __init__(
        self,
        folders: Sequence[Path],
        backend: str = "auto",
        limits: Limits | None = None,
        uncertain_below: float | None = None,
        corrections: Path | None = None,
        max_error: float | None = None,
    ) -> None:
        self.limits, self.uncertain_below = limits or Limits(), uncertain_below
        self.max_error = max_error
        self.metrics = Metrics()
        self.live = Live(folders, backend, self._accept)
        self.batcher = Batcher(self.limits.batch, self.metrics)
        self.decoders = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="decode")
        self.closing = False
        # One at a time, also where nobody waits for it any more: torch takes all cores.
        self.explaining = ThreadPoolExecutor(1, thread_name_prefix="explain")
        self.arrivals = Arrivals(None)
        self.corrections = None if corrections is None else Corrections(corrections)

    def _accept(self, predictor: Predictor) -> None:
        predictor.threshold(
            self.uncertain_below, self.max_error
        )  # raises where it can't be promised
        self.metrics.models += 1

    @property
    def full(self) -> bool:
        """Whether no more requests are taken: as many are at work, or the end has begun."""
        return self.closing or self.metrics.active >= self.limits.requests

    async def end(self) -> None:
        """Take no more requests, answer those that were taken, and close."""
        self.closing = True  # on the loop that takes requests: none is half taken
        while self.metrics.active:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Compute what still waits, and end all threads."""
        self.live.close()
        self.batcher.close()
        self.decoders.shutdown()
        self.explaining.shutdown(cancel_futures=True)

    def description(self) -> dict[str, Any]:
        """Describe the model that answers now."""
        predictor = self.live.predictor
        facts = predictor.facts
        return {
            "classes": list(predictor.classes),
            "network": facts.network,
            "image_size": facts.image_size,
            "weights_sha256": weights_of(predictor),
            "runtime": predictor.runtime,
            "models": len(predictor.models),
            "card": self.live.card,
            "corrections": self.corrections is not None,
            "explains": not predictor.models[0].alone,
            "shows_nearest": predictor.has_pictures,
            "tells_out_of_distribution": not predictor.why_not_told,
        }

    async def answer(self, files: Sequence[tuple[str, bytes]]) -> dict[str, Any]:
        """Return a row for each image. Raises Refusal where the only one is no sound image."""
        predictor = self.live.predictor
        each = (self._answer(predictor, name, content) for name, content in files)
        rows = await asyncio.gather(*each)
        if len(rows) == 1 and rows[0]["problem"]:
            raise unsound(rows[0]["problem"])
        return {"predictions": rows, "weights_sha256": weights_of(predictor)}

    async def _answer(self, predictor: Predictor, name: str, content: bytes) -> Row:
        loop = asyncio.get_running_loop()
        prepared = await loop.run_in_executor(self.decoders, prepare, predictor, content)
        if isinstance(prepared, ImageProblem):
            return self.row(predictor, name, FilePrediction(Path(name), None, str(prepared)))
        answer = await asyncio.wrap_future(self.batcher.submit(predictor, prepared))
        told = predictor.told(Path(name), answer)
        self.arrived(predictor, told)
        return self.row(predictor, name, told)

    async def explain(self, content: bytes, label: str) -> dict[str, Any]:
        """Return where the network looks for a class, '' for the likeliest, see `where_it_looked`."""
        predictor = self.live.predictor
        if label and label not in predictor.classes:
            raise Refusal(400, f"'{label}' is none of the classes")
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(
                self.explaining, where_it_looked, predictor, content, label
            )
        except ImageProblem as problem:
            raise unsound(problem) from problem
        except ResnetlabError as error:
            raise Refusal(501, str(error)) from error

    async def nearest(self, content: bytes) -> dict[str, Any]:
        """Return small pictures of the training images nearest to an image in feature space, the nearest first."""
        predictor = self.live.predictor
        if not predictor.has_pictures:
            raise Refusal(
                404, "the bundle holds no pictures; train with evaluation.thumbnails=true"
            )
        prepared = await asyncio.to_thread(prepare, predictor, content)
        if isinstance(prepared, ImageProblem):
            raise unsound(prepared)
        found = await asyncio.to_thread(predictor.nearest_training, prepared, NEAR)
        return {
            "nearest": [
                {"class": each.label, "jpeg": base64.b64encode(each.jpeg).decode("ascii")}
                for each in found
            ]
        }

    async def correct(self, content: bytes, label: str) -> dict[str, Any]:
        """Keep an image with the label that it should have had."""
        if self.corrections is None:
            raise Refusal(404, "nothing is kept here; start serve with --corrections FILE.csv")
        facts = self.live.predictor.facts
        try:
            kind = (await asyncio.to_thread(decode, content, 1, facts.max_pixels)).format
        except ImageProblem as problem:
            raise unsound(problem) from problem
        return {"kept": await asyncio.to_thread(self.corrections.add, content, kind, label)}

    def row(self, predictor: Predictor, name: str, answer: FilePrediction) -> Row:
        """Return the row of an image, as `predict` writes it as JSON."""
        below = predictor.threshold(self.uncertain_below, self.max_error)
        row = prediction_row(answer, predictor.classes, TOP, below)
        top = [{"class": label, "probability": value} for label, value in row["top"]]
        return row | {"file": name, "top": top}

    def arrived(self, predictor: Predictor, answer: FilePrediction) -> None:
        """Count an image; of every WINDOW of them say whether they still look like those of validation.

        On the loop that answers, so none is counted twice.
        """
        self.metrics.out_of_distribution += bool(answer.out_of_distribution)
        if self.arrivals.reference is not predictor.reference:  # another model, since
            self.arrivals = Arrivals(predictor.reference)
        self.arrivals.add(answer)
        if len(self.arrivals) < WINDOW:
            return
        found = self.arrivals.drift()
        self.arrivals = Arrivals(predictor.reference)
        if found is None or len(predictor.models) > 1:
            return
        self.metrics.drift_p = found.p
        if found.found(FALSE_ALARMS):
            self.metrics.drifted += 1
            log(f"note: the last {WINDOW} images do not look like those of validation: {found}")


def unsound(problem: ImageProblem | str) -> Refusal:
    """Return the refusal of what is no image, 415, or of an image that is broken or too large, 400."""
    return Refusal(415 if str(problem) == NO_IMAGE else 400, f"no sound image: {problem}")


def where_it_looked(predictor: Predictor, content: bytes, label: str) -> dict[str, Any]:
    """Return a grid of 0..1 and the box of the image (shares of its sides) that it lies on.

    Of several models the first tells. Raises ImageProblem, CheckpointError, RecipeError.
    """
    import torch

    from resnetlab.models.attribution import raw_cam

    model = predictor.models[0]
    if model.alone:
        raise RecipeError("an exported model doesn't tell where it looked; serve the bundle")
    pixels = model.preparation.decoded(content)
    view = model.preparation.square(pixels)
    classes = model.facts.classes
    name = label or classes[int(model.runtime.probabilities(view[None])[0].argmax())]
    images = torch.tensor(view)[None].permute(0, 3, 1, 2)
    with alone:
        found = raw_cam(model.classifier, images, torch.tensor([classes.index(name)]))
    if found is None:
        raise RecipeError("this network has no maps, so where it looked can't be told")
    grid = (found[0] / found.max().clamp_min(1e-12)).numpy()
    height, width = pixels.shape[:2]
    side = min(height, width)
    crop = model.preparation.fit == "crop"
    shares = (side / width, side / height) if crop else (1.0, 1.0)
    box = [(1 - shares[0]) / 2, (1 - shares[1]) / 2, *shares]
    return {"class": name, "grid": grid.round(3).tolist(), "box": box}


def prepare(predictor: Predictor, content: bytes) -> Prepared:
    """Return an image as each of the models wants it, or what is wrong with it."""
    return predictor.prepare((Path("image"), lambda: content))


def weights_of(predictor: Predictor) -> str:
    """Return what tells these models from others."""
    return ",".join(model.digest for model in predictor.models)
