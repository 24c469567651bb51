"""Weights from elsewhere: all of them or none, and never a line of foreign code."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from resnetlab.errors import CheckpointError
from resnetlab.models.classifier import IMAGENET_MEAN, IMAGENET_STD, Backbone, Classifier
from resnetlab.models.networks.resnet import SMALL_STEM_UP_TO_PX, ResNet
from resnetlab.models.networks.timm_network import TimmNetwork
from resnetlab.models.published import PACKAGED_FILE, find_weights

State = dict[str, Tensor]
Moments = tuple[Sequence[float], Sequence[float]]

WRAPPERS = ("state_dict", "model")  # what training scripts commonly file the weights under
# Blocks of the third stage, and whether they are bottlenecks.
RESNETS = {
    (2, False): "resnet18",
    (6, False): "resnet34",
    (6, True): "resnet50",
    (23, True): "resnet101",
    (36, True): "resnet152",
}
NOT_BACKBONE = ("mean", "std", "head.weight", "head.bias")  # the rest of our own Classifier
NEEDS_BIG_STEM = (
    "Published weights need the 'imagenet' stem: set model.stem=imagenet, "
    f"or data.image_size above {SMALL_STEM_UP_TO_PX}."
)


def load_weights(classifier: Classifier, source: str, name: str) -> Moments:
    """Fill the backbone of the network `name` with weights; head, mean and std stay as they are.

    `source` is what `find_weights` takes; its file (.safetensors, .pth, .pt) holds the state dict of
    the network as torchvision or timm has it, or of our Classifier. A head in it is left out by
    name. Anything else must fit. Returns mean and deviation of the images that they were trained on.

    Raises:
        CheckpointError: the file is damaged, holds more than weights, or does not fit.
        MachineError: the published weights can't be downloaded.
        RecipeError: there are no published weights for this network.

    """
    if source == "imagenet" and _has_small_stem(classifier):
        raise CheckpointError(f"ImageNet weights do not fit {name}. {NEEDS_BIG_STEM}")
    path = find_weights(source, name)
    state = read_state(path)
    moments = published_moments(classifier, state)
    if path.name == Path(PACKAGED_FILE).name:
        state = in_order(state, classifier.backbone)
    else:
        state = _backbone_part(state, classifier.backbone)
    _check_fit(classifier, state, path, name)
    classifier.backbone.load_state_dict(state)
    return moments


def published_moments(classifier: Classifier, state: State) -> Moments:
    """Return mean and deviation with which weights were trained: those in our own files, or timm's."""
    if "mean" in state and "std" in state and len(state["mean"]) == len(state["std"]) == 3:
        return state["mean"].tolist(), state["std"].tolist()
    backbone = classifier.backbone
    if isinstance(backbone, TimmNetwork):
        return backbone.config["mean"], backbone.config["std"]
    return IMAGENET_MEAN, IMAGENET_STD


def described(state: State) -> str:
    """Return what weights tell of their network, such as 'resnet18 with 3 classes'."""
    backbone = _backbone_part(state, Backbone())
    blocks = {key.split(".")[1] for key in backbone if key.startswith("layer3.")}
    kind = len(blocks), "layer3.0.conv3.weight" in backbone
    name = RESNETS.get(kind, f"a network of {len(backbone)} tensors")
    head = state.get("head.weight", state.get("fc.weight"))
    return name if head is None or not head.ndim else f"{name} with {len(head)} classes"


def read_state(path: Path) -> State:
    """Read a file of tensors, unwrapped; whatever else it holds is refused and never executed."""
    if not path.is_file():
        raise CheckpointError(
            f"{path} is no file. model.weights must be 'none', 'imagenet' or a file of weights."
        )
    suffix = path.suffix.lower()
    if suffix not in (".safetensors", ".pth", ".pt"):
        raise CheckpointError(
            f"{path} was not executed: weights are read from .safetensors, .pth or .pt only."
        )
    try:
        loaded = load_file(path) if suffix == ".safetensors" else _load_pickle(path)
    except OSError as error:
        raise CheckpointError(f"{path} can't be read: {error}.") from error
    except Exception as error:  # a damaged pickle can raise nearly any exception
        raise CheckpointError(
            f"{path} can't be read: it is damaged, or holds Python objects beside the weights. "
            "They were not executed. Save the weights alone: "
            "torch.save(model.state_dict(), file)."
        ) from error
    return _unwrap(loaded, path)


def _load_pickle(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


def _unwrap(loaded: Any, path: Path) -> State:
    """Find the state dict in what a training script saved, and drop DataParallel's prefix."""
    for wrapper in WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(wrapper), Mapping):
            loaded = loaded[wrapper]
    if not isinstance(loaded, Mapping) or not loaded:
        raise CheckpointError(f"{path} holds no weights, but {type(loaded).__name__}.")
    for key, value in loaded.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise CheckpointError(
                f"{path} holds no state dict: {key!r} is {type(value).__name__}, not a tensor."
            )
    if all(key.startswith("module.") for key in loaded):
        return {key.removeprefix("module."): value for key, value in loaded.items()}
    return dict(loaded)


def in_order(state: State, backbone: Backbone) -> State:
    """Return the packaged weights under the names of timm's network: the same tensors, in order."""
    return dict(zip(backbone.state_dict(), state.values(), strict=False))


def _backbone_part(state: State, backbone: Backbone) -> State:
    if any(key.startswith("backbone.") for key in state):
        kept = {
            key: value
            for key, value in state.items()
            if key not in NOT_BACKBONE and not key.startswith("hidden.")
        }
        return {key.removeprefix("backbone."): value for key, value in kept.items()}
    return backbone.adapt(state)


def _check_fit(classifier: Classifier, state: State, path: Path, name: str) -> None:
    """Compare names and shapes first: `load_state_dict` would copy what fits and then complain."""
    expected = classifier.backbone.state_dict()
    shared = [key for key in expected if key in state]
    misfits = [key for key in shared if _differs(state[key], expected[key])]
    problems = {
        # Files from before 2018 lack the batch counter; torch fills it in, and it decides nothing.
        "missing": [key for key in expected if key not in state and "num_batches" not in key],
        "unexpected": sorted(state.keys() - expected.keys()),
        "of another shape or type": [
            f"{key} ({_size(state[key])} instead of {_size(expected[key])})" for key in misfits
        ],
    }
    found = [_some(words, keys) for words, keys in problems.items() if keys]
    if found:
        stem = "conv1.weight" in misfits and _has_small_stem(classifier)
        other = described(state)
        raise CheckpointError(
            f"{path} does not fit {name}: {'; '.join(found)}. Nothing was loaded."
            + (f" It holds {other}." if other != name else "")
            + (f" {NEEDS_BIG_STEM}" if stem else "")
        )


def _differs(found: Tensor, expected: Tensor) -> bool:
    """Tell another shape, or integers (a quantised file) where there should be real numbers."""
    same_kind = found.is_floating_point() == expected.is_floating_point()
    return found.shape != expected.shape or not same_kind


def _size(tensor: Tensor) -> str:
    shape = "x".join(str(length) for length in tensor.shape) or "scalar"
    return f"{shape} {str(tensor.dtype).removeprefix('torch.')}"


def _some(words: str, keys: list[str]) -> str:
    more = ", ..." if len(keys) > 3 else ""
    return f"{len(keys)} {words}: {', '.join(keys[:3])}{more}"


def _has_small_stem(classifier: Classifier) -> bool:
    return isinstance(classifier.backbone, ResNet) and classifier.backbone.stem == "small"
