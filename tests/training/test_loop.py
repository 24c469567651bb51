"""The loop learns, repeats itself to the bit, and goes on after a cut as if there had been none."""

import itertools
import math
import re

import pytest
import torch

from resnetlab.data.batches import View
from resnetlab.errors import CheckpointError, DivergedError, StoppedError
from resnetlab.evaluation.metrics import quick_scores
from resnetlab.system.files import read_csv
from resnetlab.training import checkpoint_manager, loop
from resnetlab.training.checkpoint import read_checkpoint
from resnetlab.training.hardware.device import make_fabric
from resnetlab.training.optim import learner
from resnetlab.training.optim.learner import Learner, make_learner
from resnetlab.training.optim.losses import Criterion
from resnetlab.training.predict import predict

CLASSES = ("high", "middle", "low")
# What could make two runs differ: variation, dropout, a moving rate, moments of the optimiser.
RESTLESS = {
    "model__dropout": 0.3,
    "data__augment": "photo",
    "training__mixup": 0.4,
    "training__ema": 0.9,
    "training__schedule": "cosine",
    "training__label_smoothing": 0.1,
}
# A thousand times the rate at which this network learns well.
WILD = {
    "model__name": "cnn",
    "training__optimizer": "sgd",
    "training__lr": 0.03 * 1000,
    "training__warmup_epochs": 0,
    "training__batch_size": 1,
    "training__epochs": 2,
}


def bits(model: torch.nn.Module) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in model.state_dict().items()}


def checkpoint_bits(folder, name: str) -> dict[str, bytes]:
    tensors, _ = read_checkpoint(folder / "checkpoints" / f"{name}.safetensors")
    return {key: tensor.numpy().tobytes() for key, tensor in tensors.items()}


@pytest.mark.parametrize("network", ["mlp", "cnn", "resnet18"])
def test_one_small_batch_is_learned_by_heart(make_recipe, make_samples, make_classifier, network):
    recipe = make_recipe(model__name=network, training__warmup_epochs=0, training__epochs=20)
    few = make_samples(6)
    fabric = make_fabric("cpu", "fp32")
    classifier = make_classifier(recipe).to(memory_format=torch.channels_last)
    pupil = make_learner(fabric, classifier, classifier, recipe.training, Criterion())

    for epoch in range(20):
        past = [{"epoch": number + 1, "val_loss": None} for number in range(epoch)]
        loop.train_epoch(pupil, few, recipe, past)

    scores = quick_scores(predict(classifier, few, loop.plain_view(recipe), CLASSES, 0, 0))
    assert scores["accuracy"] == 1.0
    assert scores["loss"] < 0.3  # guessing gives 1.1


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
    helped, helped_history = train(make_recipe(**RESTLESS, data__workers=workers), tmp_path / "b")

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

    for module, name in (
        (checkpoint_manager, "save_checkpoint"), (checkpoint_manager.os, "link"), (loop, "write_history")
    ):  # fmt: skip
        monkeypatch.setattr(module, name, ending(getattr(module, name)))


@pytest.mark.parametrize("ema", [None, 0.9])
@pytest.mark.parametrize("write", range(1, 9))
def test_a_run_cut_after_any_write_resumes_to_the_same_bits(
    train, make_recipe, tmp_path, monkeypatch, write, ema
):
    recipe = make_recipe(**RESTLESS | {"training__ema": ema}, training__monitor="loss")
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


@pytest.mark.parametrize(
    ("network", "optimizer"),
    [("cnn", "sgd"), ("cnn", "adam"), ("cnn", "adamw"), ("resnet18", "sgd")],
)
def test_convolutions_and_norms_resume_to_the_same_bits(
    train, make_recipe, make_samples, tmp_path, monkeypatch, network, optimizer
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


@pytest.mark.parametrize("val_count", [0, 3])
def test_a_rate_a_thousand_times_too_high_stops_within_a_few_steps(
    train, make_recipe, make_samples, val_count
):
    recipe = make_recipe(**WILD)

    with pytest.raises(DivergedError) as caught:
        train(recipe, val=make_samples(val_count))

    assert caught.value.exit_code == 6
    assert re.fullmatch(
        r"epoch 1, step (1|11): the loss is no longer a finite number; "
        r"lower training\.lr \(3 is a good next try\), or set training\.clip_norm=1",
        str(caught.value),
    )


def test_after_divergence_it_can_start_again_at_half_the_rate(
    train, make_recipe, tmp_path, capsys, monkeypatch
):
    diverging(monkeypatch, above=0.003)
    recipe = make_recipe(training__on_divergence="restart", training__lr=0.01, training__epochs=3)

    network, history = train(recipe, tmp_path / "wild")

    said = capsys.readouterr().err
    assert "half the learning rate (restart 2 of at most 3)" in said
    assert "restart 3" not in said
    assert max(row["lr"] for row in history) <= 0.01 / 4
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert all(parameter.isfinite().all() for parameter in network.parameters())


def test_the_third_restart_is_the_last(train, make_recipe, capsys, monkeypatch):
    diverging(monkeypatch, above=0.0)
    recipe = make_recipe(training__on_divergence="restart", training__lr=0.008)

    with pytest.raises(DivergedError, match=r"lower training\.lr \(0\.0001 is a good next try\)"):
        train(recipe)

    assert capsys.readouterr().err.count("at half the learning rate") == 3


def test_a_run_that_started_again_and_is_cut_comes_to_the_same_bits(
    train, make_recipe, tmp_path, monkeypatch, stop_after
):
    diverging(monkeypatch, above=0.003)
    recipe = make_recipe(training__on_divergence="restart", training__lr=0.01, **RESTLESS)
    uncut, history = train(recipe, tmp_path / "uncut")
    stop_after(5)
    with pytest.raises(StoppedError):
        train(recipe, tmp_path / "cut")
    stop_after(None)

    resumed, again = train(recipe, tmp_path / "cut")

    assert again == history
    assert bits(resumed) == bits(uncut)


def diverging(monkeypatch, above: float) -> None:
    """Let every step at a higher rate end in weights and losses that are no numbers."""
    step = Learner.step

    def wild(pupil, *rest):
        sums = step(pupil, *rest)
        if pupil.optimizer.param_groups[0]["lr"] > above:
            with torch.no_grad():
                next(pupil.model.parameters()).fill_(float("nan"))
            return sums * float("nan")
        return sums

    monkeypatch.setattr(Learner, "step", wild)


def test_clipping_does_not_hide_divergence(train, make_recipe):
    recipe = make_recipe(**WILD, training__clip_norm=1.0).override({"training.lr": 1e30})

    with pytest.raises(DivergedError):
        train(recipe)


@pytest.mark.parametrize("val_count", [0, 3])
def test_after_divergence_the_last_finite_weights_are_on_disk(
    train, make_recipe, make_samples, tmp_path, val_count
):
    val = make_samples(val_count)
    train(make_recipe(**WILD | {"training__epochs": 1, "training__lr": 0.01}), tmp_path, val=val)
    before = {name: checkpoint_bits(tmp_path, name) for name in ("last", "best")}

    with pytest.raises(DivergedError):
        train(make_recipe(**WILD), tmp_path, val=val)

    assert {name: checkpoint_bits(tmp_path, name) for name in ("last", "best")} == before
    tensors, _ = read_checkpoint(tmp_path / "checkpoints" / "last.safetensors")
    assert all(tensor.isfinite().all() for tensor in tensors.values())


def test_a_last_step_that_ruins_the_weights_is_never_saved(
    train, make_recipe, make_samples, tmp_path
):
    """The loss of the only step is fine; nothing but the weights can tell."""
    recipe = make_recipe(
        training__optimizer="sgd",
        training__schedule="constant",
        training__warmup_epochs=0,
        training__epochs=1,
        training__batch_size=24,
        training__lr=3e38,
    )

    with pytest.raises(DivergedError):
        train(recipe, tmp_path, val=make_samples(0))

    assert not (tmp_path / "checkpoints").exists()


def test_without_validation_images_the_last_epoch_is_the_best(
    train, make_recipe, make_samples, tmp_path
):
    _, history = train(make_recipe(), tmp_path, val=make_samples(0))

    assert [row["val_loss"] for row in history] == [None, None, None]
    assert checkpoint_bits(tmp_path, "best") == checkpoint_bits(tmp_path, "last")
    assert [row["val_accuracy"] for row in read_csv(tmp_path / "history.csv")] == ["", "", ""]


def test_validation_changes_no_bit_of_the_training(train, make_recipe, make_samples, tmp_path):
    recipe = make_recipe(**RESTLESS, model__name="cnn")

    watched, _ = train(recipe, tmp_path / "a", val=make_samples(5, seed=9))
    alone, _ = train(recipe, tmp_path / "b", val=make_samples(0))

    assert bits(watched) == bits(alone)


def test_the_best_epoch_is_kept_beside_the_last(train, make_recipe, tmp_path, monkeypatch):
    losses = iter([0.5, 0.2, 0.9])
    scores = {"accuracy": 0.5, "balanced_accuracy": 0.5, "macro_f1": 0.5}
    monkeypatch.setattr(loop, "quick_scores", lambda _: scores | {"loss": next(losses)})

    train(make_recipe(training__monitor="loss"), tmp_path)

    epochs = {}
    for name in ("best", "last"):
        _, progress = read_checkpoint(tmp_path / "checkpoints" / f"{name}.safetensors")
        epochs[name] = len(progress["history"])
    assert epochs == {"best": 2, "last": 3}


def test_early_stopping_stops_after_so_many_epochs_without_a_better_score(
    train, make_recipe, tmp_path
):
    recipe = make_recipe(training__epochs=9, training__patience=2, training__lr=1e-12)

    _, history = train(recipe, tmp_path)
    _, again = train(recipe, tmp_path)

    assert len(history) == 1 + 2
    assert again == history


def test_the_recorded_training_loss_is_the_plain_mean_over_all_images(
    train, make_recipe, make_samples, make_classifier
):
    """Smoothing is for the gradient; batches of unequal size (23 = 8 + 8 + 7) weigh by images."""
    images = make_samples(23)
    recipe = make_recipe(training__label_smoothing=0.4, training__epochs=1, training__lr=1e-12)
    untrained = predict(make_classifier(recipe), images, loop.plain_view(recipe), CLASSES, 0, 0)

    _, history = train(recipe, train=images)

    expected = quick_scores(untrained)
    assert history[0]["train_loss"] == pytest.approx(expected["loss"], rel=1e-5)
    assert history[0]["train_accuracy"] == pytest.approx(expected["accuracy"])


def test_label_smoothing_changes_what_is_learned(train, make_recipe, tmp_path):
    plain, _ = train(make_recipe(training__epochs=1), tmp_path / "a")
    smooth, _ = train(
        make_recipe(training__epochs=1, training__label_smoothing=0.4), tmp_path / "b"
    )

    assert bits(plain) != bits(smooth)


def test_the_recorded_rate_is_that_of_the_middle_of_the_epoch(train, make_recipe):
    recipe = make_recipe(training__schedule="cosine", training__lr=0.01)

    _, history = train(recipe)

    # Warm-up of one epoch, then half a cosine over two.
    expected = [0.5, (1 + math.cos(math.pi / 4)) / 2, (1 + math.cos(3 * math.pi / 4)) / 2]
    assert [row["lr"] for row in history] == pytest.approx([0.01 * each for each in expected])


def test_a_plateau_lowers_the_rate_of_the_epochs_after_it(train, make_recipe):
    recipe = make_recipe(
        training__schedule="plateau",
        training__plateau_epochs=1,
        training__step_factor=0.5,
        training__warmup_epochs=0,
        training__lr=1e-12,  # so that nothing ever gets better
        training__epochs=4,
    )

    _, history = train(recipe)

    assert [row["lr"] for row in history] == pytest.approx(
        [1e-12, 1e-12, 0.5e-12, 0.25e-12], rel=1e-9, abs=0
    )


def test_bf16_computes_fast_and_keeps_weights_in_fp32(train, make_recipe):
    trained, history = train(make_recipe(training__precision="bf16"))

    assert {parameter.dtype for parameter in trained.parameters()} == {torch.float32}
    assert history[-1]["val_accuracy"] == 1.0


def test_every_epoch_is_told_in_one_line(train, make_recipe, make_samples, capsys):
    train(make_recipe(training__epochs=2), val=make_samples(0))

    lines = capsys.readouterr().err.splitlines()
    pattern = r"epoch   \d/2  train loss \d+\.\d{3} accuracy \d+\.\d%  [\d,]+ images/s"
    assert len(lines) == 2
    assert all(re.fullmatch(pattern, line) for line in lines)


def test_the_address_of_randomness_differs_for_every_step():
    addresses = {
        loop.address(seed, epoch, step)
        for seed in range(5)
        for epoch in range(12)
        for step in range(12)
    }

    assert len(addresses) == 5 * 12 * 12
    assert all(0 <= each < 2**63 for each in addresses)


def test_each_step_takes_the_rate_of_its_middle(train, make_recipe, monkeypatch):
    factors = []
    monkeypatch.setattr(learner, "set_lr", lambda _, factor, time: factors.append(factor))

    train(
        make_recipe(
            training__schedule="constant", training__warmup_epochs=1,
            training__batch_size=8, training__epochs=2,
        )
    )  # fmt: skip

    assert factors == pytest.approx([1 / 6, 3 / 6, 5 / 6, 1, 1, 1])


def test_every_epoch_shows_its_own_variations(make_recipe):
    recipe = make_recipe(seed=5, data__augment="photo", data__fit="stretch")

    assert loop.training_view(recipe, 3) == View(16, "stretch", recipe.data.augment, 5, 3)
    assert loop.plain_view(recipe) == View(16, "stretch", augment=None)


def test_images_may_be_small_at_first_and_larger_in_evaluation(make_recipe):
    recipe = make_recipe(
        data__image_size=32, training__epochs=4, training__start_size=16,
        training__full_size_from=0.5, evaluation__image_size=40,
    )  # fmt: skip

    assert [loop.training_view(recipe, epoch).image_size for epoch in range(4)] == [16, 24, 32, 32]
    assert loop.plain_view(recipe).image_size == 40


def test_a_network_that_comes_in_evaluation_mode_learns_in_training_mode(
    make_recipe, make_samples, make_classifier
):
    recipe = make_recipe()
    classifier = make_classifier(recipe)
    fabric = make_fabric("cpu", "fp32")
    pupil = make_learner(fabric, classifier, classifier, recipe.training, Criterion())
    pupil.model.eval()

    loop.train_epoch(pupil, make_samples(6), recipe, [])

    assert all(module.training for module in classifier.modules())


FROZEN = {
    **RESTLESS,
    "model__name": "resnet18",
    "model__freeze": "layer3",
    "training__epochs": 2,
    "training__frozen_views": 2,
    "training__mixup": 0,  # what is stored are maps of single images
}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RESNETLAB_CACHE", str(tmp_path / "cache"))


def test_training_behind_stored_maps_is_training_on_images(train, make_recipe, tmp_path, cache):
    _, stored = train(make_recipe(**FROZEN), tmp_path / "stored")
    _, shown = train(make_recipe(**FROZEN | {"training__frozen_views": 0}), tmp_path / "shown")

    for one, other in zip(stored, shown, strict=True):
        assert one == pytest.approx(other, rel=1e-3)


def test_a_run_with_frozen_stages_goes_on_from_what_learns_alone(
    train, make_recipe, tmp_path, cache
):
    recipe = make_recipe(**FROZEN)
    uncut, history = train(recipe, tmp_path / "uncut")
    saved = checkpoint_bits(tmp_path / "uncut", "last")
    cut = tmp_path / "cut"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "train_epoch", after(1, loop.train_epoch))
        with pytest.raises(KeyboardInterrupt):
            train(recipe, cut)

    resumed, again = train(recipe, cut)

    assert not any(name.startswith("model.backbone.layer3") for name in saved)
    assert any(name.startswith("model.backbone.layer4") for name in saved)
    assert again == history
    assert bits(resumed) == bits(uncut)


def after(count: int, work):
    """Let work be done `count` times, then interrupt."""
    calls = itertools.count()

    def interrupted(*arguments):
        if next(calls) == count:
            raise KeyboardInterrupt
        return work(*arguments)

    return interrupted


def test_other_weights_in_the_frozen_stages_are_refused(train, make_recipe, tmp_path, cache):
    train(make_recipe(**FROZEN), tmp_path)

    with pytest.raises(CheckpointError, match="frozen stages had other weights"):
        train(make_recipe(**FROZEN, seed=1), tmp_path)


def test_images_and_their_horizontal_flips_are_asked_on_images(
    train, make_recipe, make_samples, tmp_path, cache
):
    recipe = make_recipe(**FROZEN | {"training__ema": None}, evaluation__horizontal_flip=True)
    classifier, history = train(recipe, tmp_path)

    scores = quick_scores(
        predict(classifier, make_samples(9, seed=1), loop.plain_view(recipe), CLASSES, 0, 0)
    )
    assert history[-1]["val_loss"] == pytest.approx(scores["loss"], rel=1e-6)


STEPS = 3 * 3  # epochs of three batches


@pytest.fixture
def stop_after(monkeypatch):
    """Ask for an end after so many steps; nothing for all of them."""

    def arrange(steps: int | None) -> None:
        asked = itertools.count(1)
        monkeypatch.setattr(
            checkpoint_manager.interruption, "requested", lambda ahead: next(asked) == steps
        )

        def obey(ahead: float | None = None) -> None:
            if ahead is not None:  # the training asks, not whoever else counts
                raise StoppedError("terminated", 143)

        monkeypatch.setattr(checkpoint_manager.interruption, "raise_if_requested", obey)

    return arrange


@pytest.mark.parametrize(("network", "steps"), [("cnn", range(1, STEPS + 1)), ("resnet18", (5,))])
def test_cut_after_any_step_it_goes_on_to_the_same_bits(
    train, make_recipe, tmp_path, stop_after, network, steps
):
    recipe = make_recipe(
        **RESTLESS, model__name=network, training__accumulate=2, training__batch_size=4
    )
    uncut, history = train(recipe, tmp_path / "uncut")

    for step in steps:
        stop_after(step)
        with pytest.raises(StoppedError):
            train(recipe, tmp_path / str(step))
        stop_after(None)
        resumed, again = train(recipe, tmp_path / str(step))

        assert again == history
        assert bits(resumed) == bits(uncut)
        assert checkpoint_bits(tmp_path / str(step), "best") == checkpoint_bits(
            tmp_path / "uncut", "best"
        )


def test_cut_after_every_single_step_it_still_gets_there(train, make_recipe, tmp_path, stop_after):
    recipe = make_recipe(**RESTLESS)
    uncut, history = train(recipe, tmp_path / "uncut")

    for _ in range(STEPS):
        stop_after(1)
        with pytest.raises(StoppedError):
            train(recipe, tmp_path / "cut")
    stop_after(None)
    resumed, again = train(recipe, tmp_path / "cut")

    assert again == history
    assert bits(resumed) == bits(uncut)


@pytest.mark.parametrize(
    "state", ["optimizer", "average", "step", "sums", "history", "weights", "nothing"]
)
def test_without_any_one_of_its_states_a_checkpoint_does_not_lead_to_the_same_bits(
    train, make_recipe, tmp_path, monkeypatch, stop_after, state
):
    """Dropout, mixup, augmentation and schedule have addresses instead of states: no file holds them."""
    recipe = make_recipe(**RESTLESS, training__monitor="loss")
    train(recipe, tmp_path / "uncut")
    stop_after(5)
    with pytest.raises(StoppedError):
        train(recipe, tmp_path / "cut")
    stop_after(None)
    leave_out(monkeypatch, state)

    train(recipe, tmp_path / "cut")

    same = (
        all(
            checkpoint_bits(tmp_path / "cut", name) == checkpoint_bits(tmp_path / "uncut", name)
            for name in ("last", "best")
        )
        and (tmp_path / "cut/history.csv").read_text()
        == (tmp_path / "uncut/history.csv").read_text()
    )
    assert same == (state == "nothing")


def leave_out(monkeypatch, state: str) -> None:
    """Let a training go on from a checkpoint without one of the things that it holds."""
    load = checkpoint_manager.load_checkpoint

    def without(path, model, optimizer, average):
        if state == "weights":
            network = {name: tensor.clone() for name, tensor in model.state_dict().items()}
            progress = load(path, model, optimizer, average)
            model.load_state_dict(network)
            return progress
        progress = load(
            path,
            model,
            None if state == "optimizer" else optimizer,
            None if state == "average" else average,
        )
        return progress | {"step": {"step": 0}, "sums": {"sums": [0.0, 0.0]},
                           "history": {"history": []}}.get(state, {})  # fmt: skip

    monkeypatch.setattr(checkpoint_manager, "load_checkpoint", without)


def test_an_end_in_the_middle_of_validation_loses_no_step(
    train, make_recipe, tmp_path, monkeypatch
):
    recipe = make_recipe(**RESTLESS)
    uncut, history = train(recipe, tmp_path / "uncut")
    shown = []
    learn = Learner.step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "predict", stopped)
        with pytest.raises(StoppedError):
            train(recipe, tmp_path / "cut")
    monkeypatch.setattr(Learner, "step", lambda *rest: shown.append(rest) or learn(*rest))

    resumed, again = train(recipe, tmp_path / "cut")

    assert len(shown) == STEPS - 3  # the first epoch was saved before it was scored
    assert again == history
    assert bits(resumed) == bits(uncut)


def stopped(*_):
    raise StoppedError("terminated", 143)


def test_a_checkpoint_is_written_every_few_minutes(train, make_recipe, tmp_path, monkeypatch):
    saved = []
    save = checkpoint_manager.save_checkpoint
    monkeypatch.setattr(
        checkpoint_manager,
        "save_checkpoint",
        lambda *rest: saved.append(rest[-1]["step"]) or save(*rest),
    )

    train(make_recipe(training__checkpoint_minutes=1e-9, training__epochs=1), tmp_path)

    assert saved == [1, 2, 3, 0]  # each step, then the end of the epoch: best and last are one file
    names = (tmp_path / "checkpoints" / f"{name}.safetensors" for name in ("last", "best"))
    assert len({path.stat().st_ino for path in names}) == 1


def test_where_a_file_cannot_have_two_names_it_is_written_twice(
    train, make_recipe, tmp_path, monkeypatch
):
    def refuse(*_):
        raise OSError("links are not supported here")

    monkeypatch.setattr(checkpoint_manager.os, "link", refuse)
    train(make_recipe(training__epochs=1), tmp_path)

    assert checkpoint_bits(tmp_path, "last") == checkpoint_bits(tmp_path, "best")


@pytest.mark.parametrize("damage", ["bit", "cut", "empty", "gone"])
def test_where_the_last_checkpoint_is_damaged_the_one_before_is_taken(
    train, make_recipe, tmp_path, stop_after, capsys, damage
):
    recipe = make_recipe(**RESTLESS)
    uncut, history = train(recipe, tmp_path / "uncut")
    stop_after(5)
    with pytest.raises(StoppedError):
        train(recipe, tmp_path / "cut")
    stop_after(None)
    last = tmp_path / "cut" / "checkpoints" / "last.safetensors"
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 16
    last.write_bytes({"bit": content, "cut": content[:-900], "empty": b"", "gone": b""}[damage])
    if damage == "gone":
        last.unlink()

    resumed, again = train(recipe, tmp_path / "cut")

    assert again == history
    assert bits(resumed) == bits(uncut)
    assert ("the one before is taken" in capsys.readouterr().err) == (damage != "gone")


def test_cut_between_two_checkpoints_and_at_once_again_it_goes_on_to_the_same_bits(
    train, make_recipe, tmp_path, stop_after
):
    """Then `before` alone is there: with restarts after divergence, too, that is no new training."""
    recipe = make_recipe(**RESTLESS, training__on_divergence="restart")
    uncut, history = train(recipe, tmp_path / "uncut")
    cut = tmp_path / "cut"
    stop_after(5)
    with pytest.raises(StoppedError):
        train(recipe, cut)
    stop_after(None)
    checkpoints = cut / "checkpoints"
    (checkpoints / "last.safetensors").replace(checkpoints / "before.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "train_epoch", after(0, loop.train_epoch))
        with pytest.raises(KeyboardInterrupt):
            train(recipe, cut)

    resumed, again = train(recipe, cut)

    assert again == history
    assert bits(resumed) == bits(uncut)


def test_where_no_checkpoint_is_sound_that_is_told(train, make_recipe, tmp_path):
    train(make_recipe(training__epochs=2), tmp_path)
    for path in (tmp_path / "checkpoints").iterdir():
        path.write_bytes(path.read_bytes()[:500])

    with pytest.raises(CheckpointError, match="can't be read"):
        train(make_recipe(training__epochs=3), tmp_path)


def test_without_validation_a_plateau_is_one_of_the_training_loss(
    train, make_recipe, make_samples, capsys
):
    recipe = make_recipe(
        training__schedule="plateau",
        training__plateau_epochs=1,
        training__step_factor=0.5,
        training__warmup_epochs=0,
        training__lr=1e-12,  # so that the loss goes up and down by chance
        training__epochs=6,
    )

    _, history = train(recipe, val=make_samples(0))

    losses = [row["train_loss"] for row in history]
    worse = [loss >= min(losses[: i + 1]) for i, loss in enumerate(losses[1:])]
    assert any(worse)
    expected = [1e-12 * 0.5 ** sum(worse[: max(epoch - 1, 0)]) for epoch in range(6)]
    assert [row["lr"] for row in history] == pytest.approx(expected, rel=1e-9, abs=0)
    assert (
        "nothing validates; schedule=plateau goes by the training loss" in capsys.readouterr().err
    )


# The number of threads


@pytest.fixture
def two_threads_at_first():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_threads_that_may_change_are_recorded_and_those_that_may_not_are_no_column(
    train, make_recipe, tmp_path, two_threads_at_first
):
    train(make_recipe(training__threads="adaptive"), tmp_path / "adaptive")
    train(make_recipe(training__threads=2), tmp_path / "fixed")

    assert [row["threads"] for row in read_csv(tmp_path / "adaptive" / "history.csv")] == ["2"] * 3
    assert "threads" not in read_csv(tmp_path / "fixed" / "history.csv")[0]


def test_a_cut_epoch_goes_on_with_the_threads_it_began_with(
    train, make_recipe, tmp_path, stop_after, two_threads_at_first
):
    """They decide the bits: two threads add up a gradient in another order than one."""
    recipe = make_recipe(**RESTLESS, model__name="cnn", training__threads="adaptive")
    uncut, history = train(recipe, tmp_path / "uncut")

    stop_after(4)
    with pytest.raises(StoppedError):
        train(recipe, tmp_path / "cut")
    stop_after(None)
    torch.set_num_threads(1)  # what another process would find best when it goes on
    resumed, again = train(recipe, tmp_path / "cut")

    assert again == history
    assert bits(resumed) == bits(uncut)
