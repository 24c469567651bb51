"""What the machine can do: device, precision, threads."""

import logging
from typing import Literal

import torch
from lightning_fabric import Fabric
from torch import nn

from resnetlab.errors import MachineError
from resnetlab.recipe import Training
from resnetlab.system import ranks
from resnetlab.system.allocator import keep_freed_memory
from resnetlab.system.progress import log
from resnetlab.training.hardware.probe import fastest_precision, fastest_threads

MOST_THREADS = torch.get_num_threads()  # before anybody changes it; `OMP_NUM_THREADS` sets it


def make_fabric(device: str, precision: str, threads: int | None = None) -> Fabric:
    """Return Lightning Fabric for one device; 'fp32' or 'bf16' (weights stay fp32).

    On a processor PyTorch computes with `threads` from then on; None leaves their number.
    """
    keep_freed_memory()
    if threads is not None:
        torch.set_num_threads(threads)
    logging.getLogger("lightning_fabric").setLevel(
        logging.WARNING
    )  # it announces what we asked for
    chosen = choose_device(device)
    return Fabric(
        accelerator=chosen,
        devices=[ranks.place().local_rank] if chosen == "cuda" else 1,  # of GPUs its own
        precision="bf16-mixed" if precision == "bf16" else "32-true",
    )


def choose_device(device: str) -> Literal["cpu", "cuda"]:
    """Return the device to use: a GPU where there is one and nothing else was said.

    Raises MachineError for a GPU that isn't there.
    """
    if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
        return "cpu"
    if not torch.cuda.is_available():
        raise MachineError(
            "training.device=cuda needs a GPU, and PyTorch sees no GPU here; use training.device=auto"
        )
    return "cuda"


def choose_precision(
    precision: str, device: str, network: nn.Module | None = None
) -> Literal["fp32", "bf16"]:
    """Return bf16 where the device gains by it; emulated it is slower than fp32.

    It is tried on a block of a ResNet, or on the `network` where that has grouped convolutions, which
    some processors compute slowly in bf16.
    """
    if precision == "auto":
        if device == "cuda":
            return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
        return fastest_precision(network if is_grouped(network) else None)
    return "bf16" if precision == "bf16" else "fp32"


def is_grouped(network: nn.Module | None) -> bool:
    """Return whether a network has convolutions in groups."""
    layers = () if network is None else network.modules()
    return any(isinstance(layer, nn.Conv2d) and layer.groups > 1 for layer in layers)


def starting_threads(training: Training) -> int:
    """Return how many threads compute a resolved training at first; they may change from epoch to epoch."""
    if training.threads != "adaptive":
        return int(training.threads)
    return choose_threads(
        "auto", training.device, "bf16" if training.precision == "bf16" else "fp32"
    )


def choose_threads(threads: int | str, device: str, precision: Literal["fp32", "bf16"]) -> int:
    """Return how many threads compute; on a GPU they matter little and stay as they are."""
    if threads != "auto":
        return int(threads)
    most = torch.get_num_threads()
    if device == "cuda" or most == 1:
        return most
    chosen = fastest_threads(precision)
    if chosen < most:
        log(f"note: other programs are at work here; {chosen} of {most} threads compute faster")
    return chosen
