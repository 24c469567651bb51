"""Which images are used, and how they reach the network."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from resnetlab.recipe.augment import Augment
from resnetlab.recipe.base import Auto, Fraction, Positive, Section


class Columns(Section):
    """Names of a label table's columns; None means the customary names are looked for."""

    image: str | None = None  # image, path, file, filename, id ...
    label: str | None = None  # label, class, target ...; or a column of 0 and 1 for each class
    split: str | None = None  # train, val, test
    group: str | None = None  # what stays in one split
    fold: str | None = None  # 0, 1, 2 ...


class Data(Section):
    """Which images are used, and how they reach the network."""

    images: str | None = None  # folder or archive of a label table's images; None: beside it
    # Further labelled images in any form, put together with DATA; of a file that both name this label counts
    more: tuple[str, ...] = ()
    columns: Columns = Columns()  # names of a label table's columns
    classes: tuple[str, ...] | None = None  # the only labels allowed, in the order of the outputs
    # Rows without an image, images without a row; named: the images are those that the table names, no others
    unmatched: Literal["error", "drop", "named"] = "error"
    # Of folders within class folders: the first level, the innermost, or both ('cats/persian'); None:
    # the first, or the one whose names repeat under each of another's.
    class_level: Literal["first", "last", "joined"] | None = None
    # Its first group, found in a file's name, is the label; auto: the usual forms, 'label_12.jpg'.
    label_pattern: str | None = None
    unknown_classes: Literal["error", "drop"] = "error"  # those that only val or test have
    allow_empty_classes: bool = False  # class folders without an image are left out
    follow_links: bool = False  # also links that lead out of the folder
    # Side of the square, px; auto: by network and images, 192 for the default network and photographs.
    image_size: Annotated[int, Field(ge=8, le=2048)] | Auto = "auto"
    fit: Literal["crop", "stretch"] = "crop"  # to a square: cut the long sides, or squeeze them
    split: tuple[Fraction, Fraction, Fraction] = (0.8, 0.1, 0.1)  # train, validation, test
    folds: Annotated[int, Field(ge=2)] | None = None  # so many, of which number `fold` validates
    fold: Annotated[int, Field(ge=0)] = 0  # the one that validates, from 0
    repeat: Annotated[int, Field(ge=0)] = 0  # another number: other folds
    time_pattern: str | None = None  # what it finds in a path is the time; the newest are tested
    keep_split_of: str | None = None  # a run whose images stay in the splits they had there
    normalize: (
        # Whose mean and deviation; network: those that its weights were trained with.
        Literal["train", "network", "imagenet", "half", "none"] | Auto
    ) = "auto"
    # A preset's name, or the keys below; auto: photo, for images of 64 px or less small.
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
    # Threads that prepare images; changes no result.
    workers: Annotated[int, Field(ge=0)] | Auto = "auto"

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
