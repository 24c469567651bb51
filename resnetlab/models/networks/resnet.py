"""ResNet 18 to 152, with torchvision's parameter names, so that its weights load as they are.

Source: He et al. 2015, 'Deep Residual Learning for Image Recognition', arXiv:1512.03385.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from resnetlab.errors import RecipeError
from resnetlab.models.classifier import Backbone, run
from resnetlab.models.networks.norm import BatchNorm2d

Stem = Literal["imagenet", "small"]
SMALL_STEM_UP_TO_PX = 64


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut: the block of ResNet-18 and 34."""

    expansion: ClassVar[int] = 1
    drop_path = 0.0  # chance that training skips it

    def __init__(self, channels_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv(channels_in, width, 3, stride)
        self.bn1 = BatchNorm2d(width)
        self.conv2 = _conv(width, width, 3)
        self.bn2 = _silent_norm(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(channels_in, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels_in, H, W) -> (N, width, H / stride, W / stride)."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = drop_path(self.bn2(self.conv2(out)), self.drop_path, self.training)
        out += self.downsample(x)
        total: Tensor = self.relu(out)
        return total


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions beside a shortcut: the block of ResNet-50, 101 and 152.

    The stride sits on the 3x3, not on the first 1x1 as in the paper ('V1.5'), as in torchvision:
    no position is skipped, which gains about half a percent on ImageNet.
    """

    expansion: ClassVar[int] = 4
    drop_path = 0.0  # chance that training skips it

    def __init__(self, channels_in: int, width: int, stride: int) -> None:
        super().__init__()
        channels_out = width * self.expansion
        self.conv1 = _conv(channels_in, width, 1)
        self.bn1 = BatchNorm2d(width)
        self.conv2 = _conv(width, width, 3, stride)
        self.bn2 = BatchNorm2d(width)
        self.conv3 = _conv(width, channels_out, 1)
        self.bn3 = _silent_norm(channels_out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(channels_in, channels_out, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels_in, H, W) -> (N, 4 width, H / stride, W / stride)."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = drop_path(self.bn3(self.conv3(out)), self.drop_path, self.training)
        out += self.downsample(x)
        total: Tensor = self.relu(out)
        return total


Block = type[BasicBlock] | type[Bottleneck]


class ResNet(Backbone):
    """A stem, four stages of residual blocks and a global average pool.

    `depths` is the number of blocks of each stage. The 'imagenet' stem (7x7/2, max pool) shrinks
    an image to a quarter at once; the 'small' stem (3x3/1, no pool) keeps its size, as He et al.
    did for CIFAR-10. Without `num_classes` there is no `fc` and the network gives features.
    """

    def __init__(
        self, block: Block, depths: Sequence[int], stem: Stem, num_classes: int | None = None
    ) -> None:
        super().__init__()
        self.stem = stem
        self.feature_dim = 512 * block.expansion
        small = stem == "small"
        self.conv1 = _conv(3, 64, 3) if small else _conv(3, 64, 7, stride=2)
        self.bn1 = BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _stage(block, 64, 64, depths[0], stride=1)
        self.layer2 = _stage(block, 64 * block.expansion, 128, depths[1], stride=2)
        self.layer3 = _stage(block, 128 * block.expansion, 256, depths[2], stride=2)
        self.layer4 = _stage(block, 256 * block.expansion, 512, depths[3], stride=2)
        self.avgpool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.fc = nn.Linear(self.feature_dim, num_classes) if num_classes else nn.Identity()

    def stages(self) -> dict[str, nn.Module]:
        """Return the stages that give the features: all but `fc`."""
        stages = super().stages()
        stages.pop("fc", None)
        return stages

    def set_drop_path(self, chance: float) -> None:
        """Let training skip the last block with this chance, and those before it less, evenly.

        Source: Huang et al. 2016, 'Deep Networks with Stochastic Depth', arXiv:1603.09382.
        """
        blocks = [block for block in self.modules() if isinstance(block, BasicBlock | Bottleneck)]
        for number, block in enumerate(blocks, 1):
            block.drop_path = chance * number / len(blocks)

    def flatten(self, image_size: int) -> None:
        """Give all places of the last map as features, for images of `image_size` px, not their mean."""
        places = run([*self.stages().values()][:-1], torch.zeros(1, 3, image_size, image_size))
        self.avgpool = nn.Sequential(nn.Flatten())
        self.feature_dim, self.any_size = places.numel(), False

    def forward(self, images: Tensor) -> Tensor:
        """Give logits (N, K), or features (N, D) where there is no `fc`."""
        out: Tensor = self.fc(self.features(images))
        return out


def resnet18(image_size: int, stem: str = "auto", num_classes: int | None = None) -> ResNet:
    """Build ResNet-18: 11.7 million parameters with 1000 classes, D = 512."""
    return ResNet(BasicBlock, (2, 2, 2, 2), stem_for(image_size, stem), num_classes)


def resnet34(image_size: int, stem: str = "auto", num_classes: int | None = None) -> ResNet:
    """Build ResNet-34: 21.8 million parameters with 1000 classes, D = 512."""
    return ResNet(BasicBlock, (3, 4, 6, 3), stem_for(image_size, stem), num_classes)


def resnet50(image_size: int, stem: str = "auto", num_classes: int | None = None) -> ResNet:
    """Build ResNet-50: 25.6 million parameters with 1000 classes, D = 2048."""
    return ResNet(Bottleneck, (3, 4, 6, 3), stem_for(image_size, stem), num_classes)


def resnet101(image_size: int, stem: str = "auto", num_classes: int | None = None) -> ResNet:
    """Build ResNet-101: 44.5 million parameters with 1000 classes, D = 2048."""
    return ResNet(Bottleneck, (3, 4, 23, 3), stem_for(image_size, stem), num_classes)


def resnet152(image_size: int, stem: str = "auto", num_classes: int | None = None) -> ResNet:
    """Build ResNet-152: 60.2 million parameters with 1000 classes, D = 2048."""
    return ResNet(Bottleneck, (3, 8, 36, 3), stem_for(image_size, stem), num_classes)


def stem_for(image_size: int, stem: str) -> Stem:
    """Resolve 'auto': up to 64 px the big stem would leave the last stage a map of 2x2 or less.

    Raises:
        RecipeError: there is no such stem.

    """
    if stem == "auto":
        return "small" if image_size <= SMALL_STEM_UP_TO_PX else "imagenet"
    if stem == "small":
        return "small"
    if stem == "imagenet":
        return "imagenet"
    raise RecipeError(f"model.stem must be 'auto', 'imagenet' or 'small'. Got {stem!r} instead.")


def drop_path(x: Tensor, chance: float, training: bool) -> Tensor:
    """Set what a block adds to its shortcut to zero for some images of (N, C, H, W), and raise the others."""
    if not (chance and training):
        return x
    kept = torch.rand(len(x), 1, 1, 1, device=x.device) >= chance
    return x * (kept / (1 - chance)).to(x.dtype)


def _stage(block: Block, channels_in: int, width: int, depth: int, stride: int) -> nn.Sequential:
    first = block(channels_in, width, stride)
    rest = [block(width * block.expansion, width, stride=1) for _ in range(depth - 1)]
    return nn.Sequential(first, *rest)


def _shortcut(channels_in: int, channels_out: int, stride: int) -> nn.Module:
    """Pass the input on, projected by a 1x1 convolution only where shapes differ."""
    if stride == 1 and channels_in == channels_out:
        return nn.Identity()
    return nn.Sequential(_conv(channels_in, channels_out, 1, stride), BatchNorm2d(channels_out))


def _conv(channels_in: int, channels_out: int, size: int, stride: int = 1) -> nn.Conv2d:
    """Make a convolution without bias (batch norm follows), started after He et al. 2015.

    Source: 'Delving Deep into Rectifiers', arXiv:1502.01852; fan_out as in torchvision.
    """
    conv = nn.Conv2d(channels_in, channels_out, size, stride, padding=size // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv


def _silent_norm(channels: int) -> BatchNorm2d:
    """Make the last norm of a block with gamma 0, so that the block starts as its shortcut.

    Source: Goyal et al. 2017, 'Accurate, Large Minibatch SGD', arXiv:1706.02677, section 5.1.
    """
    norm = BatchNorm2d(channels)
    nn.init.zeros_(norm.weight)
    return norm
