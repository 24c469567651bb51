"""The command line: reads arguments, calls a workflow, prints what came of it."""

import os
import shlex
import sys
import threading
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

import typer

from resnetlab import pause
from resnetlab.arguments import (
    AnywayOption,
    AugmentOption,
    BatchSizeOption,
    BudgetOption,
    DataArgument,
    DeviceOption,
    EpochsOption,
    FreezeOption,
    ImageSizeOption,
    LogOption,
    ModelOption,
    OptimizerOption,
    OutOption,
    PicturesOption,
    RateOption,
    RecipeOption,
    SeedOption,
    SetOption,
    SplitOption,
    StopAtOption,
    WeightsOption,
    keep_time,
    read_recipe,
    spread_values,
)
from resnetlab.cli_tune import tune
from resnetlab.errors import RecipeError, ResnetlabError
from resnetlab.files import DISK_TROUBLES
from resnetlab.progress import say
from resnetlab.recipe import load_recipe, recipe_folder, recipe_names
from resnetlab.terminal import (
    console,
    print_comparison,
    print_findings,
    print_paths,
    print_run,
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
    preset: AugmentOption = None,
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
    model: ModelOption = None,
    weights: WeightsOption = None,
    freeze: FreezeOption = None,
    epochs: EpochsOption = None,
    batch_size: BatchSizeOption = None,
    lr: RateOption = None,
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
        Path | None, typer.Option(help="Also copy the parts into this folder.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with this run, by its own recipe.")
    ] = None,
    anyway: AnywayOption = False,
    budget: BudgetOption = None,
    stop_at: StopAtOption = None,
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
        go_on(resume, anyway)
    elif anyway:
        raise RecipeError("--anyway goes with --resume RUN")
    elif data is None:
        raise RecipeError("train needs DATA, a folder of class folders, or --resume RUN")
    else:
        print_run(workflows.train(data, read_recipe(recipe, set_, flags), out, name, export_split))


app.command()(tune)


@app.command()
def resume(
    folder: Annotated[Path, typer.Argument(help="A run, or a folder of 'resnetlab augment'.")],
    anyway: AnywayOption = False,
    budget: BudgetOption = None,
    stop_at: StopAtOption = None,
) -> None:
    """Go on with whatever was cut off in a folder, by its own settings, to the same result."""
    keep_time(budget, stop_at)
    go_on(folder, anyway)


@app.command()
def reproduce(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    out: OutOption = Path("runs"),
    budget: BudgetOption = None,
    stop_at: StopAtOption = None,
) -> None:
    """Train a run again, by its recipe on its pictures; say whether the same comes out."""
    from resnetlab import workflows

    keep_time(budget, stop_at)
    print_run(workflows.reproduce(run, out))


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
    text = (recipe_folder() / f"{name}.yaml").read_text(encoding="utf-8")
    console.print(text, end="", markup=False)


def go_on(folder: Path, anyway: bool) -> None:
    """Go on with what was cut off in a folder, and show what came of it."""
    from resnetlab import workflows
    from resnetlab.workflows.unfinished import read_unfinished

    work = read_unfinished(folder)
    run = workflows.resume(folder, anyway)
    if work is None:
        return  # it was finished already, and that was said
    if run is None:
        console.print(f"pictures with their table: {folder}", markup=False)
    else:
        print_run(run)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; return the exit code of DESIGN: 0, 2 to 6, 130 interrupted, 143 terminated."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    debug = "--debug" in arguments  # anywhere on the line
    try:
        with pause.polite(shlex.join(["resnetlab", *arguments])):
            code = app(
                spread_values([word for word in arguments if word != "--debug"]),
                standalone_mode=False,
                prog_name="resnetlab",
            )
        return code if isinstance(code, int) else 0
    except ResnetlabError as error:
        return fail(str(error), error.exit_code, debug)
    except (KeyboardInterrupt, typer.Abort):
        return fail("interrupted; what was finished is kept", 130, False)
    except OSError as error:
        if error.errno not in DISK_TROUBLES:
            return fail(fault(error), 1, debug)
        place = error.filename or "output"
        return fail(
            f"{place}: can't be written ({error.strerror}); make room, then go on", 5, debug
        )
    except Exception as error:
        # Typer's own complaints about arguments know how to show themselves.
        if hasattr(error, "show") and hasattr(error, "exit_code"):
            with suppress(OSError):  # nobody takes it
                error.show()
            return int(error.exit_code)
        return fail(fault(error), 1, debug)


def fault(error: Exception) -> str:
    """Return what is said of an error that nobody expected."""
    return (
        f"{type(error).__name__}: {error}. This is a fault in resnetlab; run again with --debug and "
        "tell us"
    )


def fail(message: str, code: int, debug: bool) -> int:
    """Print one line about an error, and the traceback where asked for; return the exit code."""
    if debug:
        say(traceback.format_exc())
    say(f"resnetlab: {message}")
    return code


def entry_point() -> None:
    """Run as the command `resnetlab`."""
    code = main()
    others = set(threading.enumerate()) - {threading.main_thread()}
    if any(not thread.daemon for thread in others):  # one hangs in a read: Python would wait for it
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    sys.exit(code)
