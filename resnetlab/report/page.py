"""Pages that open alone: a run, an inspection, a comparison. They compute nothing but text."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jinja2 import ChainableUndefined, Environment, FileSystemLoader
from markupsafe import Markup

from resnetlab.errors import DataError
from resnetlab.report import formats, inline, opening, trials, words
from resnetlab.report.drawing.style import DPI, SPLIT_NAMES
from resnetlab.system import files

Json = Mapping[str, Any]

MOST_CONFUSIONS = 8
PX_AN_INCH = 100  # so that letters of all figures have the size of the text beside them
CAPTIONS = {
    "classes": "Images of each class, in all and in each split. Every panel has its own scale.",
    "augmented": "Training images as the network sees them, varied anew in every epoch.",
    "restored": "Validation images, and below each what the network restores from its code.",
    "curves": "Loss and accuracy over the epochs. The ring is the epoch whose weights are kept.",
    "confusion": "True classes in rows, predicted classes in columns. Correct predictions lie on "
    "the pale diagonal; the redder a cell, the more mistakes.",
    "confusion-normalised": "The same in per cent of each true class.",
    "per-class": "Precision, recall and F1 of each class with their intervals, lowest F1 first.",
    "reliability": "Reliability diagram: accuracy over confidence, in bins of equally many images, with 95 % "
    "intervals. On the dashed line a confidence means what it says.",
    "risk-coverage": "Risk-coverage curve: the error rate where only the surest images get an answer and the "
    "rest goes to a person. Dots are thresholds that validation chose for a wanted error rate.",
    "robustness": "Accuracy, %, under corruptions of five strengths, with intervals; dashed without any. Noise: "
    "deviation; blur: px at 224 px; brightness, occlusion: share; jpeg: quality; rotation: degrees; scale: factor.",
    "samples": "Sample predictions: the true class and, below it, the predicted one with its confidence.",
    "mistakes": "Mistakes: the true class and, below it, the predicted one with its confidence.",
    "contact-sheet": "Some images of each class.",
    "distributions": "How the images are distributed.",
    "extremes": "The images at the extremes: worth a look, for this is where mistakes gather.",
    "copies-apart": "Near-duplicates that lie in different splits or classes. The first are the least similar.",
    "search-parallel": "Every trial as a line, through its settings to its score, the best on top: the darker, "
    "the better; the thick one was chosen. Dashed ones were pruned and end at the last score they reported. "
    "A line passes below a setting that its trial does not have.",
    "search-importance": "How much of the differences between the scores each setting explains, by these trials.",
    "search-trials": "The score of every trial as it trained, averaged over the folds so far. A cross marks "
    "where a trial was pruned.",
    "curves-folds": "The chosen trial in each fold. The ring is the epoch that is best on the average of the folds.",
    "copies": "Near-duplicates within one split and class. The first are the least similar.",
}
COMPARISON_CAPTIONS = {
    "curves": "Validation accuracy and loss of every run over the epochs.",
    "curves-minutes": "The same over the minutes of training.",
    "costs": "Accuracy with its interval over what it costs, on a logarithmic scale.",
    "differences": "Paired differences in accuracy with their intervals.",
}
SCORES = {
    "accuracy": "Accuracy",
    "top5": "Top-5 accuracy",
    "top3": "Top-3 accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_precision": "Macro precision",
    "macro_recall": "Macro recall",
    "macro_f1": "Macro F1",
    "weighted_f1": "Weighted F1",
    "auroc": "Macro AUROC",
    "average_precision": "Average precision",
    "kappa": "Cohen's kappa",
    "matthews": "Matthews correlation",
    "loss": "Loss",
}
KEY_SCORES = ("accuracy", "top5", "balanced_accuracy", "macro_f1", "loss")
PLAIN = ("loss", "kappa", "matthews")  # figures that are no shares
MOST_CELLS = 40  # classes of a confusion matrix whose cells can be opened
SEARCH_WORDS = (
    *("ranked", "has_score", "setting_names", "setting_text"),
    *("measure_name", "score_text", "spread_text", "difference_text", "verdict_text"),
)
ENVIRONMENT = {
    "resnetlab": "resnetlab",
    "python": "Python",
    "torch": "PyTorch",
    "numpy": "NumPy",
    "opencv": "OpenCV",
    "pillow": "Pillow",
    "platform": "System",
    "processor": "Processor",
    "cores": "Cores",
    "memory_gb": "Memory, GB",
    "threads": "Threads",
    "gpu": "GPU",
    "gpu_driver": "GPU driver",
    "started": "Started",
}


def write_run_report(folder: Path) -> Path:
    """Write report.html from the files of a run folder, and return its path.

    What is not there yet (a test, figures) is left out. Raises DataError without the folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no run folder here; give one that holds a recipe.yaml")
    metrics = _read(folder / "metrics.json", {})
    recipe = folder / "recipe.yaml"
    recipe_text = recipe.read_text(encoding="utf-8") if recipe.is_file() else ""
    settings = yaml.safe_load(recipe_text) or {}
    ledger = _read(folder / "test_ledger.json", [])
    splits = [split for split in ("test", "val") if split in metrics]
    found = _read(folder / "search.json", {})
    path = folder / "report.html"
    _write(
        path,
        "run.html",
        audit=metrics.get("dataset", {}),
        title=metrics.get("dataset", {}).get("name") or folder.name,
        model=metrics.get("model", {}),
        search=found,
        verdict=_verdict(metrics, found, folder),
        scores={split: metrics[split] for split in splits},
        trained="training" in metrics,
        training=words.describe_training(
            metrics.get("training", {}), metrics.get("model", {}), metrics.get("head")
        ),
        settings=words.describe_settings(settings) if "training" in metrics else "",
        sure=words.how_sure(metrics[splits[0]], SPLIT_NAMES[splits[0]])
        + words.foreign(metrics.get("foreign", {}))
        if splits
        else [],
        calibrated=words.calibrated(metrics[splits[0]]) if splits else "",
        ledger=ledger,
        openings=words.openings(ledger),
        environment=_read(folder / "environment.json", {}),
        recipe=recipe_text,
        rerun=f"resnetlab reproduce {words.run_path(folder)}",
        figures={file.stem: file for file in sorted(folder.glob("figures/*.png"))},
        opening=opening.sentences(metrics, ledger) if splits else [],
        pictures={
            split: _read(folder / "figures" / f"thumbnails-{split}.json", {}) for split in splits
        },
        luck=opening.luck(metrics, ledger),
    )
    return path


def _verdict(metrics: Json, found: Json, folder: Path) -> dict[str, str]:
    """Return the first sentence of a run, or of the search that it holds, with note and command."""
    verdict = words.verdict(metrics, folder)
    if not found or "test" in metrics:
        return verdict
    if "val" not in metrics:
        note = "No model was trained with the chosen settings yet."
        if "training" in metrics:
            note = "The model trained with the chosen settings has not been tested yet."
        return {"sentence": found["summary"], "note": "" if found["chosen"] is None else note}
    score = metrics["val"]
    verdict["sentence"] = (
        f"Of {formats.plural(score['samples'], 'image')} that it was not trained on, the chosen "
        f"trial of the search classifies {formats.percent(score['accuracy']['value'])} correctly "
        f"({words.confidence(score)} interval {formats.percent_range(score['accuracy'])})."
    )
    verdict["note"] = "These images also chose the settings, so the figure is a little optimistic."
    if "command" in verdict:
        verdict["note"] += " The test images have not been used yet; this opens them:"
    return verdict


def write_inspect_page(audit: Json, figures: Mapping[str, Path], path: Path) -> None:
    """Write what an audit of the data found, with its figures by name (`classes`, ...)."""
    _write(path, "inspect.html", audit=audit, title=audit.get("name", "Images"), figures=figures)


def write_comparison_page(
    comparison: Json, figures: Mapping[str, Path], path: Path, runs: Sequence[Json]
) -> None:
    """Write which runs are shown to differ.

    `figures` by name (`curves`, `differences`). `runs` give each run's `name` and, where known,
    the `model` and `training` of its metrics.json.
    """
    known = {run["name"]: run for run in runs}
    _write(
        path,
        "comparison.html",
        title=f"Comparison of {formats.plural(len(comparison['runs']), 'run')}",
        comparison=comparison,
        runs=known,
        models=any("model" in run for run in runs),
        times=any("training" in run for run in runs),
        figures=figures,
        captions=COMPARISON_CAPTIONS,
    )


def write_document_page(facts: Json, figures: Mapping[str, Path], path: Path) -> None:
    """Write how a document's steps compare with ours, see `report.document`."""
    title = f"{facts['document'].upper()}, run again"
    _write(path, "document.html", figures, COMPARISON_CAPTIONS, title=title, facts=facts)


def _read(path: Path, otherwise: Any) -> Any:
    return files.read_json(path, type(otherwise)) if path.is_file() else otherwise


def _write(
    path: Path,
    template: str,
    figures: Mapping[str, Path],
    captions: Mapping[str, str] = CAPTIONS,
    **values: Any,
) -> None:
    images = {
        name: {"caption": _caption(name, captions), **_embed(file)}
        for name, file in figures.items()
        if file.is_file()
    }
    page = _environment().get_template(template).render(figures=images, **inline.code(), **values)
    files.write_text(path, page)


@cache
def _environment() -> Environment:
    """Return templates in which every value is escaped and an absent one is simply nothing."""
    environment = Environment(
        loader=FileSystemLoader(inline.TEMPLATES),
        autoescape=True,
        undefined=ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        name: getattr(formats, name)
        for name in (
            "percent",
            "percent_range",
            "number",
            "points",
            "plural",
            "large",
            "duration",
            "moment",
            "p_value",
        )
    }
    environment.globals |= {
        "SCORES": SCORES,
        "KEY_SCORES": KEY_SCORES,
        "PLAIN": PLAIN,
        "MOST_CELLS": MOST_CELLS,
        "SPLIT_NAMES": SPLIT_NAMES,
        "ENVIRONMENT": ENVIRONMENT,
        "confidence": words.confidence,
        "confusions": confusions,
        "describe_data": words.describe_data,
        "describe_near": words.describe_near,
        "listed": formats.listed,
        "no_image_of": formats.no_image_of,
        "absent_classes": formats.absent_classes,
    }
    environment.globals |= {name: getattr(trials, name) for name in SEARCH_WORDS}
    return environment


def _embed(png: Path) -> dict[str, Any]:
    """Return a figure for the page, with the size in px that keeps its letters readable.

    `svg` where there is one as new as the PNG: it follows the reader's theme; else PNG as text.
    """
    data = png.read_bytes()
    svg = png.with_suffix(".svg")
    drawn = svg.is_file() and svg.stat().st_mtime >= png.stat().st_mtime - 5
    width, height = (int.from_bytes(data[start : start + 4], "big") for start in (16, 20))
    return {
        "svg": Markup(inline.themed(svg.read_text(encoding="utf-8"))) if drawn else "",
        "data": "" if drawn else base64.b64encode(data).decode("ascii"),
        "width": round(width * PX_AN_INCH / DPI),
        "height": round(height * PX_AN_INCH / DPI),
    }


def _caption(name: str, captions: Mapping[str, str]) -> str:
    """Return the caption of `confusion-test-normalised` and its like, whichever the split."""
    kind = "-".join(word for word in name.split("-") if word not in SPLIT_NAMES)
    return captions.get(kind, name.replace("-", " ").capitalize())


def confusions(score: Json) -> Iterator[dict[str, Any]]:
    """Give the most frequent mistakes that happened more than once, most frequent first."""
    names = [row["class"] for row in score["per_class"]]
    matrix = score["confusion_matrix"]
    found = sorted(
        (-count, row, column)
        for row, counts in enumerate(matrix)
        for column, count in enumerate(counts)
        if row != column and count > 1
    )
    for count, row, column in found[:MOST_CONFUSIONS]:
        support = sum(matrix[row])
        yield {
            "true": names[row],
            "predicted": names[column],
            "row": row,
            "column": column,
            "count": -count,
            "support": support,
        }
