"""How others fine-tune: their networks, loaders, optimisers and schedules, as they recommend them."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.input import BATCH, loader_of
from benchmarks.lite0 import HALF, NETWORK, classes_of, divided, pretrained
from benchmarks.plan import Settings


@dataclass(frozen=True)
class Task:
    """How somebody fine-tunes: `lr` gives the factor of the rates at a share of the time."""

    network: Any
    loader: "Waiting"
    optimizer: Any
    loss: Callable[[Any, Any], Any]
    lr: Callable[[float], float]
    clip: float | None = None
    accumulate: int = 1


class Waiting:
    """A loader that knows how long its last batch was waited for."""

    def __init__(self, loader: Any) -> None:
        self.loader, self.seconds = loader, 0.0

    def __iter__(self) -> Iterator[Any]:
        batches = iter(self.loader)
        while True:
            started = time.monotonic()
            batch = next(batches, None)
            self.seconds = time.monotonic() - started
            if batch is None:
                return
            yield batch


def autogluon(settings: Settings) -> Task:
    """AutoGluon MultiModal's defaults: AdamW 1e-4, layer decay 0.9, batch 128 by accumulation.

    Its soup of the three best epochs is left out.
    """
    import torch
    from torchvision import transforms as t

    network = pretrained(classes_of(settings))
    blocks = [*network.blocks]
    stages = [[network.conv_stem, network.bn1], *([block] for block in blocks)]
    stages += [[network.conv_head, network.bn2], [network.classifier]]
    groups = [
        {
            "params": [p for module in modules for p in module.parameters()],
            "lr": 1e-4 * 0.9 ** (len(stages) - 1 - place),
        }
        for place, modules in enumerate(stages)
    ]
    steps = t.Compose(
        [
            t.Resize(settings.size),
            t.CenterCrop(settings.size),
            t.TrivialAugmentWide(),
            t.ToTensor(),
            t.Normalize(HALF, HALF),
        ]
    )
    return Task(
        network,
        Waiting(loader_for(settings, "train", steps)),
        torch.optim.AdamW(groups, weight_decay=1e-3),
        torch.nn.functional.cross_entropy,
        partial(cosine, 0.1),
        clip=1.0,
        accumulate=4,
    )


def timm_script(settings: Settings) -> Task:
    """Timm's script with --pretrained and its defaults: SGD 0.05, cosine, smoothing, colour jitter."""
    import torch
    from timm.data import create_dataset, create_loader
    from timm.loss import LabelSmoothingCrossEntropy
    from timm.optim import create_optimizer_v2

    network = pretrained(classes_of(settings))
    loader = create_loader(
        create_dataset("", root=str(divided(settings) / "train")),
        input_size=(3, settings.size, settings.size),
        batch_size=BATCH,
        is_training=True,
        mean=HALF,
        std=HALF,
        num_workers=4,  # its script's default
        device=torch.device("cpu"),
    )
    rate = 0.1 * BATCH / 256  # its lr_base, in proportion to the batch
    optimizer = create_optimizer_v2(network, opt="sgd", lr=rate, momentum=0.9, weight_decay=2e-5)
    return Task(
        network, Waiting(loader), optimizer, LabelSmoothingCrossEntropy(0.1), partial(cosine, 0.05)
    )


def lightly_train(settings: Settings) -> Task:
    """LightlyTrain's defaults: AdamW 3e-4 for 16 images, crops from a fifth, colours at every second.

    Its 500 steps of warm-up would be all that fit into minutes on a processor; here they are a tenth.
    """
    import torch
    from torchvision import transforms as t

    network = pretrained(classes_of(settings))
    colours = t.ColorJitter(32 / 255, 0.5, 0.5, 18 / 360)
    steps = t.Compose(
        [
            t.RandomResizedCrop(settings.size, scale=(0.2, 1.0)),
            t.RandomHorizontalFlip(),
            t.RandomApply([colours], p=0.5),
            t.ToTensor(),
            t.Normalize(HALF, HALF),
        ]
    )
    rate = 3e-4 * math.sqrt(BATCH / 16)  # as it adapts it
    return Task(
        network,
        Waiting(loader_for(settings, "train", steps)),
        torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-4),
        torch.nn.functional.cross_entropy,
        partial(cosine, 0.1),
        clip=3.0,
    )


def torchvision_tutorial(settings: Settings) -> Task:
    """The tutorial on transfer learning: SGD 0.001, momentum 0.9, a tenth after 7 of 25 epochs."""
    import torch
    from torchvision import transforms as t

    steps = t.Compose(
        [
            t.RandomResizedCrop(settings.size),
            t.RandomHorizontalFlip(),
            t.ToTensor(),
            t.Normalize(HALF, HALF),
        ]
    )
    network = pretrained(classes_of(settings))
    return Task(
        network,
        Waiting(loader_for(settings, "train", steps)),
        torch.optim.SGD(network.parameters(), lr=0.001, momentum=0.9),
        torch.nn.functional.cross_entropy,
        lambda share: 0.1 ** math.floor(share * 25 / 7),
    )


def fastai_learner(settings: Settings, *callbacks: Any) -> Any:
    """Return vision_learner on the same network and weights."""
    from fastai.vision.all import (
        Categorize,  # noqa: F401 - fastai registers what it needs on import
        ImageDataLoaders,
        Resize,
        accuracy,
        aug_transforms,
        vision_learner,
    )

    loaders = ImageDataLoaders.from_folder(
        divided(settings),
        train="train",
        valid="val",
        item_tfms=Resize(settings.size * 256 // 224),
        batch_tfms=aug_transforms(size=settings.size),
        bs=BATCH,
    )
    learner = vision_learner(
        loaders, NETWORK, pretrained=False, normalize=False, metrics=accuracy, cbs=list(callbacks)
    )
    from fastai.vision.all import Normalize

    loaders.add_tfms([Normalize.from_stats(HALF, HALF)], "after_batch")
    learner.model[0].model.load_state_dict(
        {k: v for k, v in pretrained(2).state_dict().items() if "classifier" not in k}, strict=False
    )
    return learner


def loader_for(settings: Settings, split: str, steps: Any, shuffle: bool = True) -> Any:
    """Return torchvision's folder of a split behind PyTorch's loader."""
    from torchvision.datasets import ImageFolder

    return loader_of(ImageFolder(divided(settings) / split, steps), shuffle=shuffle)


def evaluation(settings: Settings, mean: Any = HALF, std: Any = HALF) -> Any:
    """Return the customary way of an image in evaluation."""
    from torchvision import transforms as t

    size = settings.size
    steps = [t.Resize(size * 256 // 224), t.CenterCrop(size), t.ToTensor(), t.Normalize(mean, std)]
    return t.Compose(steps)


def cosine(warmup: float, share: float) -> float:
    """Return the factor of the learning rate: linear warm-up, then half a cosine."""
    if share < warmup:
        return max(share / warmup, 0.01)
    return (1 + math.cos(math.pi * min(1.0, (share - warmup) / (1 - warmup)))) / 2
