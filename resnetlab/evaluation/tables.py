"""Predictions made elsewhere: a table of ids, labels, and probabilities, logits or the predicted class."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from resnetlab.errors import DataError, one_line
from resnetlab.evaluation.predictions import Predictions

IDS = ("id", "ids", "image", "image_id", "file", "filename", "path")
LABELS = ("label", "labels", "true", "truth", "target", "y_true", "true_label")
PREDICTED = ("predicted", "prediction", "pred", "y_pred", "predicted_label")
PREFIXES = ("p_", "prob_", "probability_", "logit_")
SUM_OFF = 0.02  # by which rounded probabilities may miss 1
LEAST = 1e-38  # stands for a probability of 0, whose logarithm is none


@dataclass(frozen=True)
class Table:
    """Predictions from a file, and its other columns (N,) by name; `scores` says what was taken for what."""

    predictions: Predictions
    columns: dict[str, NDArray[np.object_]]
    scores: str


def read_predictions(path: Path, classes: Sequence[str] = ()) -> Table:
    """Read a CSV, TSV or Parquet table: id, label, and a column a class, or only the predicted class.

    Columns of classes are named like them, with or without 'p_', 'prob_' or 'logit_' before. They
    hold probabilities where every row adds up to 1, else logits. Labels are names or numbers of
    classes. `classes` names them where the table leaves that open. Raises DataError that says what
    is missing.
    """
    if path.suffix == ".parquet" and _is_own(path):
        return Table(Predictions.load(path), {}, "logits")
    columns = _read(path)
    id_name = _find(columns, IDS) or next(iter(columns))
    label_name = _find(columns, LABELS)
    if label_name is None:
        raise DataError(
            f"{path}: has no column of labels ({', '.join(LABELS)}); its columns are {_some(columns)}"
        )
    rest = {name: values for name, values in columns.items() if name not in (id_name, label_name)}
    labels = np.array([_plain(value) for value in columns[label_name].to_pylist()], dtype=object)
    ids = np.array([_plain(value) for value in columns[id_name].to_pylist()], dtype=object)
    if (labels == "").any():
        count = int((labels == "").sum())
        raise DataError(f"{path}: {count} of {len(labels)} rows have no label in '{label_name}'")
    score_names = _score_columns(path, rest, labels, classes)
    if score_names:
        names = tuple(classes) or tuple(score_names)
        logits, scores = _logits(path, rest, [score_names[name] for name in names])
        used = set(score_names.values())
    else:
        predicted_name = _find(rest, PREDICTED)
        if predicted_name is None:
            raise DataError(
                f"{path}: has neither a column for each class nor one of the predicted class "
                f"({', '.join(PREDICTED)}); its columns are {_some(columns)}; name the classes with --classes"
            )
        predicted = np.array([_plain(v) for v in rest[predicted_name].to_pylist()], dtype=object)
        names = tuple(classes) or _in_order({*labels, *predicted})
        logits = np.eye(len(names))[_numbers(path, predicted, names, predicted_name)]
        scores, used = "the predicted class alone", {predicted_name}
    numbers = _numbers(path, labels, names, label_name)
    predictions = replace(Predictions.make(ids, numbers, logits, names), scored=bool(score_names))
    others = {
        name: np.array([_plain(value) for value in values.to_pylist()], dtype=object)
        for name, values in rest.items()
        if name not in used
    }
    return Table(predictions, others, scores)


def _is_own(path: Path) -> bool:
    try:
        return b"classes" in (pa.parquet.read_schema(path).metadata or {})
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: can't be read ({one_line(error)})") from error


def _read(path: Path) -> dict[str, pa.ChunkedArray]:
    """Return the columns of a table. Raises DataError where there is none or no row."""
    try:
        if path.suffix == ".parquet":
            table = pa.parquet.read_table(path)
        else:
            form = pa.csv.ParseOptions(delimiter="\t" if path.suffix == ".tsv" else ",")
            with pa.csv.open_csv(path, parse_options=form) as reader:
                names = reader.schema.names
            words = [name for name in names if name.lower() in (*IDS, *LABELS, *PREDICTED)]
            if _find(names, IDS) is None:
                words.append(names[0])  # stands for the ids
            text = pa.csv.ConvertOptions(column_types=dict.fromkeys(words, pa.string()))
            table = pa.csv.read_csv(path, parse_options=form, convert_options=text)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: can't be read as a table ({one_line(error)})") from error
    names = [name.removeprefix("\ufeff") for name in table.column_names]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{path}: has two columns named '{twice[0]}'")
    if not len(table):
        raise DataError(f"{path}: has no rows")
    return dict(zip(names, table.columns, strict=True))


def _find(columns: Iterable[str], names: Sequence[str]) -> str | None:
    return next((name for name in columns if name.lower() in names), None)


def _score_columns(
    path: Path,
    columns: dict[str, pa.ChunkedArray],
    labels: NDArray[np.object_],
    classes: Sequence[str],
) -> dict[str, str]:
    """Return the column of each class, by its name; nothing where the table has none."""
    numeric = [
        name
        for name, values in columns.items()
        if pa.types.is_floating(values.type) or pa.types.is_integer(values.type)
    ]
    for prefix in PREFIXES:
        found = {name[len(prefix) :]: name for name in numeric if name.startswith(prefix)}
        if found and (not classes or set(classes) <= found.keys()):
            return found
    if classes:
        missing = [name for name in classes if name not in numeric]
        if not missing:
            return {name: name for name in classes}
        if len(missing) < len(classes):
            raise DataError(f"{path}: has no column of numbers for class '{missing[0]}'")
        return {}
    named = [name for name in numeric if name in set(labels)]
    if not named:
        return {}
    unknown = [name for name in numeric if name not in named]
    if unknown:
        raise DataError(
            f"{path}: column '{unknown[0]}' may be a class of which no row is, or none: "
            "name the classes with --classes"
        )
    return {name: name for name in named}


def _logits(
    path: Path, columns: dict[str, pa.ChunkedArray], names: Sequence[str]
) -> tuple[NDArray[np.float64], str]:
    values = np.stack([columns[name].to_numpy().astype(np.float64) for name in names], axis=1)
    odd = ~np.isfinite(values)
    if odd.any():
        row, column = (int(index[0]) for index in np.nonzero(odd))
        raise DataError(f"{path}: row {row + 2} holds no finite number in column '{names[column]}'")
    if values.min() < 0 or (np.abs(values.sum(axis=1) - 1) > SUM_OFF).any():
        return values, "logits"
    return np.log(np.maximum(values, LEAST)), "probabilities"


def _numbers(
    path: Path, values: NDArray[np.object_], names: Sequence[str], column: str
) -> NDArray[np.int64]:
    """Return which class (N,) each value names, by its name or else its number."""
    number = {name: index for index, name in enumerate(names)}
    if not set(values) <= number.keys():
        by_number = {str(index): index for index in range(len(names))}
        number = by_number if set(values) <= by_number.keys() else number
    unknown = sorted(set(values) - number.keys())
    if unknown:
        raise DataError(
            f"{path}: column '{column}' holds '{unknown[0]}', which is none of the classes ({_some(names)})"
        )
    return np.array([number[value] for value in values], dtype=np.int64)


def _in_order(names: set[str]) -> tuple[str, ...]:
    """Return names in order, numbers by their size."""
    return tuple(
        sorted(
            names, key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0, name)
        )
    )


def _plain(value: object) -> str:
    """Return a cell as text: 1.0 is 1."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _some(names: Sequence[str] | dict[str, pa.ChunkedArray]) -> str:
    listed = [str(name) for name in names]
    return ", ".join(listed[:12]) + (", ..." if len(listed) > 12 else "")
