"""Curves, plots and page of a comparison."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from resnetlab.runs.run import Run
from resnetlab.system.files import read_csv, write_json


def write_comparison(
    out: Path, comparison: dict[str, Any], runs: dict[str, Run], galleries: Mapping[str, Path]
) -> None:
    """Write figures, page and comparison.json of a comparison; `galleries` are figures already drawn."""
    from resnetlab.report.drawing.costs import cost_plot, costs_of
    from resnetlab.report.drawing.curves import overlaid_curves
    from resnetlab.report.drawing.figures import difference_plot
    from resnetlab.report.page import write_comparison_page

    figures: dict[str, Path] = {}
    # The best first in every figure, so that a run has one colour.
    runs = {each["name"]: runs[each["name"]] for each in comparison["runs"] if each["name"] in runs}
    metrics = {name: run.metrics for name, run in runs.items()}
    histories = {name: run.folder / "history.csv" for name, run in runs.items()}
    # What was only evaluated here has no curves.
    trained = {name: read_csv(path) for name, path in histories.items() if path.is_file()}
    trained = {name: history for name, history in trained.items() if history}
    if trained:
        figures["curves"] = out / "curves.png"
        overlaid_curves(trained, figures["curves"])
        times = {name: runs[name].times for name in trained}
        if all(len(times[name]) == len(history) for name, history in trained.items()):
            figures["curves-minutes"] = out / "curves-minutes.png"
            overlaid_curves(trained, figures["curves-minutes"], times)
    costs = {name: costs_of(facts) for name, facts in metrics.items()}
    if cost_plot(comparison["runs"], costs, out / "costs.png"):
        figures["costs"] = out / "costs.png"
    figures["differences"] = out / "differences.png"
    difference_plot(comparison, figures["differences"])
    write_json(out / "comparison.json", comparison)
    facts = [{"name": name, **found} for name, found in metrics.items()]
    write_comparison_page(comparison, {**figures, **galleries}, out / "comparison.html", facts)
