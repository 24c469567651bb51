"""Results as a terminal shows them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

console = Console(highlight=False, soft_wrap=True)


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


def print_stages(rows: Sequence[Any]) -> None:
    """Print the stages of a network."""
    table = Table("stage", "what", "in", "out", box=None, pad_edge=False)
    table.add_column("parameters", justify="right")
    table.add_column("multiply-adds", justify="right")
    for row in rows:
        shapes = ("×".join(map(str, shape)) for shape in (row.input_shape, row.output_shape))
        table.add_row(row.name, row.kind, *shapes, f"{row.parameters:,}", f"{row.macs:,}")
    console.print(table)
