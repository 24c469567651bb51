"""Going on with whatever was cut off."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from resnetlab.data.augment.offline import SETTINGS_FILE
from resnetlab.errors import CheckpointError, DataError
from resnetlab.runs.run import Run
from resnetlab.runs.unfinished import FILE, read_unfinished
from resnetlab.system.progress import log
from resnetlab.workflows.data import go_on_augmenting
from resnetlab.workflows.reproducing import go_on_reproducing
from resnetlab.workflows.results import go_on_evaluating, go_on_scoring
from resnetlab.workflows.training import go_on_training
from resnetlab.workflows.tuning import go_on_tuning

# What goes on with a verb, from its folder, its arguments, and whether what changed may have.
GO_ON: dict[str, Callable[[Path, dict[str, Any], bool], None]] = {
    "train": go_on_training,
    "reproduce": go_on_reproducing,
    "evaluate": go_on_evaluating,
    "evaluate_bundle": go_on_scoring,
    "augment": go_on_augmenting,
    "tune": go_on_tuning,
}


def resume(folder: Path, anyway: bool = False) -> Run | None:
    """Go on with the verb that was cut off in a folder; a finished folder is left as it is.

    Returns the run; None for a folder of augmented images. With `anyway` a run goes on although
    its recipe or training images have changed since, and records what has. Raises DataError where
    there is nothing to go on with or images have changed, RecipeError where the recipe was.
    """
    work = read_unfinished(folder)
    copies = (folder / SETTINGS_FILE).is_file()  # of 'resnetlab augment'
    if work is None:
        if not copies and not (folder / "report.html").is_file():
            raise DataError(f"{folder}: no run here, nor anything else to go on with")
        log(f"{folder} is finished")
        return None if copies else Run(folder)
    verb, arguments = work
    if verb not in GO_ON:
        raise CheckpointError(
            f"{folder / FILE}: this version of resnetlab can't go on with '{verb}'; update resnetlab"
        )
    GO_ON[verb](folder, arguments, anyway)
    return None if copies else Run(folder)
