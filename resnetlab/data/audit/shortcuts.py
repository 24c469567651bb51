"""Shortcuts: properties of the files that predict the class without what the images show.

Where all images of one class come from another camera, or have a frame, a network learns the camera
or the frame. A small decision tree that sees nothing but such properties finds out.
"""

import hashlib
import json
from collections.abc import Iterator

import numpy as np

from resnetlab.data.catalog import Catalog
from resnetlab.data.store.pixels import PixelStore
from resnetlab.system.cache import keep, kept

VERSION = 2  # raised whenever other properties are found, or other words for them
MOST = 4000  # images used
FOLDS = 5
FEWEST = 10  # different images of a class, or the folds say nothing
# Share of the way from chance to certainty: content itself shows a little in file sizes and borders.
ALARM = 0.4
FLAT = 10.0  # standard deviation of a border that somebody drew


def shortcuts(catalog: Catalog, store: PixelStore) -> list[str]:
    """Return a sentence for each property of the files that tells the classes apart by itself.

    They are searched for once in each store with its labels, and kept beside it: loading scikit-learn
    alone takes seconds.
    """
    rows = sample_rows(catalog)
    if store.beside is None:
        return list(search(catalog, store, rows))
    file = store.beside.with_suffix(".shortcuts")
    facts = [catalog.sha256[rows], catalog.labels[rows], catalog.group[rows]]
    digest = hashlib.sha256(
        repr([VERSION, *(fact.tolist() for fact in facts)]).encode()
    ).hexdigest()
    content = json.loads(kept(file) or "{}")
    if digest in content:
        return list(content[digest])
    found = list(search(catalog, store, rows))
    keep(file, json.dumps({digest: found}).encode())
    return found


def search(catalog: Catalog, store: PixelStore, rows: np.ndarray) -> Iterator[str]:
    """Give a sentence for each property by which rows of a catalog tell their classes."""
    labels = catalog.labels[rows]
    if len(np.unique(labels)) < 2:
        return
    records = store.index[store.rows_of(catalog)[rows]]
    chance = 1 / len(np.unique(labels))
    for name, values in properties(records).items():
        if len(np.unique(values, axis=0)) < 2:
            continue
        accuracy = cross_validated(values, labels, catalog.group[rows])
        if accuracy - chance > ALARM * (1 - chance):
            yield (
                f"{name} alone tells {accuracy:.0%} of the images' classes (by chance {chance:.0%}): "
                "a network may learn that instead of what is to be seen"
            )


def sample_rows(catalog: Catalog) -> np.ndarray:
    """Return some rows of each class that has enough of them, chosen by content."""
    rows = catalog.by_content(catalog.rows("all"))
    labels = catalog.labels[rows]
    # Copies and frames of one track count once: no fold may hold some of them and learn from others.
    counts = np.bincount(np.unique(np.stack([labels, catalog.group[rows]]), axis=1)[0])
    each = max(FEWEST, MOST // max(1, len(np.unique(labels))))
    return np.concatenate(
        [rows[labels == label][:each] for label in np.flatnonzero(counts >= FEWEST)] or [rows[:0]]
    )


def properties(records: np.ndarray) -> dict[str, np.ndarray]:
    """Return columns (M, n) of what is known of the files, by name."""

    def codes(column: str) -> np.ndarray:
        return np.unique(records[column], return_inverse=True)[1]

    width, height = (records[side].astype(float) for side in ("full_width", "full_height"))
    border = np.where(
        records["border_spread"][:, None] < FLAT, records["border"].astype(float), -1.0
    )
    columns = {
        "the size of the images": [width, height, width / np.maximum(height, 1)],
        "the camera": [codes("camera")],
        "the file format": [codes("format"), records["quality"], records["several"]],
        "the file size": [records["bytes"] / np.maximum(width * height, 1)],
        "colour or grey": [records["grey"]],
        "a border": [*border.T],
    }
    return {name: np.stack(values, axis=1).astype(float) for name, values in columns.items()}


def cross_validated(values: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> float:
    """Return the balanced accuracy of a decision tree over folds that no group straddles."""
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    from sklearn.tree import DecisionTreeClassifier

    tree = DecisionTreeClassifier(
        max_depth=8, min_samples_leaf=3, class_weight="balanced", random_state=0
    )
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    predicted = cross_val_predict(tree, values, labels, groups=groups, cv=folds)
    return float(balanced_accuracy_score(labels, predicted))
