"""Tables of predictions, written row by row as they come, whole at the end."""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from resnetlab.data.catalog import printable
from resnetlab.deploy.answers.rows import MARKS, Row, cells, columns
from resnetlab.errors import CheckpointError, RecipeError
from resnetlab.system.files import LineFeeds, read_csv, whole

GROUP = 1024  # rows kept until they are written, in Parquet
NAMED = 12  # columns that an error names
Write = Callable[[Row], None]


@dataclass(frozen=True)
class Form:
    """Which columns a table has: the classes, the `top` likeliest, which MARKS."""

    classes: tuple[str, ...]
    top: int = 1
    marks: tuple[str, ...] = ()

    @property
    def header(self) -> list[str]:
        """Return the names of the columns."""
        return columns(self.classes, self.top, self.marks)

    def cells(self, row: Row) -> list[Any]:
        """Return a row's cells."""
        return cells(row, self.top, self.marks)


def check_ending(path: Path) -> None:
    """Raise RecipeError where a file's ending names no form of table."""
    if path.suffix.lower() not in WRITERS:
        raise RecipeError(
            f"--out must end in {', '.join(WRITERS)}. Got '{path.name}', which says no form"
        )


def begun_rows(path: Path, header: Sequence[str]) -> list[dict[str, str]]:
    """Return the rows of a CSV that more are to go into. Raises CheckpointError where its columns are others."""
    rows = read_csv(path)
    with path.open(newline="", encoding="utf-8") as file:
        found = next(csv.reader(file))
    if found != list(header):
        raise CheckpointError(
            f"{path}: its columns must be {some(header)}. Got {some(found)}; choose another file"
        )
    return rows


def some(names: Sequence[str]) -> str:
    """Return the first of some names."""
    return ", ".join(names[:NAMED]) + (", ..." if names[NAMED:] else "")


@contextmanager
def table_writer(path: Path, form: Form) -> Iterator[Write]:
    """Give what writes one row; the file is there, whole, once this ends without an error."""
    with whole(path) as temporary, WRITERS[path.suffix.lower()](temporary, form) as write:
        yield write


@contextmanager
def csv_writer(path: Path, form: Form) -> Iterator[Write]:
    """Write CSV, quoted where needed; floats keep every digit."""
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        put = line_writer(file)
        put(form.header)
        yield lambda row: put(form.cells(row))


def line_writer(file: TextIO) -> Callable[[list[Any]], Any]:
    """Return what writes a line of CSV, which ends with LF."""
    return csv.writer(LineFeeds(file), lineterminator="\r\n").writerow


@contextmanager
def json_writer(path: Path, form: Form) -> Iterator[Write]:
    """Write JSON lines: an object a file."""
    with path.open("w", encoding="utf-8") as file:
        yield lambda row: print(json_line(row, form), file=file)


def json_line(row: Row, form: Form) -> str:
    """Return a row as a line of JSON."""
    top = [{"class": name, "probability": value} for name, value in row["top"]]
    shown = {key: value for key, value in row.items() if key not in MARKS or key in form.marks}
    return json.dumps(shown | {"file": printable(row["file"]), "top": top}, ensure_ascii=False)


@contextmanager
def parquet_writer(path: Path, form: Form) -> Iterator[Write]:
    """Write Parquet, in groups of rows."""
    texts = {"file", "class", "problem", *(f"class_{rank}" for rank in range(2, form.top + 1))}
    kinds = [
        pa.string() if name in texts else pa.bool_() if name in form.marks else pa.float64()
        for name in form.header
    ]
    schema = pa.schema(list(zip(map(printable, form.header), kinds, strict=True)))
    waiting: list[list[Any]] = []

    with pq.ParquetWriter(path, schema) as writer:

        def flush() -> None:
            written = list(zip(*waiting, strict=True))
            arrays = [pa.array(each, kind) for each, kind in zip(written, kinds, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            waiting.clear()

        def write(row: Row) -> None:
            waiting.append(form.cells(row | {"file": printable(row["file"])}))
            if len(waiting) == GROUP:
                flush()

        yield write
        if waiting:
            flush()


Writer = Callable[[Path, Form], Any]
WRITERS: dict[str, Writer] = {
    ".csv": csv_writer,
    ".parquet": parquet_writer,
    ".jsonl": json_writer,
}
