"""The work of a search: one process after the other takes a trial and trains it on every fold."""

import multiprocessing
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from resnetlab.data.catalog import Catalog
from resnetlab.data.store.pixels import PixelStore
from resnetlab.errors import (
    DataError,
    DivergedError,
    RecipeError,
    ResnetlabError,
    StoppedError,
    one_line,
)
from resnetlab.models.classifier import Classifier
from resnetlab.models.stages import stage_table
from resnetlab.recipe import Recipe, load_recipe
from resnetlab.report.trials import score_text
from resnetlab.runs.reopen import reopen_data
from resnetlab.runs.run import Run
from resnetlab.system import interruption
from resnetlab.system.progress import duration, log
from resnetlab.training.defaults import settle
from resnetlab.training.history import History
from resnetlab.tuning.planning import SEARCH_RECIPE
from resnetlab.tuning.queue import POLL_S, enqueue, finish, next_trial, report
from resnetlab.tuning.sampling import make_pruner
from resnetlab.tuning.space import Values, most, suggest
from resnetlab.tuning.study import SILENCE_S, Search, open_study, reachable
from resnetlab.tuning.table import value_text
from resnetlab.tuning.trial import Fold, make_folds, score_of, train_fold


class OutOfTime(Exception):
    """The search must end now, so that there is time for the retraining."""


@dataclass(frozen=True)
class Work:
    """What all trials have in common."""

    recipe: Recipe  # the machine's settings are settled; what a trial draws, and 'auto', are not
    catalog: Catalog
    store: PixelStore
    folds: list[Fold]
    search: Search
    deadline: float  # by time.monotonic

    @property
    def epochs(self) -> int:
        """Return the most epochs of a trial on one fold."""
        return most(self.recipe, "training.epochs")

    @property
    def steps(self) -> int:
        """Return the steps of a full trial: one an epoch and fold."""
        return len(self.folds) * self.epochs


def open_work(
    run: Run, recipe: Recipe, data: tuple[Catalog, PixelStore], url: str, name: str, deadline: float
) -> Work:
    """Return what a process needs to take part in the search called `name`."""
    catalog, store = data
    folds = make_folds(catalog, recipe)
    epochs = most(recipe, "training.epochs")
    search = open_study(url, name, recipe, len(folds), epochs, run.folder)
    return Work(recipe, catalog, store, folds, search, deadline)


def join(work: Work, images: str, plan: str | None, shared: bool) -> str | None:
    """Take part in a search, or begin it; return the place that retrains where it isn't this one.

    Raises DataError where others search on other images in a `shared` storage.
    """
    study, place, tuning = work.search.study, work.search.place, work.recipe.tuning
    silent_since = time.monotonic()
    while shared and not work.search.created and study.user_attrs.get("home") != place:
        facts = study.user_attrs
        if "queued" in facts:
            if facts["images"] != images:
                raise DataError(
                    f"the search {study.study_name} is on other images, or others of them are set "
                    "aside for the test; bring the same ones here"
                )
            log(f"taking part in the search of {facts['home']}")
            study.pruner = make_pruner(facts["pruner"], len(work.folds), work.epochs)
            return str(facts["home"])
        if time.monotonic() > silent_since + SILENCE_S:
            break  # whoever began it is dead
        interruption.raise_if_requested()
        time.sleep(POLL_S)
    study.set_user_attr("home", place)
    if plan is not None or "queued" not in study.user_attrs:  # planned, perhaps anew
        for name, value in {"images": images, "plan": plan, "pruner": tuning.pruner}.items():
            study.set_user_attr(name, value)
        enqueue(work.search, work.recipe, int(tuning.trials or 0))
        study.set_user_attr("queued", True)
    return None


def run_trials(work: Work) -> None:
    """Run one trial after the other until none is left, or the time is up."""
    while True:
        with next_trial(work.search, lambda: time.monotonic() < work.deadline) as trial:
            if trial is None:
                return
            run_trial(work, trial)
        log(progress(work))


def run_trial(work: Work, trial: optuna.Trial) -> None:
    """Train by a trial's values on every fold, and write down how it ended.

    What concerns the trial alone ends it; what concerns the machine or the images ends the search,
    and the trial goes on with it later. An error that nobody foresaw is given a second chance.
    """
    started = time.monotonic()
    values = suggest(work.recipe, trial)
    log(f"trial {trial.number}: {value_text(values)}")
    watch = Watch(work, trial)
    state, facts = TrialState.FAIL, dict[str, Any]()
    try:
        train_folds(work, trial, values, watch)
        rows = [row for history in watch.histories for row in history]
        state, facts = TrialState.COMPLETE, {"scores": watch.scores, "history": rows}
    except optuna.TrialPruned as pruned:
        state, facts = TrialState.PRUNED, {"reason": str(pruned)}
    except OutOfTime:
        state, facts = TrialState.PRUNED, {"reason": "the time was up", "stopped": True}
    except (DivergedError, RecipeError) as error:
        facts = {"reason": str(error)}
    except (ResnetlabError, SQLAlchemyError, StorageInternalError):
        raise
    except Exception as error:
        fault = f"{type(error).__name__}: {one_line(error)}"
        if "tried" not in trial.user_attrs:
            log(f"note: trial {trial.number}: {fault}; once more")
            trial.set_user_attr("tried", fault)
            forget(work, trial.number)
            run_trial(work, trial)
            return
        facts = {"reason": fault}
    if state != TrialState.COMPLETE:
        forget(work, trial.number)
    facts["epochs_run"] = sum(map(len, watch.histories))
    facts["seconds"] = time.monotonic() - started
    finish(work.search, trial, state, watch.mean, **facts)


def train_folds(work: Work, trial: optuna.Trial, values: Values, watch: "Watch") -> None:
    """Train on one fold after the other.

    Raises TrialPruned where other trials were clearly better at the same fold and epoch, OutOfTime.
    """
    catalog = work.folds[0].catalog
    images = len(catalog.rows("train"))
    recipe, network = settle(work.recipe.override(values), catalog.counts("train"))
    facts = {"values": values} | cost_of(network, recipe, images * len(work.folds))
    for name, value in facts.items():
        trial.set_user_attr(name, value)
    for fold in work.folds:
        folder = work.search.fold_folder(trial.number, fold.index)
        name = f"trial {trial.number}, fold {fold.index + 1}/{len(work.folds)}, "
        watch.fold_done(train_fold(fold, work.store, recipe, folder, watch, name))


@dataclass
class Watch:
    """Reports the epochs of a trial, and ends it where it is hopeless or the time is up."""

    work: Work
    trial: optuna.Trial
    histories: list[History] = field(default_factory=list)  # of the folds, the last one unfinished
    scores: list[float] = field(default_factory=list)  # of the folds that are done

    def __post_init__(self) -> None:
        self.seen_at = time.monotonic()

    @property
    def mean(self) -> float | None:
        """Return the mean score of the folds that are done."""
        return sum(self.scores) / len(self.scores) if self.scores else None

    def __call__(self, history: History, _: str) -> None:
        """Take in an epoch. Raises TrialPruned, OutOfTime."""
        self.histories[len(self.scores) :] = [list(history)]
        score = history[-1][f"val_{self.work.recipe.training.monitor}"]
        self.report(range(len(history), len(history) + 1), score)
        now = time.monotonic()
        lasted, self.seen_at = now - self.seen_at, now
        over = len(self.scores) + 1 == len(self.work.folds) and len(history) == self.work.epochs
        if now + lasted > self.work.deadline and not over:
            raise OutOfTime

    def fold_done(self, history: History) -> None:
        """Take in a fold. Its score stands for it while trials with more epochs go on."""
        self.histories[len(self.scores) :] = [history]
        score = score_of(history, self.work.recipe)
        if len(self.scores) + 1 < len(self.work.folds):
            self.report(range(len(history) + 1, self.work.epochs + 1), score)
        self.scores.append(score)

    def report(self, epochs: range, score: float) -> None:
        """Report the running mean over the folds for some epochs of this one. Raises TrialPruned."""
        steps = [len(self.scores) * self.work.epochs + epoch for epoch in epochs]
        mean = (sum(self.scores) + score) / (len(self.scores) + 1)
        hopeless = report(self.work.search, self.trial, steps, mean)
        if hopeless and steps[-1] < self.work.steps:
            epoch = len(self.histories[-1])
            raise optuna.TrialPruned(f"at fold {len(self.scores) + 1}, epoch {epoch}")


def cost_of(network: Classifier, recipe: Recipe, images: int) -> dict[str, int]:
    """Return the number of parameters, and the multiply-adds forward of all images and epochs."""
    total = stage_table(network, int(recipe.data.image_size))[-1]
    return {
        "parameters": total.parameters,
        "macs": total.macs * images * int(recipe.training.epochs),
    }


def forget(work: Work, number: int) -> None:
    """Remove what a trial that gives no result has written."""
    for fold in work.folds:
        shutil.rmtree(work.search.fold_folder(number, fold.index), ignore_errors=True)


def progress(work: Work) -> str:
    """Return a line on how far the search is: trials, time left, the best so far."""
    trials = work.search.trials()
    ended = [trial for trial in trials if trial.state.is_finished()]
    done = [trial for trial in ended if trial.value is not None and "scores" in trial.user_attrs]
    text = f"{len(ended)} of {len(trials)} trials"
    seconds = [trial.user_attrs.get("seconds", 0.0) for trial in ended]
    if len(trials) > len(ended):
        left = sum(seconds) / len(seconds) * (len(trials) - len(ended))
        text += f", about {duration(left)} left for one process"
    if done:
        sign = -1 if work.recipe.training.monitor == "loss" else 1
        best = max(done, key=lambda trial: sign * (trial.value or 0.0))
        score = score_text(best.value or 0.0, work.recipe.training.monitor)
        text += f"; best so far {score}, trial {best.number}"
    return text


@contextmanager
def assistants(run: Run, count: int, url: str, name: str, deadline: float) -> Iterator[None]:
    """Let so many more processes take part in a search until it is over or this one must end."""
    context = multiprocessing.get_context("spawn")
    left = deadline - time.monotonic()
    processes = [
        context.Process(target=assist, args=(str(run.folder), url, name, left))
        for _ in range(count)
    ]
    for process in processes:
        process.start()
    try:
        yield
    except BaseException:
        for process in processes:
            process.terminate()
        raise
    finally:
        for process in processes:
            process.join()


def assist(folder: str, url: str, name: str, left: float) -> None:
    """Take part in the search of a folder: what another process of `--jobs` does."""
    run, deadline = Run(Path(folder)), time.monotonic() + left
    recipe = load_recipe(run.folder / SEARCH_RECIPE)
    with interruption.handle_signals(), reachable(url):
        try:
            catalog, store, _ = reopen_data(run, recipe)
            run_trials(open_work(run, recipe, (catalog, store), url, name, deadline))
        except StoppedError:
            return  # the first process says so
        except ResnetlabError as error:
            log(f"note: one process of the search ended: {error}")
