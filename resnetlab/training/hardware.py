"""What the machine can do, and what a run writes down about it."""

import ctypes
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

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h of glibc


def make_fabric(device: str, precision: str) -> Fabric:
    """Return Lightning Fabric for one device; 'fp32' or 'bf16' (weights stay fp32)."""
    keep_freed_memory()
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
    """Return bf16 where the processor multiplies it in hardware; emulated it is slower than fp32."""
    if precision == "auto":
        if device == "cuda":
            return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
        return "bf16" if processor()["flags"] & {"amx_bf16", "avx512_bf16"} else "fp32"
    return "bf16" if precision == "bf16" else "fp32"


def keep_freed_memory() -> None:
    """Tell glibc to keep memory for the next batch rather than give it back to the system.

    Every step otherwise asks for the same pages again, and the kernel clears them each time.
    Elsewhere than on glibc nothing is done.
    """
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    except (OSError, AttributeError):
        pass


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
