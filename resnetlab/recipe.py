"""Everything that decides a result, as one validated tree: YAML outside, pydantic inside."""

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from resnetlab.errors import RecipeError
from resnetlab.plain_yaml import LETTERS, as_number, parse_value, read_yaml

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Auto = Literal["auto"]
Monitor = Literal["accuracy", "balanced_accuracy", "macro_f1", "loss"]


class Section(BaseModel):
    """A part of the recipe. Unknown keys are refused, values don't change after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def no_yes_or_no(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse True and False where a word or a number belongs: pydantic would take them for 1 and 0."""
        wanted = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and wanted is not bool:
            raise ValueError(
                "must not be true or false, which is also how YAML reads yes, no, on and off; "
                "put such a word in quotes"
            )
        return value


class Augment(Section):
    """How a training picture is varied; all off by default. Drawn anew for each epoch."""

    crop_scale: tuple[Fraction, Fraction] | None = None  # share of the area that a crop keeps
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)  # width over height of that crop
    # Chance of a left-right flip; 'alternate' flips every picture in every second epoch.
    flip: Fraction | Literal["alternate"] = 0.0
    rotation_deg: Annotated[float, Field(ge=0, le=180)] = 0.0  # drawn from -this to +this
    translate_frac: Fraction = 0.0  # shift, as a share of the side, in both directions
    brightness: Fraction = 0.0
    contrast: Fraction = 0.0
    saturation: Fraction = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0  # share of the colour circle
    erase: Fraction = 0.0  # chance that a rectangle of 2 to 33 % is filled with the mean colour

    @model_validator(mode="before")
    @classmethod
    def from_preset(cls, value: Any) -> Any:
        """Accept a preset's name, or a mapping with `preset` and what differs from it."""
        if isinstance(value, str):
            value = {"preset": value}
        if isinstance(value, Mapping) and "preset" in value:
            name = str(value["preset"])
            if name not in AUGMENT_PRESETS:
                names = ", ".join(AUGMENT_PRESETS)
                raise ValueError(f"must be one of {names}{did_you_mean(name, AUGMENT_PRESETS)}")
            rest = {key: item for key, item in value.items() if key != "preset"}
            return {**AUGMENT_PRESETS[name], **rest}
        return value

    @field_validator("crop_scale", "crop_ratio")
    @classmethod
    def range_is_above_zero(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        """Nothing can be drawn from an empty range, and a crop needs an area and a shape."""
        if value is not None and not 0 < value[0] <= value[1]:
            raise ValueError("must be two numbers above 0, the smaller one first")
        return value


# s0, s2 and s3 are the settings of three published student projects; S2's document gives
# no angle, 15 degrees is what such tutorials use.
AUGMENT_PRESETS: dict[str, dict[str, Any]] = {
    "none": {},
    "shift": {"translate_frac": 0.125, "rotation_deg": 10.0},
    "small": {"flip": 0.5, "translate_frac": 0.125},
    "photo": {"crop_scale": (0.35, 1.0), "flip": 0.5, "brightness": 0.2, "contrast": 0.2, "saturation": 0.2},
    "s0": {"crop_scale": (0.08, 1.0), "flip": 0.5, "rotation_deg": 30.0, "brightness": 0.2, "contrast": 0.2,
           "saturation": 0.2, "hue": 0.2},
    "s2": {"rotation_deg": 15.0},
    "s3": {"flip": 0.5, "rotation_deg": 15.0, "brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.1},
}  # fmt: skip


class Columns(Section):
    """Names of a label table's columns; None means the customary names are looked for."""

    image: str | None = None  # image, path, file, filename, id ...
    label: str | None = None  # label, class, target ...; or a column of 0 and 1 for each class
    split: str | None = None
    group: str | None = None
    fold: str | None = None


class Data(Section):
    """Which pictures take part, and how they reach the network."""

    pictures: str | None = None  # folder or archive of a label table's pictures; None: beside it
    columns: Columns = Columns()  # of a label table
    classes: tuple[str, ...] | None = None  # the only labels allowed, in the order of the outputs
    unmatched: Literal["error", "drop"] = "error"  # rows without a picture, pictures without a row
    allow_empty_classes: bool = False  # class folders without a picture are left out
    follow_links: bool = False  # also links that lead out of the folder
    image_size: Annotated[int, Field(ge=8, le=2048)] | Auto = "auto"  # side of the square, px
    fit: Literal["crop", "stretch"] = "crop"  # to a square: cut the long sides, or squeeze them
    split: tuple[Fraction, Fraction, Fraction] = (0.8, 0.1, 0.1)  # train, validation, test
    folds: Annotated[int, Field(ge=2)] | None = None  # then fold number `fold` validates
    fold: Annotated[int, Field(ge=0)] = 0
    repeat: Annotated[int, Field(ge=0)] = 0  # deals the folds anew
    time_pattern: str | None = None  # what it finds in a path is the time; the newest are tested
    keep_split_of: str | None = None  # a run whose pictures stay in the parts they had there
    normalize: Literal["train", "imagenet", "half", "none"] | Auto = "auto"  # whose mean, deviation
    augment: Augment | Auto = "auto"
    group_pattern: str | None = None  # what it finds in a path (its first group) names the group
    conflicts: Literal["drop", "error"] = "drop"  # the same picture under two labels
    leaks: Literal["drop", "error"] = "drop"  # training copies of pictures in a given other part
    near_duplicates: Literal["group", "ignore"] = "group"  # altered copies stay together
    max_problem_frac: Fraction = 0.01  # more quarantined pictures than this stop the run
    max_pixels: Positive = 50_000_000  # a larger picture is quarantined before it is decoded
    min_size: Positive = 1  # shorter side, px; a smaller picture is quarantined
    allow_truncated: bool = False  # JPEG files whose end is missing
    store: Literal["pixels", "jpeg"] | Auto = "auto"  # how decoded pictures are kept
    workers: Annotated[int, Field(ge=0)] | Auto = "auto"  # threads; changes no result

    @field_validator("split")
    @classmethod
    def fractions_sum_to_one(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        """Two parts may be absent, the training part may not."""
        if abs(sum(value) - 1) > 1e-6 or value[0] == 0:
            raise ValueError(
                "must be three fractions (train, validation, test) that sum to 1, train above 0"
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

    name: str = "resnet50"
    weights: str = "auto"  # auto | none | imagenet | a file
    stem: Literal["imagenet", "small"] | Auto = "auto"
    hidden: tuple[Positive, ...] = ()  # widths of dense layers between the network and the last one
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0  # before every dense layer at the end
    freeze: str = "none"  # the last stage that doesn't learn, such as layer3; all: but the head


class Training(Section):
    """The optimisation."""

    epochs: Positive = 30
    batch_size: Positive = 32
    lr: Annotated[float, Field(gt=0)] | Auto = "auto"
    head_lr: Annotated[float, Field(gt=0)] | None = None  # of the last layer; None: lr
    bias_lr: Annotated[float, Field(gt=0)] | None = None  # of all other biases and norms; None: lr
    optimizer: Literal["sgd", "adam", "adamw", "muon"] = "sgd"
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9  # of SGD, Nesterov's
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4  # never on biases and norms
    schedule: Literal["constant", "step", "linear", "cosine", "onecycle", "plateau"] = "cosine"
    warmup_epochs: Annotated[float, Field(ge=0)] = 1.0
    step_epochs: Positive = 10  # step: the rate falls by step_factor every so many epochs
    step_factor: Annotated[float, Field(gt=0, le=1)] = 0.1  # step and plateau
    plateau_epochs: Positive = 3  # plateau: epochs without a better score before the rate falls
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    mixup: Annotated[float, Field(ge=0)] = 0.0  # alpha: 0.2 lays pictures lightly over each other
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None  # decay of the averaged weights, 0.999
    accumulate: Positive = 1  # batches that make one step
    # Augmented views of each picture whose frozen features are kept; 0 computes them in each epoch.
    frozen_views: Annotated[int, Field(ge=0)] | Auto = "auto"
    # Smaller pictures at first: from start_size (px), growing evenly to data.image_size, which is
    # reached after full_size_from of the epochs.
    start_size: Annotated[int, Field(ge=8, le=2048)] | None = None
    full_size_from: Fraction = 0.7
    precision: Literal["fp32", "bf16"] | Auto = "auto"
    device: Literal["cpu", "cuda"] | Auto = "auto"
    threads: Positive | Auto = "auto"  # of the network on a processor
    checkpoint_minutes: Annotated[float, Field(gt=0)] = 5.0  # between two within an epoch
    monitor: Monitor = "accuracy"  # on validation; decides which epoch is the best
    patience: Positive | None = None  # early stopping: epochs without a better score
    # A loss that is not finite ends the run, or sends it back to its last checkpoint at half the rate.
    on_divergence: Literal["stop", "restart"] = "stop"
    log: Literal["tensorboard"] | None = None


class Evaluation(Section):
    """How the network is asked, and how sure we are."""

    image_size: Annotated[int, Field(ge=8, le=2048)] | None = None  # px; None: as in training
    mirror: bool = False  # answers are the mean over a picture and its mirror image
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    resamples: Annotated[int, Field(ge=100)] = 2000  # of the bootstrap


class Setting(Section):
    """A setting to be searched; `when` names others, with the values for which this one matters."""

    when: dict[str, tuple[Any, ...]] = {}

    @field_validator("when", mode="before")
    @classmethod
    def one_value_is_enough(cls, value: Any) -> Any:
        """Take `training.optimizer: sgd` for a list of one."""
        if isinstance(value, Mapping):
            return {
                key: each if isinstance(each, list | tuple) else [each]
                for key, each in value.items()
            }
        return value


class Choice(Setting):
    """One of several values."""

    choices: Annotated[tuple[Any, ...], Field(min_length=1)]

    @field_validator("choices")
    @classmethod
    def numbers_are_numbers(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        """Take '1e-3', which YAML reads as a word, for the number it is; refuse one that stands twice."""
        value = tuple(as_number(each) for each in value)
        twice = [each for each in value if value.count(each) > 1]
        if twice:
            raise ValueError(f"must name each value once, {twice[0]} stands twice")
        return value


class Range(Setting):
    """A number between two bounds, both possible; whole where both are whole."""

    low: int | float
    high: int | float
    log: bool = False  # drawn evenly over orders of magnitude
    step: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def bounds_are_in_order(self) -> "Range":
        """A range needs room, and one over orders of magnitude begins above 0."""
        if self.low >= self.high:
            raise ValueError(f"low must be below high ({self.high})")
        if self.log and self.low <= 0:
            raise ValueError("low must be above 0 where log is true")
        if self.log and self.step:
            raise ValueError("step must be left out where log is true")
        return self


def kind_of_setting(value: Any) -> str:
    """Return which of the two a searched setting is meant to be."""
    choices = isinstance(value, Choice) or (isinstance(value, Mapping) and "choices" in value)
    return "choice" if choices else "range"


class Tuning(Section):
    """The search for the best settings. It decides nothing in a training by itself."""

    # By dotted key: a list of values, or a mapping with low and high.
    space: dict[
        str,
        Annotated[
            Annotated[Choice, Tag("choice")] | Annotated[Range, Tag("range")],
            Discriminator(kind_of_setting),
        ],
    ] = {}
    folds: Positive = 5  # 1: the validation part of data.split
    repeats: Positive = 1  # each deals the folds anew, with another seed of the training
    # None: grid where every setting is a list and no number of trials is given, else tpe.
    sampler: Literal["grid", "random", "tpe", "qmc"] | None = None
    trials: Positive | None = None  # None: the whole grid, else 20
    # How hopeless trials are given up early; None: halving, but none in a grid without a budget.
    pruner: Literal["none", "median", "halving", "hyperband"] | None = None
    select: Literal["best", "one-se"] = "best"  # one-se: the cheapest within one standard error

    @field_validator("space", mode="before")
    @classmethod
    def a_list_is_a_choice(cls, value: Any) -> Any:
        """Take a list for the values to choose from."""
        if isinstance(value, Mapping):
            return {
                key: {"choices": each} if isinstance(each, list | tuple) else each
                for key, each in value.items()
            }
        return value


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
        unknown = [no_such_key(key) for key in values if without_place(key) not in RECIPE_KEYS]
        if unknown:
            raise RecipeError("; ".join(unknown))
        tree = self.model_dump(mode="json")
        # Wholes before their parts, so that the order in which they were given decides nothing.
        for key in sorted(values, key=lambda key: (key.count("."), key != PRESET_KEY)):
            set_key(tree, key, values[key])
        return validate(tree, "recipe")


def evaluation_size(recipe: Recipe) -> int:
    """Return the side (px) of the pictures in evaluation, of a recipe whose training size is settled."""
    return recipe.evaluation.image_size or int(recipe.data.image_size)


def largest_size(recipe: Recipe) -> int:
    """Return the largest side (px) at which the network ever sees a picture."""
    return max(int(recipe.data.image_size), evaluation_size(recipe))


def load_recipe(name_or_file: str | Path) -> Recipe:
    """Read a shipped recipe by name, or a YAML file.

    Raises RecipeError where there is none, or it isn't valid.
    """
    path = Path(name_or_file)
    if path.suffix not in {".yaml", ".yml"}:
        path = recipe_folder() / f"{name_or_file}.yaml"
        if not path.is_file():
            names = recipe_names()
            raise RecipeError(
                f"there is no recipe '{name_or_file}' (shipped: {', '.join(names)}; "
                f"or give a .yaml file){did_you_mean(name_or_file, names)}"
            )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: can't be read ({error})") from error
    try:
        tree = read_yaml(text)
    except ValueError as error:
        raise RecipeError(f"{path}: not valid YAML ({error})") from error
    return validate({} if tree is None else tree, str(path))  # None: nothing but comments


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
            describe_fault(fault)
            for fault in error.errors()
            if fault.get("ctx", {}).get("expected") not in ("'auto'", "'alternate'")
        )
        raise RecipeError(f"{origin}: " + "; ".join(faults)) from error


def describe_fault(fault: Mapping[str, Any]) -> str:
    """Put one of pydantic's faults into a sentence that names the key, the rule and the value."""
    *sections, last = map(str, fault["loc"])
    # A union adds the name of the branch it tried to the location; keep what is a key.
    location = [step for step in sections if step in RECIPE_WORDS or "." in step]
    if fault["type"] == "extra_forbidden":
        return no_such_key(".".join([*location, last]))
    key = ".".join([*location, last] if last in RECIPE_WORDS else location)
    message = fault["msg"].removeprefix("Value error, ")
    for theirs, ours in WORDING.items():
        message = re.sub(theirs, ours, message)
    full_stop = "" if message.endswith("?") else "."
    return f"{key} {message}{full_stop} Got {fault['input']!r:.{LETTERS}}".lstrip()


# What pydantic says, and what a reader who knows YAML but not Python can do with.
WORDING = {
    "^(Input|Tuple) should": "must",
    "^Keys should": "keys must",
    "^Field required": "must have more values",
    "a valid dictionary or instance of .*": "a mapping of keys to values",
    "a valid tuple": "a list of values",
    " after validation": "",
}


def no_such_key(key: str) -> str:
    """Return the sentence about a key that no recipe has, however little of it was given."""
    names = {name: name for name in RECIPE_KEYS} | OTHER_NAMES
    words = {name.rpartition(".")[2]: meant for name, meant in reversed(names.items())}
    close = difflib.get_close_matches(key, names, n=1) or difflib.get_close_matches(key, words, n=1)
    hint = f", did you mean '{(words | names)[close[0]]}'?" if close else ""
    return f"'{key}' is no key of a recipe{hint}"


def did_you_mean(word: Any, options: Any) -> str:
    """Return ', did you mean ...?' where an option is close, else nothing."""
    close = difflib.get_close_matches(str(word), [str(option) for option in options], n=1)
    return f", did you mean '{close[0]}'?" if close else ""


def parse_assignments(assignments: Sequence[str]) -> dict[str, Any]:
    """Turn `training.lr=0.01` into {'training.lr': 0.01}; the value is read as YAML.

    YAML 1.1 takes '1e-3' for a string; a number that Python understands is taken as one.
    """
    values = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise RecipeError(f"--set takes KEY=VALUE. Got '{assignment}'")
        try:
            values[key.strip()] = parse_value(text)
        except ValueError as error:
            raise RecipeError(f"--set {key}: '{text}' is not valid YAML") from error
    return values


def without_place(key: str) -> str:
    """Return a key without the place in a list that it may end with, as in `model.hidden.0`."""
    return re.sub(r"\.\d+$", "", key)


def set_key(tree: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key of RECIPE_KEYS in a tree of plain values."""
    *sections, last = key.split(".")
    if last.isdecimal():
        set_place(tree, ".".join(sections), int(last), value)
        return
    for section in sections:
        word = tree[section]
        if isinstance(word, str):  # `augment` is a word, and is about to get values of its own
            tree[section] = {} if word == "auto" else {"preset": word}
        tree = tree[section]
    if key == PRESET_KEY:
        tree.clear()  # a preset replaces every value that was there
    tree[last] = value


def set_place(tree: dict[str, Any], key: str, place: int, value: Any) -> None:
    """Set one value of a list in a tree of plain values. Raises RecipeError where it is too short."""
    *sections, last = key.split(".")
    for section in sections:
        tree = tree[section]
    values = tree[last]
    if not isinstance(values, list) or place >= len(values):
        raise RecipeError(f"'{key}.{place}' is no place in {key}, which is {values}")
    tree[last] = [*values[:place], value, *values[place + 1 :]]


def recipe_folder() -> Path:
    """Return the folder of the shipped recipes: inside an installed package, beside a checkout."""
    package = Path(__file__).parent
    installed = package / "recipes"
    return installed if installed.is_dir() else package.parent / "recipes"


def recipe_names() -> list[str]:
    """Return the names of the shipped recipes."""
    return sorted(path.stem for path in recipe_folder().glob("*.yaml"))


def _keys(section: type[Section], prefix: str = "") -> list[str]:
    keys = []
    for name, field in section.model_fields.items():
        keys.append(prefix + name)
        for option in (field.annotation, *get_args(field.annotation)):
            if isinstance(option, type) and issubclass(option, Section):
                keys += _keys(option, f"{prefix}{name}.")
    return keys


PRESET_KEY = "data.augment.preset"
RECIPE_KEYS = [*_keys(Recipe), PRESET_KEY]
OTHER_NAMES = {"training.learning_rate": "training.lr"}  # what people look for
RECIPE_WORDS = {word for key in RECIPE_KEYS for word in key.split(".")}
