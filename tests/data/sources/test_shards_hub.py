"""WebDataset's shards, Hugging Face's tables, and sets fetched by name."""

import functools
import io
import json
import sys
import tarfile
import types
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torchvision.datasets
from PIL import Image
from sklearn.datasets import load_digits

from resnetlab.data.sources import fetch
from resnetlab.data.sources.archives.archive import open_archive
from resnetlab.data.sources.fetch import fetch_dataset, fetch_torchvision
from resnetlab.data.sources.folder import class_folders
from resnetlab.data.sources.hub import Table, has_image_tables, is_image_table, read_tables
from resnetlab.data.sources.listing import list_folder
from resnetlab.data.sources.reader import Reader
from resnetlab.data.sources.shards import has_shards, read_shards
from resnetlab.data.store.decode import decode
from resnetlab.errors import DataError, MachineError
from resnetlab.recipe import Columns, Data

SCANS = np.rint(load_digits().images[:12] * (255 / 16)).astype(np.uint8)
LABELS = load_digits().target[:12].tolist()


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


IMAGES = [png(scan) for scan in SCANS]
NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


# Shards


def write_shard(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path.parent


def samples(rows: range, label=lambda row: {"cls": str(LABELS[row])}) -> dict[str, bytes]:
    members = {}
    for row in rows:
        members[f"{row:04}.png"] = IMAGES[row]
        members |= {f"{row:04}.{ending}": text.encode() for ending, text in label(row).items()}
    return members


def told(catalog) -> list[tuple[str, str, str]]:
    return sorted(
        (path.rpartition("\0")[2], catalog.classes[label], split)
        for path, label, split in zip(catalog.paths, catalog.labels, catalog.split, strict=True)
    )


@pytest.mark.parametrize(
    "label",
    [
        lambda row: {"cls": str(LABELS[row])},
        lambda row: {"cls": f" {LABELS[row]}\n"},
        lambda row: {"json": json.dumps({"label": LABELS[row], "url": "x"})},
        lambda row: {"json": json.dumps({"cls": str(LABELS[row])})},
        lambda row: {"cls": str(LABELS[row]), "json": json.dumps({"width": 8})},
    ],
    ids=["cls", "cls with blanks", "json label", "json cls", "cls before json"],
)
def test_shards_are_joined_and_their_images_read_where_they_lie(tmp_path, label):
    write_shard(tmp_path / "shard-000.tar", samples(range(7), label))
    write_shard(tmp_path / "shard-001.tar", samples(range(7, 12), label))
    listing = list_folder(tmp_path)
    catalog = read_shards(listing, Data())

    assert has_shards(listing)
    assert told(catalog) == [(f"{row:04}.png", str(LABELS[row]), "") for row in range(12)]
    assert catalog.ids[0] == "shard-000.tar/0000.png"
    for path in catalog.paths:
        shard, _, member = path.partition("\0")
        assert open_archive(tmp_path / shard).read(member) == IMAGES[int(member[:4])]


def test_names_of_shards_and_folders_are_the_split(tmp_path):
    write_shard(tmp_path / "train" / "0.tar", samples(range(12)))
    write_shard(tmp_path / "val" / "0.tar", samples(range(3)))
    catalog = read_shards(list_folder(tmp_path), Data())

    assert {
        (path.partition("\0")[0], split)
        for path, split in zip(catalog.paths, catalog.split, strict=True)
    } == {
        ("train/0.tar", "train"),
        ("val/0.tar", "val"),
    }


def test_numbers_get_their_names_from_the_file_beside_the_shards(tmp_path):
    write_shard(tmp_path / "0.tar", samples(range(12)))
    (tmp_path / "classes.txt").write_text("\n".join(NAMES) + "\n")
    catalog = read_shards(list_folder(tmp_path), Data())

    assert catalog.classes == tuple(NAMES)
    assert told(catalog)[3] == ("0003.png", "three", "")
    assert catalog.notes == ()


def test_labels_may_be_names(tmp_path):
    write_shard(tmp_path / "0.tar", samples(range(12), lambda row: {"cls": NAMES[LABELS[row]]}))
    assert read_shards(list_folder(tmp_path), Data()).classes == tuple(sorted(NAMES))

    (tmp_path / "labels.txt").write_text("\n".join(NAMES[:9]))
    with pytest.raises(
        DataError, match="has the label 'nine', which is none of the 9 in the names of the classes"
    ):
        read_shards(list_folder(tmp_path), Data())


def test_names_of_classes_that_are_numbers_are_no_places_in_their_list(tmp_path):
    (tmp_path / "classes.txt").write_text("1\n2\n3\n")
    write_shard(tmp_path / "0.tar", samples(range(3)))  # labels 0, 1, 2: places, for 0 is no name
    assert [label for _, label, _ in told(read_shards(list_folder(tmp_path), Data()))] == list(
        "123"
    )

    write_shard(tmp_path / "0.tar", samples(range(1, 4)))
    assert [label for _, label, _ in told(read_shards(list_folder(tmp_path), Data()))] == list(
        "123"
    )


def test_a_number_beyond_the_named_classes_is_refused(tmp_path):
    (tmp_path / "classes.txt").write_text("\n".join(NAMES[:9]))
    write_shard(tmp_path / "0.tar", samples(range(12)))

    with pytest.raises(DataError, match="label '9' is no number from 0 to 8, of the classes"):
        read_shards(list_folder(tmp_path), Data())


def test_numbers_count_the_classes_beside_names_and_a_wrong_label_is_blamed_itself(tmp_path):
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    texts = ["0", "1", "cat"]
    write_shard(tmp_path / "0.tar", samples(range(3), lambda row: {"cls": texts[row]}))
    labels = [label for _, label, _ in told(read_shards(list_folder(tmp_path), Data()))]
    assert labels == ["cat", "dog", "cat"]

    texts[2] = "-1"
    write_shard(tmp_path / "0.tar", samples(range(3), lambda row: {"cls": texts[row]}))
    with pytest.raises(DataError, match=r"'0.tar.*0002.png' has the label '-1', which is none"):
        read_shards(list_folder(tmp_path), Data())


def test_other_images_about_a_sample_are_none_of_the_samples(tmp_path):
    members = samples(range(12)) | {f"{row:04}.mask.png": IMAGES[0] for row in range(12)}
    write_shard(tmp_path / "0.tar", members)
    catalog = read_shards(list_folder(tmp_path), Data())

    assert len(catalog) == 12
    assert "12 images were passed over" in catalog.notes[0]
    assert "0.tar/0000.mask.png" in catalog.notes[0]


def test_a_dot_in_a_key_loses_no_labelled_image(tmp_path):
    dotted = {f"IMG_{row}.0.{end}": content for row in range(3) for end, content in
              (("png", IMAGES[row]), ("cls", str(LABELS[row]).encode()))}  # fmt: skip
    write_shard(tmp_path / "0.tar", dotted | samples(range(3, 6)))

    assert len(read_shards(list_folder(tmp_path), Data())) == 6

    write_shard(tmp_path / "0.tar", dotted)
    assert has_shards(list_folder(tmp_path))
    assert told(read_shards(list_folder(tmp_path), Data()))[2] == ("IMG_2.0.png", "2", "")


def test_images_and_labels_that_are_alone_are_an_error_or_dropped(tmp_path):
    write_shard(tmp_path / "0.tar", samples(range(12)) | {"a.png": IMAGES[0], "b.cls": b"1"})
    listing = list_folder(tmp_path)

    with pytest.raises(DataError, match=r"2 images without .*: 0.tar/a.png, 0.tar/b.cls; complete"):
        read_shards(listing, Data())
    catalog = read_shards(listing, Data(unmatched="drop"))
    assert len(catalog) == 12
    assert catalog.notes[0].startswith(
        "2 images without a label or labels without an image were left"
    )


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (
            {"a.png": IMAGES[0], "a.jpg": IMAGES[0], "a.cls": b"1"},
            "'a.jpg' and 'a.png' are images under one key",
        ),
        ({"a.png": IMAGES[0], "a.json": b"{"}, "0.tar: 'a.json' can't be read"),
        (
            {"a.png": IMAGES[0], "a.json": b'{"label": [1]}'},
            "the label must be a number or a name",
        ),
        ({"a.png": IMAGES[0], "a.json": b"[" * 10**5}, "0.tar: 'a.json' can't be read"),
        ({"a.png": IMAGES[0], "a.cls": b"\xff\xfe"}, "0.tar: 'a.cls' can't be read"),
    ],
)
def test_samples_that_are_not_clear_are_refused_by_name(tmp_path, members, message):
    write_shard(tmp_path / "0.tar", members)

    with pytest.raises(DataError, match=message):
        read_shards(list_folder(tmp_path), Data())


def test_an_archive_of_class_folders_is_no_shard(tmp_path):
    write_shard(tmp_path / "0.tar", {"cat/1.png": IMAGES[0], "dog/1.png": IMAGES[1]})
    assert not has_shards(list_folder(tmp_path))


# Tables


def column_of(images: list[bytes | None]) -> pa.Array:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    return pa.array([{"bytes": item, "path": "x.png"} for item in images], kind)


def make_table(
    rows: range, names: list[str] | None = NAMES, labels: list | None = None
) -> pa.Table:
    labels = [LABELS[row] for row in rows] if labels is None else labels
    table = pa.table({"image": column_of([IMAGES[row] for row in rows]), "label": labels})
    if names is None:
        return table
    feature = {"names": names, "_type": "ClassLabel"}
    facts = {"info": {"features": {"image": {"_type": "Image"}, "label": feature}}}
    return table.replace_schema_metadata({"huggingface": json.dumps(facts)})


def write_arrow(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        for batch in table.to_batches(max_chunksize=5):
            writer.write_batch(batch)


def write_parquet(path: Path, table: pa.Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=2)


def rows_of(catalog) -> list[tuple[str, int, str, str]]:
    rows = []
    for path, label, split in zip(catalog.paths, catalog.labels, catalog.split, strict=True):
        file, _, member = path.partition("\0")
        rows.append((file, int(member), catalog.classes[label], split))
    return sorted(rows)


@pytest.mark.parametrize("ending", ["arrow", "parquet"])
def test_tables_give_the_stored_bytes_and_the_names_of_classes(tmp_path, ending):
    write = write_arrow if ending == "arrow" else write_parquet
    write(tmp_path / f"x.{ending}", make_table(range(12)))
    catalog = read_tables(list_folder(tmp_path), Data())
    container = Table(tmp_path / f"x.{ending}")

    assert has_image_tables(list_folder(tmp_path))
    assert catalog.classes == tuple(NAMES)
    assert rows_of(catalog) == [(f"x.{ending}", row, NAMES[LABELS[row]], "") for row in range(12)]
    assert [container.read(str(row)) for row in (11, 0, 5, 6, 1)] == [
        IMAGES[row] for row in (11, 0, 5, 6, 1)
    ]
    for member in ("12", "-1", "x"):
        with pytest.raises(KeyError):
            container.read(member)


def test_a_saved_dictionary_of_sets_is_split_by_its_folders(tmp_path):
    write_arrow(tmp_path / "train" / "data-00000-of-00002.arrow", make_table(range(5)))
    write_arrow(tmp_path / "train" / "data-00001-of-00002.arrow", make_table(range(5, 10)))
    write_arrow(tmp_path / "test" / "data-00000-of-00001.arrow", make_table(range(3)))
    write_arrow(tmp_path / "train" / "cache-0123.arrow", make_table(range(5)))
    for name in ("dataset_dict.json", "train/state.json", "train/dataset_info.json"):
        (tmp_path / name).write_text("{}")
    catalog = read_tables(list_folder(tmp_path), Data())

    assert sorted(catalog.split) == ["test"] * 3 + ["train"] * 10
    assert catalog.notes == (
        "1 files or links were passed over, the first is train/cache-0123.arrow",
    )


def test_parquet_files_are_split_by_their_names(tmp_path):
    write_parquet(tmp_path / "data" / "train-00000-of-00001.parquet", make_table(range(12)))
    write_parquet(tmp_path / "data" / "validation-00000-of-00001.parquet", make_table(range(4)))
    catalog = read_tables(list_folder(tmp_path), Data())

    assert {
        path.partition("\0")[0][5:9]: split
        for path, split in zip(catalog.paths, catalog.split, strict=True)
    } == {
        "trai": "train",
        "vali": "val",
    }


def with_columns(table: pa.Table, **columns: list) -> pa.Table:
    for name, cells in columns.items():
        table = table.append_column(name, pa.array(cells))
    return table


def test_columns_of_splits_groups_and_folds_count_as_in_a_label_table(tmp_path):
    parts = ["train"] * 8 + ["Test"] * 4
    table = with_columns(
        make_table(range(12)), split=parts, patient=[7, 7, *range(10)], fold=[0, 1, 2] * 4
    )
    write_parquet(tmp_path / "data" / "train-0.parquet", table)
    catalog = read_tables(list_folder(tmp_path), Data(columns=Columns(group="patient")))

    row_of = {int(path.rpartition("\0")[2]): row for row, path in enumerate(catalog.paths)}
    assert [catalog.split[row_of[row]] for row in range(12)] == ["train"] * 8 + ["test"] * 4
    assert [catalog.fold[row_of[row]] for row in range(12)] == [0, 1, 2] * 4
    group = [catalog.group[row_of[row]] for row in range(12)]
    assert group[0] == group[1] == group[9]  # patient 7
    assert len(set(group)) == 10


def test_folds_in_some_of_the_tables_are_refused_but_an_empty_table_lacks_none(tmp_path):
    whole = with_columns(make_table(range(12)), fold=[0, 1, 2] * 4)
    write_parquet(tmp_path / "0.parquet", whole.slice(0, 0))
    write_parquet(tmp_path / "1.parquet", whole)
    assert sorted(read_tables(list_folder(tmp_path), Data()).fold) == sorted([0, 1, 2] * 4)

    write_parquet(tmp_path / "2.parquet", make_table(range(12)))
    with pytest.raises(DataError, match="only some of its tables have a column of folds"):
        read_tables(list_folder(tmp_path), Data())


def test_a_column_that_is_called_a_subset_is_a_split_where_its_cells_say_so(tmp_path):
    for name, words, split in (("a", ["train", "val"], {"train", "val"}), ("b", ["x", "y"], {""})):
        write_parquet(
            tmp_path / name / "x.parquet", with_columns(make_table(range(12)), subset=words * 6)
        )
        assert set(read_tables(list_folder(tmp_path / name), Data()).split) == split


def test_a_named_column_that_is_not_there_is_refused(tmp_path):
    write_parquet(tmp_path / "x.parquet", make_table(range(12)))
    with pytest.raises(DataError, match=r"there is no column 'patient' \(data.columns.group\)"):
        read_tables(list_folder(tmp_path), Data(columns=Columns(group="patient")))


@pytest.mark.parametrize(
    "labels",
    [LABELS, [float(label) for label in LABELS], [str(label) for label in LABELS]],
    ids=["int", "float", "text"],
)
def test_labels_without_names_are_their_own(tmp_path, labels):
    write_parquet(tmp_path / "x.parquet", make_table(range(12), None, labels))
    catalog = read_tables(list_folder(tmp_path), Data())

    assert [row[2] for row in rows_of(catalog)] == [str(label) for label in LABELS]


def test_rows_without_a_label_are_left_out_and_counted(tmp_path):
    write_parquet(tmp_path / "x.parquet", make_table(range(12), labels=[-1, None, *LABELS[2:]]))
    catalog = read_tables(list_folder(tmp_path), Data())

    assert len(catalog) == 10
    assert "2 images have no label and were left out" in catalog.notes[0]


def test_the_label_column_is_the_customary_the_described_or_the_named_one(tmp_path):
    table = make_table(range(12), None).rename_columns(["img", "digit"])
    write_parquet(tmp_path / "x.parquet", table)
    listing = list_folder(tmp_path)

    with pytest.raises(
        DataError, match=r"which column is the label\? Its columns are img, digit; name it"
    ):
        read_tables(listing, Data())
    with pytest.raises(DataError, match="has no column 'digits', did you mean 'digit'"):
        read_tables(listing, Data(columns=Columns(label="digits")))
    assert len(read_tables(listing, Data(columns=Columns(label="digit")))) == 12

    feature = {"names": NAMES, "_type": "ClassLabel"}
    facts = {"info": {"features": {"digit": feature}}}
    write_parquet(
        tmp_path / "x.parquet", table.replace_schema_metadata({"huggingface": json.dumps(facts)})
    )
    assert read_tables(listing, Data()).classes == tuple(NAMES)


@pytest.mark.parametrize("names", [NAMES, None])
def test_several_labels_for_an_image_are_refused(tmp_path, names):
    labels = [[0], [0, 1], *([1] for _ in range(10))]
    write_parquet(tmp_path / "x.parquet", make_table(range(12), names, labels))

    with pytest.raises(
        DataError, match=r"x.parquet: has the labels 0, 1; .*multi-label.* not supp"
    ):
        read_tables(list_folder(tmp_path), Data())


@pytest.mark.parametrize("names", [NAMES, None])
def test_labels_in_lists_of_one_are_labels(tmp_path, names):
    table = make_table(range(12), names, [[label] for label in LABELS])
    if names:
        facts = json.loads(table.schema.metadata[b"huggingface"])
        features = facts["info"]["features"]
        features["label"] = {"feature": features["label"], "_type": "List"}
        table = table.replace_schema_metadata({"huggingface": json.dumps(facts)})
    write_parquet(tmp_path / "x.parquet", table)

    expected = [names[label] if names else str(label) for label in LABELS]
    assert [row[2] for row in rows_of(read_tables(list_folder(tmp_path), Data()))] == expected


def test_labels_as_bytes_are_their_text(tmp_path):
    labels = [NAMES[label].encode() for label in LABELS]
    columns = {"label": labels, "image": column_of(IMAGES)}
    write_parquet(tmp_path / "x.parquet", pa.table(columns))

    assert read_tables(list_folder(tmp_path), Data()).classes == tuple(sorted(NAMES))


@pytest.mark.parametrize("ending", ["arrow", "parquet"])
def test_of_several_columns_of_images_the_customary_or_the_named_one_counts(tmp_path, ending):
    columns = {"mask": column_of(IMAGES[::-1]), "img": column_of(IMAGES), "label": LABELS}
    write = write_arrow if ending == "arrow" else write_parquet
    write(tmp_path / f"x.{ending}", pa.table(columns))
    listing, reader = list_folder(tmp_path), Reader(tmp_path)

    for settings, member, expected in (
        (Columns(), "3", IMAGES[3]),
        (Columns(image="img"), "3", IMAGES[3]),
        (Columns(image="mask"), "mask/3", IMAGES[::-1][3]),
    ):
        paths = read_tables(listing, Data(columns=settings)).paths
        assert f"x.{ending}\0{member}" in paths
        assert reader(f"x.{ending}\0{member}") == expected
    with pytest.raises(DataError, match=r"'nonsense' \(data.columns.image\) .* are mask, img"):
        read_tables(listing, Data(columns=Columns(image="nonsense")))


@pytest.mark.parametrize("names", [("img", "image"), ("mask", "jpg"), ("file", "png")])
def test_of_several_customary_columns_of_images_the_most_usual_counts(tmp_path, names):
    other, usual = names
    columns = {other: column_of(IMAGES[::-1]), usual: column_of(IMAGES), "label": LABELS}
    write_parquet(tmp_path / "x.parquet", pa.table(columns))
    catalog = read_tables(list_folder(tmp_path), Data())

    assert Reader(tmp_path)("x.parquet\0" + "3") == IMAGES[3]
    assert "x.parquet\0" + "3" in catalog.paths
    assert f"bytes were passed over, the first is {other}" in catalog.notes[0]


def test_several_columns_of_images_without_a_customary_name_are_refused(tmp_path):
    columns = {"left": column_of(IMAGES), "right": column_of(IMAGES), "label": LABELS}
    write_parquet(tmp_path / "x.parquet", pa.table(columns))

    with pytest.raises(DataError, match=r"Bytes are in left, right; name it.*data.columns.image="):
        read_tables(list_folder(tmp_path), Data())


def test_images_may_be_plain_bytes(tmp_path):
    write_parquet(
        tmp_path / "x.parquet",
        pa.table({"label": LABELS, "png": pa.array(IMAGES, pa.large_binary())}),
    )

    assert Table(tmp_path / "x.parquet").read("4") == IMAGES[4]
    assert len(read_tables(list_folder(tmp_path), Data())) == 12


def test_a_row_that_only_names_a_file_is_an_image_that_cannot_be_read(tmp_path):
    write_arrow(
        tmp_path / "x.arrow", pa.table({"image": column_of([IMAGES[0], None]), "label": [0, 1]})
    )

    with pytest.raises(OSError, match="row 1 holds no bytes of an image"):
        Table(tmp_path / "x.arrow").read("1")


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (
            make_table(range(12)),
            make_table(range(12), NAMES[::-1]),
            r"b.parquet: names its classes otherwise",
        ),
        (make_table(range(12), NAMES[:5]), None, "a.parquet: label 5 is no number from 0 to 4"),
    ],
)
def test_tables_that_contradict_themselves_are_refused(tmp_path, first, second, message):
    write_parquet(tmp_path / "a.parquet", first)
    if second is not None:
        write_parquet(tmp_path / "b.parquet", second)

    with pytest.raises(DataError, match=message):
        read_tables(list_folder(tmp_path), Data())


@pytest.mark.parametrize("ending", ["arrow", "parquet"])
def test_damaged_tables_are_refused_by_name_wherever_they_are_cut(tmp_path, ending):
    file = tmp_path / f"x.{ending}"
    (write_arrow if ending == "arrow" else write_parquet)(file, make_table(range(12)))
    content = file.read_bytes()

    for length in (0, 3, 100, len(content) // 2, len(content) - 12):
        file.write_bytes(content[:length])
        with pytest.raises(DataError, match=f"x.{ending}: is no .{ending} file that can be read"):
            read_tables(list_folder(tmp_path), Data())


def test_a_table_of_paths_is_no_table_of_images(tmp_path):
    write_parquet(tmp_path / "x.parquet", pa.table({"path": ["a.png"], "label": [1]}))

    assert not is_image_table(tmp_path / "x.parquet")
    assert not has_image_tables(list_folder(tmp_path))
    with pytest.raises(
        DataError, match="has no column of images' bytes; its columns are path, label"
    ):
        Table(tmp_path / "x.parquet")


# Fetched by name


def stand_in(monkeypatch, load) -> None:
    module = types.ModuleType("datasets")
    module.load_dataset = load
    monkeypatch.setitem(sys.modules, "datasets", module)


class SavedSet:
    def save_to_disk(self, folder: str) -> None:
        write_arrow(Path(folder) / "train" / "data-00000-of-00001.arrow", make_table(range(12)))


def test_a_set_of_the_hub_is_fetched_once_and_read_from_disk(tmp_path, monkeypatch):
    asked = []

    def load(name: str) -> SavedSet:
        asked.append(name)
        return SavedSet()

    stand_in(monkeypatch, load)
    for _ in range(2):
        fetch_dataset("user/name", tmp_path / "sets" / "name")

    assert asked == ["user/name"]
    assert len(read_tables(list_folder(tmp_path / "sets" / "name"), Data())) == 12
    assert [path.name for path in (tmp_path / "sets").iterdir()] == ["name"]


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (
            ConnectionError("no route\nto host"),
            MachineError,
            "hf:user/name could not be fetched .no route.$",
        ),
        (FileNotFoundError("doesn't exist"), DataError, "hf:user/name: there is no such data set"),
    ],
)
def test_a_fetch_that_fails_says_so_in_one_line_and_leaves_nothing(
    tmp_path, monkeypatch, error, kind, message
):
    def load(name: str) -> SavedSet:
        raise error

    stand_in(monkeypatch, load)
    with pytest.raises(kind, match=message):
        fetch_dataset("user/name", tmp_path / "name")
    assert list(tmp_path.iterdir()) == []


def test_without_the_package_the_message_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(
        MachineError, match=r"needs the package datasets: pip install 'resnetlab\[hub\]'"
    ):
        fetch_dataset("user/name", tmp_path / "name")


class WithTrain:
    """Stands for CIFAR10: `train` and `download`, names of classes."""

    classes = ("air/plane", ".car")

    def __init__(
        self, root: str, train: bool = True, transform=None, download: bool = False
    ) -> None:
        assert Path(root).is_dir()
        assert download
        self.rows = range(4) if train else range(4, 6)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> tuple[Image.Image, int]:
        if row >= len(self):
            raise IndexError
        return Image.fromarray(SCANS[self.rows[row]]), row % 2


class WithSplit(WithTrain):
    """Stands for SVHN: `split`, no names, no validation split."""

    classes = None
    words: tuple[str, ...] = ("train", "test")

    def __init__(self, root: str, split: str = "train", download: bool = False) -> None:
        if split not in self.words:
            raise ValueError(f"Unknown value '{split}' for argument split.")
        super().__init__(root, split == self.words[0], download=download)


class Unreachable(WithTrain):
    def __init__(self, root: str, train: bool = True, download: bool = False) -> None:
        raise RuntimeError("Error downloading x.tar.gz:\nTried many")


def serve(monkeypatch, name: str, maker) -> None:
    monkeypatch.setattr(torchvision.datasets, name, maker)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.png"))


def test_a_set_of_torchvision_becomes_class_folders_of_its_splits(tmp_path, monkeypatch):
    serve(monkeypatch, "CIFAR10", WithTrain)
    fetch_torchvision("CIFAR10", tmp_path / "ten")

    names = [f"{name}/0000{number}.png" for name in ("air_plane", "car") for number in (1, 2)]
    assert files(tmp_path / "ten") == ["test/air_plane/00001.png", "test/car/00001.png"] + [
        f"train/{name}" for name in names
    ]
    content = (tmp_path / "ten" / "train" / "car" / "00002.png").read_bytes()
    assert np.array_equal(decode(content, 100, 10**6).pixels[..., 0], SCANS[3])
    assert class_folders(list_folder(tmp_path / "ten")).classes == ("air_plane", "car")
    assert [path.name for path in tmp_path.iterdir()] == ["ten"]


def test_splits_that_a_set_has_not_are_not_there(tmp_path, monkeypatch):
    serve(monkeypatch, "SVHN", WithSplit)
    fetch_torchvision("SVHN", tmp_path / "svhn")

    assert {name.split("/")[0] for name in files(tmp_path / "svhn")} == {"train", "test"}
    assert {name.split("/")[1] for name in files(tmp_path / "svhn")} == {"0", "1"}


@pytest.mark.parametrize(
    ("words", "folders"),
    [
        (("trainval", "test"), {"train", "test"}),  # OxfordIIITPet
        (("train", "valid", "test"), {"train", "val", "test"}),  # Country211
        (("train", "val", "trainval", "test"), {"train", "val", "test"}),  # FGVCAircraft
    ],
)
def test_splits_under_another_word_are_fetched_too(tmp_path, monkeypatch, words, folders):
    monkeypatch.setattr(WithSplit, "words", words)
    serve(monkeypatch, "OxfordIIITPet", WithSplit)
    fetch_torchvision("OxfordIIITPet", tmp_path / "pets")

    assert {name.split("/")[0] for name in files(tmp_path / "pets")} == folders


def test_a_set_without_a_training_split_is_refused_before_anything_is_fetched(
    tmp_path, monkeypatch
):
    class Letters(WithSplit):
        words = ("letters", "test")

        def __init__(self, root: str, split: str = "letters", download: bool = False) -> None:
            super().__init__(root, split, download)
            pytest.fail("it was fetched")

    serve(monkeypatch, "EMNIST", Letters)
    with pytest.raises(DataError, match="has no training split that could be named"):
        fetch_torchvision("EMNIST", tmp_path / "x")


def test_where_nothing_can_be_written_fetching_says_so(tmp_path, monkeypatch):
    def refuse(*args: object, **kwargs: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(fetch, "mkdtemp", refuse)
    with pytest.raises(
        MachineError, match=r"ten: can't be written \(Permission denied\); set RESN"
    ):
        fetch_torchvision("CIFAR10", tmp_path / "ten")


def test_of_two_processes_that_fetch_the_same_the_first_is_believed(tmp_path, monkeypatch):
    def load(name: str) -> SavedSet:
        SavedSet().save_to_disk(str(tmp_path / "name"))  # by the other one, meanwhile
        return SavedSet()

    stand_in(monkeypatch, load)
    fetch_dataset("user/name", tmp_path / "name")

    assert [path.name for path in tmp_path.iterdir()] == ["name"]


def test_a_set_without_splits_is_class_folders_alone_and_made_once(tmp_path, monkeypatch):
    maker = functools.partial(
        torchvision.datasets.FakeData, size=12, image_size=(3, 8, 8), num_classes=2
    )
    serve(monkeypatch, "FakeData", maker)
    fetch_torchvision("FakeData", tmp_path / "fake")
    serve(monkeypatch, "FakeData", Unreachable)
    fetch_torchvision("FakeData", tmp_path / "fake")

    catalog = class_folders(list_folder(tmp_path / "fake"))
    assert len(catalog) == 12
    assert catalog.classes == ("0", "1")


def test_sets_that_cannot_be_had_are_refused_in_one_line(tmp_path, monkeypatch):
    with pytest.raises(
        DataError, match="torchvision:CIFAR11: there is no such data set, did you mean 'CIFAR10"
    ):
        fetch_torchvision("CIFAR11", tmp_path / "x")
    serve(monkeypatch, "CIFAR10", Unreachable)
    with pytest.raises(
        MachineError,
        match=r"torchvision:CIFAR10 could not be fetched .Error downloading x.tar.gz:.$",
    ):
        fetch_torchvision("CIFAR10", tmp_path / "x")

    assert list(tmp_path.iterdir()) == []


def test_sets_whose_targets_are_no_classes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(
        WithTrain, "__getitem__", lambda self, row: (Image.new("L", (8, 8)), {"boxes": []})
    )
    serve(monkeypatch, "CIFAR10", WithTrain)

    with pytest.raises(DataError, match="is no set of images with one class each"):
        fetch_torchvision("CIFAR10", tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_class_names_that_fall_together_are_told_apart_by_their_number():
    assert fetch.folder_names([("crane", "bird"), ("crane", "machine")]) == ["0 crane", "1 crane"]
    assert fetch.folder_names(["a/b", "..", "c"]) == ["a_b", "_", "c"]
