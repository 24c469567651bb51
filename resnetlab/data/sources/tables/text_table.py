"""Tables as people have them: CSV from any program, TSV, Parquet, JSON. Every cell becomes text."""

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from resnetlab.data.sources.tables.cell import to_text
from resnetlab.data.sources.tables.columns import Row, is_header
from resnetlab.data.sources.tables.json_table import json_rows
from resnetlab.errors import DataError

TABLE_ENDINGS = frozenset({".csv", ".tsv", ".txt", ".parquet", ".json"})
DELIMITERS = ",;\t|"
EXCEL_HINT = re.compile(r'"?sep=(.)"?[^\S\t]*(?:\r\n|\r|\n)', re.IGNORECASE)


def nothing(_: str) -> bool:
    """Know no image: the first line is the header then."""
    return False


def read_rows(content: bytes, where: str, is_image: Callable[[str], bool] = nothing) -> list[Row]:
    """Read a CSV or TSV as one mapping a row, from the names in its first line to the cells.

    Where a cell of the first line names an image, which `is_image` tells, and none is a customary
    name of images, there is no header: see `names_without_header`. Cells stay as they are: a file's
    name may begin with a blank. Raises DataError that names `where` and the line.
    """
    return list(text_rows(content, where, is_image))


def read_table_file(path: Path, is_image: Callable[[str], bool] = nothing) -> list[Row]:
    """Read a table by its file name's ending. Raises DataError where it can't be read."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror or error})") from error
    return read_table_content(content, path, is_image)


def read_table_content(
    content: bytes, where: Path, is_image: Callable[[str], bool] = nothing
) -> list[Row]:
    """Read a table from a file's bytes, by the ending of its name."""
    if where.suffix.lower() == ".parquet":
        return list(parquet_rows(io.BytesIO(content), str(where)))
    if where.suffix.lower() == ".json":
        return json_rows(decode(content, str(where)), str(where), is_image)
    return read_rows(content, str(where), is_image)


def text_rows(
    content: bytes, where: str, is_image: Callable[[str], bool] = nothing
) -> Iterator[Row]:
    """Give the rows of a CSV or TSV one by one; see `read_rows`."""
    text = decode(content, where)
    if "\0" in text:
        raise DataError(
            f"{where}, line {line_of(text, text.index(chr(0)))}: holds a NUL, so this is no table of "
            "text, or it is damaged; save it again as CSV in UTF-8"
        )
    records = records_of(text, where, is_image)
    line, first = next(records, (1, []))
    bare = not is_header(first) and any(map(is_image, first))
    if bare:
        header, below = names_without_header(first, is_image), "first line"
        yield Row(f"line {line}", zip(header, first, strict=True))
    else:
        header, below = checked_header(first, f"{where}, line {line}"), "header"
        line = 0
    for line, cells in records:
        if len(cells) != len(header):
            raise DataError(
                f"{where}, line {line}: has {len(cells)} cells, the {below} has {len(header)}; put a "
                "cell that holds the delimiter in quotes, and leave no cell out"
            )
        yield Row(f"line {line}", zip(header, cells, strict=True))
    if not line:
        raise DataError(f"{where}: holds one line only; it needs a header and rows below it")


def names_without_header(first: list[str], is_image: Callable[[str], bool]) -> list[str]:
    """Return names for the columns of a table without header, by the cells of its first line.

    The column of the images is 'image', the only other one 'label'; of several, each has the name of
    the class that it would mark: '0', '1', ...
    """
    image = next(place for place, cell in enumerate(first) if is_image(cell))
    others = ["label"] if len(first) == 2 else [str(number) for number in range(len(first) - 1)]
    return [*others[:image], "image", *others[image:]]


def records_of(
    text: str, where: str, is_image: Callable[[str], bool]
) -> Iterator[tuple[int, list[str]]]:
    """Give the number of its first line and the cells of each record that isn't blank."""
    hint = EXCEL_HINT.match(text)
    if hint:
        yield from numbered_records(text[hint.end() :], hint[1], where, 1)
        return
    first = first_line(text)
    after = 0 if any(each in first for each in DELIMITERS) else cells_after_image(first, is_image)
    if not after:
        yield from numbered_records(text, find_delimiter(text), where, 0)
        return
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield number, line.rsplit(None, after)


def cells_after_image(line: str, is_image: Callable[[str], bool]) -> int:
    """Return how many cells follow the name of an image in a line that blanks divide, 0 for none.

    A name may hold blanks itself: the longest one that is an image's counts.
    """
    for after in range(1, len(line.split())):
        name = line.rsplit(None, after)[0]
        if is_image(name) or is_header([name]):
            return after
    return 0


def numbered_records(
    text: str, delimiter: str, where: str, before: int
) -> Iterator[tuple[int, list[str]]]:
    """Give (number of its first line, cells) of each record that isn't blank.

    A quoted cell may hold line ends, so a record may be many lines; `before` lines were cut off.
    Raises DataError for quotes that make no sense.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    line = before + 1
    try:
        for cells in reader:
            if any(cell and not cell.isspace() for cell in cells):
                yield line, cells
            line = before + reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{where}, line {line}: can't be read ({error}); look for a quote too many or too few"
        ) from error


def find_delimiter(text: str) -> str:
    """Return what separates the names in the first line: the commonest outside of quotes."""
    return max(DELIMITERS, key=first_line(text).count)


def first_line(text: str) -> str:
    """Return the first line that isn't blank, without what stands in quotes."""
    plain = re.sub(r'"[^"]*"', "", text.lstrip("\r\n")[:100_000])
    return re.split(r"[\r\n]", plain, maxsplit=1)[0]


def checked_header(names: list[str], where: str) -> list[str]:
    """Return the names of the columns, stripped. Raises DataError for an empty or a double one."""
    header = [name.strip() for name in names]
    if not header:
        raise DataError(f"{where}: the table is empty")
    if "" in header:
        raise DataError(
            f"{where}: column {header.index('') + 1} has no name; name it in the header, or leave "
            "the column out (pandas: to_csv(..., index=False))"
        )
    name, times = Counter(header).most_common(1)[0]
    if times > 1:
        raise DataError(f"{where}: {times} columns are called '{name}'; keep one or rename")
    return header


def decode(content: bytes, where: str) -> str:
    """Return a table's text. Raises DataError where it fits no encoding."""
    encoding = guess_encoding(content)
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding == "utf-8-sig" and not content.startswith(codecs.BOM_UTF8):
            return decode_windows(content, where)
        raise unreadable_text(error, where) from error


def decode_windows(content: bytes, where: str) -> str:
    """Return text as Windows programs write it where it isn't Unicode. Raises DataError."""
    try:
        return content.decode("cp1252")
    except UnicodeDecodeError as error:
        raise unreadable_text(error, where) from error


def unreadable_text(error: UnicodeDecodeError, where: str) -> DataError:
    """Return the error that names the line of the first byte that is no text."""
    before = error.object[: error.start].decode(error.encoding, "replace")
    return DataError(
        f"{where}, line {line_of(before)}: is no text that can be read ({error.reason}); save the "
        "table as CSV in UTF-8"
    )


def guess_encoding(content: bytes) -> str:
    """Return the Unicode encoding that a table's first bytes speak for."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    head = content[:32]  # a header: mostly letters whose other byte is NUL
    even, odd = head[::2].count(0), head[1::2].count(0)
    if (even + odd) * 8 > len(head):
        return "utf-16-le" if odd > even else "utf-16-be"
    return "utf-8-sig"


def line_of(text: str, position: int | None = None) -> int:
    """Return the number of the line in which a position (None: the end) lies."""
    return len(re.findall(r"\r\n|\r|\n", text[:position])) + 1


def parquet_rows(file: BinaryIO, where: str) -> Iterator[Row]:
    """Give the rows of a Parquet file; columns of bytes, lists or structures are left out.

    Raises DataError where it is damaged.
    """
    try:
        table = pq.ParquetFile(file)
        fields = [field for field in table.schema_arrow if is_plain(field)]
        names = [field.name for field in fields]
        header = checked_header(names, where)
        if not table.metadata.num_rows:
            raise DataError(f"{where}: has no rows")
        lines = count(2)  # as if it were text below a header
        for batch in table.iter_batches(columns=names):
            columns = [map(to_text, batch[name].to_pylist()) for name in names]
            for cells in zip(*columns, strict=True):
                yield Row(f"line {next(lines)}", zip(header, cells, strict=True))
    except (pa.ArrowException, OSError, ValueError, KeyError, OverflowError) as error:
        raise DataError(f"{where}: is no Parquet file that can be read ({error})") from error


def is_plain(field: Any) -> bool:
    """Return whether a column holds what can be text; pandas' own index column doesn't count."""
    kind = field.type
    binary = any(
        test(kind)
        for test in (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
    )
    return not (pa.types.is_nested(kind) or binary or field.name.startswith("__index_level_"))
