"""Checkpoints: weights, optimiser state and progress in one safetensors file, whole or not there."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from resnetlab.errors import CheckpointError, one_line
from resnetlab.models.classifier import Classifier, learned_state
from resnetlab.models.pretrained import described
from resnetlab.system.files import unwritable, whole
from resnetlab.training.optim.average import Average

MODEL, OPTIMIZER, AVERAGE = "model.", "optimizer.", "average."
FACTS = "resnetlab"  # the file's metadata: progress and checksum


def save_checkpoint(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: Average | None,
    progress: dict[str, Any],
) -> None:
    """Write a checkpoint whole: a crash leaves the old one or the new one.

    Frozen stages are left out: they are what they were. `progress` is plain data that JSON can hold.
    """
    tensors = {MODEL + name: tensor for name, tensor in learned_state(model).items()}
    for index, values in optimizer.state_dict()["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{OPTIMIZER}{index}.{name}"] = value
    if average is not None:
        tensors |= {AVERAGE + name: tensor for name, tensor in average.state.items()}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(progress, allow_nan=False)
    # One entry: safetensors writes several in no fixed order, and equal runs should be equal files.
    facts = json.dumps({"progress": text, "sha256": digest_of(tensors, text)})
    with whole(path) as temporary:
        try:
            save_file(tensors, temporary, metadata={FACTS: facts})
        except SafetensorError as error:  # what it says of a full disk
            raise unwritable(path, one_line(error)) from error
        read_checkpoint(temporary)  # before it takes the place of one that is known to be good


def load_checkpoint(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    average: Average | None = None,
) -> dict[str, Any]:
    """Load a checkpoint into the model (optimiser, average, where given); return its progress.

    Raises CheckpointError where the file is damaged or of another network; then nothing is loaded.
    """
    tensors, progress = read_checkpoint(path)
    weights, averaged = (tensors_below(tensors, prefix) for prefix in (MODEL, AVERAGE))
    complaint = misfit(weights, learned_state(model))
    if complaint:
        raise CheckpointError(
            f"{path}: does not fit this network ({complaint}); it holds {described(weights)}, wanted "
            f"is {described(learned_state(model))}"
        )
    if average is not None and not average.state.keys() <= averaged.keys():
        raise CheckpointError(
            f"{path}: holds no averaged weights, which training.ema or swa_from asks for"
        )
    model.load_state_dict(weights, strict=False)  # all that is asked for is there
    if optimizer is not None:
        optimizer.load_state_dict(optimizer_state(tensors, optimizer))
    if average is not None:
        for name, tensor in average.state.items():
            tensor.copy_(averaged[name])
    return progress


def tensors_below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin so, by the rest of their names."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def frozen_digest(model: Classifier) -> str:
    """Return a digest of the frozen stages' weights, nothing where there are none."""
    frozen = model.frozen_names()
    state = model.state_dict()
    return digest_of({name: state[name] for name in frozen}, "") if frozen else ""


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return all tensors and the progress. Raises CheckpointError where a bit is wrong."""
    try:
        with safe_open(path, framework="pt") as file:
            facts = dict(json.loads((file.metadata() or {}).get(FACTS, "{}")))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path}: can't be read ({one_line(error)})") from error
    text = str(facts.get("progress", ""))
    if facts.get("sha256") != digest_of(tensors, text):
        raise CheckpointError(f"{path}: is damaged (its checksum differs)")
    return tensors, json.loads(text)


def misfit(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> str:
    """Return the first difference in names or shapes, nothing where there is none.

    Asked before loading: PyTorch complains only after it has loaded all that fits.
    """
    for name, tensor in wanted.items():
        if name not in found:
            return f"{name} is missing"
        if found[name].shape != tensor.shape:
            return f"{name} has shape {tuple(found[name].shape)}, not {tuple(tensor.shape)}"
    unknown = sorted(found.keys() - wanted.keys())
    return f"{unknown[0]} is unknown to it" if unknown else ""


def optimizer_state(tensors: dict[str, Tensor], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the optimiser's state dict, with the groups it has and the tensors of the checkpoint.

    A moment gets the memory layout of its parameter, which the fused optimisers take for granted.
    """
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith(OPTIMIZER):
            index, key = name.removeprefix(OPTIMIZER).split(".", 1)
            parameter = parameters[int(index)]
            if tensor.shape == parameter.shape:
                tensor = torch.empty_like(parameter, requires_grad=False).copy_(tensor)
            state.setdefault(int(index), {})[key] = tensor
    return {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}


def digest_of(tensors: dict[str, Tensor], progress: str) -> str:
    """Return a SHA-256 over the progress and the names, shapes, types and bits of the tensors."""
    digest = hashlib.sha256(progress.encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
