"""The tables of a report as CSV files, for whoever wants to compute on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from resnetlab.system.files import write_csv

Json = Mapping[str, Any]
LIMITS = ("value", "low", "high")


def write_tables(folder: Path, split: str, scores: Json) -> None:
    """Write the figures of a split, of its classes and subgroups, and the confusion matrix as CSV."""
    intervals = {name: one for name, one in scores.items() if _is_interval(one)}
    write_csv(
        folder / f"scores-{split}.csv",
        ["figure", *LIMITS],
        [[name, *(one[key] for key in LIMITS)] for name, one in intervals.items()],
    )
    rows = scores["per_class"]
    figures = [name for name in rows[0] if any(_is_interval(row.get(name)) for row in rows)]
    header = ["class", "images", "predicted"]
    header += [name if key == "value" else f"{name}_{key}" for name in figures for key in LIMITS]
    write_csv(folder / f"per-class-{split}.csv", header, [_class_row(row, figures) for row in rows])
    names = [row["class"] for row in rows]
    write_csv(
        folder / f"confusion-{split}.csv",
        ["true \\ predicted", *names],
        [[name, *row] for name, row in zip(names, scores["confusion_matrix"], strict=True)],
    )
    for column, parts in scores.get("subgroups", {}).items():
        write_csv(
            folder / f"by-{column}-{split}.csv",
            [column, "images", "accuracy", "accuracy_low", "accuracy_high", "macro_f1", "differs"],
            [
                [
                    part["value"],
                    part["images"],
                    *(part["accuracy"][key] for key in LIMITS),
                    part["macro_f1"],
                    part["differs"] or "",
                ]
                for part in parts
            ],
        )
    if found := scores.get("robustness"):
        write_csv(
            folder / f"robustness-{split}.csv",
            ["corruption", "strength", "accuracy", "accuracy_low", "accuracy_high"],
            [
                [curve["corruption"], each["strength"], *(each["accuracy"][key] for key in LIMITS)]
                for curve in found["curves"]
                for each in curve["strengths"]
            ],
        )


def _is_interval(one: Any) -> bool:
    return isinstance(one, Mapping) and set(LIMITS) == set(one)


def _class_row(row: Json, figures: list[str]) -> list[Any]:
    cells: list[Any] = [row["class"], row["support"], row["predicted"]]
    for name in figures:
        one = row.get(name)
        cells += [one[key] if one else "" for key in LIMITS]
    return cells
