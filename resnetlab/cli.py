"""The command line: reads arguments, calls a workflow, prints what came of it."""

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from resnetlab.errors import RecipeError, ResnetlabError
from resnetlab.recipe import Recipe, load_recipe, parse_assignments, recipe_folder, recipe_names

# Workflows load NumPy and more; each command imports them when it runs, so that --help is quick.

app = typer.Typer(
    help="Turn a folder of labelled pictures into a classifier whose quality is known.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
console = Console(highlight=False, soft_wrap=True)

DataArgument = Annotated[
    Path, typer.Argument(help="Folder of class folders, whole or split into train/val/test.")
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
) -> None:
    """Say what is in a data set and what is wrong with it. Changes nothing."""
    from resnetlab import workflows

    findings = workflows.inspect(data, read_recipe(recipe, set_), out)
    print_findings(findings)
    if out is not None:
        console.print(f"page    {out / 'inspect.html'}")


@app.command()
def train(
    data: Annotated[
        Path | None, typer.Argument(help="Folder of class folders, whole or split.")
    ] = None,
    recipe: RecipeOption = None,
    set_: SetOption = None,
    model: Annotated[str | None, typer.Option(help="mlp, cnn, resnet18, 34, 50, 101, 152.")] = None,
    weights: Annotated[str | None, typer.Option(help="auto, none, imagenet, or a file.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Times every picture is shown.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Pictures a step.")] = None,
    lr: Annotated[float | None, typer.Option(help="Highest learning rate.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="sgd, adam, adamw.")] = None,
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
) -> None:
    """Train a classifier and report on it."""
    from resnetlab import workflows

    flags = {
        "model.name": model,
        "model.weights": weights,
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
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    split: Annotated[str, typer.Option(help="test or val.")] = "test",
) -> None:
    """Open a run's test part: scores, intervals, pictures, report. The ledger counts how often."""
    from resnetlab import workflows

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
) -> None:
    """Name the class of pictures."""
    from resnetlab import workflows

    rows = workflows.predict(model, images, out)
    if out is not None:
        bad = sum(bool(row["problem"]) for row in rows)
        console.print(f"{len(rows)} files, {bad} of them no usable picture: {out}")
        return
    for row in rows:
        answer = row["problem"] or f"{row['class']}  {row['probability']:.1%}"
        console.print(f"{row['file']}  {answer}", markup=False)


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
    table = Table("stage", "what", "in", "out", box=None, pad_edge=False)
    table.add_column("parameters", justify="right")
    table.add_column("multiply-adds", justify="right")
    for row in stage_table(build(name, classes, image_size, stem), image_size):
        shapes = ("×".join(map(str, shape)) for shape in (row.input_shape, row.output_shape))
        table.add_row(row.name, row.kind, *shapes, f"{row.parameters:,}", f"{row.macs:,}")
    console.print(table)


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


def read_recipe(
    name: str | None, assignments: Sequence[str] | None, flags: dict[str, Any] | None = None
) -> Recipe:
    """Return the recipe a user means: a file's or the default, then --set, then flags."""
    recipe = load_recipe(name) if name else Recipe()
    given = {key: value for key, value in (flags or {}).items() if value is not None}
    return recipe.override(parse_assignments(assignments or []) | given)


def print_findings(findings: dict[str, Any]) -> None:
    """Print what an inspection found: a verdict, then the figures."""
    classes, counts = findings["classes"], findings["counts"]
    wrong = len(findings["problems"])
    verdict = "nothing wrong found" if not wrong else f"{wrong} pictures would be left out"
    console.print(
        f"{findings['name']}: {findings['pictures']:,} pictures of {len(classes)} classes, {verdict}\n"
    )
    table = Table("class", box=None, pad_edge=False)
    for part in counts:
        table.add_column("pictures" if part == "all" else part, justify="right")
    for channel in ("mean R", "G", "B", "std R", "G", "B"):
        table.add_column(channel, justify="right")
    moments = findings["moments"]
    for label, name in enumerate(classes):
        table.add_row(
            name,
            *(f"{counts[part][label]:,}" for part in counts),
            *moment_cells(moments["per_class"][name]),
        )
    table.add_row(
        "all", *(f"{sum(counts[part]):,}" for part in counts), *moment_cells(moments["all"])
    )
    console.print(table)
    for side in ("width", "height"):
        low, middle, high = findings["sizes"][side]
        console.print(f"\n{side:<8}{low} to {high} px, median {middle}", end="")
    console.print(f"\ncopies  {findings['duplicates']} pictures are there more than once")
    for item in findings["problems"][:10]:
        console.print(f"left out  {item['id']}: {item['problem']}", markup=False)
    if wrong > 10:
        console.print(f"          and {wrong - 10} more, all in the page that --out writes")
    for note in findings["notes"]:
        console.print(f"note    {note}", markup=False)


def moment_cells(moments: dict[str, list[float]]) -> list[str]:
    """Return mean and deviation as table cells."""
    return [f"{value:.3f}" for value in (*moments["mean"], *moments["std"])]


def print_scores(scores: dict[str, Any], part: str) -> None:
    """Print the main figures with their intervals."""
    console.print(f"\n{part}, {scores['samples']:,} pictures, {scores['confidence']:.0%} intervals")
    for name in (
        "accuracy",
        "top5",
        "balanced_accuracy",
        "macro_precision",
        "macro_recall",
        "macro_f1",
    ):
        if scores[name] is not None:
            value, low, high = (scores[name][key] for key in ("value", "low", "high"))
            console.print(f"{name.replace('_', ' '):<18}{value:7.1%}   {low:.1%} to {high:.1%}")
    loss = scores["loss"]
    console.print(f"{'loss':<18}{loss['value']:7.3f}   {loss['low']:.3f} to {loss['high']:.3f}\n")


def print_paths(folder: Path) -> None:
    """Print where a run's results lie."""
    console.print(f"run     {folder}", markup=False)
    console.print(f"report  {folder / 'report.html'}", markup=False)


def print_comparison(comparison: dict[str, Any]) -> None:
    """Print the table of runs, then what can be said of each pair."""
    part = {"val": "validation"}.get(comparison["split"], comparison["split"])
    console.print(
        f"\n{comparison['samples']:,} {part} pictures, {comparison['confidence']:.0%} intervals\n"
    )
    table = Table("run", box=None, pad_edge=False)
    for column in ("accuracy", "interval", "macro F1", "loss"):
        table.add_column(column, justify="right")
    for run in comparison["runs"]:
        accuracy = run["accuracy"]
        interval = f"{accuracy['low']:.1%} to {accuracy['high']:.1%}"
        table.add_row(
            run["name"],
            f"{accuracy['value']:.1%}",
            interval,
            f"{run['macro_f1']:.3f}",
            f"{run['loss']:.3f}",
        )
    console.print(table)
    console.print()
    for pair in comparison["pairs"]:
        console.print(f"- {pair['sentence']}", markup=False)
    console.print(f"\n{comparison['summary']}", markup=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; return the exit code of DESIGN: 0, 2 to 6, or 130 when interrupted."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        code = app(arguments, standalone_mode=False, prog_name="resnetlab")
        return code if isinstance(code, int) else 0
    except ResnetlabError as error:
        return fail(str(error), error.exit_code, "--debug" in arguments)
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
            "--debug" in arguments,
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
