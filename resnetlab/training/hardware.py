"""What the machine can do, and what a run writes down about it."""

import logging
import os
import platform
import re
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric import Fabric

from resnetlab.errors import MachineError
from resnetlab.memory import keep_freed_memory
from resnetlab.progress import say
from resnetlab.training.probe import fastest_precision, fastest_threads


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
    return Fabric(
        accelerator=choose_device(device),
        devices=1,
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


def choose_precision(precision: str, device: str) -> Literal["fp32", "bf16"]:
    """Return bf16 where the device gains by it; emulated it is slower than fp32."""
    if precision == "auto":
        if device == "cuda":
            return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
        return fastest_precision()
    return "bf16" if precision == "bf16" else "fp32"


def choose_threads(threads: int | str, device: str, precision: Literal["fp32", "bf16"]) -> int:
    """Return how many threads compute; on a GPU they matter little and stay as they are."""
    if threads != "auto":
        return int(threads)
    most = torch.get_num_threads()
    if device == "cuda" or most == 1:
        return most
    chosen = fastest_threads(precision)
    if chosen < most:
        say(f"note: other programs are at work here; {chosen} of {most} threads compute faster")
    return chosen


def environment() -> dict[str, Any]:
    """Return what a result may depend on besides recipe and data."""
    return {
        "resnetlab": version("resnetlab"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": version("numpy"),
        "opencv": version("opencv-python-headless"),
        "pillow": version("pillow"),
        "platform": platform.platform(),
        "processor": processor()["name"],
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "command": " ".join(["resnetlab", *sys.argv[1:]]),
    }


@cache
def processor() -> dict[str, Any]:
    """Return the processor's name and the set of its feature flags."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    name = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    flags = re.search(r"^flags\s*: (.*)$", text, re.MULTILINE)
    return {
        "name": name[1] if name else platform.processor() or platform.machine(),
        "flags": set(flags[1].split()) if flags else set(),
    }
