"""The page of a document that was run again: its steps, ours, and what is shown of the difference."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from resnetlab.report.formats import percent, points
from resnetlab.report.page import write_document_page
from resnetlab.system.files import write_json

Json = Mapping[str, Any]


def write_document(
    folder: Path,
    document: str,
    about: str,
    rows: Sequence[Json],
    comparison: Json,
    submission: Path | None,
) -> None:
    """Write report.html and results.json of a document.

    `rows` are its steps in order: name, title, ours, reports, network, training, test (scores, None for a
    search), openings, reduced (lines), and of a search what it found.
    """
    pairs = [pair for pair in comparison["pairs"] if across(pair, rows)]
    facts = {
        "document": document,
        "about": about,
        "verdict": verdict(rows, pairs),
        "steps": list(rows),
        "pairs": pairs,
        "submission": submission and submission.name,
    }
    write_json(folder / "results.json", facts)
    figures = {
        name: folder / "comparison" / f"{name}.png"
        for name in ("costs", "curves", "curves-minutes", "differences")
    }
    write_document_page(facts, figures, folder / "report.html")


def across(pair: Json, rows: Sequence[Json]) -> bool:
    """Return whether a pair is one of the document's steps and one of ours."""
    ours = {row["name"] for row in rows if row["ours"]}
    return (pair["a"] in ours) != (pair["b"] in ours)


def verdict(rows: Sequence[Json], pairs: Sequence[Json]) -> str:
    """Return in words how our best step compares with the document's best."""
    told = best([row for row in rows if not row["ours"]])
    ours = best([row for row in rows if row["ours"]])
    pair = next(pair for pair in pairs if {pair["a"], pair["b"]} == {told["name"], ours["name"]})
    sign = 1 if pair["a"] == ours["name"] else -1
    ends = sorted(sign * pair["difference"][end] for end in ("low", "high"))
    difference = {
        "value": sign * pair["difference"]["value"],
        "low": ends[0],
        "high": ends[1],
    }
    shown = "is shown" if pair["verdict"] == "shown" else "is not shown by so few images"
    less = "; ".join(told["reduced"])
    caution = f" That step was not as the document has it ({less}); its own figure may be higher."
    return (
        f"The document's best step classifies {percent(told['test']['accuracy']['value'])} of the test images "
        f"correctly, our best {percent(ours['test']['accuracy']['value'])}: a difference of "
        f"{points(difference)} points, which {shown}.{caution if less else ''}"
    )


def best(rows: Sequence[Json]) -> Json:
    """Return the row of the highest test accuracy."""
    tested = [row for row in rows if row["test"] is not None]
    return max(tested, key=lambda row: row["test"]["accuracy"]["value"])
