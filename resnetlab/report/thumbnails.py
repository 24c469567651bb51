"""Small pictures for the page: those that a reader will ask to see, and no more than a mail can hold."""

import base64
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from resnetlab.data.batches import Samples, View
from resnetlab.data.store.jpeg import small_jpeg
from resnetlab.evaluation.predictions import Predictions
from resnetlab.recipe import Recipe, evaluation_size
from resnetlab.runs.run import Run
from resnetlab.system.files import write_json

SIDE = 72  # px
NEAR_SIDE = 48  # px, of a training image beside a mistake
MOST = 1200  # in all: some 3 MB
IN_A_CELL = 24  # of the confusion matrix
CORRECT_IN_A_CELL = 6
SHOWN = 24  # in a gallery

Rows = NDArray[np.int64]


def galleries(predictions: Predictions) -> dict[str, Rows]:
    """Return the rows of each gallery: surest_errors, least_sure, samples."""
    sure = predictions.probs.max(axis=1)
    wrong = np.flatnonzero(predictions.predicted != predictions.labels)
    return {
        "surest_errors": wrong[np.argsort(-sure[wrong], kind="stable")][:SHOWN],
        "least_sure": np.argsort(sure, kind="stable")[:SHOWN],
        # The samples are in the order of a content hash: the first are as good as drawn by lot.
        "samples": np.arange(len(predictions))[:SHOWN],
    }


def chosen_rows(predictions: Predictions) -> Rows:
    """Return the rows that get a thumbnail: the galleries', then each cell's, mistakes before the rest."""
    sure, labels, predicted = (
        predictions.probs.max(axis=1),
        predictions.labels,
        predictions.predicted,
    )
    cells: dict[tuple[int, int], list[int]] = {}
    for row in np.argsort(-sure, kind="stable").tolist():
        cell = cells.setdefault((int(labels[row]), int(predicted[row])), [])
        if len(cell) < IN_A_CELL and labels[row] != predicted[row]:
            cell.append(row)
    for row in np.argsort(sure, kind="stable").tolist():  # of the correct ones, the least sure
        cell = cells.setdefault((int(labels[row]), int(predicted[row])), [])
        if len(cell) < CORRECT_IN_A_CELL and labels[row] == predicted[row]:
            cell.append(row)
    wanted = [row for rows in galleries(predictions).values() for row in rows.tolist()]
    # One of every cell before the second of any, so that a cap leaves none without a picture.
    each = [(labels[cell[0]] == predicted[cell[0]], cell) for cell in cells.values() if cell]
    for place in range(IN_A_CELL):
        for _, cell in sorted(each, key=lambda item: item[0]):
            if place < len(cell):
                wanted.append(cell[place])
    return np.array(list(dict.fromkeys(wanted))[:MOST], dtype=np.int64)


def write_thumbnails(
    run: Run,
    split: str,
    predictions: Predictions,
    samples: Samples,
    recipe: Recipe,
    cams: Mapping[int, NDArray[np.float32]],
    temperature: float,
    near: Mapping[int, list[dict[str, Any]]],
) -> None:
    """Write thumbnails and what belongs to them, as the page shows them, into the run's figures.

    `cams` (S, S) from 0 to 1, by row, lie over a second picture of these images; `near` are pictures of
    the nearest training images, by row. Confidences are those
    that `predict` would give, by the bundle's temperature.
    """
    rows = chosen_rows(predictions)
    size = evaluation_size(recipe)
    image = np.empty((size, size, 3), dtype=np.uint8)
    sure = predictions.probs_at(temperature).max(axis=1)
    pictures: list[dict[str, Any]] = []
    for row in rows.tolist():
        samples.render(row, View(size, recipe.data.fit), image)
        pictures.append(
            {
                "id": str(predictions.ids[row]),
                "true": int(predictions.labels[row]),
                "predicted": int(predictions.predicted[row]),
                "confidence": round(float(sure[row]), 4),
                "jpeg": as_text(image),
            }
            | ({"cam": as_text(overlaid(image, cams[row]))} if row in cams else {})
            | ({"near": near[row]} if row in near else {})
        )
    place = {row: index for index, row in enumerate(rows.tolist())}
    found = {
        name: [place[row] for row in chosen.tolist() if row in place]
        for name, chosen in galleries(predictions).items()
    }
    write_json(run.figures / f"thumbnails-{split}.json", {"pictures": pictures, "galleries": found})


def training_pictures(
    train: Samples, near: Mapping[int, Rows], recipe: Recipe
) -> dict[int, list[dict[str, Any]]]:
    """Return pictures of training images with id and label, by the rows of the images they are near to."""
    size = evaluation_size(recipe)
    image = np.empty((size, size, 3), dtype=np.uint8)
    found: dict[int, list[dict[str, Any]]] = {}
    for row, places in near.items():
        found[row] = []
        for place in places.tolist():
            train.render(place, View(size, recipe.data.fit), image)
            one = {"id": str(train.ids[place]), "true": int(train.labels[place])}
            found[row].append(one | {"jpeg": as_text(image, NEAR_SIDE)})
    return found


def overlaid(image: NDArray[np.uint8], cam: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return an image in grey below the colours of a map: dark blue for nothing, yellow for most."""
    colours = cv2.applyColorMap(np.rint(255 * cam).astype(np.uint8), cv2.COLORMAP_CIVIDIS)
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return np.asarray(cv2.addWeighted(grey, 0.45, colours[:, :, ::-1], 0.55, 0))


def as_text(image: NDArray[np.uint8], wanted: int = SIDE) -> str:
    """Return an image, uint8 (S, S, 3), as a small JPEG of `wanted` px in base64."""
    return base64.b64encode(small_jpeg(image, wanted)).decode("ascii")
