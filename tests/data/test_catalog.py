"""The table of samples: what it says is what was put in, also after a stay on disk."""

import os
from dataclasses import fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resnetlab.data.catalog import COLUMNS, Catalog, new_catalog, objects, printable
from resnetlab.errors import CheckpointError


def assert_same(first: Catalog, second: Catalog) -> None:
    for field in fields(Catalog):
        a, b = getattr(first, field.name), getattr(second, field.name)
        if field.name in COLUMNS:
            assert a.dtype == b.dtype, field.name
            assert a.tolist() == b.tolist(), field.name
        else:
            assert a == b, field.name


@pytest.fixture
def catalog() -> Catalog:
    table = new_catalog(
        root=Path("/data/pets"),
        classes=("cat", "dog"),
        paths=["b.png", "a.png", "d.png", "c.png"],
        labels=[1, 0, -1, 1],
        split=["test", "train", "", "train"],
        notes=("1 file was passed over",),
    )
    return table.with_columns(problem=objects(["", "", "", "truncated"]))


def test_samples_are_ordered_by_path(catalog):
    assert catalog.ids.tolist() == ["a.png", "b.png", "c.png", "d.png"]
    assert catalog.labels.tolist() == [0, 1, 1, -1]
    assert catalog.split.tolist() == ["train", "test", "train", ""]


def test_new_samples_are_sound_and_on_their_own():
    table = new_catalog(Path("/data"), ("a", "b"), ["1", "2", "3"], [0, 0, 1], [""] * 3)

    assert table.sound.all()
    assert len(set(table.group)) == 3
    assert table.fold.tolist() == [-1, -1, -1]


def test_a_split_holds_its_sound_and_labelled_samples(catalog):
    catalog = catalog.with_columns(problem=objects(["", "", "truncated", ""]))

    assert catalog.rows("train").tolist() == [0]
    assert catalog.rows("test").tolist() == [1]
    assert catalog.rows("val").tolist() == []
    assert catalog.rows("all").tolist() == [0, 1]


def test_some_samples_alone_are_a_catalog_of_their_own(catalog):
    catalog = catalog.with_columns(group=np.array([0, 1, 1, 3]))

    some = catalog.take(np.array([1, 2, 3]))

    assert some.classes == ("dog",)
    assert some.labels.tolist() == [0, 0, -1]
    assert some.group.tolist() == [0, 0, 2], "a group is named by its first row"


def test_counts_name_every_class_also_one_without_samples(catalog):
    assert catalog.counts("test").tolist() == [0, 1]
    assert catalog.counts("val").tolist() == [0, 0]
    assert catalog.counts("train").tolist() == [1, 1]


def test_sample_keys_are_the_first_64_bits_of_the_content(catalog):
    digests = ["f" * 64, "0" * 64, "0123456789abcdef" + "f" * 48, "8" + "0" * 63]
    keys = catalog.with_columns(sha256=objects(digests)).sample_keys()

    assert keys.dtype == np.uint64
    assert keys.tolist() == [2**64 - 1, 0, 0x0123456789ABCDEF, 2**63]


def test_replacing_columns_leaves_the_original_alone(catalog):
    changed = catalog.with_columns(split=objects(["val"] * 4))

    assert changed.split.tolist() == ["val"] * 4
    assert catalog.split.tolist() == ["train", "test", "train", ""]


def test_a_saved_table_is_read_back_the_same(catalog, tmp_path):
    catalog.save(tmp_path / "new" / "catalog.parquet")

    assert_same(Catalog.load(tmp_path / "new" / "catalog.parquet"), catalog)


@settings(max_examples=25)
@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=5, unique=True))
def test_file_names_of_any_bytes_survive_a_stay_on_disk(tmp_path_factory, names):
    paths = [os.fsdecode(name) for name in names]
    root = Path(os.fsdecode(b"/data/\xff"))
    table = new_catalog(root, ("a", "b"), paths, [0] * len(paths), [""] * len(paths))
    file = tmp_path_factory.mktemp("any") / "catalog.parquet"
    table.save(file)
    loaded = Catalog.load(file)

    assert_same(loaded, table)
    assert sorted(os.fsencode(path) for path in loaded.paths) == sorted(names)


@pytest.mark.parametrize(
    ("path", "text"),
    [("plain/1.png", "plain/1.png"), ("é🐈", "é🐈"), ("caf\udce9.png", r"caf\udce9.png")],
)
def test_printable_changes_only_what_is_no_text(path, text):
    assert printable(path) == text


@pytest.mark.parametrize("length", [0, 4, 100, 1000, -1])
def test_a_cut_table_is_refused_by_name(catalog, tmp_path, length):
    file = tmp_path / "catalog.parquet"
    catalog.save(file)
    file.write_bytes(file.read_bytes()[:length])

    with pytest.raises(CheckpointError, match=r"catalog\.parquet: not a catalog that can be read"):
        Catalog.load(file)


@pytest.mark.parametrize("facts", [None, {"resnetlab": "{}"}, {"resnetlab": "no json"}])
def test_a_table_of_something_else_is_refused(tmp_path, facts):
    table = pa.table({name: pa.array([1]) for name in COLUMNS}).replace_schema_metadata(facts)
    pq.write_table(table, tmp_path / "other.parquet")

    with pytest.raises(CheckpointError, match="not a catalog"):
        Catalog.load(tmp_path / "other.parquet")


def test_a_missing_table_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="not a catalog"):
        Catalog.load(tmp_path / "nothing.parquet")
