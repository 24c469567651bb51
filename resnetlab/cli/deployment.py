"""Verbs that use a trained model: predict, combine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from resnetlab.cli.tables import console
from resnetlab.errors import RecipeError

if TYPE_CHECKING:
    from resnetlab.deploy.answers.rows import Row
    from resnetlab.workflows.deployment.predicting import Tally

ModelArgument = Annotated[
    str,
    typer.Argument(
        help="A run, a bundle or an exported model; several with commas between: their mean."
    ),
]


def predict(
    model: ModelArgument,
    images: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Images, folders, archives, patterns, tables with a column of paths, or - for "
            "names on standard input."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write a table with all probabilities: .csv, .parquet, .jsonl."),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Name so many of the likeliest classes.")] = 1,
    uncertain_below: Annotated[
        float | None, typer.Option(help="Mark what has a lower probability as uncertain.")
    ] = None,
    sort_into: Annotated[
        Path | None, typer.Option(help="Link the images into a folder for each class, in here.")
    ] = None,
    submission: Annotated[
        Path | None,
        typer.Option(help="A competition's sample: --out gets its columns, ids and their order."),
    ] = None,
    watch: Annotated[
        Path | None, typer.Option(help="Answer as images arrive in this folder, until stopped.")
    ] = None,
    backend: Annotated[
        str,
        typer.Option(
            help="auto, torch (fp32), torch-bf16, openvino, openvino-bf16, openvino-int8, onnx."
        ),
    ] = "auto",
) -> None:
    """Predict the class of images, any number of them."""
    from resnetlab import workflows

    if watch is not None:
        if images or sort_into or submission:
            raise RecipeError("--watch takes its images from that folder alone, into --out")
        workflows.watch(model, watch, print_row, out, backend, top, uncertain_below)
        return
    if not images:
        raise RecipeError("predict needs IMAGES: files, folders, archives, tables, or -")
    show = None if out or sort_into else print_row
    tally = workflows.classify(
        model, images, show, out, backend, top, uncertain_below, sort_into, submission
    )
    if show is None:
        print_tally(tally, uncertain_below)
        for place in (out, sort_into):
            if place is not None:
                console.print(f"written {place}", markup=False, soft_wrap=True)


def print_row(row: "Row") -> None:
    """Print what the model says of one file."""
    said = "  ".join(f"{name} {value:.1%}" for name, value in row["top"])
    mark = "  uncertain" if row["uncertain"] else ""
    console.print(f"{row['file']}  {row['problem'] or said + mark}", markup=False, soft_wrap=True)


def print_tally(tally: "Tally", uncertain_below: float | None) -> None:
    """Print how many files were answered, and which were not."""
    marked = "" if uncertain_below is None else f", {tally.uncertain:,} uncertain"
    console.print(f"{tally.files:,} files{marked}, {tally.unusable:,} of them no usable image")
    for each in tally.named:
        console.print(f"- {each}", markup=False, soft_wrap=True)
    if tally.unusable > len(tally.named):
        console.print(f"- and {tally.unusable - len(tally.named):,} more")


def combine(
    model: Annotated[Path, typer.Argument(help="A run or bundle that classifies single things.")],
    out: Annotated[Path, typer.Argument(help="A new folder, for the bundle.")],
    count: Annotated[int, typer.Option(help="Things that an image shows side by side.")],
    by: Annotated[
        str,
        typer.Option(
            help="columns: equal ones; components: around what hangs together, where it is COUNT."
        ),
    ] = "columns",
    rule: Annotated[
        str,
        typer.Option(
            help="sum: of whole numbers; concatenation: names joined; vote: the same thing each time."
        ),
    ] = "sum",
    classes: Annotated[
        str | None,
        typer.Option(help="Classes of the whole, commas between; else all there can be."),
    ] = None,
) -> None:
    """Make of a model for single things one for several side by side: their answers are combined."""
    from resnetlab import workflows

    names = tuple(classes.split(",")) if classes else ()
    facts = workflows.combine(model, out, count, by, rule, names)
    console.print(f"{len(facts.classes)} classes, {count} parts by {by}: {out}", markup=False)
