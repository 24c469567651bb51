"""`python -m benchmarks.suggest DATA ...` says whether labelling what `suggest` names beats labelling by lot.

Heads on the features of the default network. 30 % of the images measure, of the rest 10 a class are
labelled by lot; then twice as many are added, chosen by each way. Ten divisions, compared in pairs.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from resnetlab.data.batches import samples_of
from resnetlab.data.dataset import list_data, name_of
from resnetlab.evaluation.intervals import mean_interval
from resnetlab.evaluation.suggestion import margin_uncertainty, suggest_rows
from resnetlab.recipe import Recipe
from resnetlab.training.head import CUSTOMARY, features_of, logistic_regression
from resnetlab.workflows.candidates import read_and_choose, settle_candidates

DIVISIONS = 10
ROUNDS = 2
PER_CLASS = 10  # images labelled at first, and added in each round
MEASURED = 0.3  # share of the images

Choose = Callable[[np.ndarray, np.ndarray, int, int], np.ndarray]  # probs, features, count, seed

WAYS: dict[str, Choose] = {
    "by lot": lambda probs, features, count, seed: np.random.default_rng(seed).permutation(
        len(probs)
    )[:count],
    "smallest margins": lambda probs, features, count, seed: np.argsort(
        -margin_uncertainty(probs), kind="stable"
    )[:count],
    "suggest": lambda probs, features, count, seed: suggest_rows(
        features, margin_uncertainty(probs), count, seed
    ),
}


def head_on(
    features: torch.Tensor, labels: torch.Tensor, k: int
) -> Callable[[torch.Tensor], np.ndarray]:
    """Return what gives the probabilities (N, K) of a head fitted on features (M, D)."""
    mean, std = features.mean(dim=0), features.std(dim=0) + 1e-6
    start = torch.zeros(k, features.shape[1]), torch.zeros(k)
    weight, bias = logistic_regression((features - mean) / std, labels, *start, CUSTOMARY)
    return lambda new: (((new - mean) / std) @ weight.T + bias).softmax(dim=1).numpy()


def accuracies(
    features: torch.Tensor, labels: torch.Tensor, k: int, division: int, choose: Choose
) -> list[float]:
    """Return the accuracy after each round of labelling."""
    order = np.random.default_rng(division).permutation(len(labels))
    cut, step = round(MEASURED * len(order)), PER_CLASS * k
    measured, labelled, rest = order[:cut], order[cut : cut + step], order[cut + step :]
    found = []
    for number in range(ROUNDS):
        probs = head_on(features[labelled], labels[labelled], k)(features[rest])
        chosen = choose(probs, features[rest].numpy(), step, 1000 * division + number)
        labelled, rest = np.append(labelled, rest[chosen]), np.delete(rest, chosen)
        answer = head_on(features[labelled], labels[labelled], k)(features[measured])
        found.append(float((answer.argmax(axis=1) == labels[measured].numpy()).mean()))
    return found


def measure(data: Path) -> None:
    """Print each way's mean accuracy, and how far it is before labelling by lot."""
    catalog, recipe = list_data(data, Recipe().override({"data.max_problem_frac": 1.0}))
    dataset, network = read_and_choose(name_of(data), catalog, settle_candidates(recipe, catalog))
    samples = samples_of(dataset.catalog, dataset.store, "all")
    features, labels = features_of(network, samples, dataset.recipe)
    k = len(dataset.catalog.classes)
    found = {
        name: np.array([accuracies(features, labels, k, each, way) for each in range(DIVISIONS)])
        for name, way in WAYS.items()
    }
    for number in range(ROUNDS):
        print(f"{data.name}: {len(labels):,} images, {(number + 2) * PER_CLASS * k} labelled")
        for name, table in found.items():
            gain = mean_interval(table[:, number] - found["by lot"][:, number])
            low, value, high = (100 * gain[key] for key in ("low", "value", "high"))
            print(
                f"  {name:17} {table[:, number].mean():6.1%}  {value:+.1f} points ({low:+.1f} to {high:+.1f})",
                flush=True,
            )


if __name__ == "__main__":
    for place in sys.argv[1:]:
        measure(Path(place))
