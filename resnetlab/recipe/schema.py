"""Everything that decides a result, as one validated tree: YAML outside, pydantic inside."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from resnetlab.errors import RecipeError
from resnetlab.recipe.augment import Augment
from resnetlab.recipe.base import Auto, Fraction, Monitor, Positive, Section
from resnetlab.recipe.faults import describe_fault, no_such_key
from resnetlab.recipe.keys import PRESET_KEY, keys_of, set_key, without_index
from resnetlab.recipe.tuning import Tuning


class Columns(Section):
    """Names of a label table's columns; None means the customary names are looked for."""

    image: str | None = None  # image, path, file, filename, id ...
    label: str | None = None  # label, class, target ...; or a column of 0 and 1 for each class
    split: str | None = None
    group: str | None = None
    fold: str | None = None


class Data(Section):
    """Which images are used, and how they reach the network."""

    images: str | None = None  # folder or archive of a label table's images; None: beside it
    columns: Columns = Columns()  # of a label table
    classes: tuple[str, ...] | None = None  # the only labels allowed, in the order of the outputs
    unmatched: Literal["error", "drop"] = "error"  # rows without an image, images without a row
    # Of folders within class folders: the first level, the innermost, or both ('cats/persian'); None:
    # the first, or the one whose names repeat under each of another's.
    class_level: Literal["first", "last", "joined"] | None = None
    # Its first group, found in a file's name, is the label; auto: the usual forms, 'label_12.jpg'.
    label_pattern: str | None = None
    unknown_classes: Literal["error", "drop"] = "error"  # those that only val or test have
    allow_empty_classes: bool = False  # class folders without an image are left out
    follow_links: bool = False  # also links that lead out of the folder
    image_size: Annotated[int, Field(ge=8, le=2048)] | Auto = "auto"  # side of the square, px
    fit: Literal["crop", "stretch"] = "crop"  # to a square: cut the long sides, or squeeze them
    split: tuple[Fraction, Fraction, Fraction] = (0.8, 0.1, 0.1)  # train, validation, test
    folds: Annotated[int, Field(ge=2)] | None = None  # then fold number `fold` validates
    fold: Annotated[int, Field(ge=0)] = 0
    repeat: Annotated[int, Field(ge=0)] = 0  # another number: other folds
    time_pattern: str | None = None  # what it finds in a path is the time; the newest are tested
    keep_split_of: str | None = None  # a run whose images stay in the splits they had there
    normalize: (
        # Whose mean and deviation; network: those that its weights were trained with.
        Literal["train", "network", "imagenet", "half", "none"] | Auto
    ) = "auto"
    augment: Augment | Auto = "auto"
    group_pattern: str | None = None  # what it finds in a path (its first group) names the group
    # Without groups given, those that file names tell of (tracks, patients, tools' copies) count where
    # the images bear them out.
    name_groups: Literal["find", "ignore"] = "find"
    conflicts: Literal["drop", "error"] = "drop"  # the same image under two labels
    leaks: Literal["drop", "error"] = "drop"  # training images that are copies of val or test ones
    near_duplicates: Literal["group", "ignore"] = "group"  # near-duplicates stay together
    max_problem_frac: Fraction = 0.01  # more quarantined images than this stop the run
    # What becomes black and white in images of more than 8 bits; auto: one scale for all of them, from
    # their values. None: there are none.
    value_range: tuple[float, float] | Auto | None = "auto"
    max_pixels: Positive = 50_000_000  # a larger image is quarantined before it is decoded
    min_size: Positive = 1  # shorter side, px; a smaller image is quarantined
    allow_truncated: bool = False  # JPEG files whose end is missing
    store: Literal["pixels", "jpeg"] | Auto = "auto"  # how decoded images are kept
    workers: Annotated[int, Field(ge=0)] | Auto = "auto"  # threads; changes no result

    @field_validator("split")
    @classmethod
    def fractions_sum_to_one(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        """Two splits may be absent, the training split may not."""
        if abs(sum(value) - 1) > 1e-6 or value[0] == 0:
            raise ValueError(
                "must be three fractions (train, validation, test) that sum to 1, train above 0"
            )
        return value

    @field_validator("value_range")
    @classmethod
    def range_rises(cls, value: Any) -> Any:
        """White must be above black."""
        if isinstance(value, tuple) and not value[0] < value[1]:
            raise ValueError(
                "must be two numbers, what becomes black and what white, the first lower"
            )
        return value

    @model_validator(mode="after")
    def fold_is_there(self) -> "Data":
        """Folds are counted from 0."""
        if self.fold >= (self.folds or 1):
            raise ValueError(f"fold must be below folds ({self.folds}), they are counted from 0")
        return self


class Model(Section):
    """Which network, and what it starts from."""

    name: str = "auto"  # one of ours, any of timm's, or a run or bundle to go on from
    candidates: tuple[str, ...] = ()  # networks of which the one with the best head is fine-tuned
    # none | imagenet | a tag of timm | a file, run or bundle | hf:user/name; auto: imagenet, where
    # the network takes images that large.
    weights: str = "auto"
    # weights: that of model.weights, a run or bundle, for the classes it knows; others begin anew
    head: Literal["new", "weights"] = "new"
    stem: Literal["imagenet", "small"] | Auto = "auto"
    hidden: tuple[Positive, ...] = ()  # widths of dense layers between the network and the last one
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0  # before every dense layer at the end
    freeze: str = "none"  # the last stage that doesn't learn, such as layer3; all: but the head


class Training(Section):
    """The optimisation."""

    # The defaults below that are "auto" depend on whether the network starts from published weights.
    epochs: Annotated[int, Field(ge=0)] | Auto = "auto"  # 0: the head alone, fitted on features
    batch_size: Positive = 32
    lr: Annotated[float, Field(gt=0)] | Auto = "auto"
    layer_decay: Annotated[float, Field(gt=0, le=1)] | Auto = (
        "auto"  # lr of a stage by the next one's
    )
    stage_lr: dict[str, Annotated[float, Field(gt=0)]] = {}  # lr of single stages, by name
    # Begin with a head fitted by logistic regression on the features (Kumar et al. 2022, LP-FT).
    head_first: bool | Auto = "auto"
    # Gradual unfreezing: from the last one on, a stage more begins to learn after so many epochs each
    # (Howard and Ruder 2018, ULMFiT); None: all learn from the start.
    unfreeze_epochs: Annotated[float, Field(gt=0)] | None = None
    freeze_norms: bool = False  # batch norms keep the statistics that they came with
    head_lr: Annotated[float, Field(gt=0)] | None = None  # of the last layer; None: lr
    bias_lr: Annotated[float, Field(gt=0)] | None = None  # of all other biases and norms; None: lr
    optimizer: Literal["sgd", "adam", "adamw", "muon"] | Auto = "auto"
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9  # of SGD, Nesterov's
    weight_decay: Annotated[float, Field(ge=0)] | Auto = "auto"  # never on biases and norms
    schedule: Literal["constant", "step", "linear", "cosine", "onecycle", "plateau"] = "cosine"
    warmup_epochs: Annotated[float, Field(ge=0)] | Auto = "auto"
    step_epochs: Positive = 10  # step: lr is multiplied by step_factor every so many epochs
    step_factor: Annotated[float, Field(gt=0, le=1)] = 0.1  # step and plateau
    # plateau: epochs without a better score (without validation: training loss) before lr falls
    plateau_epochs: Positive = 3
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] | Auto = "auto"
    mixup: Annotated[float, Field(ge=0)] = 0.0  # alpha: 0.2 lays images lightly over each other
    clip_norm: Annotated[float, Field(gt=0)] | Auto | None = "auto"
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None  # decay of the averaged weights, 0.999
    accumulate: Positive = 1  # batches that make one step
    # Augmented views of each image whose frozen features are kept; 0 computes them in each epoch.
    frozen_views: Annotated[int, Field(ge=0)] | Auto = "auto"
    # Smaller images at first: from start_size (px), growing evenly to data.image_size, which is
    # reached after full_size_from of the epochs.
    start_size: Annotated[int, Field(ge=8, le=2048)] | None = None
    full_size_from: Fraction = 0.7
    precision: Literal["fp32", "bf16"] | Auto = "auto"
    feature_precision: Literal["fp32", "bf16"] | Auto = "auto"  # of the features for head_first
    device: Literal["cpu", "cuda"] | Auto = "auto"
    # Of the network on a processor; adaptive: as many as are fastest, tried anew where other programs
    # come or go. Each number gives other bits; history.csv tells which one computed an epoch.
    threads: Positive | Auto | Literal["adaptive"] = "auto"
    checkpoint_minutes: Annotated[float, Field(gt=0)] = 5.0  # between two within an epoch
    monitor: Monitor = "accuracy"  # on validation; decides which epoch is the best
    patience: Positive | None = None  # early stopping: epochs without a better score
    # A loss that is not finite ends the run, or sends it back to its last checkpoint at half the lr.
    on_divergence: Literal["stop", "restart"] = "stop"
    log: Literal["tensorboard"] | None = None


class Evaluation(Section):
    """How predictions are made and scored."""

    image_size: Annotated[int, Field(ge=8, le=2048)] | None = None  # px; None: as in training
    # Predictions are the mean over an image and its flip; if_better: where the loss on validation
    # clearly falls by it. auto: that, where training starts from published weights.
    horizontal_flip: bool | Literal["if_better"] | Auto = "auto"
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    resamples: Annotated[int, Field(ge=100)] = 2000  # of the bootstrap


class Recipe(Section):
    """Everything that decides a result."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    data: Data = Data()
    model: Model = Model()
    training: Training = Training()
    tuning: Tuning = Tuning()
    evaluation: Evaluation = Evaluation()

    def to_yaml(self) -> str:
        """Return the whole tree as YAML, defaults included."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)

    def override(self, values: Mapping[str, Any]) -> "Recipe":
        """Return a copy in which `values`, by dotted key, replace what was there.

        Raises RecipeError for an unknown key or a value of the wrong type or range.
        """
        unknown = [
            no_such_key(key, RECIPE_KEYS) for key in values if without_index(key) not in RECIPE_KEYS
        ]
        if unknown:
            raise RecipeError("; ".join(unknown))
        tree = self.model_dump(mode="json")
        # A section before the keys inside it, so that the order in which they were given decides nothing.
        for key in sorted(values, key=lambda key: (key.count("."), key != PRESET_KEY)):
            set_key(tree, key, values[key])
        return validate(tree, "recipe")


def evaluation_size(recipe: Recipe) -> int:
    """Return the side (px) of the images in evaluation, of a recipe whose training size is settled."""
    return recipe.evaluation.image_size or int(recipe.data.image_size)


def largest_size(recipe: Recipe) -> int:
    """Return the largest side (px) at which the network ever sees an image."""
    return max(int(recipe.data.image_size), evaluation_size(recipe))


def validate(tree: Any, origin: str) -> Recipe:
    """Check a tree of plain values. Raises RecipeError that lists every fault at once."""
    if not isinstance(tree, dict):
        raise RecipeError(
            f"{origin}: must be a mapping of keys to values. Got {type(tree).__name__}"
        )
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        # What may be a number or a word is refused twice; the sentence about the word adds nothing.
        faults = dict.fromkeys(
            describe_fault(fault, RECIPE_KEYS)
            for fault in error.errors()
            if fault.get("ctx", {}).get("expected") not in ("'auto'", "'alternate'")
        )
        raise RecipeError(f"{origin}: " + "; ".join(faults)) from error


RECIPE_KEYS = [*keys_of(Recipe), PRESET_KEY]
