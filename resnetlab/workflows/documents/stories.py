"""What the four documents did, in their order, and what we would do instead. Tables; nothing runs here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Settings = Mapping[str, Any]
# Where the weights of a ResNet can't be had, the network whose weights are always at hand takes its place.
PACKAGED: Settings = {
    "model.name": "tf_efficientnet_lite0",
    "data.normalize": "network",
    "training.stage_lr": {},
}


@dataclass(frozen=True)
class Step:
    """One training of a document, or of ours beside it."""

    name: str  # of its folder
    title: str
    recipe: str | None = None  # a shipped one; None: what is done with nothing said
    kind: Literal["train", "search", "copies", "parts"] = "train"
    ours: bool = False
    reports: str = ""  # what the document reports of it
    share: float = 0.0  # of a budget
    as_long_as: str | None = None  # instead: it gets the minutes that this step took, or was given
    settings: Settings = field(default_factory=dict)
    reduced: Settings = field(default_factory=dict)  # set where there is a budget
    without_weights: Settings = field(default_factory=dict)  # set where a ResNet's can't be had


@dataclass(frozen=True)
class Story:
    """A document: what it is about, its steps, and the share of images that are kept for the test."""

    about: str
    steps: tuple[Step, ...]
    test: float = 0.1  # where the data isn't divided already
    network: str | None = None  # whose published weights the document uses
    copies: bool = False  # whether it trains on copies that lie on disk


S0 = Story(
    "photographs of everyday objects, ResNet-50 from scratch",
    test=0.2,
    copies=True,
    steps=(
        Step(
            "search",
            "Grid of 16 settings on 2 folds",
            "s0-search",
            "search",
            reports="36.61 % for its best cell, on validation",
            share=0.25,
            reduced={
                "data.image_size": 64,
                "model.stem": "imagenet",
                "tuning.space": {
                    "training.lr": [0.001, 0.01],
                    "training.batch_size": [16, 32],
                    "training.epochs": [1, 2],
                    "training.optimizer": ["sgd", "adam"],
                },
            },
        ),
        Step(
            "told",
            "ResNet-50 from scratch by the best settings, on the images and one saved copy of each",
            "s0",
            "copies",
            reports="55.29 % on its test images",
            share=0.25,
            reduced={"data.image_size": 112, "model.stem": "imagenet"},
        ),
        Step(
            "scratch",
            "From scratch in the same time: ResNet-18 at 112 px, varied anew in every epoch",
            ours=True,
            as_long_as="told",
            settings={
                "model.name": "resnet18",
                "model.weights": "none",
                "model.stem": "imagenet",
                "data.image_size": 112,
            },
        ),
        Step("transfer", "Transfer, with nothing said", ours=True, as_long_as="told"),
    ),
)
S1 = Story(
    "CIFAR-10, three models compared",
    network="resnet50",
    steps=(
        Step(
            "mlp",
            "Model 1: one hidden layer",
            "s1-mlp-document",
            reports="42.17 % on test, loss 1.64",
            share=0.05,
        ),
        Step(
            "cnn",
            "Model 2: four convolutions",
            "s1-cnn-document",
            reports="74.11 % on test, loss 0.73",
            share=0.2,
        ),
        Step(
            "search",
            "Random search of the head upon a pretrained ResNet-50",
            "s1-resnet50-search",
            "search",
            reports="93.65 % for its best trial, on validation",
            share=0.15,
            reduced={"model.pool": "average", "model.freeze": "all", "model.upsample": 2},
            without_weights=PACKAGED,
        ),
        Step(
            "resnet50",
            "Model 3: a pretrained ResNet-50 on images doubled three times",
            "s1-resnet50",
            reports="93.08 % on test, loss 0.32",
            share=0.2,
            reduced={"model.pool": "average", "model.freeze": "all", "model.upsample": 2},
            without_weights=PACKAGED,
        ),
        Step(
            "fast",
            "A small network for small images, from scratch",
            "cifar10-fast",
            ours=True,
            share=0.2,
        ),
        Step(
            "transfer",
            "Transfer, with nothing said",
            ours=True,
            as_long_as="resnet50",
        ),
    ),
)
S2 = Story(
    "sums of four handwritten digits, a pretrained ResNet-50 and five roads not taken",
    network="resnet50",
    steps=(
        Step(
            "resnet50",
            "A pretrained ResNet-50, its rates growing from early to late stages",
            "s2",
            reports="92.33 % on validation, 91.77 % on test",
            share=0.3,
            reduced={"data.image_size": 96},
            without_weights={**PACKAGED, "training.layer_decay": 0.7},
        ),
        Step(
            "cnn", "A network from scratch", "s2-cnn", share=0.15, reduced={"data.image_size": 64}
        ),
        Step(
            "resnet18",
            "ResNet-18, fine-tuned",
            "s2-resnet18",
            share=0.15,
            reduced={"data.image_size": 64, "model.stem": "imagenet"},
            without_weights={"model.weights": "none"},
        ),
        Step(
            "lora",
            "Low-rank adapters",
            "s2-lora",
            share=0.15,
            reduced={"data.image_size": 96},
            without_weights=PACKAGED,
        ),
        Step(
            "autoencoder",
            "An autoencoder, classified from its code",
            "s2-autoencoder",
            share=0.1,
            reduced={"data.image_size": 64},
        ),
        Step(
            "parts",
            "Single digits classified, their chances added up",
            "s2-parts",
            "parts",
            ours=True,
            share=0.15,
        ),
    ),
)
S3 = Story(
    "100 uneven classes, ResNet-50 frozen but for its last stage",
    network="resnet50",
    steps=(
        Step(
            "told",
            "All frozen but the last stage and the head, weighted and smoothed loss, cosine, early stopping",
            "s3",
            reports="89 % on its hidden test",
            share=0.5,
            without_weights={**PACKAGED, "model.freeze": "blocks.4"},
        ),
        Step(
            "transfer",
            "All of it fine-tuned, the head first; logits adjusted to the classes' frequencies afterwards",
            ours=True,
            as_long_as="told",
            settings={"evaluation.logit_adjustment": "fit"},
        ),
    ),
)
STORIES = {"s0": S0, "s1": S1, "s2": S2, "s3": S3}
