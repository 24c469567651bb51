"""The model that answers now, and its successor as soon as the bundle on disk is another."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from resnetlab.deploy.bundle import CARD, FACTS
from resnetlab.deploy.export.exported import DESCRIPTION, READY, Exported, is_exported, ready_in
from resnetlab.deploy.model import Model
from resnetlab.deploy.predictor import Predictor
from resnetlab.deploy.runtime import seconds_of
from resnetlab.system.progress import log

POLL_S = 2.0  # between two looks at the bundle

Files = frozenset[tuple[str, int, int]]  # path, size and time of change of each
NONE: Files = frozenset()


class Live:
    """A predictor that is replaced, whole, when the files it was loaded from are.

    Who answers takes `predictor` once and uses that to the end, so no answer mixes two models. `accept` is
    called with each before it answers, and refuses it by a ResnetlabError. A successor is tried once its
    files have stayed the same between two looks, and again whenever one of them changes.
    """

    def __init__(
        self, folders: Sequence[Path], backend: str, accept: Callable[[Predictor], None]
    ) -> None:
        self.folders, self.backend, self.accept = list(folders), backend, accept
        self.stamp = self._stamp()
        self.predictor = self._load()
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._watch, name="bundle", daemon=True)
        self.thread.start()

    def close(self) -> None:
        """Look no more."""
        self.ended.set()
        self.thread.join()

    @property
    def card(self) -> str:
        """The text that goes with the model."""
        path = self.folders[0] / CARD
        return path.read_text(encoding="utf-8") if path.is_file() else ""

    def _stamp(self) -> tuple[bytes, ...]:
        """Return what tells one bundle from another: the description, which names the other files' checksums."""
        names = [DESCRIPTION if is_exported(folder) else FACTS for folder in self.folders]
        return tuple(
            (folder / name).read_bytes() for folder, name in zip(self.folders, names, strict=True)
        )

    def _load(self) -> Predictor:
        predictor = Predictor(self.folders, backend=self.backend)
        for model in predictor.models:
            settle(model)
        log(f"{', '.join(map(str, self.folders))}: computed by {predictor.runtime}")
        self.accept(predictor)
        return predictor

    def _watch(self) -> None:
        seen, tried, said = NONE, NONE, ""
        while not self.ended.wait(POLL_S):
            try:
                if (stamp := self._stamp()) == self.stamp:
                    seen, tried, said = NONE, NONE, ""
                    continue
                before, seen = seen, files_in(self.folders)
                if seen == tried or seen != before:  # it failed like this, or is still copied
                    continue
                tried = seen
                self.predictor, self.stamp = self._load(), stamp
            except Exception as error:  # whatever is wrong with a successor, this thread must live
                why = str(error) or type(error).__name__
                if why != said:
                    log(f"note: the model before goes on answering ({why})")
                said = why


def files_in(folders: Sequence[Path]) -> Files:
    """Return all files as they are now, by which it shows whether one is still being copied."""
    paths = (path for folder in folders for path in folder.rglob("*"))
    facts = ((path, path.stat()) for path in paths if path.is_file())
    return frozenset((str(path), of.st_size, of.st_mtime_ns) for path, of in facts)


def settle(model: Model) -> None:
    """Let a model compute by the fastest runtime that is there: an exported one, or what trying shows."""
    views = [model.preparation.square(image) for image in photographs()]
    if model.alone or model.backend != "auto":
        model.settle(lambda count: views[:count], float("inf"))
        return
    ready = [found.runtime for found in exported_in(model)]
    if ready:
        batch = np.stack(views[:4])
        model.runtime = min(ready, key=lambda runtime: seconds_of(runtime, batch))
    else:
        model.settle(lambda count: views[:count], float("inf"))


def exported_in(model: Model) -> list[Exported]:
    """Return all models that were exported into a bundle and are used."""
    if model.device != "cpu":
        return []
    found = (ready_in(model.folder, model.digest, (name,)) for name in READY)
    return [each for each in found if each is not None]


def photographs() -> list[np.ndarray]:
    """Return real images to try runtimes on, uint8 (H, W, 3): parts of two photographs."""
    from sklearn.datasets import load_sample_images

    return [
        np.ascontiguousarray(photo[top : top + 240, left : left + 320])
        for photo in load_sample_images().images
        for top in (0, 90, 180)
        for left in (0, 160, 320)
    ]
