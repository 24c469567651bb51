"""What 'auto' means: from a recipe, the images and the machine to a recipe with no 'auto' left."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from resnetlab.data.catalog import Catalog
from resnetlab.data.defaults import DEFAULT_NETWORK, SMALL_UP_TO_PX, settle_augment
from resnetlab.errors import RecipeError
from resnetlab.recipe import Recipe, did_you_mean
from resnetlab.runs.run import bundle_of

if TYPE_CHECKING:
    from resnetlab.models import Classifier

MUON_LR = 0.24  # Jordan et al. 2024
# Chosen by cross-validation: docs/experiments.md.
FINE_TUNING_LR, FULL_LR_EPOCHS = 2e-3, 6  # fewer epochs have no time to recover from so high a rate
FEW_IMAGES = 500  # fewer say too little of a batch norm's statistics, and bear a lower rate
FINE_TUNING = {
    "optimizer": "adamw",
    "layer_decay": 0.8,
    "weight_decay": 0.02,
    "label_smoothing": 0.1,
    "clip_norm": 1.0,
    "warmup_epochs": 1.0,
}
COSTLY_STAGES, SMALLEST_SPARED_PX = "blocks.1", 160  # of the packaged network
RECONSTRUCTION = 10.0  # so much smaller are its errors than the loss on the class
UNEVEN = 2  # times the images of the smallest class
WARMUP_FRAC = 0.1  # of the epochs, when fine-tuning
IMAGES_SHOWN, FEWEST_EPOCHS, MOST_EPOCHS, GPU_EPOCHS = 18_000, 3, 30, 20
FROM_SCRATCH = {
    "optimizer": "sgd",
    "layer_decay": 1.0,
    "weight_decay": 5e-4,
    "label_smoothing": 0.0,
    "clip_norm": None,
    "warmup_epochs": 1.0,
}
SCRATCH_EPOCHS = 30
FEWEST_SPARED = IMAGES_SHOWN // MOST_EPOCHS


def resolve_listed(recipe: Recipe, catalog: Catalog) -> tuple[Recipe, "Classifier"]:
    """As `settle`, before images are read and divided: by the most that may be training's."""
    refuse_class_weights(recipe, catalog.classes)
    labels = catalog.labels[catalog.sound & catalog.may_train]
    return settle(recipe, np.bincount(labels[labels >= 0], minlength=len(catalog.classes)))


def refuse_class_weights(recipe: Recipe, classes: Sequence[str]) -> None:
    """Raise RecipeError where training.class_weights names a class that there isn't."""
    named = recipe.training.class_weights
    for name in named if isinstance(named, dict) else ():
        if name not in classes:
            raise RecipeError(
                f"training.class_weights: there is no class {name!r}{did_you_mean(name, classes)}"
            )


def resolve_training(recipe: Recipe, counts: np.ndarray) -> Recipe:
    """Return the recipe with no 'auto' left, see `settle`."""
    return settle(recipe, counts)[0]


def settle(recipe: Recipe, counts: np.ndarray) -> tuple[Recipe, "Classifier"]:
    """Return the recipe with no 'auto' left, and the network that it describes.

    `counts` (K,) is the number of training images of each class. Raises MachineError where weights
    can't be had: no training from scratch takes their place unasked.
    """
    count = int(counts.sum())
    from resnetlab.models.networks.autoencoder import Autoencoder
    from resnetlab.models.networks.resnet import ResNet
    from resnetlab.training.initial import build_network
    from resnetlab.training.optim.optimizers import stage_lrs

    weights = recipe.model.weights
    if Path(weights).is_dir() and not (Path(weights) / "config.json").is_file():
        weights = str((bundle_of(Path(weights)) / "model.safetensors").resolve())
    if weights == "auto":
        weights = "imagenet" if wants_published_weights(recipe) else "none"
    recipe = spare(recipe.override({"model.weights": weights}), count)
    network = build_network(recipe, len(counts))
    refuse_sizes(recipe, network.backbone.any_size)
    if isinstance(network.backbone, ResNet):
        recipe = recipe.override({"model.stem": network.backbone.stem})
    recipe = settle_monitor(settle_machine(recipe, network), counts)
    recipe = settle_reconstruction(recipe, isinstance(network.backbone, Autoencoder))
    recipe = fill_in(recipe, weights != "none", count)
    stage_lrs(network, recipe.training)  # a stage that isn't there shows now
    return settle_frozen_views(recipe, network, count), network


def spare(recipe: Recipe, count: int) -> Recipe:
    """Return the recipe in which it is settled which stages don't learn, and at which size it begins.

    The packaged network's first stages take four tenths of a step's time on a processor, and see edges and
    textures, which they know; images of two thirds the side cost less than half, at first. With fewer training
    images than FEWEST_SPARED all of it fits into the time at full size.
    """
    from resnetlab.training.hardware.device import choose_device

    model, training = recipe.model, recipe.training
    spares = (
        model.name == DEFAULT_NETWORK
        and model.weights != "none"
        and int(recipe.data.image_size) >= SMALLEST_SPARED_PX
        and count >= FEWEST_SPARED
        and choose_device(training.device) == "cpu"
    )
    values: dict[str, Any] = {}
    if model.freeze == "auto":
        learn_all = training.stage_lr or training.unfreeze_epochs or model.lora.rank
        values["model.freeze"] = COSTLY_STAGES if spares and not learn_all else "none"
    if training.start_size == "auto":
        smaller = 32 * round(2 / 3 * int(recipe.data.image_size) / 32)
        stored = model.freeze not in ("auto", "none") or training.frozen_views not in ("auto", 0)
        # What frozen stages give is stored at one size, which spares more.
        values["training.start_size"] = smaller if spares and not stored else None
    return recipe.override(values)


def settle_monitor(recipe: Recipe, counts: np.ndarray) -> Recipe:
    """Return the recipe in which it is settled what decides which epoch is the best."""
    if recipe.training.monitor != "auto":
        return recipe
    uneven = counts.max() > UNEVEN * max(int(counts.min()), 1)
    monitor = "balanced_accuracy" if uneven else "accuracy"
    return recipe.override({"training.monitor": monitor})


def settle_reconstruction(recipe: Recipe, has_decoder: bool) -> Recipe:
    """Return the recipe in which it is settled what restoring the image counts."""
    weight, training = recipe.training.reconstruction, recipe.training
    if weight == "auto":
        weight = RECONSTRUCTION if has_decoder else 0.0
    if not weight:
        return recipe.override({"training.reconstruction": 0.0})
    if not has_decoder:
        raise RecipeError(
            f"training.reconstruction must be 0 for {recipe.model.name}, which has no decoder. Got {weight:g}"
        )
    for key, given in (
        ("model.freeze", recipe.model.freeze != "none"),
        ("model.upsample", recipe.model.upsample),
        ("training.mixup", training.mixup),
        ("training.cutmix", training.cutmix),
        ("training.start_size", training.start_size),
    ):
        if given:
            raise RecipeError(f"{key} can't be used while the image is restored; leave it out")
    return recipe.override({"training.reconstruction": weight})


def refuse_sizes(recipe: Recipe, any_size: bool) -> None:
    """Raise RecipeError where the network would see images of a size that it can't take."""
    image_size, training = int(recipe.data.image_size), recipe.training
    for key, size in (
        ("training.start_size", training.start_size),
        ("evaluation.image_size", recipe.evaluation.image_size),
    ):
        if size not in (None, image_size) and not any_size:
            raise RecipeError(
                f"{key} must be data.image_size ({image_size}) or left out for {recipe.model.name}, "
                f"whose dense layers have one size. Got {size} instead"
            )
    if training.start_size and training.frozen_views not in ("auto", 0):
        raise RecipeError(
            "training.frozen_views must be 0 with training.start_size: what is stored has one size. "
            f"Got {training.frozen_views} instead"
        )


def settle_frozen_views(recipe: Recipe, classifier: "Classifier", count: int) -> Recipe:
    """Return the recipe with the number of views, of `count` images, to keep behind frozen stages."""
    from resnetlab.training.stored_features import image_bytes, suggest_views

    training = recipe.training
    mixes = training.mixup or training.cutmix
    if mixes and training.frozen_views not in ("auto", 0):
        raise RecipeError(
            "training.frozen_views must be 0 with training.mixup or cutmix: what is stored are maps of single "
            f"images. Got {training.frozen_views} instead"
        )
    if training.frozen_views != "auto":
        return recipe
    views = 0
    if classifier.frozen and training.start_size is None and not mixes:
        precision: Literal["fp32", "bf16"] = "bf16" if training.precision == "bf16" else "fp32"
        each = image_bytes(classifier, int(recipe.data.image_size), precision)
        views = suggest_views(int(training.epochs), each, count)
    return recipe.override({"training.frozen_views": views})


def settle_machine(recipe: Recipe, classifier: "Classifier | None" = None) -> Recipe:
    """Return the recipe with device, precision and threads, tried out where they are left open."""
    from resnetlab.training.hardware.device import choose_device, choose_precision, choose_threads

    training = recipe.training
    device = choose_device(training.device)
    precision = choose_precision(training.precision, device, classifier)
    # What was said of the one goes for the other; depthwise layers are fast in bf16 forward alone.
    open_to_both = (
        training.precision if training.feature_precision == "auto" else training.feature_precision
    )
    feature_precision = choose_precision(open_to_both, device)
    threads = training.threads
    if threads != "adaptive" or device == "cuda":
        threads = choose_threads("auto" if threads == "adaptive" else threads, device, precision)
    return recipe.override(
        {
            "training.device": device,
            "training.precision": precision,
            "training.feature_precision": feature_precision,
            "training.threads": threads,
        }
    )


def fill_in(recipe: Recipe, pretrained: bool, count: int) -> Recipe:
    """Settle the rest, for `count` training images.

    `pretrained` says whether the network starts from published weights.
    """
    recipe = settle_augment(recipe)
    if recipe.evaluation.horizontal_flip == "auto":
        flip = "if_better" if pretrained else False
        recipe = recipe.override({"evaluation.horizontal_flip": flip})
    if recipe.data.normalize == "auto":
        recipe = recipe.override({"data.normalize": "network" if pretrained else "train"})
    training = recipe.training
    customary: dict[str, Any] = dict(FINE_TUNING if pretrained else FROM_SCRATCH)
    head_first = pretrained and not recipe.model.hidden and len(training.stage_lr) == 0
    customary["head_first"] = head_first
    customary["freeze_norms"] = pretrained and count < FEW_IMAGES
    customary["epochs"] = epochs_for(count, training.device) if pretrained else SCRATCH_EPOCHS
    open_keys = {key for key in customary if getattr(training, key) == "auto"}
    values = {f"training.{key}": customary[key] for key in open_keys}
    if "layer_decay" in open_keys and (
        training.optimizer not in ("auto", "adamw") or recipe.model.lora.rank
    ):
        values["training.layer_decay"] = 1.0  # it was chosen for AdamW, and for weights
    recipe = recipe.override(values)
    if "warmup_epochs" in open_keys and pretrained:
        warmup = WARMUP_FRAC * int(recipe.training.epochs)
        recipe = recipe.override({"training.warmup_epochs": round(warmup, 2)})
    if recipe.training.lr == "auto":
        recipe = recipe.override({"training.lr": suggest_lr(recipe, pretrained, count)})
    return recipe


def epochs_for(count: int, device: str) -> int:
    """Return for how many epochs to fine-tune on `count` images.

    On a processor as many as fit into some ten minutes of a small network; never fewer than
    FEWEST_EPOCHS, nor more than MOST_EPOCHS.
    """
    if device == "cuda":
        return GPU_EPOCHS
    return max(FEWEST_EPOCHS, min(MOST_EPOCHS, round(IMAGES_SHOWN / max(count, 1))))


def suggest_lr(recipe: Recipe, pretrained: bool, count: int = FEW_IMAGES) -> float:
    """Return a customary learning rate: for SGD in proportion to the images a step.

    Source: Goyal et al. 2017, 0.1 for 256 images with ResNet-50; a tenth to fine-tune. Fewer than
    FEW_IMAGES, and fewer than FULL_LR_EPOCHS, bear less when fine-tuned with AdamW.
    """
    training = recipe.training
    if training.optimizer == "muon":
        return MUON_LR
    if training.optimizer == "adamw" and pretrained:
        few = min(1.0, (count / FEW_IMAGES) ** 1.5)
        if training.epochs != "auto":
            few *= min(1.0, max(int(training.epochs), 1) / FULL_LR_EPOCHS)
        return float(f"{FINE_TUNING_LR * few:.2g}")
    if training.optimizer != "sgd":
        return 1e-4 if pretrained else 1e-3
    return round((0.02 if pretrained else 0.2) * training.batch_size * training.accumulate / 256, 6)


def wants_published_weights(recipe: Recipe) -> bool:
    """Return whether 'auto' weights should be looked for: the stem and the size must fit them."""
    from resnetlab.models import MODELS

    name = recipe.model.name
    if recipe.model.weights != "auto":
        return False
    if name not in MODELS:  # of timm
        return True
    big = (
        int(recipe.data.image_size) << recipe.model.upsample > SMALL_UP_TO_PX
        and recipe.model.stem != "small"
    )
    return name.startswith("resnet") and big
