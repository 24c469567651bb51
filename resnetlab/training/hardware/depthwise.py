"""Depthwise convolutions in bf16 on a processor: their gradients, which are slow in bf16, in fp32."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Pair = list[int]


def fast_depthwise(network: nn.Module, precision: str, device: str) -> AbstractContextManager[Any]:
    """Return the context in which a network's forward pass should run, so that backward is fast.

    It may be entered again and again. It changes something only for depthwise convolutions in bf16 on
    a processor: forward they gain by bf16, backward they take four times as long as in fp32.
    """
    concerned = precision == "bf16" and device == "cpu"
    return DepthwiseMode() if concerned and is_depthwise(network) else nullcontext()


def is_depthwise(network: nn.Module) -> bool:
    """Return whether a network has convolutions with as many groups as channels."""
    return any(
        isinstance(layer, nn.Conv2d) and layer.groups > 1 and layer.groups == layer.in_channels
        for layer in network.modules()
    )


class DepthwiseMode(TorchFunctionMode):
    """Wherever a network calls `conv2d` with as many groups as channels, `Depthwise` answers."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Take the place of a function of PyTorch."""
        if func is F.conv2d and len(args) == 7 and not isinstance(args[4], str):
            images, weight, bias, *steps, groups = args
            if 1 < groups == images.shape[1] == weight.shape[0]:
                out: Tensor = Depthwise.apply(
                    images.bfloat16(), weight.bfloat16(), *map(pair, steps)
                )
                return out if bias is None else out + bias.to(out.dtype)[:, None, None]
        return func(*args, **(kwargs or {}))


def pair(value: int | Sequence[int]) -> Pair:
    """Return a number for each of height and width."""
    return [value, value] if isinstance(value, int) else list(value)


class Depthwise(torch.autograd.Function):
    """A depthwise convolution, forward in the precision given, backward in fp32."""

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor, stride: Pair, padding: Pair, dilation: Pair
    ) -> Tensor:
        """Convolve images (N, C, H, W) with weight (C, 1, k, k)."""
        ctx.save_for_backward(images, weight)
        ctx.steps = stride, padding, dilation
        return F.conv2d(images, weight, None, stride, padding, dilation, groups=images.shape[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Return the gradients of images and weight."""
        images, weight = ctx.saved_tensors
        stride, padding, dilation = ctx.steps
        of_images, of_weight, _ = torch.ops.aten.convolution_backward(
            gradients[0].float(),
            images.float(),
            weight.float(),
            None,
            stride,
            padding,
            dilation,
            False,
            [0, 0],
            images.shape[1],
            [ctx.needs_input_grad[0], ctx.needs_input_grad[1], False],
        )
        for_images = None if of_images is None else of_images.to(images.dtype)
        for_weight = None if of_weight is None else of_weight.to(weight.dtype)
        return for_images, for_weight, None, None, None
