"""Classify any number of images: what comes in, who answers, where the answers go."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnetlab.data.sources.unlabelled import (
    STANDARD_INPUT,
    Item,
    Read,
    from_standard_input,
    read_unlabelled,
)
from resnetlab.deploy.answers.rows import Row, prediction_row
from resnetlab.errors import RecipeError
from resnetlab.runs.run import bundle_of
from resnetlab.system.files import DISK_TROUBLES
from resnetlab.system.progress import log
from resnetlab.system.requirements import require_empty, require_outside, require_writable

if TYPE_CHECKING:
    from resnetlab.deploy.answers.writers import Form
    from resnetlab.deploy.predictor import Predictor
    from resnetlab.evaluation.shift.drift import Drift

LISTED = 5  # unusable files that the end names


@dataclass
class Tally:
    """How many files were answered, how many of them are uncertain, and the first unusable ones.

    `out_of_distribution` is how many are unlike the training images, None where that can't be told.
    """

    files: int = 0
    uncertain: int = 0
    out_of_distribution: int | None = None
    drift: "Drift | None" = None
    runtime: str = ""  # that computed, in a line
    unusable: int = 0
    named: list[str] = field(default_factory=list)

    def count(self, row: Row) -> None:
        """Count one file."""
        self.files += 1
        self.uncertain += bool(row["uncertain"])
        if row["out_of_distribution"] is not None:
            self.out_of_distribution = (self.out_of_distribution or 0) + row["out_of_distribution"]
        if row["problem"]:
            self.unusable += 1
            if len(self.named) < LISTED:
                self.named.append(f"{row['file']}: {row['problem']}")

    def as_json(self) -> dict[str, Any]:
        """Return what was counted, by name."""
        return {
            "files": self.files,
            "unusable": self.unusable,
            "uncertain": self.uncertain,
            "out_of_distribution": self.out_of_distribution,
            "drift": None if self.drift is None else self.drift.as_json(),
            "computed_by": self.runtime,
        }


def predict(
    model: str | Path | Sequence[Path],
    images: Sequence[Path],
    out: Path | None = None,
    backend: str = "auto",
    top: int = 1,
    uncertain_below: float | None = None,
    max_error: float | None = None,
) -> list[Row]:
    """Classify images with a run or bundle, or the mean of several; with `out`, write a table too.

    Returns a row a file: file, class, probability, top, one probability a class, uncertain, problem.
    A file that is no sound image gets no class but a problem. See `classify`, which keeps no rows.
    """
    rows: list[Row] = []
    classify(model, images, rows.append, out, backend, top, uncertain_below, max_error=max_error)
    return rows


def classify(
    model: str | Path | Sequence[Path],
    images: Sequence[Path],
    show: Callable[[Row], None] | None = None,
    out: Path | None = None,
    backend: str = "auto",
    top: int = 1,
    uncertain_below: float | None = None,
    sort_into: Path | None = None,
    submission: Path | None = None,
    max_error: float | None = None,
) -> Tally:
    """Classify files, folders, archives, patterns, tables of images, or '-' for standard input.

    Each row goes to `show`, into the table `out` (.csv, .parquet, .jsonl) and into `sort_into` as
    it comes, so that any number of images fit; with `submission` the table has that sample's form. What is less
    probable than `uncertain_below` is marked as uncertain; with `max_error` what is not marked is wrong at most
    that often, as validation promised. Raises CheckpointError, DataError, RecipeError for a setting,
    MachineError for what isn't installed.
    """
    from resnetlab.deploy.answers.writers import check_ending

    check_threshold(uncertain_below, max_error)
    if submission is not None and (out is None or STANDARD_INPUT in images):
        raise RecipeError("--submission writes a table from files: give --out, and no '-'")
    if out is not None:
        check_ending(out)
        require_writable(out.parent)
    if sort_into is not None:
        require_empty(sort_into)
        for path in images:
            require_outside(sort_into, path)
    items, contents = items_of(images)

    from resnetlab.deploy.predictor import Predictor
    from resnetlab.deploy.shift.arrivals import Arrivals

    predictor = Predictor(models_of(model), backend=backend)
    say_what_is_told(predictor)
    uncertain_below = predictor.threshold(uncertain_below, max_error)
    tally = Tally()
    with ExitStack() as stack:
        sinks = [tally.count, *([show] if show else [])]
        if submission is not None and out is not None:
            items, sink = stack.enter_context(
                submission_sink(submission, out, predictor.classes, contents)
            )
            sinks.append(sink)
        elif out is not None:
            sinks.append(
                stack.enter_context(table_sink(out, form_for(predictor, top, uncertain_below)))
            )
        if sort_into is not None:
            sinks.append(sorting_sink(sort_into, contents))
        arrivals = Arrivals(predictor.reference)
        for answer in predictor.stream(items):
            arrivals.add(answer)
            row = prediction_row(answer, predictor.classes, top, uncertain_below)
            for sink in sinks:
                sink(row)
    tally.runtime = predictor.runtime
    log(f"computed by {tally.runtime}")
    tally.drift = arrivals.drift() if len(predictor.models) == 1 else None
    if tally.drift is not None and tally.drift.found():
        log(
            "note: these images do not look like those of validation, so the figures measured there may "
            f"not hold: {tally.drift}"
        )
    return tally


def form_for(predictor: "Predictor", top: int, uncertain_below: float | None) -> "Form":
    """Return the columns of a table of a model's predictions."""
    from resnetlab.deploy.answers.writers import Form

    marks = {
        "uncertain": uncertain_below is not None,
        "out_of_distribution": not predictor.why_not_told,
    }
    classes = predictor.classes
    return Form(classes, min(top, len(classes)), tuple(name for name in marks if marks[name]))


def say_what_is_told(predictor: "Predictor") -> None:
    """Say where a model can't tell images unlike its training images: nothing is skipped unsaid."""
    if predictor.why_not_told:
        log(
            "note: this model names a class for any image, also for one unlike its training images: "
            f"{predictor.why_not_told}"
        )


def check_threshold(uncertain_below: float | None, max_error: float | None = None) -> None:
    """Raise RecipeError where a threshold is no probability, or an error rate none, or both are given."""
    if uncertain_below is not None and max_error is not None:
        raise RecipeError("--uncertain-below and --max-error both set the threshold: give one")
    for name, value in (("--uncertain-below", uncertain_below), ("--max-error", max_error)):
        if value is not None and not 0 < value <= 1:
            raise RecipeError(f"{name} must be a probability above 0, up to 1. Got {value:g}")


def models_of(model: str | Path | Sequence[Path]) -> list[Path]:
    """Return the bundles meant by a run or bundle, or by several with commas between them."""
    if isinstance(model, Sequence) and not isinstance(model, str):
        return [model_at(each) for each in model]
    if Path(model).exists() or "," not in str(model):
        return [model_at(Path(model))]
    return [model_at(Path(each.strip())) for each in str(model).split(",") if each.strip()]


def model_at(folder: Path) -> Path:
    """Return the folder of a bundle or an exported model, from the hub for hf:user/name. Raises DataError."""
    from resnetlab.deploy.export.exported import is_exported

    if str(folder).startswith("hf:"):
        from resnetlab.deploy.hub import bundle_from_hub

        return bundle_from_hub(str(folder))
    return folder if is_exported(folder) else bundle_of(folder)


def items_of(images: Sequence[Path]) -> tuple[Any, dict[Path, Read]]:
    """Return the images to classify, and those of them that are known beforehand."""
    if STANDARD_INPUT not in images:
        contents = read_unlabelled(images)
        return list(contents.items()), contents
    contents = read_unlabelled(rest) if (rest := [p for p in images if p != STANDARD_INPUT]) else {}

    def items() -> Iterator[Item]:
        yield from contents.items()
        yield from from_standard_input()

    return items(), contents


@contextmanager
def table_sink(out: Path, form: "Form") -> Iterator[Callable[[Row], None]]:
    """Give what takes rows into a table."""
    from resnetlab.deploy.answers.writers import table_writer

    with table_writer(out, form) as write:
        yield write


@contextmanager
def submission_sink(
    sample: Path, out: Path, classes: tuple[str, ...], contents: dict[Path, Read]
) -> Iterator[tuple[list[Item], Callable[[Row], None]]]:
    """Give the images of a sample submission's ids, and what takes their rows; write it at the end."""
    from resnetlab.deploy.answers.submission import Submission, read_sample

    submission = Submission(read_sample(sample, classes), classes)
    ids = submission.files_for(contents)
    if len(ids) < len(contents):
        log(f"note: {len(contents) - len(ids)} images have no id in {sample} and are left out")
    yield (
        [(path, contents[path]) for path in ids],
        lambda row: submission.add(ids[Path(row["file"])], row),
    )
    submission.write(out)


def sorting_sink(folder: Path, contents: dict[Path, Read]) -> Callable[[Row], None]:
    """Return what links images into the folders of their classes."""
    from resnetlab.deploy.answers.sorting import Sorter
    from resnetlab.errors import MachineError

    sorter = Sorter(folder, contents)

    def add(row: Row) -> None:
        try:
            sorter.add(row)
        except OSError as error:
            if error.errno in DISK_TROUBLES:
                raise
            raise MachineError(f"{folder}: no link can be made there ({error.strerror})") from error

    return add
