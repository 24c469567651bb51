"""An image classifier after scikit-learn's contract: over paths or arrays, in its searches and scores."""

import contextlib
import io
import os
import shutil
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from resnetlab.deploy.predictor import Item, Predictor
from resnetlab.errors import DataError
from resnetlab.recipe import Recipe
from resnetlab.system.files import write_csv
from resnetlab.workflows.deployment.predicting import model_at

SPLIT = (0.85, 0.15, 0.0)  # of what `fit` is given; who scores keeps test images for themselves


class ImageClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Trains as `resnetlab train` does, on paths of images or arrays, with a part for validation.

    X is a sequence of paths, or of uint8 arrays (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); y are labels
    of any kind. What is None is left to the recipe; `quick` fits only the head, on the network's features;
    `settings` are keys of the recipe: {"training.patience": 5}. `random_state` is the seed.
    """

    def __init__(
        self,
        model: str = "auto",
        epochs: int | None = None,
        lr: float | None = None,
        batch_size: int | None = None,
        image_size: int | None = None,
        quick: bool = False,
        settings: dict[str, Any] | None = None,
        random_state: int | None = None,
        verbose: bool = False,
    ) -> None:
        self.model = model
        self.epochs = epochs
        self.lr = lr
        self.batch_size = batch_size
        self.image_size = image_size
        self.quick = quick
        self.settings = settings
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Sequence[Any], y: Sequence[Any]) -> Self:  # noqa: N803 (scikit-learn's name)
        """Train on images and their labels. Raises DataError, RecipeError, DivergedError, MachineError."""
        from resnetlab.workflows.training import train

        if len(X) != len(y):
            raise DataError(f"X and y must be of one length. Got {len(X)} and {len(y)}")
        self.classes_, numbers = np.unique(np.asarray(y), return_inverse=True)
        said = (
            contextlib.nullcontext() if self.verbose else contextlib.redirect_stderr(io.StringIO())
        )
        with tempfile.TemporaryDirectory(prefix="resnetlab-") as place, said:
            data = Path(place) / "data"
            data.mkdir()
            write_images(data, X, numbers.tolist())
            run = train(data / "labels.csv", self.recipe(), Path(place) / "runs")
            self._take(run.bundle)
        known = [int(name) for name in self.predictor_.classes]
        self.classes_ = self.classes_[known]
        return self

    def recipe(self) -> Recipe:
        """Return the recipe that the parameters mean."""
        flags = {
            "training.epochs": 0 if self.quick else self.epochs,
            "training.lr": self.lr,
            "training.batch_size": self.batch_size,
            "data.image_size": self.image_size,
            "seed": self.random_state,
        }
        given = {key: value for key, value in flags.items() if value is not None}
        base = {"model.name": self.model, "data.split": SPLIT, "data.name_groups": "ignore"}
        return Recipe().override(base | given | (self.settings or {}))

    def predict_proba(self, X: Sequence[Any]) -> np.ndarray:  # noqa: N803
        """Return probabilities (N, K), columns as `classes_`. Raises DataError for an unsound image."""
        check_is_fitted(self)
        answers = list(self.predictor_.stream([item_of(image, row) for row, image in enumerate(X)]))
        for answer in answers:
            if answer.probs is None:
                raise DataError(f"{answer.path}: no sound image ({answer.problem})")
        return np.array([answer.probs for answer in answers]).reshape(-1, len(self.classes_))

    def predict(self, X: Sequence[Any]) -> np.ndarray:  # noqa: N803
        """Return the likeliest label of each image, (N,)."""
        best = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[best])

    def save(self, folder: Path) -> None:
        """Write the bundle into a folder."""
        check_is_fitted(self)
        for name, content in self.files_.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)

    def __sklearn_is_fitted__(self) -> bool:
        """Tell scikit-learn whether `fit` or `load` has been called."""
        return hasattr(self, "files_")

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy needs: the bundle's files, not the network in memory."""
        return {key: value for key, value in vars(self).items() if key != "predictor_"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what another had."""
        self.__dict__.update(state)
        if self.__sklearn_is_fitted__():
            self._open()

    def _take(self, bundle: Path) -> None:
        """Become the model of a bundle."""
        self.files_ = {
            str(path.relative_to(bundle)): path.read_bytes()
            for path in sorted(bundle.rglob("*"))
            if path.is_file()
        }
        self._open()

    def _open(self) -> None:
        """Load the network from the files."""
        with tempfile.TemporaryDirectory(prefix="resnetlab-") as place:
            self.save(Path(place))
            self.predictor_ = Predictor(Path(place))
            for model in self.predictor_.models:
                if not model.alone:
                    _ = model.exact  # for many images it is wanted later, when the folder is gone


def load(model: str | Path) -> ImageClassifier:
    """Return a run's, a bundle's or an exported model as a classifier that is fitted.

    `load("runs/photos").predict(["a.jpg"])` gives names. Raises CheckpointError, DataError.
    """
    loaded = ImageClassifier()
    loaded._take(model_at(Path(model)))
    loaded.classes_ = np.array(loaded.predictor_.classes)
    return loaded


def item_of(image: Any, row: int) -> Item:
    """Return an image, a path or an array, as what is read when it is needed."""
    if isinstance(image, str | os.PathLike):
        return Path(image), Path(image).read_bytes
    return Path(f"image {row}"), partial(as_png, np.asarray(image), row)


def as_png(image: np.ndarray, row: int) -> bytes:
    """Return an array as the bytes of a PNG. Raises DataError for what is no image."""
    turns = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    channels = image.shape[2] if image.ndim == 3 else 1
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or channels not in (1, *turns):
        raise DataError(
            f"image {row}: must be a path, or uint8 of shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4). "
            f"Got {image.dtype} {image.shape}"
        )
    turned = cv2.cvtColor(image, turns[channels]) if channels in turns else image
    return cv2.imencode(".png", turned)[1].tobytes()


def write_images(folder: Path, images: Sequence[Any], labels: Sequence[int]) -> None:
    """Put images into a folder, linked where they are files, and a label table beside them."""
    rows = []
    for row, (image, label) in enumerate(zip(images, labels, strict=True)):
        path, read = item_of(image, row)
        name = f"{row:07}{path.suffix if isinstance(image, str | os.PathLike) else '.png'}"
        try:
            if isinstance(image, str | os.PathLike):
                os.link(path.resolve(), folder / name)
            else:
                (folder / name).write_bytes(read())
        except FileNotFoundError as error:
            raise DataError(f"{path}: no such file") from error
        except OSError:  # another file system
            shutil.copyfile(path, folder / name)
        rows.append([name, label])
    write_csv(folder / "labels.csv", ["path", "label"], rows)
