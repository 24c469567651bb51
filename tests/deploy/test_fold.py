"""A folded network has fewer layers and the same answers."""

import threading

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from resnetlab.deploy.fold import foldable, folded
from resnetlab.deploy.runtimes import by_torch
from resnetlab.models import Backbone, Classifier, build


def images(count: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)


def lived_in(classifier: Classifier) -> Classifier:
    """Give norms moments, scales and offsets as training leaves them."""
    torch.manual_seed(2)
    for module in classifier.modules():
        if isinstance(module, nn.BatchNorm2d) and module.affine:
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
    classifier.train()(images())
    return classifier.eval()


def probs(classifier: Classifier) -> Tensor:
    with torch.inference_mode():
        return classifier(images()).double().softmax(dim=1)


class Odd(Backbone):
    """Convolutions whose norms do not follow them alone, or do."""

    feature_dim = 8

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.pooled = nn.BatchNorm2d(8)
        self.twice = nn.Conv2d(8, 8, 3, padding=1)
        self.twice_norm = nn.BatchNorm2d(8)
        self.beside = nn.Conv2d(8, 8, 3, padding=1)
        self.beside_norm = nn.BatchNorm2d(8)
        self.unstored = nn.Conv2d(8, 8, 1)
        self.unstored_norm = nn.BatchNorm2d(8, track_running_stats=False)
        self.last = nn.Conv2d(8, 8, 1)
        self.last_norm = nn.BatchNorm2d(8, affine=False)

    def features(self, images: Tensor) -> Tensor:
        x = self.pooled(self.pool(self.first(images)))
        x = self.twice_norm(self.twice(self.twice(x)))
        between = self.beside(x)
        x = self.beside_norm(between) + between
        x = self.unstored_norm(self.unstored(x))
        out: Tensor = self.last_norm(self.last(x)).mean(dim=(2, 3))
        return out


class Branching(Odd):
    """The same, with a step that depends on the values."""

    def features(self, images: Tensor) -> Tensor:
        return super().features(images if images.sum() > 0 else -images)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_a_folded_resnet_has_no_norms_and_the_same_answers(name):
    classifier = lived_in(build(name, 4, 32))

    found = folded(classifier)

    assert not any(isinstance(module, nn.BatchNorm2d) for module in found.modules())
    assert (probs(found) - probs(classifier)).abs().max() < 1e-5
    assert probs(classifier).std(dim=0).max() > 1e-3  # the images are told apart at all


def test_folding_leaves_the_network_it_is_given_alone():
    classifier = lived_in(build("resnet18", 4, 32))
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}

    folded(classifier)

    after = classifier.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_a_folded_network_is_ready_for_use():
    assert not any(module.training for module in folded(build("resnet18", 4, 32)).modules())


def test_only_a_norm_that_alone_follows_its_convolution_is_folded():
    assert foldable(Odd()) == [("last", "last_norm")]


@pytest.mark.parametrize("backbone", [Odd, Branching])
def test_what_can_not_be_folded_answers_as_before(backbone):
    classifier = lived_in(Classifier(backbone(), 4))

    assert (probs(folded(classifier)) - probs(classifier)).abs().max() < 1e-5


def test_a_network_that_can_not_be_followed_stays_whole():
    assert foldable(Branching()) == []


def test_a_network_computes_while_another_is_folded_in_a_second_thread(classifier):
    compute = by_torch(folded(classifier))
    images = np.zeros((1, 16, 16, 3), np.uint8)
    expected = compute(images).logits
    done = threading.Event()

    def fold() -> None:
        for _ in range(40):
            folded(classifier)
        done.set()

    thread = threading.Thread(target=fold)
    thread.start()
    while not done.is_set():
        np.testing.assert_array_equal(compute(images).logits, expected)
    thread.join()
