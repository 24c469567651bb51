"""Prediction from files with nothing but a bundle."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from resnetlab.data.augment import PLAIN, render
from resnetlab.data.decode import PictureProblem, decode
from resnetlab.deploy.bundle import load_bundle
from resnetlab.progress import Progress


@dataclass(frozen=True)
class Answer:
    """What the model says about one file: probabilities (K,), or the reason why there are none."""

    path: Path
    probs: np.ndarray | None
    problem: str = ""


class Predictor:
    """A bundle, ready to answer; the same preparation as in training and evaluation, fp32."""

    def __init__(self, bundle: Path, device: str = "cpu") -> None:
        self.classifier, self.facts = load_bundle(bundle)
        self.classifier.to(device).to(memory_format=torch.channels_last)
        self.device = device

    def answer(
        self,
        paths: Sequence[Path],
        batch_size: int = 32,
        workers: int = 2,
        read: Callable[[Path], bytes] = Path.read_bytes,
    ) -> list[Answer]:
        """Return an answer for every file, in order; a file that is no sound picture says why.

        `read` gives a file's bytes, or raises OSError.
        """
        prepare = partial(self._prepare, read)
        answers: list[Answer] = []
        with ThreadPoolExecutor(workers) as pool, Progress("predicting", len(paths)) as progress:
            for start in range(0, len(paths), batch_size):
                chunk = paths[start : start + batch_size]
                answers += self._answer_batch(chunk, list(pool.map(prepare, chunk)))
                progress.advance(len(chunk))
        return answers

    def _answer_batch(
        self, paths: Sequence[Path], pictures: list[np.ndarray | PictureProblem]
    ) -> list[Answer]:
        sound = [picture for picture in pictures if isinstance(picture, np.ndarray)]
        probs = iter(self.probabilities(np.stack(sound)) if sound else [])
        return [
            Answer(path, None, str(picture))
            if isinstance(picture, PictureProblem)
            else Answer(path, next(probs))
            for path, picture in zip(paths, pictures, strict=True)
        ]

    def probabilities(self, pictures: np.ndarray) -> np.ndarray:
        """Return float64 probabilities (B, K) for prepared pictures, uint8 (B, S, S, 3)."""
        images = torch.from_numpy(pictures).permute(0, 3, 1, 2).to(self.device)
        with torch.inference_mode():
            logits: Tensor = self.classifier(images)
            return logits.double().softmax(dim=1).cpu().numpy()

    def _prepare(self, read: Callable[[Path], bytes], path: Path) -> np.ndarray | PictureProblem:
        facts = self.facts
        try:
            picture = decode(read(path), facts.short_side, facts.max_pixels)
        except OSError as error:
            return PictureProblem(f"can't be read ({error.strerror})")
        except PictureProblem as problem:
            return problem
        out = np.empty((facts.image_size, facts.image_size, 3), dtype=np.uint8)
        render(picture.pixels, PLAIN, np.zeros(3), facts.fit, out)
        return out
