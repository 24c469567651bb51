"""The table of samples."""

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from resnetlab.errors import CheckpointError, one_line
from resnetlab.system.files import whole

# Between a file and what lies inside it, in a catalog's paths: no file's name can hold it.
MEMBER = "\0"
CATALOG_FILE = "catalog.parquet"  # in the folder of a run
Split = Literal["train", "val", "test"]
ADDED = ("remark",)  # columns that older tables lack
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class Catalog:
    """Columns of N samples, in the order of their ids; every column has shape (N,).

    `ids` are the paths below `root` as text fit to print, `paths` the same as the file system
    has them; an image inside an archive has the archive's path, a NUL, and its own. `labels` index
    `classes`, -1 is unlabelled. `split` is '', 'train', 'val' or 'test'. `fold` is -1 where there
    are none. Samples with the same `group` stay in one split. `problem` says why a sample is quarantined,
    '' means sound. `sha256` (hex) tells the content, the same in whatever form an image comes: of
    the pixels where its format keeps them exactly, of the file's bytes for JPEG and WebP. It, `width`,
    `height` (px, upright) and `remark`, what the decoder printed, are known after the images have been read.
    """

    root: Path
    classes: tuple[str, ...]
    ids: np.ndarray
    paths: np.ndarray
    labels: np.ndarray
    split: np.ndarray
    fold: np.ndarray
    group: np.ndarray
    width: np.ndarray
    height: np.ndarray
    sha256: np.ndarray
    problem: np.ndarray
    remark: np.ndarray
    notes: tuple[str, ...] = ()  # what the source passed over

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def sound(self) -> np.ndarray:
        """Whether each sample may be used, (N,) bool."""
        return np.asarray(self.problem == "")

    @property
    def may_train(self) -> np.ndarray:
        """Whether the split of each sample, if it has one yet, leaves it to training, (N,) bool."""
        return np.isin(self.split, ("", "train"))

    def by_content(self, rows: np.ndarray) -> np.ndarray:
        """Return rows in an order that their images alone decide, whatever their files are called."""
        return rows[np.argsort(self.sha256[rows], kind="stable")]

    def with_columns(self, **columns: Any) -> "Catalog":
        """Return a copy with some columns replaced."""
        return dataclasses.replace(self, **columns)

    def rows(self, split: str) -> np.ndarray:
        """Return the rows of the sound, labelled samples of a split: 'train', 'val', 'test' or 'all'."""
        chosen = self.sound & (self.labels >= 0)
        if split != "all":
            chosen &= self.split == split
        return np.flatnonzero(chosen)

    def take(self, rows: np.ndarray) -> "Catalog":
        """Return a catalog of these samples (M,) alone, without classes that none of them has."""
        columns = {
            field.name: getattr(self, field.name)[rows]
            for field in dataclasses.fields(self)
            if isinstance(getattr(self, field.name), np.ndarray)
        }
        there = np.unique(columns["labels"][columns["labels"] >= 0])
        new = np.full(len(self.classes) + 1, -1)  # the last stands for the unlabelled, -1
        new[there] = np.arange(len(there))
        columns["labels"] = new[columns["labels"]]
        _, first, group = np.unique(columns["group"], return_index=True, return_inverse=True)
        columns["group"] = first[group]  # named by its first row
        classes = tuple(self.classes[label] for label in there)
        return self.with_columns(**columns, classes=classes)

    def counts(self, split: str) -> np.ndarray:
        """Return how many sound samples of each class a split holds, (K,)."""
        return np.bincount(self.labels[self.rows(split)], minlength=len(self.classes))

    def sample_keys(self) -> np.ndarray:
        """Return 64 bits of each image's content, (N,) uint64: the address of its randomness."""
        return np.array([int(digest[:16], 16) for digest in self.sha256], dtype=np.uint64)

    def save(self, path: Path) -> None:
        """Write the table as Parquet, whole. Paths are bytes: a file name need not be text."""
        columns = {name: pa.array(getattr(self, name)) for name in COLUMNS if name != "paths"}
        columns["paths"] = pa.array([os.fsencode(item) for item in self.paths], pa.binary())
        facts = {"root": os.fsencode(self.root).hex(), "classes": self.classes, "notes": self.notes}
        table = pa.table(columns).replace_schema_metadata({"resnetlab": json.dumps(facts)})
        with whole(path) as temporary:
            pq.write_table(table, temporary, write_page_checksum=True)

    @classmethod
    def load(cls, path: Path) -> "Catalog":
        """Read a saved table. Raises CheckpointError where it is damaged."""
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                table = file.read()
            facts = json.loads(table.schema.metadata[b"resnetlab"])
            later = {name: objects([""] * len(table)) for name in ADDED}
            there = [name for name in COLUMNS if name not in ADDED or name in table.column_names]
            columns = later | {name: table[name].to_numpy() for name in there}
            columns["paths"] = objects([os.fsdecode(item) for item in columns["paths"]])
            labels = columns["labels"]
            if len(labels) and not -1 <= labels.min() <= labels.max() < len(facts["classes"]):
                raise ValueError("a label has no class")
            return cls(
                root=Path(os.fsdecode(bytes.fromhex(facts["root"]))),
                classes=tuple(facts["classes"]),
                notes=tuple(facts["notes"]),
                **columns,
            )
        except (pa.ArrowException, KeyError, TypeError, ValueError, OSError) as error:
            raise CheckpointError(
                f"{path}: not a catalog that can be read ({one_line(error)}); bring back a copy of it"
            ) from error


COLUMNS = tuple(
    field.name
    for field in dataclasses.fields(Catalog)
    if field.name not in ("root", "classes", "notes")
)


def new_catalog(
    root: Path,
    classes: tuple[str, ...],
    paths: list[str],
    labels: list[int],
    split: list[str],
    notes: tuple[str, ...] = (),
    groups: list[str] | None = None,
    folds: list[int] | None = None,
) -> Catalog:
    """Make a catalog of images that haven't been read yet, ordered by path.

    `groups` are names of what must stay together, '' for an image that stands alone.
    """
    order = sorted(range(len(paths)), key=lambda row: paths[row])
    count = len(paths)
    # The group of an image is the first row of those with its group's name.
    first: dict[str, int] = {}
    group = [
        first.setdefault(groups[old], row) if groups and groups[old] else row
        for row, old in enumerate(order)
    ]
    return Catalog(
        root=root,
        classes=classes,
        ids=objects([printable(paths[row]) for row in order]),
        paths=objects([paths[row] for row in order]),
        labels=np.array([labels[row] for row in order], dtype=np.int64),
        split=objects([split[row] for row in order]),
        fold=np.array([folds[row] for row in order] if folds else [-1] * count, dtype=np.int64),
        group=np.array(group, dtype=np.int64),
        width=np.zeros(count, dtype=np.int64),
        height=np.zeros(count, dtype=np.int64),
        sha256=objects([""] * count),
        problem=objects([""] * count),
        remark=objects([""] * count),
        notes=notes,
    )


def objects(items: list[str]) -> np.ndarray:
    """Return strings as an object array, which has no longest item."""
    column = np.empty(len(items), dtype=object)
    column[:] = items
    return column


def printable(path: str) -> str:
    """Return a path as text: a byte that is no UTF-8 becomes its escape, an archive a folder."""
    return path.replace(MEMBER, "/").encode("utf-8", "backslashreplace").decode("utf-8")
