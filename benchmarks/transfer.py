"""Transfer: EfficientNet-Lite0 from its ImageNet weights, rates and accuracy by minute."""

import contextlib
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.images import files_in, made_once, photographs
from benchmarks.input import BATCH, loader_of
from benchmarks.plan import Comparison, Metrics, Settings
from benchmarks.train import Clock, Enough, timed

NETWORK = "tf_efficientnet_lite0"
HALF = (0.5, 0.5, 0.5)  # mean and deviation that its weights were trained with
VALIDATION = 5  # one image in so many validates the race


def comparisons(settings: Settings) -> tuple[Comparison, ...]:
    """Return what is compared here."""
    return (
        Comparison(
            f"Fine-tuning EfficientNet-Lite0 at {settings.size}, batch {BATCH}, whole path",
            {
                "resnetlab": ours,
                "timm, the steps of its script": timm_steps,
                "fastai": fastai_steps,
            },
        ),
        Comparison(
            f"Features of EfficientNet-Lite0 at {settings.size}",
            {
                "resnetlab, from its store": our_features,
                "the network alone, bf16": partial(bare_features, True),
                "the network alone, fp32": partial(bare_features, False),
            },
            "The network alone works on one batch that is already there.",
        ),
        Comparison(
            f"Accuracy by minute, {settings.minutes} min each",
            {
                "resnetlab": our_race,
                "AutoGluon's recipe": partial(race, autogluon),
                "timm's fine-tuning": partial(race, timm_script),
                "torchvision's tutorial": partial(race, torchvision_tutorial),
                "fastai, fine_tune": fastai_race,
            },
            "The clock of ours runs from the start of the command, with imports, decoding, audit and "
            "the scoring of each epoch; the others' from their first step, without scoring. Ours "
            "names the accuracy of what it would hand over, chosen on the images that are scored here.",
            repeat=False,
        ),
    )


def prepare(settings: Settings) -> None:
    """Divide the images, so that near-duplicates are on one side; build the store."""
    from resnetlab.data.dataset import read_data

    read_data(divided(settings), recipe_for(settings))


def divided(settings: Settings) -> Path:
    """Return a folder with train/ and val/, divided by ours: copies stay together."""
    from resnetlab.data.dataset import divide, read_data
    from resnetlab.data.export import export_split

    share = 1 / VALIDATION
    recipe = recipe_for(settings, **{"data.split": [1 - share, share, 0.0]})
    source = photographs(settings)

    def make(folder: Path) -> None:
        folder.rmdir()
        export_split(divide(read_data(source, recipe).catalog, recipe), folder)

    return made_once(settings, f"divided {source} {share}", make)


def recipe_for(settings: Settings, **values: Any) -> Any:
    """Return our recipe for the rates: all of the network, one size, no time for a head."""
    from resnetlab.recipe import Recipe

    keys = {
        "data.image_size": settings.size,
        "data.max_problem_frac": 1.0,  # some collections hold copies under two labels
        "data.workers": 2,
        "model.name": NETWORK,
        "training.head_first": False,
        "training.epochs": 30,
        "training.batch_size": BATCH,
    }
    return Recipe().override(keys | values)


def pretrained(classes: int) -> Any:
    """Return timm's network with the packaged weights and a fresh head."""
    import timm

    from resnetlab.models import build
    from resnetlab.models.pretrained import load_weights

    filled = build(NETWORK, classes, 224)
    load_weights(filled, "imagenet", NETWORK)
    network = timm.create_model(NETWORK, num_classes=classes)
    theirs = filled.backbone.net.state_dict()
    missing, unexpected = network.load_state_dict(theirs, strict=False)
    assert not unexpected
    assert all("classifier" in name for name in missing)
    return network


# Rates


def ours(settings: Settings) -> Metrics:
    """`resnetlab.train`, as a user calls it."""
    import resnetlab
    from resnetlab.data.catalog import Catalog

    with tempfile.TemporaryDirectory(dir=settings.work) as out:
        recipe = recipe_for(settings)
        clock = timed(settings, lambda: resnetlab.train(divided(settings), recipe, Path(out)))
        (run,) = Path(out).iterdir()
        count = len(Catalog.load(run / "catalog.parquet").rows("train"))
    return clock.result(count / math.ceil(count / BATCH))  # its batches are equal, not full


def timm_steps(settings: Settings) -> Metrics:
    """The loop of timm's script: contiguous, fp32, its augmentation."""
    task = timm_script(settings)

    def loop() -> None:
        for images, labels in forever(task.loader):
            task.loss(task.network(images), labels).backward()
            task.optimizer.step()
            task.optimizer.zero_grad()

    return timed(settings, loop).result()


def fastai_steps(settings: Settings) -> Metrics:
    """`fit` of a vision_learner with all layers unfrozen."""
    from fastai.vision.all import Callback

    clock = Clock(settings)

    class Steps(Callback):  # type: ignore[misc]
        def after_step(self) -> None:
            clock.step()

    learner = fastai_learner(settings, Steps())
    learner.unfreeze()
    with contextlib.suppress(Enough), learner.no_bar():
        learner.fit(30)
    return clock.result()


def our_features(settings: Settings) -> Metrics:
    """The features that the head is fitted on, once more through an empty cache of features."""
    import torch

    from resnetlab.data.batches import samples_of
    from resnetlab.data.dataset import divide, read_data
    from resnetlab.training.defaults import settle
    from resnetlab.training.head import features_of

    dataset = read_data(divided(settings), recipe_for(settings))
    samples = samples_of(divide(dataset.catalog, dataset.recipe), dataset.store, "train")
    recipe, network = settle(dataset.recipe, len(dataset.catalog.classes), len(samples))
    torch.set_num_threads(int(recipe.training.threads))
    with tempfile.TemporaryDirectory(dir=settings.work) as cache:
        os.environ["RESNETLAB_CACHE"] = cache
        started = time.perf_counter()
        features_of(network, samples, recipe)
    return {"images/s": len(samples) / (time.perf_counter() - started)}


def bare_features(fast: bool, settings: Settings) -> Metrics:
    """The network in evaluation, channels last, on one batch over and over."""
    import torch

    layout = torch.channels_last
    network = pretrained(2).eval().to(memory_format=layout)
    images = torch.randn(BATCH, 3, settings.size, settings.size).contiguous(memory_format=layout)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=fast):
        for _ in range(5):
            network(images)
        started = time.perf_counter()
        for _ in range(30):
            network(images)
    return {"images/s": 30 * BATCH / (time.perf_counter() - started)}


# Accuracy by minute


@dataclass(frozen=True)
class Task:
    """How somebody fine-tunes: `lr` gives the factor of the rates at a share of the time."""

    network: Any
    loader: Any
    optimizer: Any
    loss: Callable[[Any, Any], Any]
    lr: Callable[[float], float]
    clip: float | None = None
    accumulate: int = 1


def race(manner: Callable[[Settings], Task], settings: Settings) -> Metrics:
    """Train for the minutes; score after each of them, while the clock stands still."""
    import torch

    task = manner(settings)
    rates = [group["lr"] for group in task.optimizer.param_groups]
    limit, worked, marks = 60.0 * settings.minutes, 0.0, []
    task.network.train()
    for step, (images, labels) in enumerate(forever(task.loader)):
        started = time.monotonic()
        for group, rate in zip(task.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * task.lr(worked / limit)
        (task.loss(task.network(images), labels) / task.accumulate).backward()
        if (step + 1) % task.accumulate == 0:
            if task.clip:
                torch.nn.utils.clip_grad_norm_(task.network.parameters(), task.clip)
            task.optimizer.step()
            task.optimizer.zero_grad()
        worked += time.monotonic() - started + waited(task.loader)
        if worked >= 60.0 * (len(marks) + 1) or worked >= limit:
            marks.append(accuracy_of(task.network, settings))
        if worked >= limit:
            break
    return by_minute(dict(enumerate(marks, 1)), settings)


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


def waited(loader: Any) -> float:
    """Return the seconds for which the last batch was waited for."""
    return loader.seconds if isinstance(loader, Waiting) else 0.0


def forever(loader: Any) -> Iterator[Any]:
    """Yield batches, epoch after epoch."""
    while True:
        yield from loader


def accuracy_of(network: Any, settings: Settings) -> float:
    """Score a network on the images that validate, resized and cropped as is customary."""
    import torch

    was_training = network.training
    network.eval()
    correct, total = 0, 0
    with torch.inference_mode():
        for images, labels in loader_for(settings, "val", evaluation(settings), shuffle=False):
            correct += int((network(images).argmax(dim=1) == labels).sum())
            total += len(labels)
    network.train(was_training)
    return correct / total


def by_minute(marks: dict[int, float], settings: Settings) -> Metrics:
    """Return the accuracies after each minute."""
    return {
        f"{minute} min": f"{marks[minute]:.1%}" if minute in marks else ""
        for minute in range(1, settings.minutes + 1)
    }


def our_race(settings: Settings) -> Metrics:
    """`resnetlab train FOLDER --budget`, with an empty cache, as a command; its lines have the way."""
    marks: dict[int, float] = {}
    best = 0.0
    with tempfile.TemporaryDirectory(dir=settings.work) as out:
        environment = os.environ | {"RESNETLAB_CACHE": f"{out}/cache"}
        command = [sys.executable, "-m", "resnetlab", "train", str(divided(settings))]
        command += ["--out", f"{out}/runs", "--budget", f"{settings.minutes}m"]
        command += ["--set", "data.max_problem_frac=1.0"]
        started = time.monotonic()
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        for line in process.stderr or ():
            if found := re.search(r"^(?:head|epoch) .*validation .*?accuracy ([\d.]+)%", line):
                minutes = (time.monotonic() - started) / 60
                best = max(best, float(found.group(1)) / 100)
                for minute in range(math.ceil(minutes), settings.minutes + 2):
                    marks[minute] = best
        if process.wait():
            raise SystemExit(f"resnetlab train ended with {process.returncode}")
        total = (time.monotonic() - started) / 60
    return by_minute(marks, settings) | {"whole command, min": total}


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


def classes_of(settings: Settings) -> int:
    """Return the number of classes."""
    return len({path.parent.name for path in files_in(divided(settings) / "train")})


def cosine(warmup: float, share: float) -> float:
    """Return the factor of the learning rate: linear warm-up, then half a cosine."""
    if share < warmup:
        return max(share / warmup, 0.01)
    return (1 + math.cos(math.pi * min(1.0, (share - warmup) / (1 - warmup)))) / 2


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


def fastai_race(settings: Settings) -> Metrics:
    """`fine_tune` with as many epochs as fit; scored by itself after each, which isn't counted."""
    from fastai.vision.all import Callback

    worked, marks = 0.0, {}

    class Timer(Callback):  # type: ignore[misc]
        def before_train(self) -> None:
            self.started = time.monotonic()

        def after_train(self) -> None:
            nonlocal worked
            worked += time.monotonic() - self.started

        def after_epoch(self) -> None:
            score = float(self.learn.recorder.values[-1][-1]) if self.learn.recorder.values else 0.0
            for minute in range(math.ceil(worked / 60), settings.minutes + 1):
                marks[minute] = score

    learner = fastai_learner(settings)
    with learner.no_bar():
        learner.fit(1, cbs=Timer())  # how long an epoch takes with the body frozen
        frozen, worked = worked, 0.0
        epochs = max(1, int((60 * settings.minutes - frozen) / (2.5 * frozen)))
        learner = fastai_learner(settings, Timer())
        with learner.no_bar():
            learner.fine_tune(epochs)
    return by_minute(marks, settings) | {"whole command, min": worked / 60}
