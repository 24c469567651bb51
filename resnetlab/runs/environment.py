"""What a result may depend on besides recipe and data: packages, system, processor, commit."""

import os
import platform
import re
import shlex
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from resnetlab.system import ranks

PACKAGES = {
    "torchvision": "torchvision",
    "lightning": "lightning-fabric",
    "numpy": "numpy",
    "opencv": "opencv-python-headless",
    "pillow": "pillow",
    "scipy": "scipy",
    "scikit-learn": "scikit-learn",
    "pyarrow": "pyarrow",
    "safetensors": "safetensors",
}
FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")  # by which arithmetic differs


def environment() -> dict[str, Any]:
    """Return what a result may depend on besides recipe and data. Nothing in it names the user."""
    import torch  # takes seconds, and a report can be made without it

    program = Path(sys.argv[0]).stem
    program = "resnetlab" if program == "__main__" else Path(sys.argv[0]).name
    return {
        "resnetlab": version("resnetlab"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        **{name: version(package) for name, package in PACKAGES.items()},
        "os": operating_system(),
        "platform": platform.platform(),
        "processor": processor()["name"],
        "features": [name for name in FEATURES if name in processor()["flags"]],
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        **({"processes": count} if (count := ranks.place().count) > 1 else {}),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "gpu_driver": gpu_driver(),
        "cuda": torch.version.cuda,
        "git": git_state(Path(__file__).parent, Path(__file__).name),
        "git_here": git_state(Path.cwd()),
        "command": shlex.join([program, *sys.argv[1:]]),
    }


def operating_system() -> str:
    """Return the name of the system, such as 'Debian GNU/Linux 12 (bookworm)'."""
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def gpu_driver() -> str | None:
    """Return the version of NVIDIA's driver, None where there is none."""
    try:
        text = Path("/proc/driver/nvidia/version").read_text()
    except OSError:
        return None
    found = re.search(r"\d+\.\d+(\.\d+)?", text)
    return found and found[0]


def git_state(folder: Path, tracked: str = ".") -> dict[str, Any] | None:
    """Return the commit checked out in a folder, and whether tracked files were changed since.

    None where git knows nothing of `tracked` in the folder: an installed package may lie within
    somebody's checkout without belonging to it.
    """
    # A repository may name programs to run on status; none is.
    command = ["git", "-C", str(folder), "-c", "core.fsmonitor=false"]

    def ask(*words: str) -> str:
        result = subprocess.run(
            [*command, *words], capture_output=True, text=True, check=True, timeout=10
        )
        return result.stdout.strip()

    try:
        ask("ls-files", "--error-unmatch", tracked)
        commit = ask("rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(ask("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None


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
