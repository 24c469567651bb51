"""What a trained model is worth, and what it says."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from resnetlab import evidence
from resnetlab.checks import require_writable
from resnetlab.data.catalog import Catalog, objects
from resnetlab.data.sources.unlabelled import read_unlabelled
from resnetlab.errors import DataError, RecipeError
from resnetlab.evaluation.comparison import compare_all
from resnetlab.evaluation.predictions import Predictions
from resnetlab.pictures import read_data, reopen_data
from resnetlab.progress import say
from resnetlab.resolve import bundle_of
from resnetlab.run import Run, create_run, open_run
from resnetlab.workflows.steps import begin_run, describe_model, measure


def evaluate(folder: Path, part: Literal["val", "test"] = "test") -> dict[str, Any]:
    """Score a finished run on its validation or test part and renew its report; return the scores.

    Opening the test part leaves a line in the run's ledger. Raises DataError where the part is
    empty or the pictures have changed since the training.
    """
    from resnetlab.deploy.bundle import load_bundle

    run = open_run(folder)
    with run.held():
        classifier, _ = load_bundle(run.bundle)
        catalog, store = reopen_data(run)
        recipe = run.recipe
        if not len(catalog.part(part)):
            raise DataError(
                f"{run.folder}: has no {part} part (its split is {list(recipe.data.split)})"
            )
        if part == "test" and run.ledger:
            times = "once" if len(run.ledger) == 1 else f"{len(run.ledger)} times"
            say(
                f"note: this test part was opened {times} before; each look makes it less of a test"
            )
        scores = measure(run, catalog, store, recipe, classifier, part)
        evidence.write_report(run)
    return scores


def evaluate_bundle(bundle: Path, data: Path, out: Path = Path("runs")) -> Run:
    """Score a bundle on labelled pictures that it was not made from; return the new run.

    Every sound picture counts, whatever part of DATA it lies in. Raises DataError where DATA has
    a class that the bundle doesn't know.
    """
    from resnetlab.deploy.bundle import load_bundle, recipe_of

    require_writable(out)
    classifier, facts = load_bundle(bundle_of(bundle))
    pictures = read_data(data, recipe_of(facts), as_one=True)
    catalog, store, recipe = pictures.catalog, pictures.store, pictures.recipe
    unknown = sorted(set(catalog.classes) - set(facts.classes))
    if unknown:
        raise DataError(
            f"{data}: {bundle} doesn't know class '{unknown[0]}'; it knows {', '.join(facts.classes)}"
        )
    labels = np.array([facts.classes.index(name) for name in catalog.classes])[catalog.labels]
    catalog = catalog.with_columns(
        classes=facts.classes,
        labels=labels,
        split=objects(["test"] * len(catalog)),
        notes=catalog.notes + overlap_notes(bundle, catalog),
    )
    run = create_run(out, f"{pictures.name}-{facts.network}-evaluation")
    with run.held():
        begin_run(run, replace(pictures, catalog=catalog), "test")
        run.write_recipe(recipe)
        run.add_metrics(model=describe_model(classifier, recipe))
        measure(run, catalog, store, recipe, classifier, "test")
        evidence.write_report(run)
    return run


def overlap_notes(model: Path, catalog: Catalog) -> tuple[str, ...]:
    """Return a note where a run has learned from some of these very pictures."""
    learned_from = model / "catalog.parquet"  # a bundle alone can't tell
    if not learned_from.is_file():
        return ()
    known = Catalog.load(learned_from)
    seen = int(np.isin(catalog.sha256, known.sha256[known.part("train")]).sum())
    if not seen:
        return ()
    note = f"{seen} of these {len(catalog)} pictures trained this model: the figures flatter it"
    say(f"note: {note}")
    return (note,)


def compare(folders: Sequence[Path], out: Path | None = None) -> dict[str, Any]:
    """Compare runs on the same pictures, pair by pair; with `out`, write pictures and a page there.

    On the test part where every run has opened it, else on validation. Raises DataError where the
    runs were not measured on the same pictures, RecipeError for fewer than two.
    """
    if out is not None:
        require_writable(out)
    runs = [open_run(folder) for folder in folders]
    names = [run.name for run in runs]
    if len(set(names)) < 2:
        raise RecipeError("compare needs two different runs at least")
    if len(set(names)) < len(names):  # the same name in two folders
        names = [str(run.folder) for run in runs]
    part = next(
        (part for part in ("test", "val") if all(run.predictions(part).is_file() for run in runs)),
        None,
    )
    if part is None:
        raise DataError(
            "the runs share no evaluated part; finish them, or run 'resnetlab evaluate' on each"
        )
    tables = {
        name: Predictions.load(run.predictions(part)) for name, run in zip(names, runs, strict=True)
    }
    comparison = compare_all(tables) | {"split": part}
    if out is not None:
        evidence.write_comparison(out, comparison, dict(zip(names, runs, strict=True)))
    return comparison


def predict(
    model: Path, images: Sequence[Path], out: Path | None = None, backend: str = "auto"
) -> list[dict[str, Any]]:
    """Classify files, or folders and archives of files, with a run or a bundle; with `out`, write a CSV.

    Returns a row a file: file, class, probability, one probability a class, problem. A file that
    is no sound picture gets no class but a problem. `backend` computes, see Predictor. Raises
    CheckpointError, DataError, RecipeError for an unknown backend, MachineError for one not installed.
    """
    from resnetlab.deploy.predictor import Predictor

    if out is not None:
        require_writable(out.parent)
    pictures = read_unlabelled(images)
    predictor = Predictor(bundle_of(model), backend=backend)
    answers = predictor.answer(list(pictures), read=lambda path: pictures[path]())
    say(f"computed by {predictor.runtime}")
    rows = evidence.prediction_rows(answers, predictor.facts.classes)
    if out is not None:
        evidence.write_predictions(out, rows)
    return rows
