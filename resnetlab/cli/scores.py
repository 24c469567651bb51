"""Scores, comparisons and runs as a terminal shows them, or as JSON."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from resnetlab.cli.tables import console
from resnetlab.errors import MachineError
from resnetlab.report.formats import absent_classes, no_image_of
from resnetlab.system.files import read_json

if TYPE_CHECKING:
    from resnetlab.runs.run import Run

SHARES = {
    "accuracy": "accuracy",
    "top3": "top-3 accuracy",
    "top5": "top-5 accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_precision": "macro precision",
    "macro_recall": "macro recall",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
    "auroc": "macro AUROC",
    "average_precision": "average precision",
}
MOST_SUSPECTS = 20  # on the terminal
NUMBERS = {"kappa": "Cohen's kappa", "matthews": "Matthews", "loss": "loss"}


def print_json(document: Any) -> None:
    """Print one JSON document, whatever the terminal's width."""
    console.print(json.dumps(document, indent=1, ensure_ascii=False), markup=False, soft_wrap=True)


def print_scores(scores: dict[str, Any], split: str) -> None:
    """Print the main figures with their intervals."""
    console.print(f"\n{split}, {scores['samples']:,} images, {scores['confidence']:.0%} intervals")
    for name, title in SHARES.items():
        if scores.get(name) is not None:  # a run from before has not all of them
            value, low, high = (scores[name][key] for key in ("value", "low", "high"))
            console.print(f"{title:<18}{value:7.1%}   {low:.1%} to {high:.1%}")
    if absent := absent_classes(scores):
        console.print(no_image_of(absent), markup=False)
    for name, title in NUMBERS.items():
        if one := scores.get(name):
            console.print(f"{title:<18}{one['value']:7.3f}   {one['low']:.3f} to {one['high']:.3f}")
    if "calibration" in scores:  # a run from before has none
        print_calibration(scores["calibration"])
    console.print()


def print_calibration(found: dict[str, Any]) -> None:
    """Print by how much confidence and accuracy differ, as the logits come and calibrated."""
    for name, one in (("ECE, uncalibrated", found["ece"]), ("ECE", found["calibrated"]["ece"])):
        if name == "ECE" or found["temperature"] != 1:
            value, low, high = (one[key] for key in ("value", "low", "high"))
            console.print(f"{name:<18}{value:7.1%}   {low:.1%} to {high:.1%}")


def print_selection(scores: dict[str, Any]) -> None:
    """Print what thresholds on the confidence give, and sets of classes."""
    lines = []
    for row in scores.get("selective", {}).get("thresholds", []):
        if row["threshold"] is not None:
            error, share = row["error"], row["coverage"]["value"]
            lines.append(
                f"at most {row['wanted']:.0%} wrong: answers from a confidence of {row['threshold']:.3f} on, "
                f"{share:.1%} of the images, {error['value']:.1%} of them wrong "
                f"({error['low']:.1%} to {error['high']:.1%})"
            )
    found = scores.get("conformal", {})
    if "cover" in found:
        cover, each = found["cover"], " of each class" if found["by_class"] else ""
        lines.append(
            f"sets that promise to hold the true class of {found['promise']:.4g}{each}: {cover['value']:.1%} do "
            f"({cover['low']:.1%} to {cover['high']:.1%}), {found['size']:.2f} classes on average"
        )
    for line in lines:
        console.print(line, markup=False)
    if lines:
        console.print()


def print_foreign(found: dict[str, Any]) -> None:
    """Print how many foreign images are told, and what is said of the rest."""
    console.print(
        f"\n{found['images']:,} foreign images, {found['confidence']:.0%} intervals; of familiar ones "
        f"{found['false_refusals']:.0%} are refused"
    )
    for name, title in (
        ("refused", "refused"),
        ("auroc", "AUROC by distance"),
        ("auroc_confidence", "by confidence"),
        ("sure", "90% sure"),
        ("sure_and_kept", "and not refused"),
    ):
        value, low, high = (found[name][key] for key in ("value", "low", "high"))
        console.print(f"{title:<18}{value:7.1%}   {low:.1%} to {high:.1%}")
    taken = ", ".join(f"{name} ({count:,})" for name, count in found["taken_for"].items())
    console.print(f"taken for: {taken}\n", markup=False)


def print_label_errors(found: dict[str, Any]) -> None:
    """Print how many labels are likely wrong, and the likeliest of them."""
    suspects, looked_at = found["suspects"], found["looked_at"]
    of = f" of {found['images']:,}" if found["images"] not in (None, looked_at) else ""
    console.print(
        f"\n{looked_at:,}{of} images were looked at, those that the network had not learned from: "
        f"{len(suspects):,} labels worth a look ({len(suspects) / looked_at:.1%}), about "
        f"{found['share']:.1%} of all estimated to be wrong, the model's own mistakes among them\n"
    )
    if not suspects:
        return
    table = Table("image", "label", "suggested", box=None, pad_edge=False)
    for title in ("label's probability", "suggestion's"):
        table.add_column(title, justify="right")
    for row in suspects[:MOST_SUSPECTS]:
        probs = (f"{row[key]:.1%}" for key in ("label_probability", "suggested_probability"))
        table.add_row(escape(row["id"]), escape(row["label"]), escape(row["suggested"]), *probs)
    console.print(table)
    if len(suspects) > MOST_SUSPECTS:
        console.print(f"... {len(suspects) - MOST_SUSPECTS:,} more")


def print_suggestions(found: dict[str, Any]) -> None:
    """Print the first images to label next."""
    rows = found["suggestions"]
    console.print(f"\n{len(rows):,} of {found['images']:,} images to label next\n")
    table = Table("image", "predicted", box=None, pad_edge=False)
    for title in ("probability", "uncertainty"):
        table.add_column(title, justify="right")
    for row in rows[:MOST_SUSPECTS]:
        figures = f"{row['probability']:.1%}", f"{row['uncertainty']:.2f}"
        table.add_row(escape(row["path"]), escape(row["predicted"]), *figures)
    console.print(table)
    if len(rows) > MOST_SUSPECTS:
        console.print(f"... {len(rows) - MOST_SUSPECTS:,} more")


def print_robustness(scores: dict[str, Any]) -> None:
    """Print the accuracy under each corruption, the mildest first."""
    found = scores.get("robustness")
    if not found:
        return
    table = Table("accuracy under", box=None, pad_edge=False)
    for number in range(1, 1 + max(len(curve["strengths"]) for curve in found["curves"])):
        table.add_column(f"strength {number}", justify="right")
    for curve in found["curves"]:
        figures = (f"{each['accuracy']['value']:.1%}" for each in curve["strengths"])
        table.add_row(curve["corruption"], *figures)
    console.print(table)
    console.print(f"mean {found['mean']:.1%}, without corruption {found['clean']['value']:.1%}\n")


def print_subgroups(scores: dict[str, Any]) -> None:
    """Print the figures of each part of the images, those that are shown to be worse marked."""
    for column, rows in scores.get("subgroups", {}).items():
        table = Table(escape(column), box=None, pad_edge=False)
        for title in ("images", "accuracy", "interval", "macro F1"):
            table.add_column(title, justify="right")
        table.add_column("")
        for row in rows:
            accuracy = row["accuracy"]
            table.add_row(
                escape(row["value"]),
                f"{row['images']:,}",
                f"{accuracy['value']:.1%}",
                f"{accuracy['low']:.1%} to {accuracy['high']:.1%}",
                f"{row['macro_f1']:.3f}",
                f"shown to be {row['differs']} than elsewhere" if row["differs"] else "",
            )
        console.print(table)
        console.print()


def print_paths(folder: Path) -> None:
    """Print where a run's results lie."""
    console.print(f"run     {folder}", markup=False)
    console.print(f"report  {folder / 'report.html'}", markup=False)


def show_page(path: Path) -> None:
    """Open a page in the browser. Raises MachineError where there is none."""
    import webbrowser

    if not webbrowser.open(path.resolve().as_uri()):
        raise MachineError(f"{path}: no browser was found to show it; open the file yourself")


def print_comparison(comparison: dict[str, Any]) -> None:
    """Print the table of runs, then what can be said of each pair."""
    split = {"val": "validation"}.get(comparison["split"], comparison["split"])
    console.print(
        f"\n{comparison['samples']:,} {split} images, {comparison['confidence']:.0%} intervals\n"
    )
    table = Table("run", box=None, pad_edge=False)
    runs = comparison["runs"]
    with_loss = any(run["loss"] is not None for run in runs)  # predicted classes alone have none
    for column in ("accuracy", "interval", "macro F1", *(("loss",) if with_loss else ())):
        table.add_column(column, justify="right")
    for run in runs:
        accuracy = run["accuracy"]
        interval = f"{accuracy['low']:.1%} to {accuracy['high']:.1%}"
        row = [run["name"], f"{accuracy['value']:.1%}", interval, f"{run['macro_f1']:.1%}"]
        if with_loss:
            row.append("" if run["loss"] is None else f"{run['loss']:.3f}")
        table.add_row(*row)
    console.print(table)
    console.print()
    if comparison["absent"]:
        console.print(f"{no_image_of(comparison['absent'])}\n", markup=False)
    for pair in comparison["pairs"]:
        console.print(f"- {pair['sentence']}", markup=False)
    for pair in (comparison["repeats"] or {"pairs": ()})["pairs"]:
        console.print(f"- {pair['sentence']}", markup=False)
    console.print(f"\n{comparison['summary']}", markup=False)


def run_facts(run: "Run") -> dict[str, Any]:
    """Return where a run lies and what it has measured, for JSON; `bundle` is None before there is one."""
    facts = run.metrics
    found: dict[str, Any] = {
        "folder": str(run.folder),
        "bundle": str(run.bundle) if (run.bundle / "model.json").is_file() else None,
        "report": str(run.folder / "report.html"),
        "classes": facts["dataset"]["classes"],
    }
    found |= {key: facts[key] for key in ("model", "training", "val", "test") if key in facts}
    if (run.folder / "search.json").is_file():
        found["search"] = read_json(run.folder / "search.json", dict)
    return found


def print_run(run: "Run", json: bool = False, open_: bool = False) -> None:
    """Print what a run has measured, in words or as one JSON document; with `open_` show its report."""
    if json:
        print_json(run_facts(run))
    else:
        print_measured(run)
    if open_:
        show_page(run.folder / "report.html")


def print_measured(run: "Run") -> None:
    """Print what a run has measured, where it lies, and whether its test split is still closed."""
    facts = run.metrics
    searched = (run.folder / "search.json").is_file()  # then no image validates the final network
    names = {
        "val": "chosen trial, out of fold" if searched else "validation",
        "test": "test" if "training" in facts else "all images",
    }
    for split, name in names.items():
        if split in facts:
            print_scores(facts[split], name)
    if run.reproduction_file.is_file():
        print_reproduction(run)
    print_paths(run.folder)
    if run.bundle.is_dir() and sum(facts["dataset"]["counts"]["test"]) and not run.ledger:
        console.print(f"test    not opened yet: resnetlab evaluate {run.folder}", markup=False)


def print_reproduction(run: "Run") -> None:
    """Print how a run compares with the one that it reproduces, and what may explain a difference."""
    facts = read_json(run.reproduction_file, dict)
    console.print(facts["summary"], markup=False)
    if not facts["same"]:
        for cause in facts["causes"] or ["nothing else differs that is known to matter"]:
            console.print(f"- {cause}", markup=False)
