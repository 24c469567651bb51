"""A training that goes wrong is told once, with what to try; one that goes well is left alone."""

import math

import numpy as np
import pytest
import torch

from resnetlab.training import watch as module
from resnetlab.training.watch import Watch, watch_training

LABELS = np.arange(400) % 4  # guessing gives ln 4
COMMAND = "see which rate suits: resnetlab tune DATA --find-lr"


@pytest.fixture
def watch(make_recipe) -> Watch:
    """Watches over steps of 40 images, ten an epoch."""
    training = make_recipe(training__batch_size=40, training__threads=1).training
    return watch_training(LABELS, training)


def learn(watch: Watch, *epochs: list[float]) -> None:
    """Show a watch epochs by the mean loss of each of their steps."""
    history = []
    for losses in epochs:
        watch.begin_epoch(history)
        total = 0.0
        for step, loss in enumerate(losses, 1):
            total += 40 * loss
            watch.after_step(step, torch.tensor([total, 0.0]))
        history.append({"train_loss": total / 40 / len(losses)})
        watch.end_epoch(history)


def falling(start: float, end: float, steps: int = 10) -> list[float]:
    return np.geomspace(start, end, steps).tolist()


def test_a_loss_that_falls_is_left_alone(watch, capsys):
    learn(watch, falling(3.0, 1.0), *[falling(1.0, 0.01)] * 20, falling(0.01, 0.2))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("loss", [1.386, 1.39, 1.8, 3.0])
def test_a_loss_no_better_than_guessing_for_long_is_told_once(watch, capsys, loss):
    learn(watch, *[[loss] * 10] * 9)
    assert capsys.readouterr().err == ""
    learn(watch, *[[loss] * 10] * 30)
    said = capsys.readouterr().err
    assert said.count("is still no better than guessing (1.39)") == 1
    assert "training.lr=0.003 is far too high or too low" in said
    assert said.endswith(f"{COMMAND}\n")


def test_guessing_is_by_the_shares_of_the_classes(make_recipe, capsys):
    labels = np.array([0] * 380 + [1] * 20)
    watch = watch_training(
        labels, make_recipe(training__batch_size=40, training__threads=1).training
    )
    expected = -(0.95 * math.log(0.95) + 0.05 * math.log(0.05))
    assert watch.chance == pytest.approx(expected)
    learn(watch, *[[0.199] * 10] * 12)  # far below ln 2, and yet nothing learned
    assert "no better than guessing (0.199)" in capsys.readouterr().err


def test_one_epoch_may_be_long_enough(watch, capsys):
    learn(watch, [1.386] * 2100)
    assert "after 2,000 steps the training loss is still" in capsys.readouterr().err


def test_a_leap_by_orders_of_magnitude_is_told_once_and_where(watch, capsys):
    learn(watch, falling(1.4, 0.3), [40.0] * 10, [0.3] * 10, [80.0] * 10)
    assert capsys.readouterr().err == (
        "note: epoch 2, step 10: the loss leapt to 40 (guessing gives 1.39, the lowest so far is 0.729). "
        f"Most likely training.lr=0.003 is too high; {COMMAND}\n"
    )


@pytest.mark.parametrize("losses", [[0.001] * 10 + [0.5] * 10, [9.0] * 10 + [2.0] * 10])
def test_what_is_still_near_guessing_is_no_leap(watch, capsys, losses):
    learn(watch, losses)
    assert capsys.readouterr().err == ""


def test_a_training_that_goes_on_within_an_epoch_looks_at_what_it_does_itself(watch, capsys):
    watch.begin_epoch([])
    total = 40 * 1.4 * 995
    for step in range(996, 1011):
        total += 40 * 1.4
        watch.after_step(step, torch.tensor([total, 0.0]))
    assert watch.lowest == pytest.approx(1.4)
    assert capsys.readouterr().err == ""


def test_adaptive_threads_are_tried_anew_where_other_programs_came_or_went(
    make_recipe, monkeypatch, capsys
):
    monkeypatch.setattr(module, "MOST_THREADS", 2)
    monkeypatch.setattr(module, "fastest_threads", lambda precision: 1)
    before = torch.get_num_threads()
    watch = watch_training(LABELS, make_recipe(training__threads="adaptive").training)
    try:
        torch.set_num_threads(2)
        watch.begin_epoch([])
        assert torch.get_num_threads() == 2  # nothing has turned
        watch.load.turned = True
        watch.begin_epoch([])
        assert torch.get_num_threads() == 1
        assert not watch.load.turned
    finally:
        torch.set_num_threads(before)
    assert "computes with 1 of 2 threads from this epoch on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("threads", "way_out"),
    [(1, "end them"), (2, "training.threads=adaptive"), ("adaptive", "from the next epoch on")],
)
def test_what_helps_against_a_busy_machine_depends_on_the_threads(make_recipe, threads, way_out):
    watch = watch_training(LABELS, make_recipe(training__threads=threads).training)
    assert way_out in watch.load.way_out
