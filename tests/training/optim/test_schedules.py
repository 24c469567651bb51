"""A learning rate is a pure function of time; torch's own schedulers give the same numbers."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from resnetlab.recipe import Training
from resnetlab.training.optim.schedules import (
    ONE_CYCLE_END,
    ONE_CYCLE_RISE,
    ONE_CYCLE_START,
    count_plateaus,
    lr_factor,
    one_cycle,
    size_of_epoch,
)

SCHEDULES = ["constant", "step", "linear", "cosine", "onecycle", "plateau"]


def factor(time: float, scores=(), **values) -> float:
    return lr_factor(Training(**{"epochs": 30, "warmup_epochs": 1.0} | values), time, scores)


def torch_rates(make_scheduler, steps: int) -> list[float]:
    """Return the rate of each step by one of torch's schedulers, the highest rate being 1."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make_scheduler(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("schedule", ["constant", "step", "linear", "cosine", "plateau"])
def test_the_warm_up_is_a_straight_line_from_zero(schedule):
    line = [
        factor(time, schedule=schedule, epochs=10, warmup_epochs=2) for time in (0, 0.5, 1, 1.5, 2)
    ]

    assert line == [0, 0.25, 0.5, 0.75, 1]


def test_the_warm_up_takes_half_of_a_short_run_at_most():
    assert factor(0.25, schedule="constant", epochs=1, warmup_epochs=5) == 0.5
    assert factor(0.5, schedule="constant", epochs=1, warmup_epochs=5) == 1


def test_no_warm_up_starts_at_the_top():
    assert factor(0, schedule="cosine", epochs=10, warmup_epochs=0) == 1


def test_constant_stays():
    assert {factor(time, schedule="constant", warmup_epochs=0) for time in (0, 7.5, 30)} == {1.0}


def test_cosine_is_at_the_top_after_warm_up_half_way_down_in_the_middle_and_zero_in_the_end():
    values = [factor(time, schedule="cosine", epochs=10, warmup_epochs=2) for time in (2, 6, 10)]

    assert values == pytest.approx([1, 0.5, 0])


def test_cosine_is_that_of_torch():
    def ours(step: int) -> float:  # torch asks for the start of a step
        return factor(step / 10, schedule="cosine", epochs=5, warmup_epochs=0)

    theirs = torch_rates(lambda it: torch.optim.lr_scheduler.CosineAnnealingLR(it, T_max=50), 50)

    assert [ours(step) for step in range(50)] == pytest.approx(theirs, abs=1e-9)


def test_step_falls_by_its_factor_at_whole_epochs():
    def value(time: float) -> float:
        return factor(time, schedule="step", step_epochs=10, step_factor=0.1, warmup_epochs=1)

    assert [value(time) for time in (1, 9.99, 10, 19.99, 20)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01]
    )


def test_step_is_that_of_torch():
    theirs = torch_rates(lambda it: torch.optim.lr_scheduler.StepLR(it, step_size=3), 12)

    ours = [
        factor(epoch + 0.5, schedule="step", epochs=12, step_epochs=3, warmup_epochs=0)
        for epoch in range(12)
    ]
    assert ours == pytest.approx(theirs)


def test_one_cycle_starts_low_peaks_early_and_ends_near_zero():
    assert one_cycle(0) == pytest.approx(ONE_CYCLE_START)
    assert one_cycle(ONE_CYCLE_RISE) == pytest.approx(1)
    assert one_cycle(1) == pytest.approx(ONE_CYCLE_END)


def test_one_cycle_is_that_of_torch():
    steps = 101

    def scheduler(optimizer):
        return torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=1.0,
            total_steps=steps,
            pct_start=ONE_CYCLE_RISE,
            div_factor=1 / ONE_CYCLE_START,
            final_div_factor=ONE_CYCLE_START / ONE_CYCLE_END,
            cycle_momentum=False,
        )

    peak = ONE_CYCLE_RISE * steps - 1  # torch counts its steps so that it peaks one early

    def share(step: int) -> float:
        if step <= peak:
            return ONE_CYCLE_RISE * step / peak
        return ONE_CYCLE_RISE + (1 - ONE_CYCLE_RISE) * (step - peak) / (steps - 1 - peak)

    ours = [one_cycle(share(step)) for step in range(steps - 1)]
    assert ours == pytest.approx(torch_rates(scheduler, steps - 1), abs=1e-9)


def test_one_cycle_needs_no_warm_up():
    assert factor(0, schedule="onecycle", epochs=10, warmup_epochs=5) == factor(
        0, schedule="onecycle", epochs=10, warmup_epochs=0
    )


@pytest.mark.parametrize(
    ("scores", "plateaus"),
    [
        ([], 0),
        ([1, 2, 3, 4, 5], 0),
        ([5, 4, 3], 0),
        ([5, 5, 5, 5], 1),  # as good is not better
        ([5, 4, 4, 4, 4, 4, 4], 2),
        ([5, 4, 4, 6, 4, 4, 4], 1),  # a new best starts the count anew
        ([-3, -2, -1], 0),
    ],
)
def test_a_plateau_is_a_row_of_epochs_without_a_new_best(scores, plateaus):
    assert count_plateaus(scores, 3) == plateaus


def test_plateau_falls_by_its_factor_at_each_plateau():
    settings = {"schedule": "plateau", "plateau_epochs": 2, "step_factor": 0.5}

    values = [factor(8.5, [5] * epochs, **settings) for epochs in (2, 3, 4, 5)]

    assert values == [1, 0.5, 0.5, 0.25]


@settings(deadline=None)
@given(st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4]), max_size=30), st.integers(1, 5))
def test_plateaus_are_those_of_torch(scores, length):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    # Torch's patience is the number of bad epochs it still bears.
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, mode="max", factor=0.5, patience=length - 1, threshold=0, eps=0
    )
    for score in scores:
        scheduler.step(score)

    assert 0.5 ** count_plateaus(scores, length) == optimizer.param_groups[0]["lr"]


@settings(deadline=None)
@given(
    schedule=st.sampled_from(SCHEDULES),
    epochs=st.integers(1, 500),
    warmup_epochs=st.floats(0, 600),
    step_factor=st.floats(0, 1, exclude_min=True),
    share=st.floats(0, 1),
    scores=st.lists(st.floats(-1e6, 1e6), max_size=20),
)
def test_the_factor_lies_between_0_and_1(
    schedule, epochs, warmup_epochs, step_factor, share, scores
):
    value = factor(
        share * epochs,
        scores,
        schedule=schedule,
        epochs=epochs,
        warmup_epochs=warmup_epochs,
        step_factor=step_factor,
    )

    assert 0 <= value <= 1
    assert math.isfinite(value)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_step_of_a_run_moves(schedule):
    """At the middle of a step, which is what the loop asks for, no rate is zero."""
    for step in range(40):
        assert factor((step + 0.5) / 10, schedule=schedule, epochs=4, warmup_epochs=1) > 0


def test_the_linear_schedule_falls_on_a_straight_line_to_zero():
    line = [
        factor(time, schedule="linear", epochs=10, warmup_epochs=2) for time in (2, 4, 6, 8, 10)
    ]

    assert line == [1, 0.75, 0.5, 0.25, 0]


@pytest.mark.parametrize(
    ("image_size", "values", "sizes"),
    [
        (224, {}, [224] * 6),
        (224, {"start_size": 128, "full_size_from": 0.5}, [128, 160, 192, 224, 224, 224]),
        (224, {"start_size": 128, "full_size_from": 0.0}, [224] * 6),
        (224, {"start_size": 256}, [224] * 6),
        (32, {"start_size": 24, "full_size_from": 0.67}, [24, 24, 28, 28, 32, 32]),
        (224, {"start_size": 16, "full_size_from": 1.0}, [16, 48, 80, 112, 144, 176]),
        (224, {"start_size": 48, "full_size_from": 1.0}, [48, 80, 112, 144, 176, 208]),
    ],
)
def test_images_grow_evenly_and_are_at_full_size_in_time(image_size, values, sizes):
    training = Training(epochs=6, **values)

    assert [size_of_epoch(training, image_size, epoch) for epoch in range(6)] == sizes


sides = st.integers(8, 2048)


@given(sides, sides, st.integers(1, 40), st.floats(0, 1))
def test_images_never_shrink_and_stay_between_the_first_and_the_full_size(
    image_size, start_size, epochs, full_size_from
):
    training = Training(epochs=epochs, start_size=start_size, full_size_from=full_size_from)
    sizes = [size_of_epoch(training, image_size, epoch) for epoch in range(epochs)]

    assert sizes == sorted(sizes)
    assert min(start_size, image_size) <= sizes[0] <= sizes[-1] <= image_size
    full = [size for epoch, size in enumerate(sizes) if epoch >= full_size_from * epochs]
    assert set(full) <= {image_size}
