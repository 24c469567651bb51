"""The verb at work in a folder, recorded there until it is done, so that `resume` can go on with it."""

import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from resnetlab.errors import DataError, ResnetlabError, StoppedError
from resnetlab.runs.run import Run
from resnetlab.system.files import damaged, read_json, write_json

FILE = "unfinished.json"
TRAINING = {"train", "reproduce", "tune"}  # verbs that leave no model before they are done


@contextmanager
def unfinished(folder: Path, verb: str, **arguments: Any) -> Iterator[None]:
    """Keep a verb and its arguments, plain values, in a folder until its work in there is done.

    Where it is asked to end before, say which command goes on.
    """
    write_json(folder / FILE, {"verb": verb, "arguments": arguments})
    try:
        yield
    except StoppedError as stop:
        raise stop.go_on_with(resume_command(folder)) from stop
    (folder / FILE).unlink()


def read_unfinished(folder: Path) -> tuple[str, dict[str, Any]] | None:
    """Return the verb that was cut off in a folder, and its arguments; None where there is none.

    Raises CheckpointError where that can't be read.
    """
    if not (folder / FILE).is_file():
        return None
    work = read_json(folder / FILE, dict)
    if work.keys() != {"verb", "arguments"}:
        raise damaged(folder / FILE, "names no verb with its arguments")
    return work["verb"], work["arguments"]


def require_trained(run: Run) -> None:
    """Raise DataError where a run's training was cut off: there is nothing to measure yet."""
    work = read_unfinished(run.folder)
    if work is not None and work[0] in TRAINING:
        raise DataError(
            f"{run.folder}: its training isn't finished; go on with: {resume_command(run.folder)}"
        )


@contextmanager
def discarded_without_recipe(run: Run, name: str = "recipe.yaml") -> Iterator[None]:
    """Remove a new run's folder where an error comes before the run has a recipe."""
    try:
        yield
    except StoppedError:
        raise
    except ResnetlabError:
        if not (run.folder / name).is_file():
            shutil.rmtree(run.folder, ignore_errors=True)
            with suppress(OSError):  # others are in it
                run.folder.parent.rmdir()
        raise


def resume_command(folder: Path) -> str:
    """Return the command that goes on with a folder."""
    return f"resnetlab resume {shlex.quote(str(folder))}"


def lasting(path: Path) -> str:
    """Return a path that holds wherever the command is given; a name such as 'hf:NAME' stays."""
    return str(path.absolute() if path.exists() else path)
