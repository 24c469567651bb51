"""From images in memory to rows: decoded by threads, computed in batches, by one model from start to end."""

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from resnetlab.data.store.decode import ImageProblem
from resnetlab.deploy.answers.rows import Row, prediction_row
from resnetlab.deploy.predictor import FilePrediction, Predictor, Prepared
from resnetlab.deploy.server.batching import Batcher
from resnetlab.deploy.server.limits import Limits, Refusal
from resnetlab.deploy.server.live import Live
from resnetlab.deploy.server.metrics import Metrics

TOP = 5  # classes named in an answer, beside the probabilities of all
NO_IMAGE = "not an image"


class Service:
    """A model that answers many at once."""

    def __init__(
        self,
        folders: Sequence[Path],
        backend: str = "auto",
        limits: Limits | None = None,
        uncertain_below: float | None = None,
    ) -> None:
        self.limits, self.uncertain_below = limits or Limits(), uncertain_below
        self.metrics = Metrics()
        self.live = Live(folders, backend, self._renewed)
        self.batcher = Batcher(self.limits.batch, self.metrics)
        self.decoders = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="decode")

    def _renewed(self) -> None:
        self.metrics.models += 1

    @property
    def full(self) -> bool:
        """Whether as many requests as are taken are at work."""
        return self.metrics.active >= self.limits.requests

    def close(self) -> None:
        """Answer what still waits, and end."""
        self.live.close()
        self.batcher.close()
        self.decoders.shutdown()

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
        }

    async def answer(self, files: Sequence[tuple[str, bytes]]) -> dict[str, Any]:
        """Return a row for each image. Raises Refusal where the only one is no sound image."""
        predictor = self.live.predictor
        each = (self._answer(predictor, name, content) for name, content in files)
        rows = await asyncio.gather(*each)
        if len(rows) == 1 and rows[0]["problem"]:
            problem = rows[0]["problem"]
            raise Refusal(415 if problem == NO_IMAGE else 400, f"no sound image: {problem}")
        return {"predictions": rows, "weights_sha256": weights_of(predictor)}

    async def _answer(self, predictor: Predictor, name: str, content: bytes) -> Row:
        loop = asyncio.get_running_loop()
        prepared = await loop.run_in_executor(self.decoders, prepare, predictor, content)
        probs, problem = None, str(prepared)
        if not isinstance(prepared, ImageProblem):
            problem = ""
            probs = await asyncio.wrap_future(self.batcher.submit(predictor, prepared))
        return self.row(predictor, name, probs, problem)

    def row(
        self, predictor: Predictor, name: str, probs: np.ndarray | None, problem: str = ""
    ) -> Row:
        """Return the row of an image, as `predict` writes it as JSON."""
        row = prediction_row(
            FilePrediction(Path(name), probs, problem), predictor.classes, TOP, self.uncertain_below
        )
        top = [{"class": label, "probability": value} for label, value in row["top"]]
        return row | {"file": name, "top": top}


def prepare(predictor: Predictor, content: bytes) -> Prepared:
    """Return an image as each of the models wants it, or what is wrong with it."""
    return predictor.prepare((Path("image"), lambda: content))


def weights_of(predictor: Predictor) -> str:
    """Return what tells these models from others."""
    return ",".join(model.digest for model in predictor.models)
