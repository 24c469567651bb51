"""Results as a terminal shows them."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from resnetlab.errors import MachineError
from resnetlab.report.trials import (
    difference_text,
    has_score,
    measure_name,
    ranked,
    score_text,
    setting_names,
    setting_text,
    spread_text,
    verdict_text,
)


class Results(Console):
    """Standard output. Where its reader has gone, the work goes on."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as rich does. Raises MachineError where the output can't be written."""
        try:
            super().print(*objects, **options)
        except OSError as error:
            raise MachineError(f"standard output: can't be written ({error.strerror})") from error

    def on_broken_pipe(self) -> None:
        """Go on; rich would end the program."""


MOST_TRIALS = 20  # of a search on the terminal

console = Results(highlight=False, soft_wrap=True)


def print_findings(findings: dict[str, Any]) -> None:
    """Print what an inspection found: a verdict, then the figures."""
    classes, used = findings["classes"], findings["used"]
    usable = "all of them usable" if used == findings["images"] else f"{used:,} usable"
    odd = len(findings["warnings"])
    verdict = "nothing odd" if not odd else f"{odd} thing{'s' * (odd > 1)} to look at, see below"
    console.print(
        f"{findings['name']}: {findings['images']:,} images of {len(classes)} classes, "
        f"{usable}, {verdict}\n",
        markup=False,
    )
    print_classes(findings)
    print_fact("size", size_sentence(**findings["sizes"]))
    print_fact("copies", copies_sentence(findings))
    for problem, names in by_problem(findings["problems"]).items():
        print_fact("left out", f"{len(names):,}: {problem}, the first is {names[0]}")
    for sentence in findings["warnings"]:
        print_fact("look at", sentence)
    if "problem" in findings["planned"]:
        print_fact("split", findings["planned"]["problem"])
    for note in findings["notes"]:
        print_fact("note", note)


def print_fact(title: str, text: str) -> None:
    """Print a line with its title."""
    console.print(f"{title:<10}{text}", markup=False)


def print_classes(findings: dict[str, Any]) -> None:
    """Print a row a class: its images, by split where there are splits, and their colours."""
    counts, planned = findings["counts"], findings["planned"]
    if "problem" not in planned:  # what a training by this recipe would use for what
        together = [sum(column) for column in zip(*counts.values(), strict=True)]
        counts = {"all": together} | planned
    table = Table("class", box=None, pad_edge=False)
    totals = {split: f"{sum(numbers):,}" for split, numbers in counts.items()}
    for split, total in totals.items():  # a number that is cut off is another number
        title = "images" if split == "all" else split
        table.add_column(title, justify="right", min_width=max(len(title), len(total)))
    for channel in ("mean R", "G", "B", "std R", "G", "B"):
        table.add_column(channel, justify="right")
    moments = findings["moments"]
    for label, name in enumerate(findings["classes"]):
        numbers = (f"{counts[split][label]:,}" for split in counts)
        table.add_row(escape(name), *numbers, *moment_cells(moments["per_class"][name]))
    table.add_row("all", *totals.values(), *moment_cells(moments["all"]))
    console.print(table)
    console.print()


def size_sentence(width: Sequence[int], height: Sequence[int]) -> str:
    """Return how large the images are, from the smallest, the median and the largest side."""
    if width[0] == width[2] and height[0] == height[2]:
        return f"{width[0]} × {height[0]} px"
    sides = (f"{low} to {high} px (median {middle})" for low, middle, high in (width, height))
    return " wide, ".join(sides) + " high"


def copies_sentence(findings: dict[str, Any]) -> str:
    """Return what there is of exact and near-duplicates."""
    exact, near = findings["duplicates"], findings["near_duplicates"]
    if near is None:
        return f"{exact:,} exact; near-duplicates were not searched for"
    sentence = f"{exact:,} exact, {near['images']:,} images have a near-duplicate"
    for split, name in (("test", "test"), ("val", "validation")):
        if near["across_splits"][split]:
            sentence += f", {near['across_splits'][split]:,} {name} images one in another split"
    if near["across_labels"]:
        sentence += f", {near['across_labels']:,} pairs of near-duplicates have different labels"
    return sentence


def by_problem(problems: list[dict[str, str]]) -> dict[str, list[str]]:
    """Return the ids of the images that have each problem."""
    names: dict[str, list[str]] = {}
    for item in problems:
        names.setdefault(item["problem"], []).append(item["id"])
    return names


def moment_cells(moments: dict[str, list[float]]) -> list[str]:
    """Return mean and deviation as table cells."""
    return [f"{value:.3f}" for value in (*moments["mean"], *moments["std"])]


def print_search(search: dict[str, Any]) -> None:
    """Print the trials of a search, best first, then what can be said of them."""
    monitor, names = search["monitor"], setting_names(search)
    console.print(
        f"\n{len(search['trials']):,} trials by {measure_name(monitor)}, "
        f"{search['confidence']:.0%} intervals\n"
    )
    table = Table("trial", box=None, pad_edge=False)
    table.add_column("settings", min_width=22, overflow="fold")
    for column in ("mean", "spread", "difference to best"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("verdict")
    for trial in ranked(search)[:MOST_TRIALS]:
        values = (f"{names[key]}={setting_text(it)}" for key, it in trial["values"].items())
        scored, difference = has_score(trial), trial["difference"]
        table.add_row(
            str(trial["number"]),
            escape(", ".join(values)),
            score_text(trial["mean"], monitor) if scored else "",
            "" if trial["spread"] is None else spread_text(trial["spread"], monitor),
            difference_text(difference, monitor) if difference else "",
            escape(verdict_text(trial, search)),
        )
    console.print(table)
    if len(search["trials"]) > MOST_TRIALS:
        console.print(f"... {len(search['trials']) - MOST_TRIALS:,} more in search.json")
    console.print(f"\n{search['summary']}", markup=False)


def print_lr_range_test(found: dict[str, Any]) -> None:
    """Print what a range test suggests, and where its curve lies."""
    lr = f"{found['suggested']:.2g}"
    console.print(
        f"{found['network']}, {found['optimizer']}: the loss is lowest at a learning rate of "
        f"{found['lowest_at']:.2g}; a tenth of that is a good first try"
    )
    console.print(f"lr      {lr}: resnetlab train DATA --lr {lr}", markup=False)
    console.print(f"curve   {found['folder'] / 'rates.png'}", markup=False)


def print_stages(rows: Sequence[Any]) -> None:
    """Print the stages of a network."""
    table = Table("stage", "what", "in", "out", box=None, pad_edge=False)
    table.add_column("parameters", justify="right")
    table.add_column("multiply-adds", justify="right")
    for row in rows:
        shapes = ("×".join(map(str, shape)) for shape in (row.input_shape, row.output_shape))
        table.add_row(row.name, row.kind, *shapes, f"{row.parameters:,}", f"{row.macs:,}")
    console.print(table)
