"""Splits that the data gives: what must be said where their classes differ."""

import numpy as np

from resnetlab.data.catalog import SPLITS, Catalog
from resnetlab.data.sources.listing import natural_key
from resnetlab.errors import DataError
from resnetlab.recipe import did_you_mean

NAMED = 5  # classes, in a sentence


def settle_given_splits(catalog: Catalog, unknown: str) -> Catalog:
    """Return a catalog whose given splits hold no class that training lacks.

    A class that validation or test lacks is said in a note. Raises DataError for one that only they
    have, unless `unknown` is 'drop': then its images are left out.
    """
    trained = np.unique(catalog.labels[np.isin(catalog.split, ("train", ""))])
    if not (catalog.split != "").any() or not len(trained):
        return catalog
    strange = np.flatnonzero((catalog.labels >= 0) & ~np.isin(catalog.labels, trained))
    if len(strange):
        names = class_names(catalog, catalog.labels[strange])
        splits = " and ".join(split for split in SPLITS if split in catalog.split[strange])
        hint = did_you_mean(
            catalog.classes[catalog.labels[strange[0]]],
            [catalog.classes[label] for label in trained],
        )
        if unknown == "error":
            raise DataError(
                f"{catalog.root}: train and {splits} have different classes: {names} in {splits} only "
                f"({len(strange)} images); add training images, or leave these out with --set "
                f"data.unknown_classes=drop{hint}"
            )
        note = f"{len(strange)} images of classes that only {splits} has were left out: {names}"
        kept = np.setdiff1d(np.arange(len(catalog)), strange)
        catalog = catalog.take(kept).with_columns(notes=(*catalog.notes, note))
    return catalog.with_columns(notes=(*catalog.notes, *lacking_notes(catalog)))


def lacking_notes(catalog: Catalog) -> list[str]:
    """Return a sentence on each given split for validation or test in which a class has no image."""
    notes = []
    for split, name in (("val", "validation"), ("test", "test")):
        here = np.unique(catalog.labels[catalog.split == split])
        lacking = np.setdiff1d(np.arange(len(catalog.classes)), here)
        if len(here) and len(lacking):
            notes.append(
                f"the {name} split has no image of {class_names(catalog, lacking)}: no figure on it tells of "
                f"{'this class' if len(lacking) == 1 else 'these classes'}"
            )
    return notes


def class_names(catalog: Catalog, labels: np.ndarray) -> str:
    """Return the names of some labels' classes, each once, at most five."""
    names = sorted({catalog.classes[label] for label in labels}, key=natural_key)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
