"""`python -m benchmarks.label_errors DATA ...`: how many planted label errors are found, beside chance.

Out-of-fold heads (5 folds) on the features of the default network, as `tune` would give them.
"""

import sys
from pathlib import Path

import numpy as np
import torch

from resnetlab.data.batches import samples_of
from resnetlab.data.dataset import list_data, name_of
from resnetlab.evaluation.label_errors import find_label_errors
from resnetlab.evaluation.predictions import Predictions
from resnetlab.recipe import Recipe
from resnetlab.training.head import CUSTOMARY, features_of, logistic_regression, scale_of
from resnetlab.workflows.candidates import read_and_choose, settle_candidates

FOLDS = 5


def out_of_fold(features: torch.Tensor, labels: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Return the logits (N, K) of heads that have not learned from the image, features (N, D)."""
    fold = np.random.default_rng(seed).permutation(len(labels)) % FOLDS
    logits = np.empty((len(labels), k))
    given = torch.from_numpy(labels)
    for each in range(FOLDS):
        inner, outer = torch.from_numpy(fold != each), torch.from_numpy(fold == each)
        mean, std = scale_of(features[inner])
        scaled = (features - mean) / std
        start = torch.zeros(k, features.shape[1]), torch.zeros(k)
        weight, bias = logistic_regression(scaled[inner], given[inner], *start, CUSTOMARY)
        logits[outer.numpy()] = (scaled[outer] @ weight.T + bias).numpy()
    return logits


def measure(data: Path) -> None:
    """Plant 2 % and 5 % wrong labels three times each, and print what the first suggestions hold."""
    catalog, recipe = list_data(data, Recipe())
    dataset, network = read_and_choose(name_of(data), catalog, settle_candidates(recipe, catalog))
    samples = samples_of(dataset.catalog, dataset.store, "all")
    features, found = features_of(network, samples, dataset.recipe)
    labels, k = found.numpy(), len(dataset.catalog.classes)
    for share in (0.02, 0.05):
        rows = []
        for seed in range(3):
            rng = np.random.default_rng(seed)
            wrong = rng.choice(len(labels), round(share * len(labels)), replace=False)
            given = labels.copy()
            given[wrong] = (labels[wrong] + rng.integers(1, k, len(wrong))) % k
            logits = out_of_fold(features, given, k, seed)
            names = [f"{i:06}" for i in range(len(labels))]
            table = Predictions.make(names, given, logits, [str(c) for c in range(k)])
            suspects, estimate = find_label_errors(table)
            planted = {names[row] for row in wrong}
            first = {each.id for each in suspects[: len(wrong)]}
            every = {each.id for each in suspects}
            rows.append(
                (
                    len(first & planted) / len(wrong),
                    len(every & planted) / max(len(every), 1),
                    len(every & planted) / len(wrong),
                    len(every) / len(labels),
                    estimate,
                )
            )
        at_n, precision, recall, looked_at, estimate = np.mean(rows, axis=0)
        print(
            f"{data.name}: {len(labels):,} images, {share:.0%} planted ({len(wrong)}): among as many first "
            f"suggestions {at_n:.1%} (chance {share:.0%}); all suggestions, {looked_at:.1%} of the images: precision "
            f"{precision:.1%}, recall {recall:.1%} (chance {looked_at:.1%}); estimated share {estimate:.1%}",
            flush=True,
        )


if __name__ == "__main__":
    for place in sys.argv[1:]:
        measure(Path(place))
