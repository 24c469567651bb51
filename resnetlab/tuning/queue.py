"""Who runs which trial: a queue that processes share, of which some may die."""

import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import make_url

from resnetlab.errors import one_line
from resnetlab.recipe import Recipe
from resnetlab.system import interruption
from resnetlab.system.files import exclusive, take
from resnetlab.system.progress import log
from resnetlab.tuning.space import Values, as_name, drawn, grid
from resnetlab.tuning.study import BEAT_S, Search

POLL_S = 0.5
LOCK = ".lock"


def enqueue(search: Search, recipe: Recipe, count: int) -> None:
    """Queue the trials of a search, as far as they aren't yet; what TPE draws, it draws later."""
    queued = sum(
        "failed_trial" not in trial.system_attrs for trial in search.trials()
    )  # else again
    if recipe.tuning.sampler == "grid":
        cells = grid(recipe)
        order = np.random.Generator(np.random.Philox(recipe.seed)).permutation(len(cells))
        # Some of many combinations are drawn at random: the first ones would all lie in one corner.
        some = (queued or count) < len(cells)
        sets = [cells[index] for index in order[:count]] if some else cells
    elif recipe.tuning.sampler == "tpe":
        sets = [Values() for _ in range(count)]
    else:
        sets = drawn(recipe, count)
    for values in sets[queued:]:
        search.study.enqueue_trial({key: as_name(value) for key, value in values.items()})


@contextmanager
def next_trial(search: Search, go_on: Callable[[], bool]) -> Iterator[optuna.Trial | None]:
    """Give a trial that is this process's alone; None where nothing is left, or `go_on` says so.

    First what was cut off in this folder, then what nobody has begun. Where only trials of other
    processes are left, those are waited for: one may die, and its trial be queued again.
    """
    while go_on():
        interruption.raise_if_requested()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            cut_off = [
                trial for trial in search.trials(TrialState.RUNNING) if is_here(search, trial)
            ]
            for frozen in (*cut_off, *search.trials(TrialState.WAITING)):
                with locked(search.trial_folder(frozen.number)) as mine:
                    if mine and claim(search, frozen):
                        with beating(search.storage, frozen._trial_id):
                            yield optuna.Trial(search.study, frozen._trial_id)
                        return
            optuna.storages.fail_stale_trials(search.study)
        if not search.trials(TrialState.RUNNING, TrialState.WAITING):
            break
        time.sleep(POLL_S)
    yield None


def is_here(search: Search, trial: FrozenTrial) -> bool:
    """Return whether a running trial was begun in this folder, perhaps by a process that is dead."""
    place = trial.user_attrs.get("place")
    return place == search.place or (place is None and search.trial_folder(trial.number).is_dir())


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Make the folder of a trial and lock it; give whether no other process of this folder has it."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = (folder / LOCK).open("a+b", buffering=0)
    except FileNotFoundError:  # another process has just given it up, see `claim`
        yield False
        return
    with lock:
        yield take(lock, log)


def claim(search: Search, frozen: FrozenTrial) -> bool:
    """As `claimed`; where another process has the trial, its folder here goes if nothing is in it."""
    folder, mine = search.trial_folder(frozen.number), False
    try:
        mine = claimed(search, frozen)
    finally:
        if not mine and [path.name for path in folder.iterdir()] == [LOCK]:
            (folder / LOCK).unlink()
            folder.rmdir()
    return mine


def claimed(search: Search, frozen: FrozenTrial) -> bool:
    """Return whether a trial, whose folder is locked here, could be made this process's own."""
    storage, number = search.storage, frozen._trial_id
    with one_at_a_time(storage.url):
        storage.record_heartbeat(number)  # first: else it could never count as dead
        now = storage.get_trial(number)
        if now.state != TrialState.WAITING:
            return now.state == TrialState.RUNNING and is_here(search, now)
        try:
            if not storage.set_trial_state_values(number, state=TrialState.RUNNING):
                return False
        except UpdateFinishedTrialError:
            return False
        storage.set_trial_user_attr(number, "place", search.place)
    return True


def one_at_a_time(url: str) -> AbstractContextManager[None]:
    """Keep others from claiming meanwhile: SQLite has no locks of rows, as other databases have."""
    address = make_url(url)
    if address.get_backend_name() != "sqlite" or address.database in (None, "", ":memory:"):
        return nullcontext()
    return exclusive(Path(f"{address.database}.lock"))


@contextmanager
def beating(storage: RDBStorage, trial: int) -> Iterator[None]:
    """Record a heartbeat of a trial every BEAT_S seconds."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(BEAT_S):
            try:
                storage.record_heartbeat(trial)
            except Exception:  # the training will find out whether the storage is gone
                continue
            finally:
                storage.remove_session()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def finish(
    search: Search, trial: optuna.Trial, state: TrialState, score: float | None, **facts: Any
) -> None:
    """Write how a trial ended. Where another process has taken it over meanwhile, that one counts."""
    try:
        for name, value in facts.items():
            trial.set_user_attr(name, value)
        search.study.tell(trial, score if state == TrialState.COMPLETE else None, state)
    except (UpdateFinishedTrialError, ValueError) as error:
        if search.storage.get_trial(trial._trial_id).state == TrialState.RUNNING:
            raise
        log(
            f"note: trial {trial.number} was silent for long and counts as dead ({one_line(error)})"
        )


def report(search: Search, trial: optuna.Trial, steps: Sequence[int], score: float) -> bool:
    """Write a score for these steps, as far as it isn't yet; return whether to give the trial up."""
    known = search.storage.get_trial(trial._trial_id).intermediate_values
    hopeless = False
    for step in steps:
        if step not in known:
            trial.report(score, step)
        hopeless = hopeless or trial.should_prune()
    return hopeless
