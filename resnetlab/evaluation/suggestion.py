"""Active learning: which unlabelled images teach most once they are labelled.

Uncertain images, each of another kind: the most uncertain are gathered into as many clusters as images
are wanted, weighted by their uncertainty, and the image nearest to the middle of each is taken. Source:
Zhdanov 2019, 'Diverse mini-batch Active Learning', arXiv 1901.05954.
"""

import warnings

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

GATHERED = 10  # times the images wanted that are looked at, the most uncertain


def margin_uncertainty(probs: Floats) -> NDArray[np.float64]:
    """Return 1 less the distance of the two highest probabilities, (N,): 1 where they are equal."""
    best = np.partition(probs, -2, axis=1)
    return np.asarray(1 - (best[:, -1] - best[:, -2]), dtype=np.float64)


def suggest_rows(
    features: Floats, uncertainty: Floats, count: int, seed: int = 0
) -> NDArray[np.int64]:
    """Return `count` rows of images to label next, or all, the most uncertain first.

    `features` are (N, D), `uncertainty` (N,) at least 0.
    """
    gathered = np.argsort(-uncertainty, kind="stable")[: GATHERED * count]
    if len(gathered) > count:
        gathered = gathered[middles(features[gathered], uncertainty[gathered], count, seed)]
    return np.asarray(gathered[np.argsort(-uncertainty[gathered], kind="stable")], dtype=np.int64)


def middles(features: Floats, weights: Floats, count: int, seed: int) -> NDArray[np.int64]:
    """Return the rows nearest to the centres of `count` clusters of weighted features (N, D), each once."""
    from sklearn.cluster import KMeans

    scaled = (features - features.mean(axis=0)) / (features.std(axis=0) + 1e-6)
    with warnings.catch_warnings():  # fewer distinct images than clusters: some are copies
        warnings.simplefilter("ignore")
        clusters = KMeans(count, n_init=1, random_state=seed)
        distances = clusters.fit(scaled, sample_weight=weights + 1e-9).transform(scaled)
    chosen = np.empty(count, dtype=np.int64)
    for number in range(count):
        chosen[number] = distances[:, number].argmin()
        distances[chosen[number]] = np.inf
    return chosen
