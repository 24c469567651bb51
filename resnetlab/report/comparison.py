"""Curves, plot and page of a comparison."""

from pathlib import Path
from typing import Any

from resnetlab.runs.run import Run
from resnetlab.system.files import read_csv, write_json


def write_comparison(out: Path, comparison: dict[str, Any], runs: dict[str, Run]) -> None:
    """Write figures, page and comparison.json of a comparison."""
    from resnetlab.report.curves import overlaid_curves
    from resnetlab.report.figures import difference_plot
    from resnetlab.report.page import write_comparison_page

    figures = {"curves": out / "curves.png", "differences": out / "differences.png"}
    histories = {name: run.folder / "history.csv" for name, run in runs.items()}
    trained = {name: path for name, path in histories.items() if path.is_file()}
    if trained:  # what was only evaluated here has no curves
        overlaid_curves({name: read_csv(path) for name, path in trained.items()}, figures["curves"])
    else:
        del figures["curves"]
    difference_plot(comparison, figures["differences"])
    write_json(out / "comparison.json", comparison)
    facts = [{"name": name, **run.metrics} for name, run in runs.items()]
    write_comparison_page(comparison, figures, out / "comparison.html", facts)
