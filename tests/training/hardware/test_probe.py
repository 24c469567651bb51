"""What is fastest here is decided by clearly better times, and leaves no trace."""

import pytest
import torch

from resnetlab.training.hardware import probe
from resnetlab.training.hardware.probe import fastest_precision, fastest_threads, step_seconds


@pytest.fixture
def pretend(monkeypatch):
    """Let (precision, threads) take these seconds; the rest take one."""

    def make(seconds: dict, threads: int = 4) -> None:
        monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
        monkeypatch.setattr(probe, "has_bf16", lambda: True)
        monkeypatch.setattr(
            probe,
            "step_seconds",
            lambda settings, *_: [seconds.get(each, 1.0) for each in settings],
        )

    probe.gains_by_bf16.cache_clear()
    yield make
    probe.gains_by_bf16.cache_clear()


@pytest.mark.parametrize(
    ("bf16", "precision"), [(0.3, "bf16"), (0.8, "bf16"), (0.95, "fp32"), (3.0, "fp32")]
)
def test_bf16_is_taken_only_where_it_is_clearly_faster(pretend, bf16, precision):
    pretend({("bf16", 1): bf16})

    assert fastest_precision() == precision


def test_without_instructions_for_bf16_it_is_not_even_tried(pretend, monkeypatch):
    pretend({("bf16", 1): 0.3})
    monkeypatch.setattr(probe, "has_bf16", lambda: False)
    assert fastest_precision() == "fp32"


def test_the_processor_is_tried_once_and_a_network_each_time(pretend, monkeypatch):
    pretend({})
    tried = []

    def step_seconds(settings, network=None, images=None):
        tried.append(network)
        return [1.0, 0.3] if network is None else [1.0, 2.0]

    monkeypatch.setattr(probe, "step_seconds", step_seconds)
    network = torch.nn.Conv2d(3, 3, 1)
    assert [fastest_precision(each) for each in (None, network, None, network)] == [
        "bf16", "fp32", "bf16", "fp32"
    ]  # fmt: skip
    assert [each is None for each in tried] == [True, False, False]


@pytest.mark.parametrize(
    ("four", "two", "one", "threads"),
    [
        (1.0, 2.0, 4.0, 4),  # a quiet machine
        (1.0, 0.9, 1.8, 4),  # not clearly faster
        (9.0, 1.0, 2.0, 2),  # one core is busy
        (9.0, 8.0, 2.0, 1),  # all are
    ],
)
def test_fewer_threads_are_taken_where_they_are_clearly_faster(pretend, four, two, one, threads):
    pretend({("fp32", 4): four, ("fp32", 2): two, ("fp32", 1): one})

    assert fastest_threads("fp32") == threads


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_trial_takes_time_and_leaves_threads_and_random_numbers_as_they_were(precision):
    threads, state = torch.get_num_threads(), torch.get_rng_state()

    assert all(seconds > 0 for seconds in step_seconds([(precision, 1), (precision, 2)]))

    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)
