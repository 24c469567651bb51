"""The search for the best settings, from the data to the network retrained with them."""

import hashlib
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from resnetlab import evidence, pause
from resnetlab.checks import require_space, require_writable
from resnetlab.data.batches import samples_of
from resnetlab.data.catalog import Catalog
from resnetlab.data.pixels import PixelStore
from resnetlab.errors import DataError, DivergedError
from resnetlab.evaluation.metrics import score
from resnetlab.files import write_csv, write_json, write_text
from resnetlab.inspection import describe_pictures
from resnetlab.pictures import divide, list_data, name_of, read_listed, reopen_data
from resnetlab.progress import say
from resnetlab.recipe import Recipe, load_recipe, validate
from resnetlab.resolve import resolve_training
from resnetlab.run import Run, create_run
from resnetlab.tuning.space import check_space
from resnetlab.workflows.planning import (
    NEVER,
    SEARCH_RECIPE,
    complete,
    digest_of,
    planned,
    settle,
)
from resnetlab.workflows.steps import begin_run, write_beginnings
from resnetlab.workflows.training import (
    checkpoint_bytes,
    finish_training,
    require_packages,
    train_on,
)
from resnetlab.workflows.unfinished import FILE, discarded_without_recipe, lasting, unfinished

FOUND = "search.json"
BEST = "best.yaml"


def tune(
    data: Path,
    recipe: Recipe | None = None,
    out: Path = Path("runs"),
    name: str | None = None,
    storage: str | None = None,
    jobs: int = 1,
    budget_s: float | None = None,
    retrain: bool = True,
) -> Run:
    """Search for the best settings by cross-validation, then train with them; return the run.

    Trials are kept in `storage`, the address of a database that many processes may share, or in the
    run's folder; `jobs` processes work on them here. With `budget_s` all is planned to end in so many
    seconds. The test part stays closed. Raises DataError, RecipeError, MachineError, CheckpointError,
    and DivergedError where no trial comes to its end.
    """
    deadline = NEVER if budget_s is None else time.monotonic() + budget_s
    recipe = complete(recipe or Recipe())
    check_space(recipe)
    lasting_storage = None
    if storage is not None:
        from resnetlab.tuning.study import require_url, without_password

        require_url(storage)
        lasting_storage = without_password(storage)
    require_writable(out)
    require_packages(recipe)
    digest = digest_of(recipe)
    catalog, recipe = list_data(data, recipe)
    recipe = settle(recipe, catalog, jobs)
    require_space(out, checkpoint_bytes(recipe, catalog), "the checkpoints")
    run = create_run(out, name or f"{name_of(data)}-tune")
    say(f"run {run.folder}")
    arguments = {
        "data": lasting(data),
        "recipe": recipe.model_dump(mode="json"),
        "name": f"{name_of(data)}-{digest}",
        "storage": lasting_storage,
        "jobs": jobs,
        "retrain": retrain,
    }
    with (
        run.held(),
        discarded_without_recipe(run, SEARCH_RECIPE),
        unfinished(run.folder, "tune", **arguments),
    ):
        begin_and_search(run, catalog, recipe, arguments, storage, deadline)
    return run


def find_rate(
    data: Path, recipe: Recipe | None = None, out: Path = Path("runs"), name: str | None = None
) -> dict[str, Any]:
    """Try which learning rates a network bears; return the suggestion and the folder of its curve.

    Writes rates.csv and rates.png there. Raises DataError, RecipeError, MachineError.
    """
    from resnetlab.tuning.range_test import try_rates

    recipe = recipe or Recipe()
    require_writable(out)
    catalog, recipe = list_data(data, recipe)
    count = int(np.isin(catalog.split, ["", "train"]).sum())
    recipe = resolve_training(recipe, len(catalog.classes), count)
    pictures = read_listed(name_of(data), catalog, recipe)
    rates = try_rates(divide(pictures.catalog, recipe), pictures.store, recipe)
    folder = create_run(out, name or f"{name_of(data)}-rates").folder
    table = zip(rates.rates.tolist(), rates.losses.tolist(), rates.smoothed.tolist(), strict=True)
    write_csv(folder / "rates.csv", ("lr", "loss", "smoothed_loss"), list(table))
    evidence.draw_rates(folder / "rates.png", rates)
    return {
        "folder": folder,
        "suggested": rates.suggested,
        "lowest_at": rates.lowest_at,
        "network": recipe.model.name,
        "optimizer": recipe.training.optimizer,
    }


def go_on_tuning(folder: Path, arguments: dict[str, Any], anyway: bool) -> None:
    """Go on with a search, or with the retraining at its end."""
    run = Run(folder)
    with run.held(), unfinished(folder, "tune", **arguments):
        if (folder / "recipe.yaml").is_file():
            train_on(run, anyway)
        elif (folder / SEARCH_RECIPE).is_file():
            recipe = load_recipe(folder / SEARCH_RECIPE)
            # Every picture validates in some fold: none may be another than it was.
            catalog, store, _ = reopen_data(run, recipe, None)
            search_and_retrain(run, recipe, (catalog, store), arguments, None, NEVER, NEVER)
        else:
            recipe = validate(arguments["recipe"], str(folder / FILE))
            catalog, recipe = list_data(Path(arguments["data"]), recipe)
            begin_and_search(run, catalog, recipe, arguments, None, NEVER)


def begin_and_search(
    run: Run,
    catalog: Catalog,
    recipe: Recipe,
    arguments: dict[str, Any],
    storage: str | None,
    deadline: float,
) -> None:
    """Read the pictures, settle parts and plan, and write that down; then search and retrain."""
    pictures = read_listed(name_of(Path(arguments["data"])), catalog, recipe)
    catalog = divide(pictures.catalog, recipe)
    if recipe.tuning.folds > 1:
        # Folds are dealt for each repeat, unless the data itself names some.
        catalog = all_train(catalog).with_columns(fold=pictures.catalog.fold)
    elif not len(catalog.part("val")):
        raise DataError(
            "tuning.folds=1 needs a validation part; give data.split one, or take folds"
        )
    dataset = describe_pictures(replace(pictures, catalog=catalog), "train")
    recipe, until, plan = planned(recipe, catalog, pictures.store, deadline)
    write_beginnings(run, catalog, dataset, recipe)
    write_text(run.folder / SEARCH_RECIPE, recipe.to_yaml())
    data = catalog, pictures.store
    search_and_retrain(run, recipe, data, arguments | {"plan": plan}, storage, until, deadline)


def all_train(catalog: Catalog) -> Catalog:
    """Return the catalog with everything but the test part in the training part."""
    parts = np.where(catalog.split == "val", "train", catalog.split).astype(object)
    return catalog.with_columns(split=parts)


def search_and_retrain(
    run: Run,
    recipe: Recipe,
    data: tuple[Catalog, PixelStore],
    arguments: dict[str, Any],
    storage: str | None,
    until: float,
    deadline: float,
) -> None:
    """Run trials until all are done or the time is up; report; train with the best values."""
    from resnetlab.tuning.study import reachable, shown

    own = f"sqlite:///{(run.folder / 'study.db').absolute()}"
    url = storage or arguments["storage"] or own
    say(f"trials in {shown(url)}")
    with reachable(url):
        facts, home = search(run, recipe, data, arguments, url, until)
    write_json(run.folder / FOUND, facts)
    evidence.draw_search(run, facts)
    if facts["chosen"] is None:
        evidence.write_report(run)
        raise DivergedError(f"{run.folder}: {facts['summary']}")
    say(facts["summary"])
    catalog, store = data
    best = best_recipe(recipe, facts, catalog)
    write_text(run.folder / BEST, best.to_yaml())
    if not arguments["retrain"] or home is not None:
        if home is not None:
            say(
                f"the network is trained by {home}; to have it here: train --recipe {run.folder / BEST}"
            )
        evidence.draw_data(run, catalog, store, best)
        evidence.write_report(run)
        return
    if deadline != NEVER:
        pause.end_after(max(deadline - time.monotonic(), 0.0))
    retrain(run, catalog, store, recipe, best, facts)


def search(
    run: Run,
    recipe: Recipe,
    data: tuple[Catalog, PixelStore],
    arguments: dict[str, Any],
    url: str,
    until: float,
) -> tuple[dict[str, Any], str | None]:
    """Take part in a search until it is over; return what was found, and who retrains, if not this run."""
    from resnetlab.tuning.table import describe_search
    from resnetlab.workflows.searching import assistants, join, open_work, run_trials

    name = arguments["name"]
    work = open_work(run, recipe, data, url, name, until)
    shared = arguments["storage"] is not None
    home = join(work, pictures_digest(data[0]), arguments.get("plan"), shared)
    with assistants(run, arguments["jobs"] - 1, url, name, until):
        run_trials(work)
    return describe_search(work.search, work.recipe, work.folds), home


def pictures_digest(catalog: Catalog) -> str:
    """Return a digest of the usable pictures of a search, their labels and their parts."""
    rows = catalog.part("all")
    lines = sorted(f"{catalog.sha256[i]} {catalog.labels[i]} {catalog.split[i]}" for i in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def best_recipe(recipe: Recipe, facts: dict[str, Any], catalog: Catalog) -> Recipe:
    """Return the recipe of the retraining: the best values, on all but the test part, to the end.

    Nothing validates it: what its setting is worth, the folds have shown.
    """
    values = next(row["values"] for row in facts["trials"] if row["number"] == facts["chosen"])
    train, val, test = recipe.data.split
    best = recipe.override(
        values
        | {
            "training.epochs": facts["epochs"],
            "training.patience": None,
            "data.split": [train + val, 0.0, test],
            "data.folds": None,
        }
    )
    return resolve_training(best, len(catalog.classes), len(all_train(catalog).part("train")))


def retrain(
    run: Run,
    catalog: Catalog,
    store: PixelStore,
    recipe: Recipe,
    best: Recipe,
    facts: dict[str, Any],
) -> None:
    """Train by the best recipe on all pictures but the test part, as the run that this folder is."""
    show_out_of_fold(run, catalog, store, recipe, best, facts)
    catalog = all_train(catalog)
    dataset = run.metrics["dataset"]
    counts = {part: catalog.counts(part).tolist() for part in dataset["counts"]}
    begin_run(run, catalog, dataset | {"counts": counts}, best)
    finish_training(run, catalog, store, best)


def show_out_of_fold(
    run: Run,
    catalog: Catalog,
    store: PixelStore,
    recipe: Recipe,
    best: Recipe,
    facts: dict[str, Any],
) -> None:
    """Write what the chosen trial's networks answered for pictures that they hadn't learned from."""
    from resnetlab.tuning.trial import PREDICTIONS, out_of_fold

    trial = run.folder / "trials" / f"{facts['chosen']:04d}"
    folders = [trial / f"fold-{index}" for index in range(recipe.tuning.folds)]
    if not all((folder / PREDICTIONS).is_file() for folder in folders):
        return  # it was stopped, or run on another machine
    if recipe.tuning.folds > 1:
        parts = np.where(catalog.split == "train", "val", catalog.split).astype(object)
        catalog = catalog.with_columns(split=parts)
    samples = samples_of(catalog, store, "val")
    answers = out_of_fold(folders)
    place = {id_: row for row, id_ in enumerate(answers.ids)}
    answers = answers.take(np.array([place[id_] for id_ in samples.ids]))
    answers.save(run.predictions("val"))
    scores = score(answers, recipe.evaluation.confidence, recipe.evaluation.resamples)
    run.add_metrics(val=scores)
    evidence.draw_results(run, "val", answers, scores, samples, best)
