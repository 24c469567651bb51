"""The command line: reads arguments, calls a workflow, prints what came of it."""

from pathlib import Path
from typing import Annotated

import typer

from resnetlab.cli.data import augment, inspect, make
from resnetlab.cli.deployment import combine, export, predict, push, serve
from resnetlab.cli.listings import cache, models, recipes
from resnetlab.cli.results import compare, evaluate, label_errors, suggest
from resnetlab.cli.train import reproduce, resume, train
from resnetlab.cli.tune import tune

# Workflows load NumPy and more; each command imports them when it runs, so that --help is quick.
app = typer.Typer(
    help="Turn a folder of labelled images into a classifier whose quality is known.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback()
def options(
    debug: Annotated[bool, typer.Option(help="Show the traceback of an error.")] = False,
) -> None:
    """Hold the options of every command."""


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Where everything goes.")] = Path("resnetlab-demo"),
) -> None:
    """Show the whole way on real images, scanned digits: a few minutes on two cores, no network needed."""
    from resnetlab.cli.demo import run_demo

    run_demo(out)


for verb in (
    inspect,
    augment,
    train,
    tune,
    resume,
    reproduce,
    evaluate,
    compare,
    label_errors,
    suggest,
    predict,
    export,
    serve,
    push,
    combine,
    make,
    models,
    recipes,
    cache,
):
    app.command()(verb)
