"""Verbs that evaluate: evaluate, compare."""

import shlex
import tempfile
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
    if foreign is not None:
        asked = (split, data, predictions, by, cover, by_class or None, robustness or None, out)
        if any(each is not None for each in asked):
            raise RecipeError(
                "--foreign measures alone, the test split stays closed; leave the rest out"
            )
        assert run is not None
        found = workflows.evaluate_foreign(run, foreign)
        if json:
            print_json(found)
        else:
            print_foreign(found)
        requirements.require(found, required)
        return
    if robustness and (data is not None or predictions is not None):
        raise RecipeError(
            "--robustness corrupts the images of a run's own split; leave --data and --predictions out"
        )
    chosen = split_named(split)
    folder, name = run, {"val": "validation"}.get(chosen, chosen)
    if predictions is not None:
        scores = workflows.evaluate_predictions(predictions, listed(classes), by or (), out)
        folder, name = out, predictions.name
    elif data is not None:
        assert run is not None
        scored = workflows.evaluate_bundle(run, data, out or Path("runs"), split)
        scores, folder, name = scored.metrics["test"], scored.folder, "all images"
    else:
        assert run is not None
        scores = workflows.evaluate(run, chosen, by or (), cover, by_class, robustness)
    show_scores(scores, name, folder, json)
    if open_ and folder is not None:
        show_page(folder / "report.html")
    requirements.require(scores, required)


def show_scores(scores: dict[str, Any], name: str, folder: Path | None, json: bool) -> None:
    """Print scores and where they lie, or all of it as one JSON document."""
    if json:
        print_json(scores | {"folder": folder and str(folder)})
        return
    print_scores(scores, name)
    print_selection(scores)
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
            help="Write curves, a plot and a page here; with --open from /tmp by default."
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
