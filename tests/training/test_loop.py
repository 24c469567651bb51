"""The loop learns, repeats itself to the bit, and goes on after a cut as if there had been none."""

import itertools

import numpy as np
import pytest
import torch

from resnetlab.errors import DivergedError
from resnetlab.files import read_csv
from resnetlab.models import build
from resnetlab.training import loop
from resnetlab.training.checkpoint import load_checkpoint, read_checkpoint
from resnetlab.training.hardware import make_fabric
from resnetlab.training.optimizers import make_optimizer

# What could make two runs differ: variation, dropout, a moving rate, moments of the optimiser.
RESTLESS = {
    "model__dropout": 0.3,
    "data__augment": "photo",
    "training__schedule": "cosine",
    "training__label_smoothing": 0.1,
}


def bits(model: torch.nn.Module) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in model.state_dict().items()}


def checkpoint_bits(folder, name: str) -> dict[str, bytes]:
    tensors, _ = read_checkpoint(folder / "checkpoints" / f"{name}.safetensors")
    return {key: tensor.numpy().tobytes() for key, tensor in tensors.items()}


@pytest.mark.parametrize("network", ["mlp", "cnn", "resnet18"])
def test_one_small_batch_is_learned_by_heart(train, make_recipe, make_samples, network):
    recipe = make_recipe(
        model__name=network, training__epochs=25, training__lr=0.002, training__warmup_epochs=0
    )
    few = make_samples(6)

    _, history = train(recipe, train=few, val=few)

    assert history[-1]["val_accuracy"] == 1.0
    assert history[-1]["val_loss"] < 0.1


def test_the_same_seed_gives_the_same_history_and_the_same_bits(train, make_recipe, tmp_path):
    recipe = make_recipe(**RESTLESS)

    first, first_history = train(recipe, tmp_path / "a")
    second, second_history = train(recipe, tmp_path / "b")

    assert first_history == second_history
    assert bits(first) == bits(second)


def test_another_seed_gives_another_run(train, make_recipe, tmp_path):
    _, first = train(make_recipe(seed=0), tmp_path / "a")
    _, second = train(make_recipe(seed=1), tmp_path / "b")

    assert first != second


@pytest.mark.parametrize("workers", [1, 2])
def test_the_number_of_workers_changes_no_bit(train, make_recipe, tmp_path, workers):
    alone, alone_history = train(make_recipe(**RESTLESS), tmp_path / "a")
    helped, helped_history = train(
        make_recipe(**RESTLESS, data__workers=workers), tmp_path / "b"
    )

    assert helped_history == alone_history
    assert bits(helped) == bits(alone)


class Cut(Exception):
    """The process has ended here."""


def cut_after(monkeypatch, write: int) -> None:
    """Let the loop end right after its n-th write, whichever file that is."""
    writes = itertools.count(1)

    def ending(function):
        def call(*arguments):
            function(*arguments)
            if next(writes) == write:
                raise Cut

        return call

    for name in ("save_checkpoint", "write_history"):
        monkeypatch.setattr(loop, name, ending(getattr(loop, name)))


@pytest.mark.parametrize("write", range(1, 10))
def test_a_run_cut_after_any_write_resumes_to_the_same_bits(
    train, make_recipe, tmp_path, monkeypatch, write
):
    recipe = make_recipe(**RESTLESS, training__monitor="loss")
    uncut, history = train(recipe, tmp_path / "uncut")
    with monkeypatch.context() as patch, pytest.raises(Cut):
        cut_after(patch, write)
        train(recipe, tmp_path / "cut")

    resumed, resumed_history = train(recipe, tmp_path / "cut")

    assert resumed_history == history
    assert bits(resumed) == bits(uncut)
    for name in ("last", "best"):
        assert checkpoint_bits(tmp_path / "cut", name) == checkpoint_bits(tmp_path / "uncut", name)
    table = tmp_path / "cut" / "history.csv"
    assert table.read_text() == (tmp_path / "uncut" / "history.csv").read_text()


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("network", ["cnn", "resnet18"])
def test_convolutions_and_norms_resume_to_the_same_bits(
    train, make_recipe, make_samples, tmp_path, network, optimizer
):
    recipe = make_recipe(
        **RESTLESS, model__name=network, training__optimizer=optimizer, training__epochs=2
    )
    few = {"train": make_samples(8), "val": make_samples(3)}
    uncut, history = train(recipe, tmp_path / "uncut", **few)
    with monkeypatch.context() as patch, pytest.raises(Cut):
        cut_after(patch, 3)  # the first epoch's last write
        train(recipe, tmp_path / "cut", **few)

    resumed, resumed_history = train(recipe, tmp_path / "cut", **few)

    assert resumed_history == history
    assert bits(resumed) == bits(uncut)


def test_a_finished_run_is_left_as_it_is(train, make_recipe, tmp_path):
    recipe = make_recipe()
    finished, history = train(recipe, tmp_path)

    again, again_history = train(recipe, tmp_path)

    assert again_history == history
    assert bits(again) == bits(finished)


def test_two_batches_to_a_step_equal_one_batch_of_twice_the_size(train, make_recipe, tmp_path):
    plain = {"training__optimizer": "sgd", "training__lr": 0.01}
    halves, _ = train(
        make_recipe(**plain, training__batch_size=4, training__accumulate=2), tmp_path / "a"
    )
    wholes, _ = train(make_recipe(**plain, training__batch_size=8), tmp_path / "b")

    for half, whole in zip(halves.parameters(), wholes.parameters(), strict=True):
        torch.testing.assert_close(half, whole, atol=1e-5, rtol=1e-5)


def test_clip_norm_bounds_the_step(train, make_recipe, make_classifier):
    recipe = make_recipe(
        training__optimizer="sgd",
        training__momentum=0,
        training__weight_decay=0,
        training__schedule="constant",
        training__warmup_epochs=0,
        training__epochs=1,
        training__batch_size=24,
        training__lr=0.5,
        training__clip_norm=0.01,
    )
    before = make_classifier(recipe)

    after, _ = train(recipe)

    moved = [new - old for new, old in zip(after.parameters(), before.parameters(), strict=True)]
    norm = torch.nn.utils.get_total_norm(moved)
    assert float(norm) == pytest.approx(0.5 * 0.01, rel=1e-3)


@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_a_rate_a_thousand_times_too_high_stops_within_a_few_steps(train, make_recipe, clip_norm):
    recipe = make_recipe(
        **WILD, training__clip_norm=clip_norm, training__batch_size=1, training__epochs=1
    )

    with pytest.raises(DivergedError) as caught:
        train(recipe)

    assert caught.value.exit_code == 6
    assert re.match(r"epoch 1, step (1|11): the loss is no longer a finite number: ", str(caught.value))
