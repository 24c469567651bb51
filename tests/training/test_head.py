"""The head fitted on features: what scikit-learn finds, and a model that is there before training."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from torch.utils._python_dispatch import TorchDispatchMode

from resnetlab.training import head
from resnetlab.training.head import (
    AT_ONCE,
    NEIGHBOURS,
    cross_validate_head,
    features_of,
    fit_head,
    logistic_regression,
    loosen_head,
    nearest_accuracy,
    scale_of,
)

CLASSES, WIDTH = 3, 8


@pytest.fixture(scope="module")
def blobs():
    generator = np.random.default_rng(0)
    labels = np.arange(120) % CLASSES
    centres = generator.normal(size=(CLASSES, WIDTH))
    features = centres[labels] + generator.normal(size=(120, WIDTH))
    return features.astype(np.float32), labels


@pytest.mark.parametrize("strength", [1e-2, 1.0])
def test_the_regression_is_scikit_learns(blobs, strength):
    features, labels = blobs
    reference = LogisticRegression(C=strength, max_iter=1000, tol=1e-8).fit(features, labels)

    weight, bias = logistic_regression(
        torch.from_numpy(features),
        torch.from_numpy(labels),
        torch.zeros(CLASSES, WIDTH),
        torch.zeros(CLASSES),
        strength,
    )

    logits = torch.from_numpy(features) @ weight.T + bias
    expected = reference.predict_proba(features)
    np.testing.assert_allclose(logits.softmax(dim=1).numpy(), expected, atol=2e-3)


def test_the_vote_of_the_nearest_is_right_where_classes_lie_apart():
    labels = torch.arange(60) % CLASSES
    features = torch.eye(CLASSES)[labels] * 5 + torch.rand(60, CLASSES)

    assert nearest_accuracy(features[:30], labels[:30], features[30:], labels[30:]) == 1.0


class Largest(TorchDispatchMode):
    """Notes how many numbers the largest result of any computation has."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        if isinstance(found, torch.Tensor):
            self.count = max(self.count, found.numel())
        return found


def test_the_control_holds_few_distances_at_once_and_votes_as_all_together_would():
    generator = torch.Generator().manual_seed(0)
    features, val_features = torch.randn(2, 700, WIDTH, generator=generator)
    labels, val_labels = torch.randint(CLASSES, (2, 700), generator=generator)
    neighbours = KNeighborsClassifier(NEIGHBOURS, metric="cosine").fit(features, labels)

    with Largest() as largest:
        found = nearest_accuracy(features, labels, val_features, val_labels)

    assert largest.count <= 700 * AT_ONCE < 700 * 700
    assert found == neighbours.score(val_features, val_labels)


def test_a_feature_that_hardly_varies_stays_small():
    """Blown up to the size of the others it would leap with images that are a little different."""
    features = torch.randn(100, 4) * torch.tensor([1.0, 1.0, 1.0, 1e-4])
    _, scale = scale_of(features)

    assert torch.allclose(scale[:3], features[:, :3].std(dim=0))
    assert 0.1 < scale[3] < 0.5


@pytest.fixture
def recipe(make_recipe):
    return make_recipe(model__name="cnn", data__normalize="half")


def test_the_network_answers_by_the_fitted_head(make_samples, make_classifier, recipe):
    train, val = make_samples(48), make_samples(24, seed=1)
    classifier = make_classifier(recipe)
    before = {k: v.clone() for k, v in classifier.state_dict().items() if "head" not in k}

    found = fit_head(classifier, train, val, recipe)

    features, labels = features_of(classifier, val, recipe)
    classifier.eval()
    with torch.inference_mode():
        predicted = classifier.head(features).argmax(dim=1)
    assert found.accuracy == pytest.approx(float((predicted == labels).double().mean()))
    assert found.accuracy > 1 / CLASSES
    for name, tensor in before.items():
        assert torch.equal(classifier.state_dict()[name], tensor), "nothing else was changed"


def test_flips_are_learned_from_where_training_flips(make_samples, make_classifier, recipe):
    train, val = make_samples(40), make_samples(20, seed=1)
    heads = []
    for flip in (0.0, 0.5):
        classifier = make_classifier(recipe)
        fit_head(classifier, train, val, recipe.override({"data.augment.flip": flip}))
        heads.append(classifier.head.weight)

    assert not torch.equal(*heads)


def test_flips_of_many_images_are_not_computed(make_samples, make_classifier, recipe, monkeypatch):
    train, val = make_samples(40), make_samples(20, seed=1)
    monkeypatch.setattr(head, "FLIPS_UP_TO", 39)
    heads = []
    for flip in (0.0, 0.5):
        classifier = make_classifier(recipe)
        fit_head(classifier, train, val, recipe.override({"data.augment.flip": flip}))
        heads.append(classifier.head.weight)

    assert torch.equal(*heads)


def test_what_learns_on_begins_with_a_looser_head(make_samples, make_classifier, recipe):
    train, val = make_samples(48), make_samples(24, seed=1)
    classifier = make_classifier(recipe)
    fit_head(classifier, train, val, recipe)
    fitted = classifier.head.weight.detach().clone()
    features, labels = features_of(classifier, train, recipe)

    loosen_head(classifier, train, recipe)

    assert classifier.head.weight.norm() < fitted.norm() / 2
    right = classifier.head(features).argmax(dim=1) == labels
    assert right.double().mean() > 1 / CLASSES, "it isn't a random one"


def test_without_validation_there_is_a_head_and_no_figure(make_samples, make_classifier, recipe):
    found = fit_head(make_classifier(recipe), make_samples(24), make_samples(0), recipe)

    assert found.accuracy is None
    assert found.neighbours is None


def test_the_same_head_comes_out_again(make_samples, make_classifier, recipe):
    heads = []
    for _ in range(2):
        classifier = make_classifier(recipe)
        fit_head(classifier, make_samples(24), make_samples(12, seed=1), recipe)
        heads.append(classifier.head.weight.detach().clone())

    assert torch.equal(*heads)


def test_a_cross_validated_head_is_scored_on_images_it_was_not_fitted_on(
    make_samples, make_classifier, recipe
):
    train = make_samples(60)
    classifier = make_classifier(recipe)
    folds = np.arange(60) % 5

    right = cross_validate_head(classifier, train, folds, recipe)
    shuffled = replace(train, labels=np.random.default_rng(0).permutation(train.labels))
    chance = cross_validate_head(classifier, shuffled, folds, recipe)

    assert right > 0.9
    assert chance < 0.6
