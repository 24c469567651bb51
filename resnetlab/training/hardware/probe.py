"""The machine is measured, not guessed: what it does fastest, tried on a block of ResNet for a second."""

import copy
import platform
import statistics
import time
from collections.abc import Sequence
from functools import cache
from typing import Literal

import torch
from torch import Tensor, nn

from resnetlab.training.hardware.depthwise import fast_depthwise

NETWORK_BATCH, NETWORK_PX = 8, 128  # on which a network is tried
TRIES = 7  # the middle one counts: a moment's disturbance decides nothing
CLEARLY = 1.25  # how much faster fewer threads must be than all of them
GAINS = 1.1  # how much faster bf16 must be than fp32
ON_ONE_THREAD = (("fp32", 1), ("bf16", 1))  # which other programs disturb least


def fastest_precision(network: nn.Module | None = None) -> Literal["fp32", "bf16"]:
    """Return bf16 where the processor gains by it, on a copy of the `network` too if one is given."""
    if not gains_by_bf16():
        return "fp32"
    if network is None:
        return "bf16"
    network = copy.deepcopy(network).to(memory_format=torch.channels_last).train()
    images = torch.zeros(NETWORK_BATCH, 3, NETWORK_PX, NETWORK_PX, dtype=torch.uint8)
    fp32, bf16 = step_seconds(ON_ONE_THREAD, network, images)
    return "bf16" if fp32 > GAINS * bf16 else "fp32"


@cache
def gains_by_bf16() -> bool:
    """Return whether the processor is clearly faster in bf16; tried once a process.

    One without instructions for it only emulates it, and the try alone would take half a minute.
    """
    if not has_bf16():
        return False
    fp32, bf16 = step_seconds(ON_ONE_THREAD)
    return fp32 > GAINS * bf16


def has_bf16() -> bool:
    """Return whether the processor may have instructions for bf16; only x86 tells."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def fastest_threads(precision: Literal["fp32", "bf16"]) -> int:
    """Return how many threads to compute with: all, half, or one.

    Threads wait for each other at every layer. Where other programs keep a core busy, fewer are
    much faster. `OMP_NUM_THREADS` sets the most.
    """
    most = torch.get_num_threads()
    fewer = sorted({max(1, most // 2), 1} - {most}, reverse=True)
    best, *others = step_seconds([(precision, threads) for threads in (most, *fewer)])
    chosen = most
    for threads, seconds in zip(fewer, others, strict=True):
        if seconds * CLEARLY < best:
            chosen, best = threads, seconds
    return chosen


def step_seconds(
    settings: Sequence[tuple[str, int]],
    network: nn.Module | None = None,
    images: Tensor | None = None,
) -> list[float]:
    """Return the seconds of a forward and backward pass by each (precision, threads).

    Through a block of a ResNet, or a `network` that is shown `images`. They take turns, so that what
    else happens on the machine hits all alike; the middle of some tries counts.
    """
    before = torch.get_num_threads()
    block = a_block() if network is None else network
    if images is None:
        images = torch.ones(16, 64, 28, 28)
    images = images.contiguous(memory_format=torch.channels_last)
    seconds: list[list[float]] = []
    try:
        for _ in range(TRIES + 1):
            seconds.append([])
            for precision, threads in settings:
                torch.set_num_threads(threads)
                started = time.perf_counter()
                autocast = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")
                with autocast, fast_depthwise(block, precision, "cpu"):
                    out = block(images)
                out.sum().backward()
                seconds[-1].append(time.perf_counter() - started)
    finally:
        torch.set_num_threads(before)
    # The first one makes the kernels.
    return [statistics.median(tries) for tries in zip(*seconds[1:], strict=True)]


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
