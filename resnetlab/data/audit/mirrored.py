"""Whether images may be flipped left to right without becoming another class, as digits or letters do."""

from dataclasses import dataclass

import numpy as np

from resnetlab.data.audit.candidates import descriptors, horizontal_flip
from resnetlab.data.catalog import Catalog
from resnetlab.data.store.pixels import PixelStore

MOST = 3000  # images used
FEWEST = 50  # images below which nothing is said
TELLING = 0.3  # share of the way from chance to certainty that nearest images must go
LOST = 0.4  # share of that which mirrored images keep, at most, to be no longer of their class
CLEARLY = 5.0  # standard errors between the two


@dataclass(frozen=True)
class Mirrored:
    """How often the most similar other image is of the same class: for images as they are, and mirrored."""

    as_is: float
    flipped: float
    chance: float
    error: float  # standard error of the difference

    @property
    def differs(self) -> bool:
        """Whether mirrored images look no longer like those of their class."""
        told, kept = self.as_is - self.chance, self.flipped - self.chance
        clear = self.as_is - self.flipped > CLEARLY * self.error
        return clear and told > TELLING * (1 - self.chance) and kept < LOST * told


def look_mirrored(catalog: Catalog, store: PixelStore) -> Mirrored | None:
    """Compare images with all others by their thumbnails' gradients; None for too few images.

    Images of a split that is not for training don't count, nor does one of an image's own group: the
    next frame shows the same scene, whatever its class.
    """
    rows = catalog.rows("all")
    rows = catalog.by_content(rows[catalog.may_train[rows]])[:MOST]
    labels, group = catalog.labels[rows], catalog.group[rows]
    if len(rows) < FEWEST:
        return None
    vectors = descriptors(store.thumbnails[store.rows_of(catalog)[rows]])
    same_group = group[:, None] == group
    agree = [
        labels[np.where(same_group, -np.inf, each @ vectors.T).argmax(axis=1)] == labels
        for each in (vectors, horizontal_flip(vectors))
    ]
    apart = agree[0].astype(float) - agree[1]
    chance = float(np.square(np.bincount(labels) / len(labels)).sum())
    return Mirrored(
        float(agree[0].mean()),
        float(agree[1].mean()),
        chance,
        float(apart.std() / np.sqrt(len(apart))),
    )
