"""Verbs that train: train, resume, reproduce."""

from pathlib import Path
from typing import Annotated, Any

import typer

from resnetlab.cli.launching import DevicesOption, NodesOption, StrategyOption, spread
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
    JsonOption,
    LabelFromNameOption,
    LogOption,
    LrOption,
    ModelOption,
    MoreArgument,
    OpenOption,
    OptimizerOption,
    OutOption,
    RecipeOption,
    SeedOption,
    SetOption,
    SplitOption,
    StopAtOption,
    WeightsOption,
    further,
    keep_time,
    read_recipe,
    span_of,
)
from resnetlab.cli.scores import print_paths, print_run, show_page
from resnetlab.cli.tables import console
from resnetlab.errors import RecipeError
from resnetlab.recipe import Recipe


def train(
    data: Annotated[
        Path | None, typer.Argument(help="As for inspect: folders, archive, table, arrays, a name.")
    ] = None,
    more: MoreArgument = None,
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
    devices: DevicesOption = None,
    nodes: NodesOption = None,
    strategy: StrategyOption = "ddp",
    log: LogOption = None,
    out: OutOption = Path("runs"),
    name: Annotated[str | None, typer.Option(help="Name of the run.")] = None,
    export_split: Annotated[
        Path | None,
        typer.Option(help="Also copy the images into train/, val/, test/ of this folder."),
    ] = None,
    from_: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="Begin with a finished run: its network, settings and split. DATA holds its images "
            "and the new ones.",
        ),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with this run, by its own recipe.")
    ] = None,
    anyway: AnywayOption = False,
    budget: BudgetOption = None,
    stop_at: StopAtOption = None,
    json: JsonOption = False,
    open_: OpenOption = False,
) -> None:
    """Train a classifier, evaluate it on the validation split and write a report."""
    from resnetlab import workflows

    spread(devices, nodes, strategy, device)
    keep_time(budget if resume is None else None, stop_at)
    flags = {
        "data.images": images,
        "data.more": further(more),
        "data.label_pattern": "auto" if label_from_name else None,
        **networks(model),
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
        given = [data, recipe, set_, from_, *flags.values()]
        if any(value is not None for value in given):
            raise RecipeError("--resume goes on by the run's own recipe and data; give it alone")
        go_on(resume, anyway, budget, json=json, open_=open_)
    elif anyway:
        raise RecipeError("--anyway goes with --resume RUN")
    elif data is None:
        raise RecipeError("train needs DATA, a folder of class folders, or --resume RUN")
    else:
        begun = None if from_ is None else begun_with(from_, recipe, set_, flags, budget)
        print_run(
            workflows.train(
                data,
                begun or read_recipe(recipe, set_, flags),
                out,
                name,
                export_split,
                None if budget is None else span_of(budget),
            ),
            json,
            open_,
        )


def networks(model: str | None) -> dict[str, Any]:
    """Return what --model says: a network, or several with commas between them."""
    if model is None or "," not in model:
        return {"model.name": model}
    return {"model.candidates": [name.strip() for name in model.split(",") if name.strip()]}


def resume(
    folder: Annotated[Path, typer.Argument(help="Folder of a run, or of 'resnetlab augment'.")],
    anyway: AnywayOption = False,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Make a finished training so long, in all.")
    ] = None,
    patience: Annotated[
        int | None, typer.Option(min=1, help="Go on with one that was stopped early.")
    ] = None,
    devices: DevicesOption = None,
    nodes: NodesOption = None,
    strategy: StrategyOption = "ddp",
    budget: BudgetOption = None,
    stop_at: StopAtOption = None,
) -> None:
    """Go on with whatever was cut off in a folder, by its own settings, to the same result.

    With --budget a search is planned anew, so that it ends with the retraining in that time.
    """
    spread(devices, nodes, strategy)
    keep_time(None, stop_at)
    go_on(folder, anyway, budget, epochs, patience)


def reproduce(
    run: Annotated[
        str, typer.Argument(help="Folder of a finished run, or a document: s0, s1, s2, s3.")
    ],
    data: Annotated[
        Path | None, typer.Option(help="The images to run a document on; for s2 made without it.")
    ] = None,
    out: OutOption = Path("runs"),
    devices: DevicesOption = None,
    nodes: NodesOption = None,
    strategy: StrategyOption = "ddp",
    budget: BudgetOption = None,
    stop_at: StopAtOption = None,
    open_: OpenOption = False,
) -> None:
    """Train a run again and say whether the same comes out; or run a document's procedure, then ours.

    A document's steps and ours are tested on the same images and compared on one page. --budget
    reduces epochs, image sizes and searches to about that time, which the page says.
    """
    from resnetlab import workflows
    from resnetlab.workflows.documents.stories import STORIES

    spread(devices, nodes, strategy)
    if run in STORIES and not Path(run).is_dir():
        keep_time(None, stop_at)
        seconds = None if budget is None else span_of(budget)
        folder = workflows.reproduce_document(run, data, out, seconds).folder
        print_paths(folder)
        if open_:
            show_page(folder / "report.html")
        return
    if data is not None:
        raise RecipeError("--data goes with a document: s0, s1, s2 or s3")
    keep_time(budget, stop_at)
    print_run(workflows.reproduce(Path(run), out), open_=open_)


def begun_with(
    run: Path,
    name: str | None,
    assignments: list[str] | None,
    flags: dict[str, Any],
    budget: str | None,
) -> Recipe:
    """Return the recipe of a training that begins with a finished run, and differs where it is said."""
    from resnetlab import workflows

    if name is not None or flags["training.epochs"] == 0:
        raise RecipeError(
            "--from begins with the run's own recipe and head: change single values by --set, and "
            f"leave --recipe and --quick out. For a new head: --weights {run} --quick"
        )
    before = workflows.recipe_from(run)
    if budget is not None:  # it chooses the epochs, where they aren't said
        before = before.override({"training.epochs": "auto"})
    recipe = read_recipe(None, assignments, flags, before)
    for key in ("name", "weights"):
        if getattr(recipe.model, key) != getattr(before.model, key):
            raise RecipeError(
                f"--from takes the network of {run}, so model.{key} can't be said beside it. Got "
                f"{getattr(recipe.model, key)}"
            )
    return recipe


def go_on(
    folder: Path,
    anyway: bool,
    budget: str | None,
    epochs: int | None = None,
    patience: int | None = None,
    json: bool = False,
    open_: bool = False,
) -> None:
    """Go on with what was cut off in a folder, and show what came of it."""
    from resnetlab import workflows
    from resnetlab.runs.run import Run
    from resnetlab.runs.unfinished import read_unfinished

    work = read_unfinished(folder)
    seconds = None if budget is None else span_of(budget)
    run = workflows.resume(folder, anyway, seconds, epochs, patience)
    if work is None and epochs is None and patience is None:
        if json:
            print_run(Run(folder), json)
        return  # it was finished already, and that was said
    if run is None:
        console.print(f"images with their label table: {folder}", markup=False)
    else:
        print_run(run, json, open_)
