"""The search for the best settings, from the data to the network retrained with them."""

import hashlib
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from resnetlab import evidence, pause
from resnetlab.checks import require_writable
from resnetlab.data.catalog import Catalog
from resnetlab.data.pixels import PixelStore
from resnetlab.errors import DataError, DivergedError
from resnetlab.files import write_json, write_text
from resnetlab.inspection import describe_pictures
from resnetlab.pictures import divide, list_data, name_of, read_listed, reopen_data
from resnetlab.progress import say
from resnetlab.recipe import Recipe, load_recipe, validate
from resnetlab.run import Run
from resnetlab.tuning.space import check_space
from resnetlab.workflows.planning import (
    NEVER,
    SEARCH_RECIPE,
    all_train,
    complete,
    digest_of,
    planned,
    settle,
)
from resnetlab.workflows.steps import write_beginnings
from resnetlab.workflows.training import new_run, require_packages, train_on
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
    run = new_run(out, name or f"{name_of(data)}-tune", recipe, catalog)
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
    from resnetlab.tuning.table import describe_search
    from resnetlab.workflows.retraining import best_recipe, retrain
    from resnetlab.workflows.searching import assistants, join, open_work, run_trials

    own = f"sqlite:///{(run.folder / 'study.db').absolute()}"
    url, name = storage or arguments["storage"] or own, arguments["name"]
    shared = arguments["storage"] is not None
    say(f"trials in {shown(url)}")
    with reachable(url):
        work = open_work(run, recipe, data, url, name, until)
        home = join(work, pictures_digest(work.catalog), arguments.get("plan"), shared)
        with assistants(run, arguments["jobs"] - 1, url, name, until):
            run_trials(work)
        facts = describe_search(work.search, work.recipe, work.folds)
    write_json(run.folder / FOUND, facts)
    evidence.draw_search(run, facts)
    if facts["chosen"] is None:
        evidence.write_report(run)
        raise DivergedError(f"{run.folder}: {facts['summary']}")
    say(facts["summary"])
    best = best_recipe(work, facts)
    write_text(run.folder / BEST, best.to_yaml())
    if not arguments["retrain"] or home is not None:
        if home is not None:
            say(
                f"the network is trained by {home}; to have it here: train --recipe {run.folder / BEST}"
            )
        evidence.draw_data(run, work.catalog, work.store, best)
        evidence.write_report(run)
        return
    if deadline != NEVER:
        pause.end_after(max(deadline - time.monotonic(), 0.0))
    retrain(run, work, best, facts)


def pictures_digest(catalog: Catalog) -> str:
    """Return a digest of the usable pictures of a search, their labels and their parts."""
    rows = catalog.part("all")
    lines = sorted(f"{catalog.sha256[i]} {catalog.labels[i]} {catalog.split[i]}" for i in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
