"""The head fitted on the network's features: a usable model in seconds, from which the rest learns on."""

import math
import time
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from resnetlab.data.batches import Samples
from resnetlab.evaluation.metrics import quick_scores
from resnetlab.evaluation.predictions import Predictions
from resnetlab.models.classifier import Classifier
from resnetlab.recipe import Augment, Recipe
from resnetlab.training.inputs import plain_view
from resnetlab.training.optim.losses import Criterion, make_criterion
from resnetlab.training.stored_features import Precision, StoredFeatures, store_features

STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)  # C of scikit-learn: the smaller, the more regularised
CUSTOMARY = 1e-2  # where nothing validates
LOOSE = 1e-4  # of the head that learning begins with
SMALLEST_SCALE = 0.3  # of the features' root mean square deviation: docs/experiments.md
ROUNDS = 100  # of L-BFGS for each strength
NEIGHBOURS = 10
FLIPS_UP_TO = 1_000  # images: more gain hardly anything by twice the time (docs/experiments.md)
AT_ONCE = 256  # validation images compared with all of training's in one product
FLIPPED = Augment(flip=1.0)
PLAIN = Criterion()


@dataclass(frozen=True)
class HeadFit:
    """What came of it: accuracies on validation (None without), the strength, seconds.

    `neighbours` is the accuracy of a vote of the nearest training images, the control: what the
    features know without any learning.
    """

    accuracy: float | None
    score: float | None  # by what the recipe monitors
    neighbours: float | None
    strength: float
    seconds: float


def fit_head(classifier: Classifier, train: Samples, val: Samples, recipe: Recipe) -> HeadFit:
    """Set the head to a multinomial logistic regression on the features of the training split.

    Of up to FLIPS_UP_TO images their horizontal flips count too, where training flips them. Features are
    standardised; the scaling becomes part of the head. How strongly it is regularised is chosen on
    validation. Source of the order, head first and then all: Kumar et al. 2022, 'Fine-Tuning can
    Distort Pretrained Features', arXiv 2202.10054.
    """
    started = time.monotonic()
    features, labels, mean, std = standardised(classifier, train, recipe)
    val_features, val_labels = features_of(classifier, val, recipe)
    val_features = (val_features - mean) / std
    weight, bias = zeros_for(classifier)
    monitor = recipe.training.monitor
    names = tuple(map(str, range(len(bias))))
    criterion = make_criterion(recipe.training, names, train.labels)
    best, chosen = (-math.inf, -math.inf), (weight, bias, CUSTOMARY)
    at_best: dict[str, float] = {}
    for strength in STRENGTHS if len(val) else (CUSTOMARY,):
        weight, bias = logistic_regression(features, labels, weight, bias, strength, criterion)
        if not len(val):
            chosen = weight, bias, strength
            break
        logits = val_features @ weight.T + bias
        found = quick_scores(Predictions.make(val.ids, val.labels, logits.numpy(), names))
        score = -found["loss"] if monitor == "loss" else found[monitor], -found["loss"]
        if score > best:
            best, chosen, at_best = score, (weight.clone(), bias.clone(), strength), found
    weight, bias, strength = chosen
    set_head(classifier, weight, bias, mean, std)
    neighbours = nearest_accuracy(features, labels, val_features, val_labels) if len(val) else None
    return HeadFit(
        accuracy=at_best.get("accuracy"),
        score=at_best.get(monitor),
        neighbours=neighbours,
        strength=strength,
        seconds=time.monotonic() - started,
    )


def loosen_head(classifier: Classifier, train: Samples, recipe: Recipe) -> None:
    """Set the head to one that is regularised so strongly that it knows no training image by heart.

    What learns on behind one that does loses much of what it knew in its first epochs: docs/experiments.md.
    """
    features, labels, mean, std = standardised(classifier, train, recipe)
    weight, bias = zeros_for(classifier)
    criterion = make_criterion(recipe.training, tuple(map(str, range(len(bias)))), train.labels)
    weight, bias = logistic_regression(features, labels, weight, bias, LOOSE, criterion)
    set_head(classifier, weight, bias, mean, std)


def zeros_for(classifier: Classifier) -> tuple[Tensor, Tensor]:
    """Return the weight (K, D) and bias (K,) of a head that knows nothing."""
    count, width = classifier.head.weight.shape
    return torch.zeros(count, width), torch.zeros(count)


def set_head(
    classifier: Classifier, weight: Tensor, bias: Tensor, mean: Tensor, std: Tensor
) -> None:
    """Set the head to `weight` (K, D) and `bias` (K,) of features that are standardised by `mean` and `std` (D,)."""
    scaled = weight / std
    with torch.no_grad():
        classifier.head.weight.copy_(scaled)
        classifier.head.bias.copy_(bias - scaled @ mean)


def cross_validate_head(
    classifier: Classifier, train: Samples, folds: np.ndarray, recipe: Recipe
) -> float:
    """Return the accuracy of heads fitted on the features of all folds (M,) but one, on that one.

    It tells networks apart before any of them is fine-tuned; how well they did on ImageNet does not
    (Kornblith et al. 2021, 'Why Do Better Loss Functions Lead to Less Transferable Features?').
    """
    features, labels = features_of(classifier, train, recipe)
    correct = 0
    for fold in np.unique(folds):
        inner, outer = torch.from_numpy(folds != fold), torch.from_numpy(folds == fold)
        mean, std = scale_of(features[inner])
        scaled = (features - mean) / std
        weight, bias = zeros_for(classifier)
        weight, bias = logistic_regression(scaled[inner], labels[inner], weight, bias, CUSTOMARY)
        logits = scaled[outer] @ weight.T + bias
        correct += int((logits.argmax(dim=1) == labels[outer]).sum())
    return correct / len(labels)


def standardised(
    classifier: Classifier, train: Samples, recipe: Recipe
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return what heads are fitted to: standardised features (M, D), labels (M,), and mean and scale (D,) of them."""
    assert isinstance(recipe.data.augment, Augment), "the recipe must be resolved"
    flips = recipe.data.augment.flip != 0 and len(train) <= FLIPS_UP_TO
    features, labels = features_of(classifier, train, recipe, flips)
    mean, std = scale_of(features)
    return (features - mean) / std, labels, mean, std


def scale_of(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and scale (D,) by which features (M, D) are standardised.

    Features that hardly vary are not blown up to the size of the others: what little they say of
    these images would count as much, and with other images it leaps.
    """
    std = features.std(dim=0)
    usual = float(std.square().mean().sqrt())
    return features.mean(dim=0), std.clamp(min=SMALLEST_SCALE * usual + 1e-6)


def features_of(
    classifier: Classifier, samples: Samples, recipe: Recipe, flips: bool = False
) -> tuple[Tensor, Tensor]:
    """Return the features (M, D) of samples in the plain view, and their labels (M,).

    With `flips`, those of the flipped images follow. They are computed once and kept in the cache.
    """
    views = [plain_view(recipe)]
    if flips:
        views.append(replace(views[0], augment=FLIPPED))
    frozen, classifier.frozen = classifier.frozen, len(classifier.backbone.stages())
    was_training = classifier.training
    classifier.eval()
    precision: Precision = "bf16" if recipe.training.feature_precision == "bf16" else "fp32"
    try:
        chunks = [
            as_floats(
                store_features(classifier, samples, view, 1, precision, int(recipe.data.workers))
            )
            for view in views
        ]
    finally:
        classifier.frozen = frozen
        classifier.train(was_training)
    return torch.cat(chunks), torch.from_numpy(np.tile(samples.labels, len(views)))


def as_floats(stored: StoredFeatures) -> Tensor:
    """Return stored features as fp32, (M, D)."""
    found = torch.from_numpy(np.array(stored.maps[0]))
    if found.dtype == torch.uint16:  # the bits of bf16
        found = found.view(torch.bfloat16)
    return found.float()


def logistic_regression(
    features: Tensor,
    labels: Tensor,
    weight: Tensor,
    bias: Tensor,
    strength: float,
    criterion: Criterion = PLAIN,
) -> tuple[Tensor, Tensor]:
    """Return weight (K, D) and bias (K,) that fit labels (M,) best, begun from those given.

    Minimises scikit-learn's loss: cross-entropy plus the squared weights over 2 `strength` M. Of the
    `criterion` what it says about classes counts: their weights and offsets.
    """
    weight, bias = weight.clone().requires_grad_(), bias.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=ROUNDS, line_search_fn="strong_wolfe")
    penalty = 1 / (2 * strength * len(features))

    def loss() -> Tensor:
        optimizer.zero_grad()
        logits = F.linear(features, weight, bias)
        if criterion.offsets is not None:
            logits = logits + criterion.offsets
        value = F.cross_entropy(logits, labels, criterion.weights)
        value = value + penalty * weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return weight.detach(), bias.detach()


def nearest_accuracy(
    features: Tensor, labels: Tensor, val_features: Tensor, val_labels: Tensor
) -> float:
    """Return the accuracy of a vote of the nearest training images by cosine."""
    columns, count, right = F.normalize(features).T, min(NEIGHBOURS, len(features)), 0
    for start in range(0, len(val_labels), AT_ONCE):
        rows = slice(start, start + AT_ONCE)
        near = (F.normalize(val_features[rows]) @ columns).topk(count).indices
        votes = F.one_hot(labels[near]).sum(dim=1)
        right += int((votes.argmax(dim=1) == val_labels[rows]).sum())
    return right / len(val_labels)
