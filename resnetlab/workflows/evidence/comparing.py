"""Which of several runs, or tables of predictions made elsewhere, is better."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from resnetlab.data.catalog import Catalog
from resnetlab.errors import DataError, RecipeError
from resnetlab.evaluation.comparison import compare_all
from resnetlab.evaluation.predictions import Predictions
from resnetlab.evaluation.repeats import compare_repeats
from resnetlab.evaluation.tables import read_predictions
from resnetlab.recipe import Recipe
from resnetlab.recipe.training import OF_THE_MACHINE
from resnetlab.report.comparison import write_comparison
from resnetlab.runs.run import Run, open_run
from resnetlab.system.requirements import require_writable
from resnetlab.workflows.evidence.differing import draw_differing


def compare(
    places: Sequence[Path], out: Path | None = None, classes: Sequence[str] = ()
) -> dict[str, Any]:
    """Compare runs on the same images, pair by pair; with `out`, write images and a page there.

    A file among `places` is a table of predictions made elsewhere (see `evaluation.tables`), of
    `classes`. On the test split where every run has opened it, else on validation. Raises DataError where
    the runs were not measured on the same images, RecipeError for fewer than two.
    """
    if out is not None:
        require_writable(out)
    if len({place.resolve() for place in places}) < 2:
        raise RecipeError("compare needs two different runs at least")
    names = names_of(places)
    tables = {
        name: read_predictions(place, classes).predictions
        for name, place in names.items()
        if place.is_file()
    }
    runs = {name: open_run(place) for name, place in names.items() if name not in tables}
    split = shared_split(runs, tables)
    predictions = {
        name: tables[name] if name in tables else Predictions.load(runs[name].predictions(split))
        for name in names
    }
    predictions = same_order(predictions)
    groups = groups_of(next(iter(runs.values()))) if runs else None
    comparison = compare_all(predictions, groups=groups) | {"split": split}
    recipes = {name: run.recipe for name, run in runs.items()}
    comparison["repeats"] = over_seeds(repeats_of(recipes), recipes, comparison)
    if out is not None:
        galleries = draw_differing(out, comparison, runs, predictions)
        write_comparison(out, comparison, runs, galleries)
    return comparison


def repeats_of(recipes: Mapping[str, Recipe]) -> dict[str, list[str]]:
    """Return runs whose recipes differ in the seed alone, or in what the machine decides, by the first's name."""
    groups: dict[str, list[str]] = {}
    for name, recipe in recipes.items():
        tree = recipe.model_dump(mode="json", exclude={"seed": True, "data": {"keep_split_of"}})
        tree["training"] = {k: v for k, v in tree["training"].items() if k not in OF_THE_MACHINE}
        groups.setdefault(json.dumps(tree, sort_keys=True), []).append(name)
    return {names[0]: names for names in groups.values()}


def over_seeds(
    groups: Mapping[str, Sequence[str]],
    recipes: Mapping[str, Recipe],
    comparison: Mapping[str, Any],
) -> dict[str, Any] | None:
    """Return what repeats with several seeds show, by the accuracies compared; None where there are none."""
    if all(len(names) < 2 for names in groups.values()):
        return None
    accuracy = {run["name"]: run["accuracy"]["value"] for run in comparison["runs"]}
    return compare_repeats(
        {
            group: {recipes[name].seed: accuracy[name] for name in names}
            for group, names in groups.items()
        },
        resolution=1 / comparison["samples"],
    )


def groups_of(run: Run) -> dict[str, int]:
    """Return the group of each image of a run, by its id."""
    catalog = Catalog.load(run.catalog_file)
    return dict(zip(catalog.ids, catalog.group.tolist(), strict=True))


def names_of(places: Sequence[Path]) -> dict[str, Path]:
    """Return places by their names, or by their paths where two have the same name."""
    short = [place.stem if place.is_file() else place.name for place in places]
    return dict(
        zip(short if len(set(short)) == len(short) else map(str, places), places, strict=True)
    )


def shared_split(runs: Mapping[str, Run], tables: Mapping[str, Predictions]) -> str:
    """Return the split that all runs have predicted, 'test' for tables alone.

    Where there are tables, it is the one whose images they hold. Raises DataError where there is none.
    """
    if not runs:
        return "test"
    splits = [
        split
        for split in ("test", "val")
        if all(run.predictions(split).is_file() for run in runs.values())
    ]
    if not splits:
        raise DataError(
            "the runs share no evaluated split; finish them, or run 'resnetlab evaluate' on each"
        )
    if tables:
        run = next(iter(runs.values()))
        wanted = set(next(iter(tables.values())).ids)
        for split in splits:
            if set(Predictions.load(run.predictions(split)).ids) == wanted:
                return split
    return splits[0]


def same_order(predictions: Mapping[str, Predictions]) -> dict[str, Predictions]:
    """Return tables whose classes are in the order of the first; other classes are left to be told."""
    first = next(iter(predictions.values())).classes
    return {
        name: table.with_classes(first) if sorted(table.classes) == sorted(first) else table
        for name, table in predictions.items()
    }
