"""What each stage of a network does to an image: shapes, parameters, multiply-adds."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from resnetlab.models.classifier import Backbone, Classifier
from resnetlab.models.networks.resnet import ResNet


@dataclass(frozen=True)
class Stage:
    """One row of the table; shapes are those of one image, without the batch.

    `learns` says whether any of its parameters does.
    """

    name: str
    kind: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    parameters: int
    macs: int
    learns: bool


def stage_table(model: Backbone | Classifier, image_size: int) -> list[Stage]:
    """List the stages in the order they run, and last their total.

    A stage is a child of the backbone, or the head; one that does not run gives no row. The
    multiply-adds are those of convolutions and dense layers. Runs one black image of
    `image_size` px on the model's own device; the model is left as it was.
    """
    rows: list[Stage] = []
    pending: list[int] = []  # multiply-adds of the layers that ran since the last row

    def count(layer: nn.Module, _: Any, output: Tensor) -> None:
        pending.append(_macs(layer, output))

    def record(name: str) -> Callable[[nn.Module, tuple[Tensor], Tensor], None]:
        def hook(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
            shapes = _shape(inputs[0]), _shape(output)
            costs = _parameters(module), sum(pending)
            rows.append(Stage(name, _kind(module), *shapes, *costs, _learns(module)))
            pending.clear()

        return hook

    image = _black_image(model, image_size)
    with ExitStack() as hooks, _evaluating(model), torch.no_grad():
        # Layers first: a stage that is itself one layer must be counted before it is recorded.
        for layer in model.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                hooks.enter_context(layer.register_forward_hook(count))
        for name, stage in _stages(model):
            hooks.enter_context(stage.register_forward_hook(record(name)))
        output = model(image)
    total_macs = sum(row.macs for row in rows)
    shapes = _shape(image), _shape(output)
    costs = _parameters(model), total_macs
    return [*rows, Stage("total", "", *shapes, *costs, _learns(model))]


def _stages(model: Backbone | Classifier) -> Iterator[tuple[str, nn.Module]]:
    backbone = model.backbone if isinstance(model, Classifier) else model
    for name, child in backbone.stages().items():
        if not isinstance(child, nn.Identity):  # the place of something left out
            yield name, child
    if isinstance(backbone, ResNet) and isinstance(backbone.fc, nn.Linear):
        yield "fc", backbone.fc
    if isinstance(model, Classifier):
        if len(model.hidden):
            yield "hidden", model.hidden
        yield "head", model.head


def _macs(layer: nn.Module, output: Tensor) -> int:
    """Multiply-adds of a convolution or dense layer: outputs times the inputs each one sums."""
    if isinstance(layer, nn.Conv2d):
        return output.numel() * prod(layer.kernel_size) * layer.in_channels // layer.groups
    assert isinstance(layer, nn.Linear)
    return output.numel() * layer.in_features


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _learns(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())


def _shape(batch: Any) -> tuple[int, ...]:
    """Return the shape without the batch; of several tensors, as some networks pass on, the first's."""
    if isinstance(batch, Sequence):
        return _shape(batch[0]) if batch else ()
    return tuple(batch.shape[1:]) if isinstance(batch, Tensor) else ()


def _kind(module: nn.Module) -> str:
    """Say what a stage is: 'conv 7x7/2', 'max pool 3x3/2', '3 x Bottleneck', 'BatchNorm2d'."""
    if isinstance(module, nn.Conv2d):
        return f"conv {_window(module.kernel_size, module.stride)}"
    if isinstance(module, nn.MaxPool2d):
        return f"max pool {_window(module.kernel_size, module.stride)}"
    if isinstance(module, nn.Sequential) and len(module) > 1:
        kinds = [_kind(child) for child in module]
        return f"{len(kinds)} x {kinds[0]}" if len(set(kinds)) == 1 else " + ".join(kinds)
    return type(module).__name__


def _window(kernel: int | tuple[int, ...], stride: int | tuple[int, ...]) -> str:
    high, wide = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    step = stride[0] if isinstance(stride, tuple) else stride
    return f"{high}x{wide}" + (f"/{step}" if step > 1 else "")


def _black_image(model: Backbone | Classifier, image_size: int) -> Tensor:
    weight = next(model.parameters())
    dtype = torch.uint8 if isinstance(model, Classifier) else weight.dtype
    return torch.zeros(1, 3, image_size, image_size, dtype=dtype, device=weight.device)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Switch to evaluation, and back module by module: some may have been frozen before."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
