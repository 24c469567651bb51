"""ResNet-50 from scratch, from files or store to the optimiser's step; and the time to the first."""

import contextlib
import math
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.images import photographs, recipe_for
from benchmarks.input import BATCH, loader_of, torchvision_v1
from benchmarks.plan import Comparison, Metrics, Settings

if TYPE_CHECKING:
    from resnetlab.recipe import Recipe

WARMUP = 5  # steps before the clock starts


def comparisons(settings: Settings) -> tuple[Comparison, ...]:
    """Return what is compared here."""
    return (
        Comparison(
            f"Training ResNet-50 at {settings.size} from scratch, batch {BATCH}, whole path",
            {
                "resnetlab": ours,
                "torchvision, plain loop": torchvision_loop,
                "Lightning Trainer": lightning_trainer,
                "timm, its defaults": partial(timm_loop, False),
                "timm, bf16 + channels_last": partial(timm_loop, True),
                "Keras on TensorFlow": keras_fit,
            },
            f"{WARMUP} steps before the clock starts, then {settings.timed_steps} timed in each process. "
            "First step: from the start of the process; ours with the store built, audit and figures "
            "included.",
        ),
    )


def prepare(settings: Settings) -> None:
    """Build the store and all that is kept beside it."""
    from resnetlab.data.audit.shortcuts import shortcuts
    from resnetlab.data.dataset import read_data

    images = read_data(enough_photographs(settings), recipe_for(settings))
    shortcuts(images.catalog, images.store)


def enough_photographs(settings: Settings) -> Path:
    """Return so many that the clock ends within the first epoch, should a few be left out."""
    return photographs(settings, BATCH * (WARMUP + settings.timed_steps + 1))


class Enough(Exception):
    """The last timed step is done."""


class Clock:
    """Notes when each step of the optimiser ends, in anybody's loop, and ends the loop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.ends: list[float] = []

    def step(self, *_: Any) -> None:
        """Count a step. Raises Enough after the last."""
        self.ends.append(time.monotonic())
        if len(self.ends) == WARMUP + self.settings.timed_steps:
            raise Enough("the last timed step is done")  # fastai asks for words

    def result(self, images: float = BATCH) -> Metrics:
        """Return the rate of the timed steps, of so many images each, and the start."""
        seconds = self.ends[-1] - self.ends[WARMUP - 1]
        return {
            "images/s": self.settings.timed_steps * images / seconds,
            "first step, s": self.ends[0] - self.settings.started,
        }


def timed(settings: Settings, loop: Callable[[], Any]) -> Clock:
    """Run anybody's PyTorch loop until the clock ends it."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    clock = Clock(settings)
    register_optimizer_step_post_hook(clock.step)
    with contextlib.suppress(Enough):
        loop()
    return clock


def ours(settings: Settings) -> Metrics:
    """`resnetlab.train`, as a user calls it."""
    return trained(settings, enough_photographs(settings), recipe_for(settings))


def trained(settings: Settings, folder: Path, recipe: "Recipe") -> Metrics:
    """Return the rate of `resnetlab.train` on a folder."""
    import resnetlab
    from resnetlab.data.catalog import Catalog

    with tempfile.TemporaryDirectory(dir=settings.work) as out:
        clock = timed(settings, lambda: resnetlab.train(folder, recipe, Path(out)))
        (run,) = Path(out).iterdir()
        count = len(Catalog.load(run / "catalog.parquet").rows("train"))
    return clock.result(count / math.ceil(count / BATCH))  # its batches are equal, not full


def torchvision_loop(settings: Settings) -> Metrics:
    """The steps of torchvision's reference script."""
    import torch
    from torchvision.models import resnet50

    loader, classes = plain_loader(settings)
    model = resnet50(num_classes=classes).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)

    def loop() -> None:
        for images, labels in loader:
            output = model(images)
            loss = torch.nn.functional.cross_entropy(output, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()  # it shows the loss of every step
            (output.argmax(1) == labels).sum().item()

    return timed(settings, loop).result()


def lightning_trainer(settings: Settings) -> Metrics:
    """A module of three methods and the Trainer."""
    import lightning
    import torch
    from torchvision.models import resnet50

    loader, classes = plain_loader(settings)

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = resnet50(num_classes=classes)

        def training_step(self, batch: Any, _: int) -> Any:
            images, labels = batch
            loss = torch.nn.functional.cross_entropy(self.model(images), labels)
            self.log("loss", loss, prog_bar=True)
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)

    trainer = lightning.Trainer(max_epochs=1, logger=False, enable_checkpointing=False)
    return timed(settings, lambda: trainer.fit(Module(), loader)).result()


def timm_loop(fast: bool, settings: Settings) -> Metrics:
    """The steps of timm's script; `fast`: with --amp --amp-dtype bfloat16 --channels-last."""
    import timm
    import torch
    from timm.data import create_dataset, create_loader
    from timm.loss import LabelSmoothingCrossEntropy
    from timm.optim import create_optimizer_v2

    folder = enough_photographs(settings)
    layout = torch.channels_last if fast else torch.contiguous_format
    model = timm.create_model("resnet50", num_classes=len(list(folder.iterdir()))).train()
    model = model.to(memory_format=layout)
    optimizer = create_optimizer_v2(model, opt="sgd", lr=0.01, momentum=0.9, weight_decay=2e-5)
    loss_of = LabelSmoothingCrossEntropy(0.1)
    loader = create_loader(
        create_dataset("", root=str(folder)),
        input_size=(3, settings.size, settings.size),
        batch_size=BATCH,
        is_training=True,
        num_workers=4,  # its script's default
        device=torch.device("cpu"),
    )

    def loop() -> None:
        for images, labels in loader:
            with torch.autocast("cpu", torch.bfloat16, enabled=fast):
                loss = loss_of(model(images.contiguous(memory_format=layout)), labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    return timed(settings, loop).result()


def keras_fit(settings: Settings) -> Metrics:
    """`fit` on a folder of images, varied by layers that it has."""
    import keras
    import tensorflow as tf

    size, layers = (settings.size, settings.size), keras.layers
    images = keras.utils.image_dataset_from_directory(
        enough_photographs(settings), image_size=size, batch_size=BATCH, verbose=False
    )
    varied = keras.Sequential(
        [
            layers.RandomFlip("horizontal"),
            layers.RandomRotation(30 / 360),
            layers.RandomBrightness(0.2),
            layers.RandomContrast(0.2),
            layers.Rescaling(1 / 255),
        ]
    )
    classes = len(images.class_names)
    model = keras.applications.ResNet50(weights=None, input_shape=(*size, 3), classes=classes)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "sparse_categorical_crossentropy")
    batches = images.map(lambda batch, labels: (varied(batch, training=True), labels))
    clock = Clock(settings)
    callback = keras.callbacks.LambdaCallback(on_train_batch_end=lambda *_, **__: clock.step())
    with contextlib.suppress(Enough):
        model.fit(batches.prefetch(tf.data.AUTOTUNE), callbacks=[callback], verbose=0)
    return clock.result()


def plain_loader(settings: Settings) -> tuple[Any, int]:
    """Return torchvision's folder behind PyTorch's loader, and the number of classes."""
    from torchvision.datasets import ImageFolder

    folder = ImageFolder(enough_photographs(settings), torchvision_v1(settings.size))
    return loader_of(folder), len(folder.classes)
