"""Verbs that evaluate: evaluate, compare."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from resnetlab.cli.tables import (
    console,
    print_comparison,
    print_paths,
    print_scores,
)
from resnetlab.errors import RecipeError


def evaluate(
    run: Annotated[
        Path, typer.Argument(help="Folder of a finished run; with --data, a bundle too.")
    ],
    split: Annotated[
        str | None, typer.Option(help="test or val; with --data, only this split of it.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Score on these labelled images instead, as a new run.")
    ] = None,
    out: Annotated[Path, typer.Option(help="With --data: where that run goes.")] = Path("runs"),
) -> None:
    """Open a run's test split: scores, intervals, figures, report. The test ledger counts how often."""
    from resnetlab import workflows

    if split not in (None, "test", "val"):
        raise RecipeError(f"--split must be 'test' or 'val'. Got '{split}'")
    if data is not None:
        scored = workflows.evaluate_bundle(run, data, out, split)
        print_scores(scored.metrics["test"], "all images")
        print_paths(scored.folder)
        return
    chosen: Literal["test", "val"] = "val" if split == "val" else "test"
    print_scores(workflows.evaluate(run, chosen), {"val": "validation"}.get(chosen, chosen))
    print_paths(run)


def compare(
    runs: Annotated[
        list[Path], typer.Argument(help="Folders of runs evaluated on the same images.")
    ],
    out: Annotated[Path | None, typer.Option(help="Write curves, a plot and a page here.")] = None,
) -> None:
    """Compare runs: which is better, where the images can show it."""
    from resnetlab import workflows

    comparison = workflows.compare(runs, out)
    print_comparison(comparison)
    if out is not None:
        console.print(f"page    {out / 'comparison.html'}")
