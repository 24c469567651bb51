"""Answers as images arrive in a folder."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from resnetlab.data.sources.listing import is_image
from resnetlab.data.sources.unlabelled import Item
from resnetlab.deploy.answers.rows import Row, prediction_row
from resnetlab.errors import DataError, RecipeError
from resnetlab.system import interruption
from resnetlab.system.progress import log
from resnetlab.system.requirements import require_writable
from resnetlab.workflows.deployment.predicting import (
    check_threshold,
    form_for,
    models_of,
    say_what_is_told,
)

if TYPE_CHECKING:
    from resnetlab.deploy.answers.writers import Form

POLL_S = 0.5  # between two looks into the folder; what has not changed in between is whole

Show = Callable[[Row], None]


def watch(
    model: str | Path,
    folder: Path,
    show: Show,
    out: Path | None = None,
    backend: str = "auto",
    top: int = 1,
    uncertain_below: float | None = None,
    max_error: float | None = None,
) -> None:
    """Classify each image that is in a folder or arrives there, until a signal asks for the end.

    With `out`, a CSV, each row is added at once; files that it names already are not answered again.
    Raises StoppedError at the end, DataError where there is no such folder.
    """
    from resnetlab.deploy.predictor import Predictor

    check_threshold(uncertain_below, max_error)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder to watch")
    if out is not None:
        if out.suffix.lower() != ".csv":
            raise RecipeError(f"--watch adds rows as they come, to a .csv. Got '{out.name}'")
        require_writable(out.parent)
    predictor = Predictor(models_of(model), backend=backend)
    say_what_is_told(predictor)
    uncertain_below = predictor.threshold(uncertain_below, max_error)
    form = form_for(predictor, top, uncertain_below)
    with added_to(out, form) as (known, add):
        log(f"watching {folder}; computed by {predictor.runtime}")
        for items in arrivals(folder, known):
            for answer in predictor.stream(items):
                row = prediction_row(answer, predictor.classes, top, uncertain_below)
                add(row)
                show(row)


@contextmanager
def added_to(out: Path | None, form: "Form") -> Iterator[tuple[set[str], Show]]:
    """Give the files that a table names already, and what adds a row to it.

    Raises CheckpointError where the table has other columns.
    """
    if out is None:
        yield set(), lambda row: None
        return
    from resnetlab.deploy.answers.writers import begun_rows, line_writer

    known: set[str] = set()
    begun = out.is_file() and out.stat().st_size > 0
    if begun:
        known = {row["file"] for row in begun_rows(out, form.header)}
    with out.open("a", newline="", encoding="utf-8", errors="backslashreplace") as file:
        put = line_writer(file)
        if not begun:
            put(form.header)

        def add(row: Row) -> None:
            put(form.cells(row))
            file.flush()

        yield known, add


def arrivals(folder: Path, known: set[str]) -> Iterator[list[Item]]:
    """Give the images of a folder that have come and are whole: size and time stay between two looks."""
    before: dict[Path, tuple[int, int]] = {}
    while True:
        interruption.raise_if_requested()
        now = {}
        for path in sorted(folder.rglob("*")):
            if str(path) in known or not is_image(path.name) or path.name.startswith("."):
                continue
            try:
                facts = path.stat()
            except OSError:  # it went away again
                continue
            now[path] = (facts.st_size, facts.st_mtime_ns)
        ready = [path for path, facts in now.items() if before.get(path) == facts]
        known.update(map(str, ready))
        if ready:
            yield [(path, path.read_bytes) for path in ready]
        before = now
        if not ready:
            time.sleep(POLL_S)
