"""Low-rank adapters beside the weights of convolutions and dense layers (LoRA).

Source: Hu et al. 2021, 'LoRA: Low-Rank Adaptation of Large Language Models', arXiv:2106.09685. A
convolution's filters (O, I, h, w) are taken as a matrix (O, I h w), so one convolution is computed, not two.
"""

import math
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils import parametrize

from resnetlab.errors import CheckpointError, RecipeError, one_line
from resnetlab.models.classifier import Classifier
from resnetlab.system.files import whole


class Adapter(nn.Module):
    """What is added to a weight of O rows: `up` (O, R) times `down` (R, I), `scale` times.

    `up` begins with zeros, so that the network begins as it was.
    """

    def __init__(self, weight: Tensor, rank: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.down = nn.Parameter(weight.new_empty(rank, weight[0].numel()))
        self.up = nn.Parameter(weight.new_zeros(len(weight), rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight with the product added."""
        return weight + (self.up @ self.down).view_as(weight) * self.scale


def add_adapters(
    classifier: Classifier, rank: int, alpha: float, targets: Sequence[str] = ("*",)
) -> None:
    """Let each layer of the backbone that `targets` name learn by an adapter; its own weights stay.

    Those are convolutions that aren't grouped, and dense layers. All else in the backbone learns
    nothing. Raises RecipeError where no layer is named so.
    """
    backbone = classifier.backbone
    for parameter in backbone.parameters():
        parameter.requires_grad_(False)
    layers = {name: layer for name, layer in backbone.named_modules() if takes_adapter(layer)}
    chosen = [name for name in layers if any(fnmatch(name, target) for target in targets)]
    if not chosen:
        names = ", ".join([*layers][:5])
        raise RecipeError(
            f"model.lora.targets must name convolutions or dense layers, such as {names}. "
            f"Got {', '.join(targets)} instead"
        )
    for name in chosen:
        layer = layers[name]
        assert isinstance(layer.weight, Tensor)
        parametrize.register_parametrization(
            layer, "weight", Adapter(layer.weight, rank, alpha / rank)
        )


def takes_adapter(layer: nn.Module) -> bool:
    """Return whether a layer is one whose weight a thin product can be added to."""
    return isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.groups == 1)


def has_adapters(classifier: Classifier) -> bool:
    """Return whether a classifier learns by adapters."""
    return any(isinstance(module, Adapter) for module in classifier.modules())


def merged_state(classifier: Classifier) -> dict[str, Tensor]:
    """Return the state dict of the same network without adapters: they are part of its weights."""
    state = {}
    for name, tensor in classifier.state_dict().items():
        layer, adapted, rest = name.partition(".parametrizations.weight.")
        if not adapted:
            state[name] = tensor
        elif rest == "original":
            weight = classifier.get_submodule(layer).weight  # with the product added
            assert isinstance(weight, Tensor)
            state[f"{layer}.weight"] = weight
    return state


def adapters_of(classifier: Classifier) -> dict[str, Tensor]:
    """Return the adapters' tensors, by layer and side: 'layer1.0.conv1.up'."""
    return {
        f"{name.removeprefix('backbone.').removesuffix('.parametrizations.weight.0')}.{side}": tensor
        for name, module in classifier.named_modules()
        if isinstance(module, Adapter)
        for side, tensor in (("down", module.down), ("up", module.up))
    }


def save_adapters(path: Path, classifier: Classifier) -> None:
    """Write the adapters and the head, all that was learned, into a safetensors file."""
    tensors = adapters_of(classifier) | {
        f"head.{name}": tensor for name, tensor in classifier.head.state_dict().items()
    }
    with whole(path) as temporary:
        save_file(
            {name: tensor.detach().contiguous() for name, tensor in tensors.items()}, temporary
        )


def load_adapters(path: Path, classifier: Classifier) -> None:
    """Set a classifier's adapters to those of a file; its head too where it has as many classes.

    Raises CheckpointError where the file can't be read or is of another network, rank or targets.
    """
    try:
        found = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: can't be read ({one_line(error)})") from error
    wanted = adapters_of(classifier)
    for name, tensor in wanted.items():
        if name not in found or found[name].shape != tensor.shape:
            held = tuple(found[name].shape) if name in found else "nothing"
            raise CheckpointError(
                f"{path}: does not fit model.name and model.lora: {name} must be {tuple(tensor.shape)}, "
                f"it holds {held}"
            )
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(found[name])
        head = classifier.head.state_dict()
        if all(
            found.get(f"head.{name}", tensor[:0]).shape == tensor.shape
            for name, tensor in head.items()
        ):
            classifier.head.load_state_dict({name: found[f"head.{name}"] for name in head})
