"""The average is what is scored and kept; the weights themselves go on as if there were none."""

import pytest
import torch

from resnetlab.models import build
from resnetlab.models.classifier import freeze
from resnetlab.training.checkpoint import read_checkpoint
from resnetlab.training.history import best_epoch
from resnetlab.training.optim.average import EpochMean, MovingAverage


@pytest.fixture
def classifier():
    return build("resnet18", 3, 16, "small")


@pytest.mark.parametrize(
    ("decay", "steps", "kept"),
    [
        pytest.param(0.75, 1000, 0.75, id="by its decay once it has seen enough"),
        pytest.param(0.999, 0, 0.1, id="faster at first"),
    ],
)
def test_it_forgets(classifier, decay, steps, kept):
    average = MovingAverage(classifier, decay)
    with torch.no_grad():
        classifier.head.bias.fill_(8.0)
        before = average.state["head.bias"].clone()

    average.update(steps, None)

    torch.testing.assert_close(average.state["head.bias"], kept * before + (1 - kept) * 8)


def test_the_norms_statistics_are_averaged_and_counts_and_frozen_stages_are_not(classifier):
    freeze(classifier, "layer3")

    names = set(MovingAverage(classifier, 0.9).state)

    assert "backbone.layer4.0.bn1.running_mean" in names
    assert not any("num_batches" in name or "layer3" in name for name in names)


def test_the_network_has_its_own_weights_back_after_an_error(classifier):
    average = MovingAverage(classifier, 0.9)
    with torch.no_grad():
        classifier.head.bias.fill_(8.0)

    with pytest.raises(KeyError), average.in_place():
        assert not (classifier.head.bias == 8).any()
        raise KeyError

    assert (classifier.head.bias == 8).all()


def test_the_average_is_kept_as_the_best_and_learning_goes_on_without_it(
    train, make_recipe, tmp_path
):
    slow = {"training__monitor": "loss", "training__lr": 0.0003, "training__schedule": "constant"}
    plain, _ = train(make_recipe(**slow), tmp_path / "plain")
    averaged, history = train(make_recipe(**slow, training__ema=0.9), tmp_path / "averaged")

    for one, other in zip(plain.parameters(), averaged.parameters(), strict=True):
        assert torch.equal(one, other)
    assert best_epoch(history, "loss") == len(history), "else the files are of two epochs"
    best, _ = read_checkpoint(tmp_path / "averaged" / "checkpoints" / "best.safetensors")
    last, _ = read_checkpoint(tmp_path / "averaged" / "checkpoints" / "last.safetensors")
    for name, tensor in averaged.state_dict().items():
        assert torch.equal(last[f"model.{name}"], tensor)
        if tensor.is_floating_point():
            assert torch.equal(best[f"model.{name}"], last[f"average.{name}"])
    assert not torch.equal(best["model.head.weight"], last["model.head.weight"])


def test_the_mean_is_over_the_ends_of_epochs_from_the_first_that_counts(classifier):
    mean = EpochMean(classifier, first=2)
    for epoch, value in enumerate((100.0, 1.0, 2.0, 6.0), 1):
        with torch.no_grad():
            classifier.head.bias.fill_(value + 50)  # in the midst of an epoch
            mean.update(epoch, None)
            classifier.head.bias.fill_(value)
            mean.update(epoch, epoch)

    torch.testing.assert_close(mean.state["head.bias"], torch.full((3,), 3.0))


def test_the_mean_of_epochs_is_what_a_training_keeps_and_survives_a_cut(
    train, make_recipe, tmp_path
):
    recipe = make_recipe(training__swa_from=0.5, training__epochs=4, training__schedule="constant")
    train(recipe, tmp_path / "whole")
    train(recipe.override({"training.epochs": 3, "training.swa_from": 2 / 3}), tmp_path / "cut")
    train(recipe, tmp_path / "cut")

    whole, cut = (
        read_checkpoint(tmp_path / name / "checkpoints" / "last.safetensors")[0]
        for name in ("whole", "cut")
    )
    assert not torch.equal(whole["average.head.weight"], whole["model.head.weight"])
    assert torch.equal(whole["average.head.weight"], cut["average.head.weight"])
