"""Verbs that use a trained model: predict, export, serve, push, combine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from resnetlab.cli.options import JsonOption
from resnetlab.cli.scores import print_json
from resnetlab.cli.tables import console
from resnetlab.errors import RecipeError

if TYPE_CHECKING:
    from resnetlab.deploy.answers.rows import Row
    from resnetlab.workflows.deployment.predicting import Tally

ModelArgument = Annotated[
    str,
    typer.Argument(
        help="A run, a bundle, an exported model or hf:user/name; several with commas: their mean."
    ),
]


MaxErrorOption = Annotated[
    float | None,
    typer.Option(
        help="Mark the least sure as uncertain, so that the others are wrong at most this often: 0.02."
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
    max_error: MaxErrorOption = None,
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
    json: JsonOption = False,
) -> None:
    """Predict the class of images, any number of them."""
    from resnetlab import workflows

    if watch is not None:
        if images or sort_into or submission or json:
            raise RecipeError("--watch takes its images from that folder alone, into --out")
        workflows.watch(model, watch, print_row, out, backend, top, uncertain_below, max_error)
        return
    if not images:
        raise RecipeError("predict needs IMAGES: files, folders, archives, tables, or -")
    rows: list[Row] = []
    kept = rows.append if json else print_row
    show = None if out or sort_into else kept
    tally = workflows.classify(
        model, images, show, out, backend, top, uncertain_below, sort_into, submission, max_error
    )
    if json:
        print_json(tally.as_json() | {"out": out and str(out), "predictions": rows})
    elif show is None:
        print_tally(tally, uncertain_below is not None or max_error is not None)
        for place in (out, sort_into):
            if place is not None:
                console.print(f"written {place}", markup=False, soft_wrap=True)


def print_row(row: "Row") -> None:
    """Print what the model says of one file."""
    said = "  ".join(f"{name} {value:.1%}" for name, value in row["top"])
    mark = "  uncertain" if row["uncertain"] else ""
    mark += "  unlike the training images" if row["out_of_distribution"] else ""
    console.print(f"{row['file']}  {row['problem'] or said + mark}", markup=False, soft_wrap=True)


def print_tally(tally: "Tally", doubts: bool) -> None:
    """Print how many files were answered, and which were not; with `doubts` how many are uncertain."""
    marked = f", {tally.uncertain:,} uncertain" if doubts else ""
    if tally.out_of_distribution is not None:
        marked += f", {tally.out_of_distribution:,} unlike the training images"
    console.print(f"{tally.files:,} files{marked}, {tally.unusable:,} of them no usable image")
    for each in tally.named:
        console.print(f"- {each}", markup=False, soft_wrap=True)
    if tally.unusable > len(tally.named):
        console.print(f"- and {tally.unusable - len(tally.named):,} more")


def export(
    model: Annotated[Path, typer.Argument(help="A run or a bundle.")],
    format: Annotated[str, typer.Option(help="onnx, openvino, torch.")] = "onnx",
    out: Annotated[
        Path | None, typer.Option(help="A folder for it; unless given, one in the bundle.")
    ] = None,
    preparation: Annotated[
        str,
        typer.Option(help="inside: takes images of any size; outside: prepared ones, as ours."),
    ] = "inside",
    quantize: Annotated[
        str | None, typer.Option(help="int8, with openvino: smaller and faster, less exact.")
    ] = None,
    max_loss: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Accuracy that --quantize may cost.")
    ] = 0.01,
    images: Annotated[
        Path | None, typer.Option(help="Images to compare on; unless given, a run's validation.")
    ] = None,
) -> None:
    """Export a model for another runtime; it is compared with the original before it counts."""
    from resnetlab import workflows

    found = workflows.export(model, format, out, preparation, quantize, max_loss, images)
    print_export(found)


def print_export(found: dict[str, Any]) -> None:
    """Print where an exported model lies, and how it compares with the original."""
    comparison = found["comparison"]
    names = {"prepared": "prepared images", "files": "files, prepared by the graph"}
    for what, name in names.items():
        if what in comparison:
            each = comparison[what]
            console.print(
                f"{name}: the same class {each['same_class']} of {each['images']} times, "
                f"probabilities at most {each['largest_difference']:.1g} off"
            )
    if "accuracy" in found:
        kept, loss = found["accuracy"], found["accuracy"]["loss"]
        console.print(
            f"accuracy on {kept['images']} validation images: {kept['int8']:.1%}, before {kept['original']:.1%}; "
            f"lost {loss['value']:.1%} (95% interval {loss['low']:.1%} to {loss['high']:.1%})"
        )
    console.print(
        f"speed   {comparison['ms']:.1f} ms an image, PyTorch {comparison['torch_ms']:.1f} ms"
    )
    megabytes = comparison["bytes"] / 1e6
    console.print(f"model   {found['folder']} ({megabytes:.1f} MB)", markup=False, soft_wrap=True)
    script = found["folder"] / "predict.py"
    console.print(f"try     python {script} photo.jpg", markup=False, soft_wrap=True)


def serve(
    model: ModelArgument,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0: from anywhere.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8000,
    uncertain_below: Annotated[
        float | None, typer.Option(help="Mark what has a lower probability as uncertain.")
    ] = None,
    max_error: MaxErrorOption = None,
    backend: Annotated[
        str, typer.Option(help="As for predict; auto: the fastest that is there.")
    ] = "auto",
    batch: Annotated[
        int, typer.Option(min=1, help="Images computed together at most; 1: each alone.")
    ] = 16,
    requests: Annotated[
        int, typer.Option(min=1, help="Requests at work at once; others are told to come again.")
    ] = 64,
    corrections: Annotated[
        Path | None,
        typer.Option(help="Keep answers marked as wrong in this .csv, their images beside it."),
    ] = None,
) -> None:
    """Answer images over HTTP, and show a page to try it. RESNETLAB_API_KEY makes it want a key."""
    from resnetlab import workflows

    workflows.serve(
        model, host, port, backend, uncertain_below, batch, requests, corrections, max_error
    )


def push(
    model: Annotated[Path, typer.Argument(help="A run or a bundle.")],
    repository: Annotated[str, typer.Argument(help="user/name on the Hugging Face hub.")],
    public: Annotated[
        bool, typer.Option("--public", help="For all to see; a new repository is private else.")
    ] = False,
    space: Annotated[
        bool, typer.Option("--space", help="Also a Gradio Space of that name, a page to try it.")
    ] = False,
) -> None:
    """Upload a bundle with its card and scores to the Hugging Face hub."""
    from resnetlab import workflows

    for address in workflows.push(model, repository, public, space):
        console.print(f"at      {address}", markup=False)


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
