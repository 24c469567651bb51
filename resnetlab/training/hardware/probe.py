"""The machine is measured, not guessed: what it does fastest, tried on a block of ResNet for a second."""

import copy
import statistics
import time
from typing import Literal

import torch
from torch import Tensor, nn

from resnetlab.training.hardware.depthwise import fast_depthwise

NETWORK_BATCH, NETWORK_PX = 8, 128  # on which a network is tried
TRIES = 7  # the middle one counts: a moment's disturbance decides nothing
CLEARLY = 1.25  # how much faster something must be to displace what is customary


def fastest_precision(network: nn.Module | None = None) -> Literal["fp32", "bf16"]:
    """Return bf16 where the processor gains by it; where it only emulates bf16, that loses.

    Tried on one thread, which other programs disturb least; on a copy of the `network` if given.
    """
    if step_seconds("fp32", 1) <= CLEARLY * step_seconds("bf16", 1):
        return "fp32"
    if network is None:
        return "bf16"
    network = copy.deepcopy(network).train()
    images = torch.zeros(NETWORK_BATCH, 3, NETWORK_PX, NETWORK_PX, dtype=torch.uint8)
    fp32, bf16 = (step_seconds(each, 1, network, images) for each in ("fp32", "bf16"))
    return "bf16" if fp32 > CLEARLY * bf16 else "fp32"


def fastest_threads(precision: Literal["fp32", "bf16"]) -> int:
    """Return how many threads to compute with: all, half, or one.

    Threads wait for each other at every layer. Where other programs keep a core busy, fewer are
    much faster. `OMP_NUM_THREADS` sets the most.
    """
    most = torch.get_num_threads()
    seconds = step_seconds(precision, most)
    best = most
    for threads in sorted({max(1, most // 2), 1} - {most}, reverse=True):
        fewer = step_seconds(precision, threads)
        if fewer * CLEARLY < seconds:
            best, seconds = threads, fewer
    return best


def step_seconds(
    precision: str, threads: int, network: nn.Module | None = None, images: Tensor | None = None
) -> float:
    """Return the seconds of a forward and backward pass, the middle of some tries.

    Through a block of a ResNet, or a `network` that is shown `images`.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        block = a_block() if network is None else network
        if images is None:
            images = torch.ones(16, 64, 28, 28)
        images = images.contiguous(memory_format=torch.channels_last)
        seconds = []
        for _ in range(TRIES + 1):
            started = time.perf_counter()
            autocast = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")
            with autocast, fast_depthwise(block, precision, "cpu"):
                out = block(images)
            out.sum().backward()
            seconds.append(time.perf_counter() - started)
        return statistics.median(seconds[1:])  # the first one makes the kernels
    finally:
        torch.set_num_threads(before)


def a_block() -> nn.Module:
    """Make two 3x3 convolutions with norms: what a ResNet spends its time on."""
    with torch.random.fork_rng(devices=[]):  # the run's own numbers stay as they are
        layers = [
            layer
            for _ in range(2)
            for layer in (nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU())
        ]
        block: nn.Module = nn.Sequential(*layers).to(memory_format=torch.channels_last)
    return block
