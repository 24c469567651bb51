"""Depthwise convolutions in bf16: the same answers as autocast gives, gradients as exact as fp32's."""

import pytest
import torch
from torch import Tensor, nn

from resnetlab.training.hardware.depthwise import Depthwise, fast_depthwise, is_depthwise


def gradients(layer: nn.Conv2d, images: Tensor, precision: str) -> tuple[Tensor, Tensor, Tensor]:
    layer.zero_grad()
    images = images.clone().requires_grad_()
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")
    with autocast, fast_depthwise(layer, precision, "cpu"):
        out = layer(images)
    out.float().square().sum().backward()
    assert layer.weight.grad is not None
    assert images.grad is not None
    return out.detach(), layer.weight.grad, images.grad


@pytest.mark.parametrize(("size", "stride", "bias"), [(3, 1, False), (5, 2, False), (7, 1, True)])
def test_its_gradients_are_those_of_fp32_but_for_rounding(
    size: int, stride: int, bias: bool
) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(8, 8, size, stride, padding=size // 2, groups=8, bias=bias)
    images = torch.randn(2, 8, 12, 12)
    exact, rounded = (gradients(layer, images, each) for each in ("fp32", "bf16"))
    assert rounded[0].dtype == torch.bfloat16
    for one, other in zip(exact, rounded, strict=True):
        torch.testing.assert_close(
            other.float(), one, rtol=0.05, atol=0.05 * float(one.abs().max())
        )


def test_forward_it_is_what_autocast_gives_to_the_bit() -> None:
    torch.manual_seed(0)
    layer, images = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), torch.randn(2, 8, 12, 12)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(gradients(layer, images, "bf16")[0], layer(images))


def test_only_depthwise_convolutions_in_bf16_on_a_processor_are_touched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    depthwise = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, groups=8))
    others = nn.Sequential(nn.Conv2d(4, 8, 3), nn.Conv2d(8, 8, 3, groups=2))
    assert is_depthwise(depthwise)
    assert not is_depthwise(others)
    asked: list[int] = []
    apply = Depthwise.apply
    monkeypatch.setattr(Depthwise, "apply", lambda *args: asked.append(1) or apply(*args))
    for network, precision, device in (
        (depthwise, "fp32", "cpu"),
        (depthwise, "bf16", "cuda"),
        (others, "bf16", "cpu"),
        (depthwise, "bf16", "cpu"),
    ):
        with fast_depthwise(network, precision, device):
            network(torch.randn(1, 4 if network is others else 3, 9, 9))
    assert asked == [1], "once, in the last of the four"
