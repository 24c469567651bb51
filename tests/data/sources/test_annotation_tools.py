"""What annotation tools and services export: JSON, and a table in each split's folder."""

import json

import pytest

from resnetlab.data.sources.source import read_source
from resnetlab.errors import DataError
from resnetlab.recipe import Data

MULTI = r"entry 1: has the labels cat, dog; each image needs exactly one, .*multi-label"


@pytest.fixture
def photos(tmp_path):
    """A folder of four images that lie side by side, in name only: none is opened."""
    (tmp_path / "all").mkdir()
    for name in "abcd":
        (tmp_path / "all" / f"{name}.png").touch()
    return tmp_path


def said(catalog):
    """Return {file name: class} of a catalog."""
    return {
        path.rpartition("/")[2]: catalog.classes[label]
        for path, label in zip(catalog.paths, catalog.labels, strict=True)
    }


EXPECTED = {"a.png": "cat", "b.png": "dog", "c.png": "cat", "d.png": "dog"}


def coco(*labels):
    """Return COCO's form of the four images; one more box of the first category each."""
    names = sorted({name for several in labels for name in several})
    return {
        "images": [{"id": 7 + n, "file_name": f"{'abcd'[n]}.png"} for n in range(len(labels))],
        "categories": [{"id": 3 + n, "name": name} for n, name in enumerate(names)],
        "annotations": [
            {"id": 0, "image_id": 7 + n, "category_id": 3 + names.index(name)}
            for n, several in enumerate(labels)
            for name in (*several, *several[:1])
        ],
    }


def tasks(*labels, place="/data/upload/1/"):
    """Return Label Studio's tasks, each annotated twice, once cancelled with another choice."""
    return [
        {
            "id": n,
            "data": {"image": f"{place}{'abcd'[n]}.png"},
            "annotations": [
                {"result": [{"type": "choices", "value": {"choices": list(several)}}]},
                {"was_cancelled": True, "result": [{"value": {"choices": ["bird"]}}]},
            ],
        }
        for n, several in enumerate(labels)
    ]


def flat(*labels):
    """Return a list of objects with an image and a choice."""
    return [
        {
            "id": n,
            "image": f"all/{'abcd'[n]}.png",
            "choice": several[0] if len(several) == 1 else several,
        }
        for n, several in enumerate(labels)
    ]


def local(*labels):
    """Return Label Studio's tasks of files that it didn't copy."""
    return tasks(*labels, place="/data/local-files/?d=all/")


@pytest.mark.parametrize("form", [coco, tasks, local, flat])
def test_the_json_of_annotation_tools_is_a_label_table(photos, form):
    content = form(("cat",), ("dog",), ("cat",), ("dog",))
    (photos / "export.json").write_text(json.dumps(content))

    assert said(read_source(photos / "export.json", Data())) == EXPECTED
    assert said(read_source(photos, Data())) == EXPECTED


@pytest.mark.parametrize("form", [coco, tasks, flat])
def test_an_image_with_several_labels_is_refused_with_its_entry(photos, form):
    content = form(("cat", "dog"), ("dog",), ("cat",), ("dog",))
    (photos / "export.json").write_text(json.dumps(content))

    with pytest.raises(DataError, match=MULTI):
        read_source(photos / "export.json", Data())


def test_addresses_of_label_studio_are_unquoted_unless_a_file_is_called_so(photos):
    for old, new in (("a", "ä b"), ("b", "b%20b")):
        (photos / "all" / f"{old}.png").rename(photos / "all" / f"{new}.png")
    text = json.dumps(local(("cat",), ("dog",), ("cat",), ("dog",)))
    text = text.replace("/a.png", "/%C3%A4%20b.png").replace("/b.png", "/b%20b.png")
    (photos / "export.json").write_text(text)

    expected = {"ä b.png": "cat", "b%20b.png": "dog", "c.png": "cat", "d.png": "dog"}
    assert said(read_source(photos / "export.json", Data())) == expected
    assert said(read_source(photos, Data())) == expected


def test_a_label_that_is_no_number_is_none_as_in_parquet(photos):
    content = flat((1.0,), (2.0,), (1.0,), (float("nan"),))
    (photos / "export.json").write_text(json.dumps(content))
    catalog = read_source(photos / "export.json", Data())

    assert said(catalog) == {"a.png": "1", "b.png": "2", "c.png": "1"}
    assert any("no label" in note for note in catalog.notes)


def test_an_image_that_nobody_annotated_is_left_out_with_a_note(photos):
    (photos / "export.json").write_text(json.dumps(coco(("cat",), ("dog",), ("cat",), ())))

    catalog = read_source(photos / "export.json", Data())

    assert len(catalog) == 3
    assert any("no label" in note for note in catalog.notes)


@pytest.mark.parametrize(
    "content",
    ["{", "[]", "{}", "3", '"a"', "[1]", '{"images": 1, "annotations": 2, "categories": 3}',
     '[{"data": {}}]', "[" * 100_000],
)  # fmt: skip
def test_json_of_another_kind_is_refused_in_one_line(photos, content):
    (photos / "export.json").write_text(content)

    with pytest.raises(
        DataError, match=r"export.json: .*JSON|export.json: no column|entry 1: names no image"
    ) as caught:
        read_source(photos / "export.json", Data())
    assert "\n" not in str(caught.value)


def test_a_table_of_0_and_1_in_each_splits_folder_gives_the_splits(tmp_path):
    for split, names in (("train", "ab"), ("valid", "cd"), ("test", "ab")):
        (tmp_path / split).mkdir()
        rows = ["filename, cat, dog"]
        for number, name in enumerate(names):
            (tmp_path / split / f"{name}.jpg").touch()
            rows.append(f"{name}.jpg, {1 - number}, {number}")
        (tmp_path / split / "_classes.csv").write_text("\n".join(rows))

    catalog = read_source(tmp_path, Data())

    assert {
        (path, catalog.classes[label], split)
        for path, label, split in zip(catalog.paths, catalog.labels, catalog.split, strict=True)
    } == {
        ("train/a.jpg", "cat", "train"), ("train/b.jpg", "dog", "train"),
        ("valid/c.jpg", "cat", "val"), ("valid/d.jpg", "dog", "val"),
        ("test/a.jpg", "cat", "test"), ("test/b.jpg", "dog", "test"),
    }  # fmt: skip


def test_train_csv_and_test_csv_are_joined_and_errors_name_the_file(photos):
    (photos / "train.csv").write_text("file,animal\na.png,cat\nb.png,dog\n")
    (photos / "test_labels.csv").write_text("file,animal\nc.png,cat\nd.png,dog\n")

    catalog = read_source(photos, Data())

    assert said(catalog) == EXPECTED
    assert list(catalog.split) == ["train", "train", "test", "test"]

    (photos / "test_labels.csv").write_text("file,animal\nb.png,dog\nc.png,cat\nd.png,dog\n")
    with pytest.raises(
        DataError,
        match=r"test_labels.csv, line 2 and train.csv, line 3: image 'all/b.png' has split 'test' and 'train'",
    ):
        read_source(photos, Data())
