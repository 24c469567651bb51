"""Going on with whatever was cut off, or with a finished training that is made longer."""

import shlex
from functools import partial
from pathlib import Path

from resnetlab.data.augment.offline import SETTINGS_FILE
from resnetlab.errors import CheckpointError, DataError, RecipeError
from resnetlab.runs.reopen import reopen_data
from resnetlab.runs.run import Run, open_run
from resnetlab.runs.trackers import require_tracker
from resnetlab.runs.unfinished import FILE, read_unfinished, require_trained, unfinished
from resnetlab.system import interruption
from resnetlab.system.progress import log
from resnetlab.workflows.documents.telling import go_on_telling
from resnetlab.workflows.resuming.going_on import GO_ON
from resnetlab.workflows.resuming.lengthening import lengthen, refuse_longer
from resnetlab.workflows.steps import changes_of_recipe
from resnetlab.workflows.training import finish_training
from resnetlab.workflows.tuning import go_on_tuning


def resume(
    folder: Path,
    anyway: bool = False,
    budget_s: float | None = None,
    epochs: int | None = None,
    patience: int | None = None,
) -> Run | None:
    """Go on with the verb that was cut off in a folder; a finished folder is left as it is.

    Returns the run; None for a folder of augmented images. With `anyway` a run goes on although
    its recipe or training images have changed since, and records what has. In `budget_s` seconds a
    search is planned to end, anything else stops, saved. With `epochs` or `patience` a finished
    training is made longer, see `train_longer`; never `anyway`. Raises DataError where there is nothing
    to go on with or images have changed, RecipeError where the recipe was.
    """
    longer = epochs is not None or patience is not None
    if longer and anyway:
        raise RecipeError(
            "--anyway goes on with what was cut off; a training is made longer, by --epochs or --patience, with "
            "the recipe and images it had: leave --anyway out"
        )
    work = read_unfinished(folder)
    if budget_s is not None and (work is None or work[0] != "tune"):
        interruption.set_deadline(budget_s)
    if longer:
        return train_longer(folder, epochs, patience)
    copies = (folder / SETTINGS_FILE).is_file()  # of 'resnetlab augment'
    if work is None:
        if not copies and not (folder / "report.html").is_file():
            raise DataError(f"{folder}: no run here, nor anything else to go on with")
        log(f"{folder} is finished")
        return None if copies else Run(folder)
    verb, arguments = work
    go_on = GO_ON | {
        "tune": partial(go_on_tuning, budget_s=budget_s),
        "reproduce_document": go_on_telling,
    }
    if verb not in go_on:
        raise CheckpointError(
            f"{folder / FILE}: this version of resnetlab can't go on with '{verb}'; update resnetlab"
        )
    go_on[verb](folder, arguments, anyway)
    return None if copies else Run(folder)


def train_longer(folder: Path, epochs: int | None = None, patience: int | None = None) -> Run:
    """Go on with a finished training, from its last checkpoint, to `epochs` in all; return the run.

    With `patience`, one that was stopped early goes on. What comes of it is what a training with
    these settings from the beginning would have given (but that a warm-up is cut to half of the
    epochs there were). Raises RecipeError where the schedule ended with the training, DataError where
    there is no checkpoint, or images have changed.
    """
    require_trained(Run(folder))
    run = open_run(folder)
    changes = changes_of_recipe(run)
    if changes:
        raise RecipeError(
            f"{folder / 'recipe.yaml'}: was changed since the run began: {'; '.join(changes)}; put "
            "it back"
        )
    if not run.checkpoint("last").is_file():
        raise DataError(
            f"{folder}: has no checkpoint to go on from; begin anew with what it knows: "
            f"resnetlab train DATA --from {shlex.quote(str(folder))}"
        )
    values = {"training.epochs": epochs, "training.patience": patience}
    more = {key: value for key, value in values.items() if value is not None}
    refuse_longer(run, run.recipe.override(more))
    with run.held():
        require_tracker(run.recipe)
        catalog, store, _ = reopen_data(run, run.recipe, None)  # while nothing of it is gone yet
        with unfinished(folder, "train", more=more):
            lengthen(run, more)
            finish_training(run, catalog, store, run.recipe)
    return run
