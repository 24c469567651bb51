"""Transfer: EfficientNet-Lite0 from its ImageNet weights, rates and accuracy by minute."""

import contextlib
import os
import tempfile
import time
from functools import partial

from benchmarks.input import BATCH
from benchmarks.lite0 import divided, pretrained, recipe_for
from benchmarks.manners import (
    autogluon,
    fastai_learner,
    lightly_train,
    timm_script,
    torchvision_tutorial,
)
from benchmarks.plan import Comparison, Metrics, Settings
from benchmarks.race import fastai_race, forever, our_race, race
from benchmarks.train import Clock, Enough, timed, trained


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
                "LightlyTrain's recipe": partial(race, lightly_train),
                "timm's fine-tuning": partial(race, timm_script),
                "torchvision's tutorial": partial(race, torchvision_tutorial),
                "fastai, fine_tune": fastai_race,
            },
            "The clock of ours runs from the start of the command, with imports, decoding, audit and "
            "the scoring of each epoch; the others' from their first step, without scoring. The best "
            "accuracy so far, on the images that validate.",
            repeat=False,
        ),
    )


def prepare(settings: Settings) -> None:
    """Divide the images, so that near-duplicates are on one side; build the store."""
    from resnetlab.data.dataset import read_data

    read_data(divided(settings), recipe_for(settings))


def ours(settings: Settings) -> Metrics:
    """`resnetlab.train`, as a user calls it."""
    return trained(settings, divided(settings), recipe_for(settings))


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
    recipe, network = settle(dataset.recipe, dataset.catalog.counts("train"))
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
