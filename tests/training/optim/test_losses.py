"""The loss, against the formula written out in NumPy."""

import numpy as np
import pytest
import torch
from scipy.special import expit, log_softmax, softmax
from sklearn.utils.class_weight import compute_class_weight

from resnetlab.recipe import Training
from resnetlab.training.optim.losses import Criterion, class_weights, cross_entropy, make_criterion

NAMES = ("a", "b", "c", "d")
LABELS = np.repeat(np.arange(4), [40, 5, 3, 2])


def batch(count: int = 5, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    logits = 5 * torch.randn(count, classes, generator=generator)
    return logits, torch.randint(0, classes, (count,), generator=generator)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_the_loss_of_an_image_is_the_cross_entropy_to_the_smoothed_target(smoothing):
    logits, labels = batch()
    target = (1 - smoothing) * np.eye(4)[labels.numpy()] + smoothing / 4

    expected = -(target * log_softmax(logits.double().numpy(), axis=1)).sum(axis=1)

    np.testing.assert_allclose(cross_entropy(logits, labels, smoothing), expected, rtol=1e-5)


def test_there_is_one_value_an_image():
    logits, labels = batch(count=7)

    assert cross_entropy(logits, labels, 0.0).shape == (7,)


def test_logits_of_a_fast_format_are_measured_in_fp32():
    logits, labels = batch()

    loss = cross_entropy(logits.bfloat16(), labels, 0.1)

    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, cross_entropy(logits.bfloat16().float(), labels, 0.1))


def test_the_loss_of_a_hopeless_answer_is_finite():
    loss = cross_entropy(torch.tensor([[1e30, -1e30]]), torch.tensor([1]), 0.0)

    assert loss.isfinite().all()


# Uneven classes


def criterion(**settings) -> Criterion:
    return make_criterion(Training(**{"label_smoothing": 0.0} | settings), NAMES, LABELS)


def test_balanced_weights_are_those_of_scikit_learn():
    weights = class_weights("balanced", NAMES, np.bincount(LABELS))

    expected = compute_class_weight("balanced", classes=np.arange(4), y=LABELS)
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


def test_effective_weights_follow_the_number_of_images_that_tell_something_new():
    counts = np.array([5000, 50, 1, 0])

    weights = class_weights("effective", NAMES, counts).numpy()

    effective = (1 - 0.999 ** counts[:3]) / (1 - 0.999)  # formula 2 of the paper
    np.testing.assert_allclose(weights[:3] / weights[2], 1 / effective, rtol=1e-4)
    assert (weights * counts).sum() / counts.sum() == pytest.approx(1)


def test_given_weights_are_by_name_and_one_elsewhere():
    assert class_weights({"c": 3.0}, NAMES, np.bincount(LABELS)).tolist() == [1, 1, 3, 1]


def test_weights_with_smoothing_are_those_of_the_third_document():
    """Cross-entropy weighted by class frequency, label smoothing 0.05, by hand."""
    logits, labels = batch()
    found = criterion(class_weights="balanced", label_smoothing=0.05)
    weights = len(LABELS) / (4 * np.bincount(LABELS))

    mean = float(found(logits, labels).sum()) / found.total(labels)

    log_probs = log_softmax(logits.double().numpy(), axis=1)
    target = 0.95 * np.eye(4)[labels.numpy()] + 0.05 / 4
    by_hand = -(weights * target * log_probs).sum() / weights[labels.numpy()].sum()
    assert mean == pytest.approx(by_hand, rel=1e-6)
    pytorch = torch.nn.CrossEntropyLoss(torch.tensor(weights).float(), label_smoothing=0.05)
    assert mean == pytest.approx(float(pytorch(logits, labels)), rel=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_loss_counts_what_is_surely_right_less(gamma):
    logits, labels = batch()

    found = criterion(loss="focal", focal_gamma=gamma)(logits, labels)

    probs = softmax(logits.double().numpy(), axis=1)[np.arange(5), labels.numpy()]
    np.testing.assert_allclose(found, -((1 - probs) ** gamma) * np.log(probs), rtol=1e-4)


def test_binary_loss_asks_of_each_class_by_itself():
    logits, labels = batch()

    found = criterion(loss="binary", class_weights={"a": 2.0})(logits, labels)

    probs, own = expit(logits.double().numpy()), np.eye(4)[labels.numpy()]
    each = -(own * np.log(probs) + (1 - own) * np.log(1 - probs)).sum(axis=1)
    np.testing.assert_allclose(found, each * np.where(labels == 0, 2, 1), rtol=1e-4)


def test_adjusted_logits_learn_beside_the_frequencies_of_the_classes():
    logits, labels = batch()

    found = criterion(logit_adjustment=0.7)(logits, labels)

    offsets = 0.7 * np.log(np.bincount(LABELS) / len(LABELS))
    expected = -log_softmax(logits.double().numpy() + offsets, axis=1)
    np.testing.assert_allclose(found, expected[np.arange(5), labels.numpy()], rtol=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": "focal"},
        {"loss": "binary"},
        {"class_weights": "balanced"},
        {"class_weights": "effective"},
        {"logit_adjustment": 1.0},
        {"sampler": "balanced"},
        {"sampler": "square_root"},
        {"cutmix": 1.0, "mixup": 0.2},
    ],
    ids=str,
)
def test_a_training_by_each_learns(train, make_recipe, tmp_path, settings):
    named = {f"training__{key}": value for key, value in settings.items()}

    _, history = train(make_recipe(training__epochs=6, **named), tmp_path)

    assert history[-1]["val_accuracy"] > 0.9
