"""What goes on with each verb that was cut off in a folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from resnetlab.runs.unfinished import read_unfinished
from resnetlab.workflows.data import go_on_augmenting
from resnetlab.workflows.reproducing import go_on_reproducing
from resnetlab.workflows.results import go_on_evaluating, go_on_scoring
from resnetlab.workflows.training import go_on_training
from resnetlab.workflows.tuning import go_on_tuning

# By verb: from its folder, its arguments, and whether what changed may have. Scoring begins anew, so nothing
# can have changed; of copies none of other images are ever mixed in.
GO_ON: dict[str, Callable[[Path, dict[str, Any], bool], None]] = {
    "train": go_on_training,
    "tune": go_on_tuning,
    "reproduce": go_on_reproducing,
    "evaluate": go_on_evaluating,
    "evaluate_bundle": lambda folder, arguments, _: go_on_scoring(folder, arguments),
    "augment": lambda folder, arguments, _: go_on_augmenting(folder, arguments),
}


def go_on(folder: Path, anyway: bool) -> None:
    """Go on with the verb that was cut off in a folder, where one was."""
    work = read_unfinished(folder)
    if work is not None:
        verb, arguments = work
        GO_ON[verb](folder, arguments, anyway)
