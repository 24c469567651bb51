"""The search for the best settings, from the data to the network retrained with them."""

import hashlib
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from resnetlab.data.catalog import Catalog
from resnetlab.data.dataset import divide, list_data, name_of
from resnetlab.data.description import describe_dataset
from resnetlab.data.store.pixels import PixelStore
from resnetlab.errors import DataError, DivergedError, RecipeError
from resnetlab.recipe import Recipe, load_recipe, validate
from resnetlab.report import results
from resnetlab.runs.reopen import reopen_data
from resnetlab.runs.run import Run
from resnetlab.runs.trackers import require_tracker
from resnetlab.runs.unfinished import FILE, discarded_without_recipe, lasting, unfinished
from resnetlab.system import interruption
from resnetlab.system.files import write_json, write_text
from resnetlab.system.progress import log
from resnetlab.system.requirements import require_writable
from resnetlab.tuning.planning import (
    NEVER,
    SEARCH_RECIPE,
    all_train,
    complete,
    digest_of,
    planned,
    settle_search,
)
from resnetlab.tuning.space import check_space
from resnetlab.workflows.steps import from_bundle, read_and_say, say_notes, write_beginnings
from resnetlab.workflows.training import new_run, train_on

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
    seconds. The test split stays closed. Raises DataError, RecipeError, MachineError, CheckpointError,
    and DivergedError where no trial comes to its end.
    """
    deadline = NEVER if budget_s is None else time.monotonic() + budget_s
    recipe = complete(from_bundle(recipe or Recipe()))
    check_space(recipe)
    if recipe.model.candidates:
        raise RecipeError("tune searches networks as any setting: give --model one by one")
    lasting_storage = None
    if storage is not None:
        from resnetlab.tuning.study import require_url, without_password

        require_url(storage)
        lasting_storage = without_password(storage)
    require_writable(out)
    require_tracker(recipe)
    digest = digest_of(recipe)
    catalog, recipe = list_data(data, recipe)
    say_notes(catalog)
    recipe, network = settle_search(recipe, catalog, jobs)
    run = new_run(out, name or f"{name_of(data)}-tune", network)
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


def go_on_tuning(
    folder: Path, arguments: dict[str, Any], anyway: bool, budget_s: float | None = None
) -> None:
    """Go on with a search, or with the retraining at its end; with `budget_s`, by a plan of its own."""
    run = Run(folder)
    deadline = NEVER if budget_s is None else time.monotonic() + budget_s
    with run.held(), unfinished(folder, "tune", **arguments):
        if (folder / "recipe.yaml").is_file():
            end_by(deadline)
            train_on(run, anyway)
            return
        asked = validate(arguments["recipe"], str(folder / FILE))
        if not (folder / SEARCH_RECIPE).is_file():
            catalog, recipe = list_data(Path(arguments["data"]), asked)
            begin_and_search(run, catalog, recipe, arguments, None, deadline)
            return
        recipe, until = load_recipe(folder / SEARCH_RECIPE), NEVER
        # Every image validates in some fold: none may be another than it was.
        catalog, store, _ = reopen_data(run, recipe, None)
        if deadline != NEVER:
            open_ended = recipe.override({"tuning.trials": asked.tuning.trials})
            done = ended_trials(run, recipe, arguments)
            recipe, until, plan = planned(
                open_ended, catalog, store, deadline, arguments["retrain"], done
            )
            write_text(folder / SEARCH_RECIPE, recipe.to_yaml())
            arguments = arguments | {"plan": plan}
        search_and_retrain(run, recipe, (catalog, store), arguments, None, until, deadline)


def ended_trials(run: Run, recipe: Recipe, arguments: dict[str, Any]) -> int:
    """Return how many trials of a search that was begun have ended."""
    from resnetlab.tuning.study import open_study, reachable

    url = storage_of(run, arguments)
    with reachable(url):
        search = open_study(url, arguments["name"], recipe, 1, 1, run.folder)
        return sum(trial.state.is_finished() for trial in search.trials())


def storage_of(run: Run, arguments: dict[str, Any]) -> str:
    """Return the address of the database that holds a search's trials: by default one in its folder."""
    own = f"sqlite:///{(run.folder / 'study.db').absolute()}"
    return arguments["storage"] or own


def end_by(deadline: float) -> None:
    """Ask for an end at a deadline by time.monotonic."""
    if deadline != NEVER:
        interruption.set_deadline(max(deadline - time.monotonic(), 0.0))


def begin_and_search(
    run: Run,
    catalog: Catalog,
    recipe: Recipe,
    arguments: dict[str, Any],
    storage: str | None,
    deadline: float,
) -> None:
    """Read the images, settle splits and plan, and write that down; then search and retrain."""
    dataset = read_and_say(name_of(Path(arguments["data"])), catalog, recipe)
    recipe = dataset.recipe
    catalog = divide(dataset.catalog, recipe)
    if recipe.tuning.folds > 1:
        # Folds are dealt for each repeat, unless the data itself names some.
        catalog = all_train(catalog).with_columns(fold=dataset.catalog.fold)
    elif not len(catalog.rows("val")):
        raise DataError(
            "tuning.folds=1 needs a validation split; give data.split one, or take folds"
        )
    findings = describe_dataset(replace(dataset, catalog=catalog), "train")
    recipe, until, plan = planned(recipe, catalog, dataset.store, deadline, arguments["retrain"])
    write_beginnings(run, catalog, findings, recipe)
    write_text(run.folder / SEARCH_RECIPE, recipe.to_yaml())
    data = catalog, dataset.store
    search_and_retrain(run, recipe, data, arguments | {"plan": plan}, storage, until, deadline)


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
    from resnetlab.report.search import draw_search
    from resnetlab.tuning.search import assistants, join, open_work, run_trials
    from resnetlab.tuning.study import reachable, shown
    from resnetlab.tuning.table import describe_search
    from resnetlab.workflows.retraining import best_recipe, retrain

    url, name = storage or storage_of(run, arguments), arguments["name"]
    shared = arguments["storage"] is not None
    log(f"trials in {shown(url)}")
    with reachable(url):
        work = open_work(run, recipe, data, url, name, until)
        home = join(work, images_digest(work.catalog), arguments.get("plan"), shared)
        with assistants(run, arguments["jobs"] - 1, url, name, until):
            run_trials(work)
        facts = describe_search(work.search, work.recipe, work.folds)
    write_json(run.folder / FOUND, facts)
    draw_search(facts, run.figures)
    if facts["chosen"] is None:
        results.write_report(run)
        raise DivergedError(f"{run.folder}: {facts['summary']}")
    log(facts["summary"])
    best = best_recipe(work, facts)
    write_text(run.folder / BEST, best.to_yaml())
    if not arguments["retrain"] or home is not None:
        if home is not None:
            log(
                f"the network is trained by {home}; to have it here: train --recipe {run.folder / BEST}"
            )
        results.draw_data(run, work.catalog, work.store, best)
        results.write_report(run)
        return
    end_by(deadline)
    retrain(run, work, best, facts)


def images_digest(catalog: Catalog) -> str:
    """Return a digest of the usable images of a search, their labels and their splits."""
    rows = catalog.rows("all")
    lines = sorted(f"{catalog.sha256[i]} {catalog.labels[i]} {catalog.split[i]}" for i in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
