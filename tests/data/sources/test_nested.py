"""Archives within a folder or another archive are folders of it, in whatever form they come."""

from pathlib import Path

import pytest

from resnetlab.data.catalog import Catalog
from resnetlab.data.sources.reader import Reader
from resnetlab.data.sources.source import read_source
from resnetlab.data.sources.tables.write import write_label_table
from resnetlab.data.sources.unlabelled import read_unlabelled
from resnetlab.errors import DataError
from resnetlab.recipe import Data
from tests.data.sources.test_archive import FORMS, fresh_cache, pack, pack_folder

__all__ = ["fresh_cache"]
INNER = ["zip", "tar", "tar.gz", "7z"]


def contents(catalog: Catalog) -> dict[str, bytes]:
    """Return the bytes of each image by its name alone."""
    read = Reader(catalog.root)
    return {path.rpartition("/")[2]: read(path) for path in catalog.paths}


def boxed(tmp_path: Path, outer: str, inner: str, digit_folder: Path, top: str = "") -> Path:
    """Return DATA, a folder ('') or an archive, that holds train.* with class folders, test1.* and a table."""
    box = tmp_path / "box"
    pack_folder(box / f"train.{inner}", digit_folder, "train/")
    pack(box / f"test1.{inner}", {"test1/x.png": (digit_folder / "0" / "000.png").read_bytes()})
    (box / "sample.csv").write_text("id,label\n1,0\n")
    return pack_folder(tmp_path / f"box.{outer}", box, top) if outer else box


@pytest.mark.parametrize("outer", ["", *FORMS])
def test_an_inner_archive_is_a_folder_whatever_lies_around_it(tmp_path, digit_folder, outer):
    data = boxed(tmp_path, outer, "zip", digit_folder)
    catalog = read_source(data, Data())

    assert catalog.classes == ("0", "1", "2", "3")
    assert set(catalog.split) == {"train"}
    assert catalog.ids[0].endswith("train.zip/train/0/000.png")
    read = Reader(catalog.root)
    for row in (0, 50, 119):
        name = catalog.paths[row].rpartition("train/")[2]
        assert read(catalog.paths[row]) == (digit_folder / name).read_bytes()
    where = data / "test1.zip"
    assert (
        f"1 images of 'test1' have no label and were left aside; name their classes with: resnetlab predict RUN {where}"
        in catalog.notes
    )
    assert [each() for each in read_unlabelled([where]).values()] == [
        (digit_folder / "0" / "000.png").read_bytes()
    ]


@pytest.mark.parametrize("inner", INNER)
def test_an_inner_archive_may_be_of_any_kind(tmp_path, digit_folder, inner):
    catalog = read_source(boxed(tmp_path, "zip", inner, digit_folder), Data())

    assert len(catalog) == 120
    assert Reader(catalog.root)(catalog.paths[0]) == (digit_folder / "0" / "000.png").read_bytes()


def test_archives_may_lie_within_the_one_folder_of_another(tmp_path, digit_folder):
    data = boxed(tmp_path, "zip", "zip", digit_folder, top="outer/")
    catalog = read_source(data, Data())

    assert len(catalog) == 120
    assert len(read_unlabelled([data / "outer" / "test1.zip"])) == 1


def test_a_competition_within_an_archive_is_read_as_one(tmp_path, digit_folder):
    files = [digit_folder / str(label) / "000.png" for label in (0, 1)]
    box = tmp_path / "box"
    pack(box / "train.zip", {f"train/{n}.png": file.read_bytes() for n, file in enumerate(files)})
    pack(box / "test.zip", {"test/9.png": files[0].read_bytes()})
    (box / "trainLabels.csv").write_text("id,label\n0,zero\n1,one\n")
    catalog = read_source(pack_folder(tmp_path / "comp.zip", box), Data())

    assert [catalog.classes[label] for label in catalog.labels] == ["zero", "one"]
    assert contents(catalog) == {f"{n}.png": file.read_bytes() for n, file in enumerate(files)}
    assert f"predict RUN {tmp_path / 'comp.zip' / 'test.zip'}" in catalog.notes[-1]


def test_archives_beside_class_folders_stay_closed(tmp_path, digit_folder):
    for label in (0, 1):
        (tmp_path / "data" / str(label)).mkdir(parents=True)
        (tmp_path / "data" / str(label) / "a.png").touch()
    pack_folder(tmp_path / "data" / "more.zip", digit_folder)
    catalog = read_source(tmp_path / "data", Data())

    assert len(catalog) == 2
    assert catalog.notes == ("1 files or links were passed over, the first is more.zip",)


def test_a_damaged_inner_archive_is_refused_by_name(tmp_path):
    pack(tmp_path / "box.zip", {"train.zip": b"no archive"})

    with pytest.raises(DataError, match=r"train.zip: not a zip archive that can be read"):
        read_source(tmp_path / "box.zip", Data())


def test_images_of_inner_archives_are_not_written_into_a_table(tmp_path, digit_folder):
    catalog = read_source(boxed(tmp_path, "zip", "zip", digit_folder), Data())

    with pytest.raises(DataError, match="train with --export-split to get such a folder"):
        write_label_table(tmp_path / "t.csv", catalog)


@pytest.mark.parametrize("form", FORMS)
def test_a_folder_within_an_archive_can_be_predicted(tmp_path, digit_folder, form):
    path = pack_folder(tmp_path / f"digits.{form}", digit_folder, "digits/")
    found = read_unlabelled([path / "1"])

    assert len(found) == 30
    with pytest.raises(DataError, match=r"9: no image of this name in .*digits"):
        read_unlabelled([path / "9"])


@pytest.mark.parametrize("form", FORMS)
def test_all_layouts_are_read_alike_in_folders_and_archives(tmp_path, digit_folder, form):
    names = {
        f"set/{split}/{split}/{label}/{split}-{label}-{n}.png": (
            digit_folder / str(label) / f"{n:03}.png"
        )
        for split in ("training_set", "test_set")
        for label in (0, 1)
        for n in range(2)
    }
    members = {name: file.read_bytes() for name, file in names.items()}
    for name, content in members.items():
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_bytes(content)
    expected = read_source(tmp_path / "folder", Data())
    catalog = read_source(pack(tmp_path / f"x.{form}", members), Data())

    assert catalog.classes == expected.classes == ("0", "1")
    assert list(catalog.split) == list(expected.split)
    assert list(catalog.labels) == list(expected.labels)
    assert contents(catalog) == contents(expected)
