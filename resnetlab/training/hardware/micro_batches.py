"""Whether a batch fits into memory, asked before it is tried."""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

MARGIN = 1.5  # gradients on the way back, and what the allocator leaves unused
SHARE = 0.9  # of the free memory that may be taken


def micro_batches_for(model: Any, images: Tensor, batch_size: int) -> int:
    """Return into how many micro-batches, a power of two, a batch must be divided so that memory holds it.

    `images`, a few of the batch's own size and type, are shown to the network to see what each
    keeps until the way back. Nothing in the network changes.
    """
    each = MARGIN * kept_bytes(model, images) / len(images)
    free = SHARE * free_bytes(images.device)
    fitting = max(1, int(free / each))
    return 1 << max(0, math.ceil(math.log2(batch_size / fitting)))


def kept_bytes(model: Any, images: Tensor) -> int:
    """Return the bytes that a forward pass keeps for the way back, the weights apart."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    was_training = model.training
    model.eval()  # the norms' statistics stay as they are; it keeps as much
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        result = model(images)  # held, for freed memory would be counted once for two tensors
    model.train(was_training)
    del result
    return sum(size for address, size in kept.items() if address not in weights)


def free_bytes(device: torch.device) -> float:
    """Return the bytes that a device has left; infinite where nobody can tell."""
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return float(torch.cuda.mem_get_info(device)[0] + unused)
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:
        return math.inf
    available = next(line for line in text.splitlines() if line.startswith("MemAvailable"))
    return min(1024.0 * int(available.split()[1]), left_to_group())


def left_to_group() -> float:
    """Return what the process's control group (a container) leaves it; infinite without a limit."""
    group = Path("/sys/fs/cgroup")
    try:
        most, used = ((group / f"memory.{name}").read_text().strip() for name in ("max", "current"))
    except OSError:
        return math.inf
    return math.inf if most == "max" else float(int(most) - int(used))


def out_of_memory(error: RuntimeError) -> bool:
    """Return whether a device had no memory left; on a processor PyTorch has no type for it."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
