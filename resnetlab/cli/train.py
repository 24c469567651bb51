"""Verbs that train: train, resume, reproduce."""

from pathlib import Path
from typing import Annotated

import typer

from resnetlab.cli.options import (
    AnywayOption,
    AugmentOption,
    BatchSizeOption,
    BudgetOption,
    DeviceOption,
    EpochsOption,
    FreezeOption,
    ImageSizeOption,
    ImagesOption,
    LabelFromNameOption,
    LogOption,
    LrOption,
    ModelOption,
    OptimizerOption,
    OutOption,
    RecipeOption,
    SeedOption,
    SetOption,
    SplitOption,
    StopAtOption,
    WeightsOption,
    keep_time,
    read_recipe,
    span_of,
)
from resnetlab.cli.tables import (
    console,
    print_run,
)
from resnetlab.errors import RecipeError


def train(
    data: Annotated[
        Path | None, typer.Argument(help="As for inspect: folders, archive, table, arrays, a name.")
    ] = None,
    images: ImagesOption = None,
    label_from_name: LabelFromNameOption = False,
    recipe: RecipeOption = None,
    set_: SetOption = None,
    model: ModelOption = None,
    weights: WeightsOption = None,
    freeze: FreezeOption = None,
    epochs: EpochsOption = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Only the head, on the network's features: seconds.")
    ] = False,
    batch_size: BatchSizeOption = None,
    lr: LrOption = None,
    optimizer: OptimizerOption = None,
    image_size: ImageSizeOption = None,
    split: SplitOption = None,
    augment: AugmentOption = None,
    seed: SeedOption = None,
    device: DeviceOption = None,
    log: LogOption = None,
    out: OutOption = Path("runs"),
    name: Annotated[str | None, typer.Option(help="Name of the run.")] = None,
    export_split: Annotated[
        Path | None,
        typer.Option(help="Also copy the images into train/, val/, test/ of this folder."),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with this run, by its own recipe.")
    ] = None,
    anyway: AnywayOption = False,
    budget: BudgetOption = None,
    stop_at: StopAtOption = None,
) -> None:
    """Train a classifier, evaluate it on the validation split and write a report."""
    from resnetlab import workflows

    keep_time(budget, stop_at)
    flags = {
        "data.images": images,
        "data.label_pattern": "auto" if label_from_name else None,
        "model.name": model,
        "model.weights": weights,
        "model.freeze": freeze,
        "training.epochs": 0 if quick else epochs,
        "training.batch_size": batch_size,
        "training.lr": lr,
        "training.optimizer": optimizer,
        "data.image_size": image_size,
        "data.split": split,
        "data.augment": augment,
        "seed": seed,
        "training.device": device,
        "training.log": log,
    }
    if resume is not None:
        if data is not None or recipe or set_ or any(value is not None for value in flags.values()):
            raise RecipeError("--resume goes on by the run's own recipe and data; give it alone")
        go_on(resume, anyway)
    elif anyway:
        raise RecipeError("--anyway goes with --resume RUN")
    elif data is None:
        raise RecipeError("train needs DATA, a folder of class folders, or --resume RUN")
    else:
        print_run(
            workflows.train(
                data,
                read_recipe(recipe, set_, flags),
                out,
                name,
                export_split,
                None if budget is None else span_of(budget),
            )
        )


def resume(
    folder: Annotated[Path, typer.Argument(help="Folder of a run, or of 'resnetlab augment'.")],
    anyway: AnywayOption = False,
    budget: BudgetOption = None,
    stop_at: StopAtOption = None,
) -> None:
    """Go on with whatever was cut off in a folder, by its own settings, to the same result."""
    keep_time(budget, stop_at)
    go_on(folder, anyway)


def reproduce(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    out: OutOption = Path("runs"),
    budget: BudgetOption = None,
    stop_at: StopAtOption = None,
) -> None:
    """Train a run again, by its recipe on its images; say whether the same comes out."""
    from resnetlab import workflows

    keep_time(budget, stop_at)
    print_run(workflows.reproduce(run, out))


def go_on(folder: Path, anyway: bool) -> None:
    """Go on with what was cut off in a folder, and show what came of it."""
    from resnetlab import workflows
    from resnetlab.runs.unfinished import read_unfinished

    work = read_unfinished(folder)
    run = workflows.resume(folder, anyway)
    if work is None:
        return  # it was finished already, and that was said
    if run is None:
        console.print(f"images with their label table: {folder}", markup=False)
    else:
        print_run(run)
