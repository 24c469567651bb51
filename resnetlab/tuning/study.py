"""The trials of a search, kept in a database by Optuna, so that many processes can share them."""

import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import optuna
import sqlalchemy.exc
from optuna.exceptions import DuplicatedStudyError, StorageInternalError
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import make_url

from resnetlab.errors import CheckpointError, MachineError, RecipeError, one_line
from resnetlab.recipe import Recipe
from resnetlab.tuning.sampling import RepeatableTPE, make_pruner

BEAT_S = 15  # between two heartbeats of a running trial
SILENCE_S = 90  # without a heartbeat, after which its process counts as dead
LOCKED_S = 60  # for which a locked SQLite file is waited for
FORMAT = 1  # of what a study and its trials tell beside Optuna's own columns
RETRIES = 1  # of a trial whose process died elsewhere


@dataclass(frozen=True)
class Search:
    """A study and the folder in which this process keeps what its trials write."""

    study: optuna.Study
    storage: RDBStorage
    folder: Path
    created: bool  # by this process

    @property
    def place(self) -> str:
        """Return what tells this folder from those on other machines."""
        return f"{socket.gethostname()}:{self.folder.absolute()}"

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """Return the trials in these states, or all, by number."""
        return self.study.get_trials(deepcopy=False, states=states or None)

    def trial_folder(self, number: int) -> Path:
        """Return where a trial writes."""
        return self.folder / "trials" / f"{number:04d}"

    def fold_folder(self, number: int, fold: int) -> Path:
        """Return where a trial's training on a fold writes."""
        return self.trial_folder(number) / f"fold-{fold}"


@contextmanager
def reachable(url: str) -> Iterator[None]:
    """Say in our words what is wrong with a storage. Raises MachineError, CheckpointError."""
    try:
        yield
    except (sqlalchemy.exc.SQLAlchemyError, StorageInternalError) as error:
        cause = error.__cause__ or error
        why = one_line(getattr(cause, "orig", None) or cause)
        if "not a database" in why or "malformed" in why:
            raise CheckpointError(f"{shown(url)}: is damaged ({why}); bring back a copy") from error
        raise MachineError(
            f"{shown(url)}: the storage of the search can't be used ({why}); see to it, then go on"
        ) from error
    except ImportError as error:
        raise MachineError(
            f"{shown(url)}: its driver is not installed ({one_line(error.__cause__ or error)}); for "
            "PostgreSQL: pip install 'resnetlab[postgresql]'"
        ) from error


def shown(url: str) -> str:
    """Return a storage's address without its password."""
    return make_url(url).render_as_string(hide_password=True)


def without_password(url: str) -> str:
    """Return a storage's address as it may be written down; PGPASSWORD or ~/.pgpass give the rest."""
    return make_url(url)._replace(password=None).render_as_string()


def require_url(url: str) -> None:
    """Raise RecipeError where this is no address of a database."""
    try:
        make_url(url).get_dialect()
    except ImportError:
        return  # said when it is opened
    except sqlalchemy.exc.ArgumentError as error:
        raise RecipeError(
            "--storage must be the address of a database, such as "
            f"postgresql+psycopg://user@host/name or sqlite:///file.db. Got '{url}'"
        ) from error


def open_study(
    url: str, name: str, recipe: Recipe, folds: int, epochs: int, folder: Path
) -> Search:
    """Open the study of this name, made where it isn't there yet; trials have at most so many epochs."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = open_storage(url)
    sampler, pruner = RepeatableTPE(recipe.seed), make_pruner(recipe.tuning.pruner, folds, epochs)
    try:
        smaller = recipe.training.monitor == "loss"
        direction = StudyDirection.MINIMIZE if smaller else StudyDirection.MAXIMIZE
        study = optuna.create_study(
            storage=storage,
            study_name=name,
            sampler=sampler,
            pruner=pruner,
            direction=direction,
        )
        study.set_user_attr("format", FORMAT)
        return Search(study, storage, folder, created=True)
    except DuplicatedStudyError:
        study = optuna.load_study(storage=storage, study_name=name, sampler=sampler, pruner=pruner)
        refuse_other_format(study, url)
        return Search(study, storage, folder, created=False)


def open_storage(url: str) -> RDBStorage:
    """Open a storage, its tables made where there are none. Raises CheckpointError for another Optuna's."""
    arguments = {"timeout": LOCKED_S} if make_url(url).get_backend_name() == "sqlite" else {}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return RDBStorage(
                url,
                engine_kwargs={"connect_args": arguments},
                heartbeat_interval=BEAT_S,
                grace_period=SILENCE_S,
                heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=RETRIES),
            )
    except RuntimeError as error:  # Optuna's word for tables of another version of it
        older = "storage upgrade" in str(error)
        way_out = f"optuna storage upgrade --storage {shown(url)}" if older else "update resnetlab"
        raise CheckpointError(
            f"{shown(url)}: its search was begun with {'an older' if older else 'a newer'} Optuna "
            f"than {optuna.__version__}, which is here; {way_out}, or finish it where it was begun"
        ) from error


def refuse_other_format(study: optuna.Study, url: str) -> None:
    """Raise CheckpointError where a study isn't kept as this version of resnetlab keeps them."""
    facts = study.user_attrs
    # Before the format was written down, a search told its home before it had trials.
    ours = "home" in facts or not study.get_trials(deepcopy=False)
    found = facts.get("format", FORMAT if ours else 0)
    if found != FORMAT:
        way_out = "update resnetlab" if found > FORMAT else "finish it with that version"
        raise CheckpointError(
            f"{shown(url)}: the search {study.study_name} was begun by another version of resnetlab "
            f"(its format is {found}, this one reads {FORMAT}); {way_out}, or search anew in another "
            "storage"
        )
