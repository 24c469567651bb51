"""The command `tune`: its many options, what they mean for the recipe, and what is printed."""

from pathlib import Path
from typing import Annotated, Any

import typer

from resnetlab.cli.launching import DevicesOption, NodesOption, StrategyOption, spread
from resnetlab.cli.options import (
    AugmentOption,
    BatchSizesOption,
    DataArgument,
    DeviceOption,
    EpochCountsOption,
    FreezeOption,
    ImageSizeOption,
    ImagesOption,
    JsonOption,
    LabelFromNameOption,
    LrsOption,
    ModelsOption,
    MoreArgument,
    OpenOption,
    OptimizersOption,
    OutOption,
    RecipeOption,
    SeedOption,
    SetOption,
    SplitOption,
    WeightsOption,
    further,
    keep_time,
    read_recipe,
    span_of,
    with_searched,
)
from resnetlab.cli.scores import print_json, print_run
from resnetlab.cli.tables import print_lr_range_test, print_search
from resnetlab.errors import RecipeError
from resnetlab.system import ranks
from resnetlab.system.files import read_json


def tune(
    data: DataArgument,
    more: MoreArgument = None,
    images: ImagesOption = None,
    label_from_name: LabelFromNameOption = False,
    recipe: RecipeOption = None,
    set_: SetOption = None,
    model: ModelsOption = None,
    lr: LrsOption = None,
    batch_size: BatchSizesOption = None,
    epochs: EpochCountsOption = None,
    optimizer: OptimizersOption = None,
    weights: WeightsOption = None,
    freeze: FreezeOption = None,
    image_size: ImageSizeOption = None,
    split: SplitOption = None,
    augment: AugmentOption = None,
    seed: SeedOption = None,
    device: DeviceOption = None,
    devices: DevicesOption = None,
    nodes: NodesOption = None,
    strategy: StrategyOption = "ddp",
    folds: Annotated[
        int | None,
        typer.Option(help="Folds of the cross-validation; 1: none, the validation split."),
    ] = None,
    repeats: Annotated[
        int | None, typer.Option(help="Times the cross-validation is repeated, with other folds.")
    ] = None,
    sampler: Annotated[str | None, typer.Option(help="grid, random, tpe, qmc.")] = None,
    trials: Annotated[int | None, typer.Option(help="Number of trials.")] = None,
    pruner: Annotated[str | None, typer.Option(help="none, median, halving, hyperband.")] = None,
    select: Annotated[
        str | None, typer.Option(help="best, or one-se: the cheapest within one standard error.")
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(help="A database that many processes share: postgresql+psycopg://..."),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes on this machine.")] = 1,
    budget: Annotated[
        str | None, typer.Option(help="Plan search and retraining to this time: 55m, 2h, 1h30m.")
    ] = None,
    retrain: Annotated[bool, typer.Option(help="Train with the best values at the end.")] = True,
    find_lr: Annotated[
        bool, typer.Option("--find-lr", help="Only run a learning rate range test.")
    ] = False,
    out: OutOption = Path("runs"),
    name: Annotated[str | None, typer.Option(help="Name of the run.")] = None,
    json: JsonOption = False,
    open_: OpenOption = False,
) -> None:
    """Search for the best settings by cross-validation, then train with them.

    --model, --lr, --batch-size, --epochs and --optimizer take several values: --lr 0.001 0.01.
    """
    from resnetlab import workflows

    spread(devices, nodes, strategy, device)
    if jobs > 1 and ranks.place().count > 1:
        raise RecipeError(
            f"--jobs {jobs}: here {ranks.place().count} processes share each trial; leave --jobs out, or start "
            "more searches that share --storage"
        )
    flags = {
        "data.images": images,
        "data.more": further(more),
        "data.label_pattern": "auto" if label_from_name else None,
        "model.weights": weights,
        "model.freeze": freeze,
        "data.image_size": image_size,
        "data.split": split,
        "data.augment": augment,
        "seed": seed,
        "training.device": device,
        "tuning.folds": folds,
        "tuning.repeats": repeats,
        "tuning.sampler": sampler,
        "tuning.trials": trials,
        "tuning.pruner": pruner,
        "tuning.select": select,
    }
    several: dict[str, list[Any] | None] = {
        "model.name": model,
        "training.lr": lr,
        "training.batch_size": batch_size,
        "training.epochs": epochs,
        "training.optimizer": optimizer,
    }
    meant = with_searched(read_recipe(recipe, set_, flags), several)
    if find_lr:
        keep_time(budget, None)
        found = workflows.find_lr(data, meant, out, name)
        if json:
            print_json(found | {"folder": str(found["folder"])})
        else:
            print_lr_range_test(found)
        return
    seconds = None if budget is None else span_of(budget)
    run = workflows.tune(data, meant, out, name, storage, jobs, seconds, retrain)
    if not json:
        print_search(read_json(run.folder / "search.json", dict))
    print_run(run, json, open_)
