"""Where memory doesn't hold a batch, it is shown in pieces and the step is the same."""

import pytest
import torch

from resnetlab.errors import MachineError
from resnetlab.models import build
from resnetlab.training.hardware import micro_batches
from resnetlab.training.optim.learner import Learner

IMAGES = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)


def test_what_is_kept_grows_with_the_images_and_nothing_in_the_network_changes():
    network = build("resnet18", 3, 32, "small")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    one, two = (
        micro_batches.kept_bytes(network, IMAGES[:1]),
        micro_batches.kept_bytes(network, IMAGES),
    )

    assert 1.8 * one < two < 2.2 * one
    assert two > 2 * 64 * 32 * 32 * 4, "at least what the first convolution gives"
    assert network.training
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_the_estimate_is_near_what_learning_really_keeps():
    """Against autograd's own graph: all that a step in training mode saves for the way back."""
    network = build("resnet18", 3, 32, "small")
    saved = {}

    def note(tensor):
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        held = network.train()(IMAGES)
    weights = sum(4 * parameter.numel() for parameter in network.parameters() if parameter.ndim > 1)

    assert held.shape == (2, 3)
    assert micro_batches.kept_bytes(network, IMAGES) == pytest.approx(
        sum(saved.values()) - weights, rel=0.1
    )


@pytest.mark.parametrize(("share", "count"), [(2.0, 1), (0.6, 2), (0.3, 4), (0.001, 32)])
def test_the_less_room_the_more_pieces(monkeypatch, share, count):
    network = build("cnn", 3, 32)
    needed = micro_batches.MARGIN * micro_batches.kept_bytes(network, IMAGES) / 2 * 32
    monkeypatch.setattr(micro_batches, "free_bytes", lambda _: share * needed / micro_batches.SHARE)

    assert micro_batches.micro_batches_for(network, IMAGES, batch_size=32) == count


def test_this_machine_has_room_for_an_image():
    assert micro_batches.micro_batches_for(build("mlp", 3, 32), IMAGES, batch_size=2) == 1


@pytest.mark.parametrize("mixup", [0.0, 0.5])
def test_a_step_in_pieces_moves_the_weights_as_a_whole_one_does(
    train, make_recipe, tmp_path, monkeypatch, capsys, mixup
):
    recipe = make_recipe(training__mixup=mixup, training__label_smoothing=0.1)
    whole, history = train(recipe, tmp_path / "whole")
    monkeypatch.setattr(micro_batches, "kept_bytes", lambda _, images: 100 * len(images))
    monkeypatch.setattr(micro_batches, "free_bytes", lambda _: 100 * 5)  # of eight

    split, again = train(recipe, tmp_path / "split")

    assert "shown in" in capsys.readouterr().err
    for one, other in zip(split.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)
    for row, other in zip(again, history, strict=True):
        assert row == pytest.approx(other, rel=1e-3)


class NoMoreThan:
    """A step's backward pass on a machine that holds so many images and no more."""

    def __init__(self, images: int) -> None:
        self.most, self.learn = images, Learner.learn

    def __get__(self, pupil, _):
        return lambda images, labels, piece, *rest: (
            self.learn(pupil, images, labels, piece, *rest) if len(piece) <= self.most else fail()
        )


def fail():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")


def test_b9_where_memory_runs_out_the_step_is_repeated_in_pieces(
    train, make_recipe, tmp_path, monkeypatch, capsys
):
    recipe = make_recipe(model__dropout=0.0)
    whole, _ = train(recipe, tmp_path / "whole")
    monkeypatch.setattr(Learner, "learn", NoMoreThan(2))

    split, _ = train(recipe, tmp_path / "split")

    said = capsys.readouterr().err
    assert "shown in 2 micro-batches" in said
    assert "shown in 4 micro-batches" in said
    assert "shown in 8 micro-batches" not in said
    for one, other in zip(split.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_b9_where_there_is_no_room_for_one_image_that_is_told(train, make_recipe, monkeypatch):
    monkeypatch.setattr(Learner, "learn", NoMoreThan(0))

    with pytest.raises(MachineError, match="no memory for a single image"):
        train(make_recipe())


def test_any_other_failure_is_not_taken_for_it(train, make_recipe, monkeypatch):
    def broken(*_):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(Learner, "learn", broken)

    with pytest.raises(RuntimeError, match="mat1"):
        train(make_recipe())
