"""Predictions in a competition's form: columns, ids, their order and the kind of label from its sample."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from resnetlab.data.sources.tables.image_index import stem
from resnetlab.deploy.answers.rows import Row
from resnetlab.errors import DataError, one_line
from resnetlab.system.files import read_csv, write_csv
from resnetlab.system.progress import log

NAMED = 5  # ids, or classes, that a line names


@dataclass(frozen=True)
class Sample:
    """A sample submission: its header, its ids in order, and what its columns want.

    `kind` is 'names' or 'numbers' for one column of labels, 'probability' for one column with that
    of the second of two classes, 'probabilities' for a column a class.
    """

    path: Path
    header: list[str]
    ids: list[str]
    kind: str


def read_sample(path: Path, classes: Sequence[str]) -> Sample:
    """Read a sample submission, and say what its column will hold where it leaves that open.

    Raises DataError where it can't be read, or its columns don't suit.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
        header, *rows = [
            row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row
        ]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path}: not a sample submission in CSV ({one_line(error)})") from error
    ids = [row[0] for row in rows]
    twice = [each for each, times in Counter(ids).items() if times > 1]
    if twice or not rows:
        raise DataError(
            f"{path}: {few(twice, 'ids stand in it twice') if twice else 'has no rows'}"
        )
    kind = kind_of(path, header, rows, classes)
    if told := meaning(kind, classes):
        log(f"note: column {header[1]} takes {told}")
    return Sample(path, header, ids, kind)


def kind_of(path: Path, header: list[str], rows: list[list[str]], classes: Sequence[str]) -> str:
    """Return what the columns of a sample want. Raises DataError where they don't suit the classes."""
    if len(header) == 2 and header[1] not in classes:
        values = {row[1].strip() for row in rows if len(row) > 1}
        if values <= set(classes):
            return "names"
        if all(re.fullmatch(r"\d+", value) for value in values):
            return "numbers"
        if len(classes) == 2 and all(re.fullmatch(r"\d*\.\d+", value) for value in values):
            return "probability"
        return "names"
    odd = sorted(set(header[1:]) ^ set(classes))
    if odd:
        raise DataError(
            f"{path}: {few(odd, 'names are a column or a class, but not both')}; a sample has an id and "
            "one column of labels, or an id and one column for each class"
        )
    return "probabilities"


def meaning(kind: str, classes: Sequence[str]) -> str:
    """Return what a column of this kind holds; nothing where the sample alone says it."""
    if kind == "probability":
        return f"the probability of {classes[1]}"
    if kind != "numbers" or (are_numbers(classes) and len(classes) != 2):
        return ""
    told = "numbers"
    if not are_numbers(classes):
        places = [f"{name}={place}" for place, name in enumerate(classes[:NAMED])]
        told += f": {', '.join(places)}{', ...' if classes[NAMED:] else ''}"
    if len(classes) == 2:
        told += (
            f" (the sample has whole ones; fractions would ask for the probability of {classes[1]})"
        )
    return told


def few(names: Sequence[str], what: str) -> str:
    """Return how many there are, and the first of them."""
    listed = ", ".join(f"'{name}'" for name in names[:NAMED]) + (", ..." if names[NAMED:] else "")
    return f"{len(names)} {what} ({listed})"


@dataclass
class Submission:
    """Collects predictions by the sample's ids."""

    sample: Sample
    classes: tuple[str, ...]
    cells: dict[str, list[object]] = field(default_factory=dict)
    unusable: list[str] = field(default_factory=list)

    def files_for(self, paths: Iterable[Path]) -> dict[Path, str]:
        """Return the id of each file, in the sample's order; files without an id are left out.

        An id is a file's path, its end, its name, or that without its ending. Raises DataError where an id
        has no file or several.
        """
        by_key: dict[str, set[Path]] = {}
        for path in paths:
            for key in keys_of(path):
                by_key.setdefault(key, set()).add(path)
        found = {each: by_key.get(each, set()) for each in self.sample.ids}
        missing = [each for each, files in found.items() if not files]
        several = [each for each, files in found.items() if len(files) > 1]
        for names, what in ((missing, "ids have no image"), (several, "ids have several images")):
            if names:
                raise DataError(
                    f"{self.sample.path}: {few(names, what)}; give all the test images, once"
                )
        return {files.pop(): each for each, files in found.items()}

    def add(self, name: str, row: Row) -> None:
        """Take the prediction to the image of an id."""
        if row["problem"]:
            self.unusable.append(f"{name}: {row['problem']}")
            return
        self.cells[name] = self.cells_of(row)

    def cells_of(self, row: Row) -> list[object]:
        """Return what the sample's columns want of a row."""
        probs = row["probabilities"]
        if self.sample.kind == "names":
            return [row["class"]]
        if self.sample.kind == "numbers":
            return [number_of(row["class"], self.classes)]
        if self.sample.kind == "probability":
            return [probs[self.classes[1]]]
        return [probs[column] for column in self.sample.header[1:]]

    def write(self, out: Path) -> None:
        """Write the table and read it again: every id once, none missing, none extra.

        Raises DataError where an image gave no prediction: a submission leaves none out.
        """
        if self.unusable:
            raise DataError(
                f"{few(self.unusable, 'images can not be read')}; a submission needs them all"
            )
        rows = [[each, *self.cells[each]] for each in self.sample.ids]
        write_csv(out, self.sample.header, rows)
        check_ids([row[self.sample.header[0]] for row in read_csv(out)], self.sample)


def check_ids(ids: Sequence[str], sample: Sample) -> None:
    """Raise DataError where these are not the sample's ids in its order."""
    lost = sorted(set(sample.ids) - set(ids))
    extra = sorted(set(ids) - set(sample.ids))
    for names, what in ((lost, "ids are missing"), (extra, "ids are not in the sample")):
        if names:
            raise DataError(f"{sample.path}: {few(names, what)}")
    if list(ids) != sample.ids:
        raise DataError(f"{sample.path}: the ids stand in another order, or some twice")


def keys_of(path: Path) -> set[str]:
    """Return what an id may say to mean a file: each end of its path, with the ending and without."""
    parts = path.parts
    ends = {"/".join(parts[start:]) for start in range(len(parts))} | {str(path)}
    return ends | {stem(end) for end in ends}


def number_of(name: str, classes: Sequence[str]) -> int:
    """Return a class as a number: its own where all classes are numbers, else its place among them."""
    return int(name) if are_numbers(classes) else list(classes).index(name)


def are_numbers(classes: Sequence[str]) -> bool:
    """Return whether all classes are named by numbers."""
    return all(re.fullmatch(r"\d+", each) for each in classes)
