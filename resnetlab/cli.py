"""The command line: reads arguments, calls a workflow, prints what came of it."""

import shlex
import sys
import traceback
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from resnetlab import pause
from resnetlab.errors import RecipeError, ResnetlabError
from resnetlab.recipe import Recipe, load_recipe, parse_assignments, recipe_folder, recipe_names
from resnetlab.terminal import (
    console,
    print_comparison,
    print_findings,
    print_paths,
    print_scores,
    print_stages,
)

# Workflows load NumPy and more; each command imports them when it runs, so that --help is quick.

app = typer.Typer(
    help="Turn a folder of labelled pictures into a classifier whose quality is known.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
DataArgument = Annotated[
    Path,
    typer.Argument(
        help="Class folders, an archive of them, a label table, arrays, shards, or a name such as "
        "kaggle:cifar-10, hf:NAME, torchvision:NAME."
    ),
]
PicturesOption = Annotated[
    str | None, typer.Option("--pictures", help="Folder or archive of a label table's pictures.")
]
RecipeOption = Annotated[
    str | None, typer.Option("--recipe", help="A shipped recipe's name, or a YAML file.")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="KEY=VALUE, any key of the recipe; repeatable.")
]


@app.callback()
def options(
    debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False,
) -> None:
    """Hold what every command knows."""


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where everything goes.")] = Path("resnetlab-demo"),
) -> None:
    """The whole way on real pictures, scanned digits: a few minutes on two cores, no network."""
    from resnetlab.demo import run_demo

    run_demo(out)


@app.command()
def inspect(
    data: DataArgument,
    recipe: RecipeOption = None,
    set_: SetOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Write pictures and a page into this folder.")
    ] = None,
    fix: Annotated[
        Path | None, typer.Option(help="Write a table of the sound pictures, to train from.")
    ] = None,
    pictures: PicturesOption = None,
) -> None:
    """Say what is in a data set and what is wrong with it. Changes nothing."""
    from resnetlab import workflows

    flags = {"data.pictures": pictures}
    findings = workflows.inspect(data, read_recipe(recipe, set_, flags), out, fix)
    print_findings(findings)
    if fix is not None:
        place = shlex.quote(findings["fixed"])
        console.print(f"table   {fix}", markup=False)
        console.print(f"train   resnetlab train {fix} --pictures {place}", markup=False)
    if out is not None:
        console.print(f"page    {out / 'inspect.html'}")


@app.command()
def augment(
    data: DataArgument,
    out: Annotated[Path, typer.Argument(help="A new folder for pictures and their table.")],
    copies: Annotated[int, typer.Option(min=1, help="Variations of each picture.")] = 1,
    recipe: RecipeOption = None,
    set_: SetOption = None,
    preset: Annotated[
        str | None, typer.Option("--augment", help="none, shift, small, photo, s0, s2, s3.")
    ] = None,
    image_size: Annotated[int | None, typer.Option(help="Side of the pictures, px.")] = None,
    seed: Annotated[int | None, typer.Option(help="Decides the variations.")] = None,
) -> None:
    """Write augmented copies as files. Training does without them: it varies anew in each epoch."""
    from resnetlab import workflows

    flags = {"data.augment": preset, "data.image_size": image_size, "seed": seed}
    written = workflows.augment(data, out, copies, read_recipe(recipe, set_, flags))
    console.print(f"{written:,} pictures with their table: {out}", markup=False)


@app.command()
def train(
    data: Annotated[
        Path | None, typer.Argument(help="As for inspect: folders, archive, table, arrays, a name.")
    ] = None,
    pictures: PicturesOption = None,
    recipe: RecipeOption = None,
    set_: SetOption = None,
    model: Annotated[
        str | None, typer.Option(help="mlp, cnn, fastcnn, resnet18, 34, 50, 101, 152.")
    ] = None,
    weights: Annotated[str | None, typer.Option(help="auto, none, imagenet, or a file.")] = None,
    freeze: Annotated[
        str | None,
        typer.Option(help="Last stage that doesn't learn, such as layer3; all: but the head."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Times every picture is shown.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Pictures a step.")] = None,
    lr: Annotated[float | None, typer.Option(help="Highest learning rate.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="sgd, adam, adamw, muon.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Side of the network's input, px.")] = None,
    split: Annotated[
        tuple[float, float, float] | None, typer.Option(help="Fractions: train, validation, test.")
    ] = None,
    augment: Annotated[
        str | None, typer.Option(help="none, shift, small, photo, s0, s2, s3.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Decides split, order, variation, first weights.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda.")] = None,
    log: Annotated[str | None, typer.Option(help="tensorboard: write its events too.")] = None,
    out: Annotated[Path, typer.Option(help="Where runs go.")] = Path("runs"),
    name: Annotated[str | None, typer.Option(help="Name of the run.")] = None,
    export_split: Annotated[
        Path | None, typer.Option(help="Also copy the parts into this folder.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with this run, by its own recipe.")
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="End by itself after this time, saved: 55m, 2h, 1h30m.")
    ] = None,
    stop_at: Annotated[str | None, typer.Option(help="The same by the clock: 14:30.")] = None,
) -> None:
    """Train a classifier and report on it."""
    from resnetlab import workflows

    keep_time(budget, stop_at)
    flags = {
        "data.pictures": pictures,
        "model.name": model,
        "model.weights": weights,
        "model.freeze": freeze,
        "training.epochs": epochs,
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
        run = workflows.resume(resume)
    elif data is None:
        raise RecipeError("train needs DATA, a folder of class folders, or --resume RUN")
    else:
        run = workflows.train(data, read_recipe(recipe, set_, flags), out, name, export_split)
    facts = run.metrics
    if "val" in facts:
        print_scores(facts["val"], "validation")
    print_paths(run.folder)
    if sum(facts["dataset"]["counts"]["test"]) and not run.ledger:
        console.print(f"test    not opened yet: resnetlab evaluate {run.folder}")


@app.command()
def evaluate(
    run: Annotated[
        Path, typer.Argument(help="Folder of a finished run; with --data, a bundle too.")
    ],
    split: Annotated[str, typer.Option(help="test or val.")] = "test",
    data: Annotated[
        Path | None, typer.Option(help="Score on these labelled pictures instead, as a new run.")
    ] = None,
    out: Annotated[Path, typer.Option(help="With --data: where that run goes.")] = Path("runs"),
) -> None:
    """Open a run's test part: scores, intervals, pictures, report. The ledger counts how often."""
    from resnetlab import workflows

    if data is not None:
        scored = workflows.evaluate_bundle(run, data, out)
        print_scores(scored.metrics["test"], "all pictures")
        print_paths(scored.folder)
        return
    if split not in ("test", "val"):
        raise RecipeError(f"--split must be 'test' or 'val'. Got '{split}'")
    part: Literal["test", "val"] = "test" if split == "test" else "val"
    print_scores(workflows.evaluate(run, part), {"val": "validation"}.get(part, part))
    print_paths(run)


@app.command()
def compare(
    runs: Annotated[
        list[Path], typer.Argument(help="Folders of runs measured on the same pictures.")
    ],
    out: Annotated[Path | None, typer.Option(help="Write curves, a plot and a page here.")] = None,
) -> None:
    """Say which of several runs is better, where the pictures can show it."""
    from resnetlab import workflows

    comparison = workflows.compare(runs, out)
    print_comparison(comparison)
    if out is not None:
        console.print(f"page    {out / 'comparison.html'}")


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="Folder of a run or a bundle.")],
    images: Annotated[list[Path], typer.Argument(help="Pictures, or folders of pictures.")],
    out: Annotated[Path | None, typer.Option(help="Write a CSV with all probabilities.")] = None,
    backend: Annotated[
        str,
        typer.Option(
            help="auto, torch (fp32), torch-bf16, openvino, openvino-bf16, openvino-int8, onnx."
        ),
    ] = "auto",
) -> None:
    """Name the class of pictures."""
    from resnetlab import workflows

    rows = workflows.predict(model, images, out, backend)
    if out is not None:
        bad = sum(bool(row["problem"]) for row in rows)
        console.print(f"{len(rows)} files, {bad} of them no usable picture: {out}")
        return
    for row in rows:
        answer = row["problem"] or f"{row['class']}  {row['probability']:.1%}"
        console.print(f"{row['file']}  {answer}", markup=False)


@app.command()
def make(
    name: Annotated[
        str, typer.Argument(help="digit-sum: four digits side by side, label their sum.")
    ],
    out: Annotated[Path, typer.Argument(help="A new folder.")],
    count: Annotated[int, typer.Option(help="Number of pictures.")] = 30_000,
    seed: Annotated[int, typer.Option(help="Decides what they show.")] = 0,
) -> None:
    """Make a set of pictures for experiments, from real scanned digits."""
    from resnetlab import workflows

    workflows.make(name, out, count, seed)
    console.print(f"{count:,} pictures: {out}", markup=False)


@app.command()
def models(
    name: Annotated[str | None, typer.Argument(help="A network; none lists them.")] = None,
    image_size: Annotated[int, typer.Option(help="Side of the input, px.")] = 224,
    classes: Annotated[int, typer.Option(help="Outputs of the last layer.")] = 1000,
    stem: Annotated[str, typer.Option(help="auto, imagenet, small.")] = "auto",
) -> None:
    """Show the stages of a network: shapes, parameters, multiply-adds."""
    from resnetlab.models import MODELS, build
    from resnetlab.models.stages import stage_table

    if name is None:
        console.print("\n".join(MODELS))
        return
    print_stages(stage_table(build(name, classes, image_size, stem), image_size))


@app.command()
def recipes(
    name: Annotated[str | None, typer.Argument(help="A recipe to print; none lists them.")] = None,
) -> None:
    """List the shipped recipes, or print one."""
    if name is None:
        for each in recipe_names():
            first = (recipe_folder() / f"{each}.yaml").read_text(encoding="utf-8").splitlines()[0]
            console.print(f"{each:<16}{first.removeprefix('# ')}", markup=False)
        return
    load_recipe(name)  # says so where there is none
    print((recipe_folder() / f"{name}.yaml").read_text(encoding="utf-8"), end="")


def keep_time(budget: str | None, stop_at: str | None) -> None:
    """Have the work end in time, where that is asked for."""
    try:
        if budget is not None:
            pause.end_after(pause.seconds_of(budget))
    except ValueError as error:
        raise RecipeError(
            f"--budget takes a time such as 55m, 2h or 1h30m. Got '{budget}'"
        ) from error
    try:
        if stop_at is not None:
            pause.end_after(pause.seconds_until(stop_at, datetime.now()))
    except ValueError as error:
        raise RecipeError(
            f"--stop-at takes a time of the day such as 14:30. Got '{stop_at}'"
        ) from error


def read_recipe(
    name: str | None, assignments: Sequence[str] | None, flags: dict[str, Any] | None = None
) -> Recipe:
    """Return the recipe a user means: a file's or the default, then --set, then flags."""
    recipe = load_recipe(name) if name else Recipe()
    given = {key: value for key, value in (flags or {}).items() if value is not None}
    return recipe.override(parse_assignments(assignments or []) | given)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; return the exit code of DESIGN: 0, 2 to 6, 130 interrupted, 143 terminated."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    debug = "--debug" in arguments  # anywhere on the line
    try:
        with pause.polite():
            code = app(
                [word for word in arguments if word != "--debug"],
                standalone_mode=False,
                prog_name="resnetlab",
            )
        return code if isinstance(code, int) else 0
    except ResnetlabError as error:
        return fail(str(error), error.exit_code, debug)
    except (KeyboardInterrupt, typer.Abort):
        return fail("interrupted; what was finished is kept", 130, False)
    except Exception as error:
        # Typer's own complaints about arguments know how to show themselves.
        if hasattr(error, "show") and hasattr(error, "exit_code"):
            error.show()
            return int(error.exit_code)
        return fail(
            f"{type(error).__name__}: {error}. This is a fault in resnetlab; run again with --debug and tell us",
            1,
            debug,
        )


def fail(message: str, code: int, debug: bool) -> int:
    """Print one line about an error, and the traceback where asked for; return the exit code."""
    if debug:
        traceback.print_exc()
    print(f"resnetlab: {message}", file=sys.stderr)
    return code


def entry_point() -> None:
    """Run as the command `resnetlab`."""
    sys.exit(main())
