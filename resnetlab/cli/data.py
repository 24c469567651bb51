"""Verbs on data alone: inspect, augment, make."""

import shlex
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from resnetlab.cli.options import (
    AugmentOption,
    DataArgument,
    ImagesOption,
    JsonOption,
    LabelFromNameOption,
    MoreArgument,
    RecipeOption,
    SetOption,
    further,
    read_recipe,
)
from resnetlab.cli.scores import print_json, show_page
from resnetlab.cli.tables import console, print_findings


def inspect(
    data: DataArgument,
    more: MoreArgument = None,
    recipe: RecipeOption = None,
    set_: SetOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Write figures and a page into this folder.")
    ] = None,
    fix: Annotated[
        Path | None, typer.Option(help="Write a label table of the usable images, to train from.")
    ] = None,
    corrections: Annotated[
        Path | None,
        typer.Option(
            help="With --fix: a table of label-errors in which a person filled 'correct'."
        ),
    ] = None,
    images: ImagesOption = None,
    label_from_name: LabelFromNameOption = False,
    json: JsonOption = False,
    open_: Annotated[
        bool,
        typer.Option(
            "--open",
            help="Show the page in the browser; without --out it lies in a temporary folder.",
        ),
    ] = False,
) -> None:
    """Report what is in a data set and what is wrong with it. Changes nothing."""
    from resnetlab import workflows

    if open_ and out is None:
        out = Path(tempfile.mkdtemp(prefix="resnetlab-inspect-"))

    flags = {
        "data.images": images,
        "data.more": further(more),
        "data.label_pattern": "auto" if label_from_name else None,
    }
    findings = workflows.inspect(data, read_recipe(recipe, set_, flags), out, fix, corrections)
    if json:
        print_json(findings)
        return
    print_findings(findings)
    if fix is not None:
        place = shlex.quote(findings["fixed"])
        console.print(f"table   {fix}", markup=False)
        # What was passed over or left aside has no row.
        rest = " --set data.unmatched=drop" if findings["notes"] else ""
        console.print(f"train   resnetlab train {fix} --images {place}{rest}", markup=False)
    if out is not None:
        console.print(f"page    {out / 'inspect.html'}")
        if open_:
            show_page(out / "inspect.html")


def augment(
    data: DataArgument,
    out: Annotated[Path, typer.Argument(help="A new folder for the images and their label table.")],
    copies: Annotated[int, typer.Option(min=1, help="Augmented copies of each image.")] = 1,
    recipe: RecipeOption = None,
    set_: SetOption = None,
    preset: AugmentOption = None,
    image_size: Annotated[int | None, typer.Option(help="Side of the images, px.")] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed of the augmentation.")] = None,
) -> None:
    """Write augmented copies as files. Training does not need them: it augments anew in each epoch."""
    from resnetlab import workflows

    flags = {"data.augment": preset, "data.image_size": image_size, "seed": seed}
    written = workflows.augment(data, out, copies, read_recipe(recipe, set_, flags))
    console.print(f"{written:,} images with their label table: {out}", markup=False)


def make(
    name: Annotated[
        str,
        typer.Argument(
            help="digit-sum: four digits side by side, label their sum; digits: one; digit-pairs: two, "
            "label 0 to 99, uneven classes."
        ),
    ],
    out: Annotated[Path, typer.Argument(help="A new folder.")],
    count: Annotated[int, typer.Option(help="Number of images.")] = 30_000,
    seed: Annotated[int, typer.Option(help="Random seed: decides what they show.")] = 0,
    apart: Annotated[
        bool, typer.Option("--apart", help="Divided into splits that show different scans.")
    ] = False,
) -> None:
    """Make a data set for experiments, from real scanned digits."""
    from resnetlab import workflows

    workflows.make(name, out, count, seed, apart)
    console.print(f"{count:,} images: {out}", markup=False)
