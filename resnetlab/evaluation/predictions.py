"""The table that all evidence rests on: a model's logits for each image, and the true label."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax

from resnetlab.errors import CheckpointError, DataError
from resnetlab.system import files


@dataclass(frozen=True, eq=False)
class Predictions:
    """A model's predictions for N images of K classes, as columns of equal length.

    Columns are brought to the types named here; DataError where they do not fit together.
    """

    ids: NDArray[np.object_]  # (N,) strings
    labels: NDArray[np.int64]  # (N,) 0..K-1, -1 = unknown
    logits: NDArray[np.float32]  # (N, K), finite
    classes: tuple[str, ...]
    fold: NDArray[np.int64]  # (N,) -1 = no fold
    seed: NDArray[np.int64]  # (N,)
    scored: bool = True  # False where no more than the predicted class is known: logits are 1 or 0

    def __post_init__(self) -> None:
        columns = {
            "ids": np.asarray(self.ids, dtype=object),
            "labels": np.asarray(self.labels, dtype=np.int64),
            "logits": np.asarray(self.logits, dtype=np.float32),
            "classes": tuple(self.classes),
            "fold": np.asarray(self.fold, dtype=np.int64),
            "seed": np.asarray(self.seed, dtype=np.int64),
        }
        for name, column in columns.items():
            object.__setattr__(self, name, column)  # the way a frozen dataclass normalises itself
        self._check_shapes()
        self._check_values()

    @classmethod
    def make(
        cls,
        ids: Sequence[str] | NDArray[np.object_],
        labels: ArrayLike,
        logits: ArrayLike,
        classes: Sequence[str],
        fold: ArrayLike = -1,
        seed: ArrayLike = 0,
    ) -> Self:
        """Build the table; a single fold or seed stands for every image."""
        rows = (len(ids),)
        return cls(
            ids=np.asarray(ids, dtype=object),
            labels=np.asarray(labels, dtype=np.int64),
            logits=np.asarray(logits, dtype=np.float32),
            classes=tuple(classes),
            fold=np.broadcast_to(np.asarray(fold, dtype=np.int64), rows),
            seed=np.broadcast_to(np.asarray(seed, dtype=np.int64), rows),
        )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def probs(self) -> NDArray[np.float64]:
        """(N, K) softmax of the logits; each row adds up to 1."""
        return self.probs_at(1.0)

    def probs_at(self, temperature: float) -> NDArray[np.float64]:
        """(N, K) softmax of the logits divided by a temperature; each row adds up to 1."""
        return np.asarray(softmax(self.logits.astype(np.float64) / temperature, axis=1))

    @property
    def predicted(self) -> NDArray[np.int64]:
        """(N,) the class of the largest logit, the first one where several are equal."""
        return np.asarray(self.logits.argmax(axis=1), dtype=np.int64)

    def take(self, rows: NDArray[Any]) -> "Predictions":
        """Return the chosen rows, by index or mask."""
        return Predictions(
            ids=self.ids[rows],
            labels=self.labels[rows],
            logits=self.logits[rows],
            classes=self.classes,
            fold=self.fold[rows],
            seed=self.seed[rows],
            scored=self.scored,
        )

    def with_classes(self, classes: Sequence[str]) -> "Predictions":
        """Return the same table with the same classes in another order. Raises DataError for others."""
        if tuple(classes) == self.classes:
            return self
        if sorted(classes) != sorted(self.classes):
            odd = sorted(set(classes) ^ set(self.classes))
            raise DataError(f"the classes differ: {', '.join(odd[:5])}")
        columns = [self.classes.index(name) for name in classes]
        place = np.argsort(columns)
        labels = np.where(self.labels < 0, -1, place[self.labels])
        return replace(self, labels=labels, logits=self.logits[:, columns], classes=tuple(classes))

    def in_id_order(self) -> "Predictions":
        """Return the same table sorted by id, so that the order of the rows decides nothing.

        Raises DataError where an image appears twice: counted as two images, it would make
        every interval and test look surer than it is.
        """
        ordered = self.take(np.argsort(self.ids, kind="stable"))
        twice = ordered.ids[1:][ordered.ids[1:] == ordered.ids[:-1]]
        if len(twice):
            raise DataError(
                f"{len(set(twice))} ids appear more than once, the first is {twice[0]!r}. "
                "Evidence needs each image once: take one seed at a time."
            )
        return ordered

    def require_labels(self) -> None:
        """Raise DataError unless there are images and the label of each is known."""
        if not len(self):
            raise DataError("There are no predictions to score: the split holds no images.")
        unknown = int((self.labels == -1).sum())
        if unknown:
            raise DataError(
                f"{unknown} of {len(self)} predictions have no known label and cannot be scored. "
                "Score a split in which every image has a label."
            )

    def save(self, path: Path) -> None:
        """Write the table as Parquet, whole or not at all, with a checksum on every page."""
        logits = pa.FixedSizeListArray.from_arrays(pa.array(self.logits.ravel()), len(self.classes))
        table = pa.table(
            [pa.array(self.ids, pa.string()), self.fold, self.labels, logits, self.seed],
            schema=_schema(self.classes),
        )
        with files.whole(path) as temporary:
            pq.write_table(table, temporary, write_page_checksum=True)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a table that `save` wrote. Raises CheckpointError where it is not whole."""
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                table = file.read()
            classes = json.loads((table.schema.metadata or {})[b"classes"])
            if not table.schema.equals(_schema(classes)):
                raise ValueError(f"its columns are {table.schema.names}")
            column = {name: table[name].combine_chunks() for name in table.column_names}
            return cls(
                ids=column["id"].to_numpy(zero_copy_only=False),
                labels=column["label"].to_numpy(),
                logits=column["logits"].flatten().to_numpy().reshape(len(table), len(classes)),
                classes=tuple(classes),
                fold=column["fold"].to_numpy(),
                seed=column["seed"].to_numpy(),
            )
        except (OSError, ValueError, KeyError, TypeError, pa.ArrowException, DataError) as error:
            raise CheckpointError(
                f"{path} holds no whole table of predictions ({error}). "
                "Make it again with 'resnetlab evaluate'."
            ) from error

    def _check_shapes(self) -> None:
        rows = (len(self.ids),)
        expected: dict[str, tuple[int, ...]] = dict.fromkeys(
            ("ids", "labels", "fold", "seed"), rows
        )
        expected["logits"] = (*rows, len(self.classes))
        for name, shape in expected.items():
            found = getattr(self, name).shape
            if found != shape:
                raise DataError(
                    f"Predictions of {rows[0]} images and {len(self.classes)} classes need "
                    f"{name} of shape {shape}, got {found}."
                )

    def _check_values(self) -> None:
        infinite = int((~np.isfinite(self.logits)).sum())
        if infinite:
            raise DataError(
                f"{infinite} of {self.logits.size} logits are not finite: the model has diverged. "
                "Train it again with a lower training.lr."
            )
        stray = self.labels[(self.labels < -1) | (self.labels >= len(self.classes))]
        if len(stray):
            raise DataError(
                f"Labels must be -1 (unknown) or 0 to {len(self.classes) - 1}, got {stray[0]}."
            )


def _schema(classes: Sequence[str]) -> pa.Schema:
    return pa.schema(
        [
            ("id", pa.string()),
            ("fold", pa.int64()),
            ("label", pa.int64()),
            ("logits", pa.list_(pa.float32(), len(classes))),
            ("seed", pa.int64()),
        ],
        metadata={"classes": json.dumps(list(classes), ensure_ascii=False)},
    )
