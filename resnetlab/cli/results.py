"""Verbs that evaluate: evaluate, compare."""

import shlex
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from resnetlab.cli.options import JsonOption, OpenOption
from resnetlab.cli.scores import (
    print_comparison,
    print_foreign,
    print_json,
    print_label_errors,
    print_paths,
    print_robustness,
    print_scores,
    print_selection,
    print_subgroups,
    print_suggestions,
    show_page,
)
from resnetlab.cli.tables import console
from resnetlab.errors import RecipeError

FITTED_HERE = (
    "note: temperature, thresholds and sets were chosen on these very images, and flatter them"
)
RUN_ALONE = "a run alone"
# What evaluate measures, by the flag that says so, and the further flags that go with it.
FLAGS: dict[str, tuple[str, ...]] = {
    "--foreign": (),
    "--predictions": ("--classes", "--by", "--out", "--open"),
    "--data": ("--split", "--out", "--open"),
    RUN_ALONE: ("--split", "--by", "--cover", "--by-class", "--robustness", "--open"),
}
ClassesOption = Annotated[
    str | None,
    typer.Option("--classes", help="Classes of a table of predictions, with commas between them."),
]


def evaluate(
    run: Annotated[
        Path | None, typer.Argument(help="Folder of a finished run; with --data, a bundle too.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="test or val; with --data, only this split of it.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Score on these labelled images instead, as a new run.")
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            help="Score this table instead, whoever made it: id, label, a column a class or 'predicted'."
        ),
    ] = None,
    foreign: Annotated[
        Path | None,
        typer.Option(
            help="Measure instead how many of these images, which show none of the classes, are told so."
        ),
    ] = None,
    classes: ClassesOption = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            help="Figures of subgroups too: folder, size, format, or a column of the table; repeatable."
        ),
    ] = None,
    cover: Annotated[
        float | None,
        typer.Option(help="Sets of classes that hold the true one so often: 0.95, 0.99."),
    ] = None,
    by_class: Annotated[
        bool, typer.Option("--by-class", help="The same promise for the images of each class.")
    ] = False,
    robustness: Annotated[
        bool,
        typer.Option(
            "--robustness",
            help="Accuracy under noise, blur, brightness, JPEG, occlusion, rotation, scale too: 35 times the work.",
        ),
    ] = False,
    require: Annotated[
        list[str] | None,
        typer.Option(help="End with code 7 unless it holds: 'accuracy.low>=0.9'; repeatable."),
    ] = None,
    json: JsonOption = False,
    open_: OpenOption = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Where the run of --data goes (runs), or the report on --predictions."),
    ] = None,
) -> None:
    """Open a run's test split: scores, intervals, figures, report. The test ledger counts how often."""
    from resnetlab import workflows
    from resnetlab.evaluation import requirements

    required = requirements.parse(require or [])
    if (run is None) == (predictions is None):
        raise RecipeError("evaluate takes the folder of a run, or --predictions with a table")
    flags = {
        "--split": split,
        "--data": data,
        "--predictions": predictions,
        "--foreign": foreign,
        "--classes": classes,
        "--by": by,
        "--cover": cover,
        "--by-class": by_class or None,
        "--robustness": robustness or None,
        "--open": open_ or None,
        "--out": out,
    }
    refuse_others([flag for flag, value in flags.items() if value is not None])
    if foreign is not None:
        assert run is not None
        found = workflows.evaluate_foreign(run, foreign)
        if json:
            print_json(found)
        else:
            print_foreign(found)
        requirements.require(found, required)
        return
    chosen = split_named(split)
    folder, name, note = run, {"val": "validation"}.get(chosen, chosen), ""
    if predictions is not None:
        if open_ and out is None:
            out = Path(tempfile.mkdtemp(prefix="resnetlab-evaluate-"))
        scores = workflows.evaluate_predictions(predictions, listed(classes), by or (), out)
        folder, name = out, predictions.name
    elif data is not None:
        assert run is not None
        scored = workflows.evaluate_bundle(run, data, out or Path("runs"), split)
        scores, folder = scored.metrics["test"], scored.folder
        name = "all images" if split is None else name
    else:
        assert run is not None
        scores = workflows.evaluate(run, chosen, by or (), cover, by_class, robustness, required)
        note = FITTED_HERE if chosen == "val" else ""
    show_scores(scores, name, folder, json, note)
    if open_ and folder is not None:
        show_page(folder / "report.html")
    requirements.require(scores, required)


def refuse_others(given: Sequence[str]) -> None:
    """Raise RecipeError for flags of evaluate that say nothing in what is measured."""
    mode = next((flag for flag in FLAGS if flag in given), RUN_ALONE)
    if others := [flag for flag in given if flag not in (mode, *FLAGS[mode])]:
        raise RecipeError(
            f"evaluate with {mode} takes no flag but {', '.join([*FLAGS[mode], '--require', '--json'])}. "
            f"Got {', '.join(others)}"
        )


def show_scores(
    scores: dict[str, Any], name: str, folder: Path | None, json: bool, note: str = ""
) -> None:
    """Print scores, a note on them and where they lie, or all of it as one JSON document."""
    if json:
        print_json(scores | {"folder": folder and str(folder)})
        return
    print_scores(scores, name)
    print_selection(scores)
    if note:
        console.print(f"{note}\n", markup=False)
    print_subgroups(scores)
    print_robustness(scores)
    if folder is not None:
        print_paths(folder)


def split_named(name: str | None) -> Literal["val", "test"]:
    """Return a split by its name, test without one. Raises RecipeError for another."""
    if name in (None, "test"):
        return "test"
    if name == "val":
        return "val"
    raise RecipeError(f"--split must be 'test' or 'val'. Got '{name}'")


def listed(names: str | None) -> list[str]:
    """Return the names of a list with commas."""
    return [name.strip() for name in names.split(",")] if names else []


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Folders of runs evaluated on the same images, or tables as for evaluate."
        ),
    ],
    classes: ClassesOption = None,
    json: JsonOption = False,
    open_: OpenOption = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write curves, a plot and a page here; with --open in a temporary folder by default."
        ),
    ] = None,
) -> None:
    """Compare runs: which is better, where the images can show it."""
    from resnetlab import workflows

    if open_ and out is None:
        out = Path(tempfile.mkdtemp(prefix="resnetlab-compare-"))
    comparison = workflows.compare(runs, out, listed(classes))
    if json:
        print_json(comparison)
        return
    print_comparison(comparison)
    if out is not None:
        console.print(f"page    {out / 'comparison.html'}")
        if open_:
            show_page(out / "comparison.html")


def suggest(
    run: Annotated[Path, typer.Argument(help="A run or a bundle.")],
    images: Annotated[
        list[Path], typer.Argument(help="Unlabelled images: folders, archives, patterns, files.")
    ],
    count: Annotated[int, typer.Option(min=1, help="Images to label.")] = 100,
    json: JsonOption = False,
    out: Annotated[
        Path | None, typer.Option(help="Write a label table to fill in, for train.")
    ] = None,
) -> None:
    """List the unlabelled images that teach most once labelled: uncertain ones, each of another kind."""
    from resnetlab import workflows

    found = workflows.suggest(run, images, count, out)
    if json:
        print_json(found)
        return
    print_suggestions(found)
    if out is not None:
        console.print(f"table   {out}: write the class into column label; then", markup=False)
        place = shlex.quote(found["place"])
        # Images that were not suggested have no row.
        rest = f"--images {place} --set data.unmatched=drop"
        console.print(f"train   resnetlab train {out} {rest}", markup=False, soft_wrap=True)


def label_errors(
    run: Annotated[
        Path,
        typer.Argument(
            help="Folder of a run, best of a search with folds; or a table as for evaluate."
        ),
    ],
    json: JsonOption = False,
    out: Annotated[
        Path | None, typer.Option(help="Write a table to correct, for inspect --corrections.")
    ] = None,
) -> None:
    """List labels that are likely wrong, by predictions for images that taught nothing."""
    from resnetlab import workflows

    found = workflows.label_errors(run, out)
    if json:
        print_json(found)
        return
    print_label_errors(found)
    if out is not None:
        console.print(
            f"table   {out}: write the true class, or 'drop', into column correct; then",
            markup=False,
        )
        console.print(
            f"fix     resnetlab inspect DATA --fix labels.csv --corrections {out}", markup=False
        )
