"""Labels that are likely wrong, by a model that had not learned from them: confident learning.

An image speaks against its label where another class is as probable as that class is for its own
images on average. How often that happens, class by class, estimates how many labels are wrong; so many
are suspects, those that the model gives the lowest probability. Predictions must be out of fold,
else a model repeats what it was taught.
Source: Northcutt, Jiang and Chuang 2021, 'Confident Learning', JAIR 70, 1373-1411.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnetlab.errors import DataError
from resnetlab.evaluation.predictions import Predictions
from resnetlab.recipe import did_you_mean

Floats = NDArray[np.float64]

KEEP, DROP = "", "drop"  # in the table to correct, beside the names of classes


@dataclass(frozen=True)
class Suspect:
    """An image whose label is likely wrong: what is `suggested`, and how probable both are, 0..1."""

    id: str
    label: str
    suggested: str
    label_prob: float
    suggested_prob: float


def find_label_errors(predictions: Predictions) -> tuple[list[Suspect], float]:
    """Return the suspects, the likeliest first, and the estimated share 0..1 of wrong labels.

    Raises DataError where a label is unknown, an image appears twice, or no more than a predicted class
    is known.
    """
    predictions.require_labels()
    if not predictions.scored:
        raise DataError(
            "label errors need probabilities or logits; a predicted class is not enough"
        )
    predictions = predictions.in_id_order()
    probs, labels = predictions.probs, predictions.labels
    confident = confident_class(probs, labels)
    share = float(joint_share(confident, labels, len(predictions.classes)))
    own, predicted = probs[np.arange(len(labels)), labels], predictions.predicted
    rows = np.flatnonzero(predicted != labels)
    rows = rows[np.argsort(own[rows], kind="stable")][: ceil(share * len(labels))]
    names = predictions.classes
    return [
        Suspect(
            id=str(predictions.ids[row]),
            label=names[labels[row]],
            suggested=names[predicted[row]],
            label_prob=float(own[row]),
            suggested_prob=float(probs[row, predicted[row]]),
        )
        for row in rows
    ], share


def confident_class(probs: Floats, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the likeliest class (N,) among those that reach their threshold, -1 where none does.

    The threshold of a class is its mean probability over the images that carry its label.
    """
    thresholds = np.full(probs.shape[1], np.inf)  # of a class without images: never reached
    for k in np.unique(labels):
        thresholds[k] = probs[labels == k, k].mean()
    reached = probs >= thresholds
    likeliest = np.where(reached, probs, -1.0).argmax(axis=1)
    return np.where(reached.any(axis=1), likeliest, -1)


def joint_share(confident: NDArray[np.int64], labels: NDArray[np.int64], k: int) -> float:
    """Return the share of wrong labels: off the diagonal of the joint of given and true labels.

    Counts of confident images, each row brought to as many as carry its label.
    """
    known = confident >= 0
    counts = np.bincount(labels[known] * k + confident[known], minlength=k * k).reshape(k, k)
    support, found = np.bincount(labels, minlength=k), counts.sum(axis=1)
    wrong = np.divide(found - counts.diagonal(), found, out=np.zeros(k), where=found > 0)
    return float((wrong * support).sum() / len(labels))


def as_table(suspects: Sequence[Suspect]) -> tuple[list[str], list[list[Any]]]:
    """Return the header and the rows of a table to correct: `correct` is left to a person."""
    header = ["id", "label", "suggested", "correct", "label_probability", "suggested_probability"]
    rows = [
        [s.id, s.label, s.suggested, KEEP, f"{s.label_prob:.4f}", f"{s.suggested_prob:.4f}"]
        for s in suspects
    ]
    return header, rows


def read_corrections(
    rows: Sequence[dict[str, str]], ids: Sequence[str], classes: Sequence[str], origin: str
) -> dict[str, int | None]:
    """Return the class of each image that a person corrected, None where it is to be left out.

    `rows` have id and correct: a class's name, 'drop', or nothing, which keeps the label. Raises
    DataError for an unknown image or class, or where none of the rows is corrected.
    """
    known, number = set(ids), {name: index for index, name in enumerate(classes)}
    found: dict[str, int | None] = {}
    for line, row in enumerate(rows, start=2):
        if "id" not in row or "correct" not in row:
            raise DataError(f"{origin}: needs the columns id and correct; it has {', '.join(row)}")
        wanted = (row["correct"] or "").strip()
        if wanted == KEEP:
            continue
        if row["id"] not in known:
            raise DataError(f"{origin}: line {line}: there is no image '{row['id']}' in the data")
        if wanted != DROP and wanted not in number:
            raise DataError(
                f"{origin}: line {line}: '{wanted}' is neither a class nor '{DROP}'"
                f"{did_you_mean(wanted, [*classes, DROP])}"
            )
        found[row["id"]] = number.get(wanted)
    if not found:
        raise DataError(
            f"{origin}: corrects nothing; write the true class, or '{DROP}', into column correct"
        )
    return found
