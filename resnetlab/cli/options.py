"""The words of a command line: options that several verbs share, and what they mean."""

import re
from collections import deque
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from resnetlab.errors import RecipeError
from resnetlab.recipe import Recipe, load_recipe, parse_assignments
from resnetlab.system import interruption

DataArgument = Annotated[
    Path,
    typer.Argument(
        help="Class folders, an archive of them, a label table, arrays, shards, or a name such as "
        "kaggle:cifar-10, hf:NAME, torchvision:NAME."
    ),
]
MoreArgument = Annotated[
    list[Path] | None,
    typer.Argument(
        help="Further labelled images in any form, put together with DATA.", show_default=False
    ),
]

ImagesOption = Annotated[
    str | None, typer.Option("--images", help="Folder or archive of a label table's images.")
]
LabelFromNameOption = Annotated[
    bool,
    typer.Option("--label-from-name", help="Labels stand in the file names: label_12.jpg."),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document with all figures, nothing else.")
]
OpenOption = Annotated[bool, typer.Option("--open", help="Show the report in the browser.")]
RecipeOption = Annotated[
    str | None, typer.Option("--recipe", help="A shipped recipe's name, or a YAML file.")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="KEY=VALUE, any key of the recipe; repeatable.")
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="mlp, cnn, autoencoder, fastcnn, fastcnn-wide, resnet18, 34, 50, 101, 152, any network of timm, a run "
        "to start from; several with commas: the one whose features suit the images best.",
    ),
]
WeightsOption = Annotated[
    str | None,
    typer.Option(
        "--weights", help="none, imagenet, a tag of timm, a file, a run or bundle, hf:user/name."
    ),
]
FreezeOption = Annotated[
    str | None,
    typer.Option(
        "--freeze",
        help="Last frozen stage: layer3 of a ResNet, blocks.4 of the default network; all: everything but "
        "the head; none.",
    ),
]
EpochsOption = Annotated[
    int | None, typer.Option("--epochs", help="Passes over the training images.")
]
BatchSizeOption = Annotated[int | None, typer.Option("--batch-size", help="Images in a batch.")]
LrOption = Annotated[float | None, typer.Option("--lr", help="Peak learning rate.")]
OptimizerOption = Annotated[str | None, typer.Option("--optimizer", help="sgd, adam, adamw, muon.")]
ImageSizeOption = Annotated[
    int | None, typer.Option("--image-size", help="Side of the network's input, px.")
]
SplitOption = Annotated[
    tuple[float, float, float] | None,
    typer.Option("--split", help="Fractions: train, validation, test."),
]
AugmentOption = Annotated[
    str | None, typer.Option("--augment", help="none, shift, small, photo, s0, s2, s3.")
]
SeedOption = Annotated[
    int | None,
    typer.Option("--seed", help="Random seed: split, order, augmentation, initial weights."),
]
DeviceOption = Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda.")]
LogOption = Annotated[
    str | None,
    typer.Option("--log", help="tensorboard: write event files too; mlflow: tell its server."),
]
OutOption = Annotated[Path, typer.Option("--out", help="Where runs go.")]
BudgetOption = Annotated[
    str | None,
    typer.Option(
        "--budget",
        help="Work at most so long, end saved: 55m, 2h, 1h30m; train without --epochs chooses as many as fit.",
    ),
]
StopAtOption = Annotated[
    str | None,
    typer.Option("--stop-at", help="End at this time of day, saved; plans nothing: 14:30."),
]
LrsOption = Annotated[list[float] | None, typer.Option("--lr", help="Peak learning rates to try.")]
BatchSizesOption = Annotated[
    list[int] | None, typer.Option("--batch-size", help="Batch sizes to try.")
]
EpochCountsOption = Annotated[
    list[int] | None, typer.Option("--epochs", help="Numbers of epochs to try.")
]
OptimizersOption = Annotated[
    list[str] | None,
    typer.Option("--optimizer", help="Optimisers to try, of sgd, adam, adamw, muon."),
]
ModelsOption = Annotated[list[str] | None, typer.Option("--model", help="Networks to try.")]
AnywayOption = Annotated[
    bool,
    typer.Option(
        "--anyway",
        help="Go on although recipe or training images have changed since; it is recorded.",
    ),
]


# Options of `tune` that take several values after one name, with what such a value looks like. A network
# may have any name; a flag, a data set to be fetched and a folder are none.
SEVERAL = {
    "--lr": re.compile(r"[\d.]+(e[+-]?\d+)?", re.IGNORECASE),
    "--batch-size": re.compile(r"\d+"),
    "--epochs": re.compile(r"\d+"),
    "--optimizer": re.compile("sgd|adamw?|muon"),
    "--model": re.compile(r"(?!-|kaggle:|hf:|torchvision:).*[^/]"),
}


def spread_values(arguments: Sequence[str]) -> list[str]:
    """Return `tune --lr 0.1 0.2` as `tune --lr 0.1 --lr 0.2`, which the parser understands; else as it was."""
    if "tune" not in arguments[:1]:
        return list(arguments)
    words, spread = deque(arguments), list[str]()
    while words:
        word = words.popleft()
        spread.append(word)
        if word in SEVERAL and words:
            spread.append(words.popleft())  # the first value, whatever it is
            while words and is_further(word, words[0]):
                spread += [word, words.popleft()]
    return spread


def is_further(option: str, word: str) -> bool:
    """Return whether a word is a further value of an option; a file or folder that exists is data, no network."""
    if option == "--model" and Path(word).exists():
        return False
    return SEVERAL[option].fullmatch(word) is not None


def with_searched(recipe: Recipe, several: dict[str, list[Any] | None]) -> Recipe:
    """Return a recipe in which a key with one value has it, and one with several is searched."""
    given = {key: values for key, values in several.items() if values}
    recipe = recipe.override({key: each[0] for key, each in given.items() if len(each) == 1})
    space = {key: s.model_dump() for key, s in recipe.tuning.space.items() if key not in given}
    space |= {key: {"choices": values} for key, values in given.items() if len(values) > 1}
    return recipe.override({"tuning.space": space})


def further(more: Sequence[Path] | None) -> list[str] | None:
    """Return the further sources as a recipe keeps them, wherever a later command is given; None: none were named."""
    from resnetlab.runs.unfinished import lasting

    return [lasting(path) for path in more] if more else None


def span_of(budget: str) -> float:
    """Return the seconds of a budget."""
    try:
        return interruption.seconds_of(budget)
    except ValueError as error:
        raise RecipeError(
            f"--budget takes a time such as 55m, 2h or 1h30m. Got '{budget}'"
        ) from error


def keep_time(budget: str | None, stop_at: str | None) -> None:
    """Have the work end in time, where that is asked for."""
    if budget is not None:
        interruption.set_deadline(span_of(budget))
    try:
        if stop_at is not None:
            interruption.set_deadline(interruption.seconds_until(stop_at, datetime.now()))
    except ValueError as error:
        raise RecipeError(
            f"--stop-at takes a time of the day such as 14:30. Got '{stop_at}'"
        ) from error


def read_recipe(
    name: str | None,
    assignments: Sequence[str] | None,
    flags: dict[str, Any] | None = None,
    before: Recipe | None = None,
) -> Recipe:
    """Return the recipe a user means: a file's, one `before` or the default; then --set, then flags."""
    recipe = load_recipe(name) if name else before or Recipe()
    given = {key: value for key, value in (flags or {}).items() if value is not None}
    return recipe.override(parse_assignments(assignments or []) | given)
