"""What a trained model is worth."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from resnetlab.data.catalog import Catalog, objects
from resnetlab.data.dataset import list_data, name_of
from resnetlab.data.description import describe_dataset
from resnetlab.errors import DataError
from resnetlab.evaluation.confidence.conformal import PROMISE
from resnetlab.evaluation.requirements import Requirement
from resnetlab.report import results
from resnetlab.report.files import write_tables
from resnetlab.runs.run import Run, bundle_of, create_run, open_run
from resnetlab.runs.unfinished import (
    discarded_without_recipe,
    lasting,
    require_trained,
    unfinished,
)
from resnetlab.system.progress import log
from resnetlab.system.requirements import require_writable
from resnetlab.workflows.evidence.measuring import measure
from resnetlab.workflows.evidence.required import require_names
from resnetlab.workflows.evidence.robustness import robustness_of
from resnetlab.workflows.evidence.sets import conformal_of, require_promise
from resnetlab.workflows.evidence.subgroups import require_columns, subgroups_of
from resnetlab.workflows.steps import begin_run, describe_model, read_and_say, return_to, say_notes


def evaluate(
    folder: Path,
    split: Literal["val", "test"] = "test",
    by: Sequence[str] = (),
    cover: float | None = None,
    by_class: bool = False,
    robust: bool = False,
    required: Sequence[Requirement] = (),
) -> dict[str, Any]:
    """Score a finished run on its validation or test split and renew its report; return the scores.

    `by` asks for the figures of subgroups too: folder, size, or a column of the catalog; `cover` for
    sets of classes that hold the true one as often as that, `by_class` for each class; `robust` for the
    accuracy under corruptions; `required` are figures that the caller will require. Opening the
    test split leaves a line in the run's ledger. Raises DataError where the split is empty, the run
    isn't finished, the images have changed since the training, validation is too small for `cover`, or a
    column of `by` has too many values, RecipeError for a column or figure that is none.
    """
    run = open_run(folder)
    require_trained(run)
    catalog = Catalog.load(run.catalog_file)
    if not len(catalog.rows(split)):
        raise DataError(
            f"{run.folder}: has no {split} split (its split is {list(run.recipe.data.split)})"
        )
    require_columns(by, catalog, split)
    require_promise(run, cover, by_class)
    require_names(run, required, cover or PROMISE, by_class, robust)
    with run.held():
        scores = score_split(run, split, len(run.ledger))
        asked: dict[str, Any] = {}
        if by:
            asked["subgroups"] = subgroups_of(run, split, by)
        if cover is not None or by_class:
            asked["conformal"] = conformal_of(run, split, cover or PROMISE, by_class)
        if robust:
            asked["robustness"] = robustness_of(run, split)
        if asked:
            scores = scores | asked
            run.add_metrics(**{split: scores})
            write_tables(run.folder / "tables", split, scores)
            results.write_report(run)
        return scores


def go_on_evaluating(folder: Path, arguments: dict[str, Any], anyway: bool) -> None:
    """Score a split again after the scoring was cut off; the ledger counts that as one look."""
    run = open_run(folder)
    with run.held():
        score_split(run, arguments["split"], arguments["opened"], anyway)


def score_split(
    run: Run, split: Literal["val", "test"], opened: int, anyway: bool = False
) -> dict[str, Any]:
    """Score a split of a run that is held; `opened` is how often its test split was opened before."""
    from resnetlab.deploy.bundle import load_bundle

    with unfinished(run.folder, "evaluate", split=split, opened=opened):
        classifier, facts = load_bundle(run.bundle)
        catalog, store = return_to(run, anyway)
        if split == "test" and opened:
            times = "once" if opened == 1 else f"{opened} times"
            log(
                f"note: this test split was opened {times} before; each look makes it less of a test"
            )
        recipe, temperature = run.recipe, facts.temperature
        scores = measure(run, catalog, store, recipe, classifier, split, temperature, opened)
        results.write_report(run)
    return scores


def evaluate_bundle(
    bundle: Path,
    data: Path,
    out: Path = Path("runs"),
    split: str | None = None,
    name: str | None = None,
) -> Run:
    """Score a bundle on labelled images that it was not made from; return the new run.

    Every sound image counts, whatever split of DATA it lies in, or those of one `split`. Raises
    DataError where DATA has a class that the bundle doesn't know.
    """
    from resnetlab.deploy.bundle import FACTS, read_facts

    require_writable(out)
    facts, _ = read_facts(bundle_of(bundle) / FACTS)
    run = create_run(out, name or f"{name_of(data)}-{facts.network}-evaluation")
    log(f"run {run.folder}")
    with run.held(), discarded_without_recipe(run):
        score_bundle(run, bundle, data, split)
    return run


def go_on_scoring(folder: Path, arguments: dict[str, Any]) -> None:
    """Score a bundle on labelled images from the beginning, into the run that was cut off."""
    run = Run(folder)
    with run.held():
        score_bundle(
            run, Path(arguments["bundle"]), Path(arguments["data"]), arguments.get("split")
        )


def score_bundle(run: Run, bundle: Path, data: Path, split: str | None = None) -> None:
    """Score a bundle on labelled images, into a run that is held."""
    from resnetlab.deploy.bundle import load_bundle, recipe_of

    arguments = {"bundle": lasting(bundle), "data": lasting(data), "split": split}
    with unfinished(run.folder, "evaluate_bundle", **arguments):
        classifier, facts = load_bundle(bundle_of(bundle))
        catalog, recipe = list_data(data, recipe_of(facts), True, split)
        say_notes(catalog)
        unknown = sorted(set(catalog.classes) - set(facts.classes))
        if unknown:
            raise DataError(
                f"{data}: {bundle} doesn't know class '{unknown[0]}'; it knows {', '.join(facts.classes)}"
            )
        dataset = read_and_say(name_of(data), catalog, recipe, as_one=True)
        catalog = dataset.catalog
        labels = np.array([facts.classes.index(name) for name in catalog.classes])[catalog.labels]
        catalog = catalog.with_columns(
            classes=facts.classes,
            labels=labels,
            split=objects(["test"] * len(catalog)),
            notes=catalog.notes + overlap_notes(bundle, catalog),
        )
        findings = describe_dataset(replace(dataset, catalog=catalog), "test")
        begin_run(run, catalog, findings, recipe)
        run.add_metrics(model=describe_model(classifier, recipe))
        measure(run, catalog, dataset.store, recipe, classifier, "test", facts.temperature)
        results.write_report(run)


def overlap_notes(model: Path, catalog: Catalog) -> tuple[str, ...]:
    """Return a note where a run has learned from some of these very images."""
    learned_from = model / "catalog.parquet"  # a bundle alone can't tell
    if not learned_from.is_file():
        return ()
    known = Catalog.load(learned_from)
    seen = int(np.isin(catalog.sha256, known.sha256[known.rows("train")]).sum())
    if not seen:
        return ()
    note = f"{seen} of these {len(catalog)} images trained this model: the figures flatter it"
    log(f"note: {note}")
    return (note,)
