"""Kaggle's form as downloaded is read as it is, and fetched by Kaggle's own client."""

import hashlib
import io
import os
import shlex
import sys
import tarfile
import types
import zipfile
from pathlib import Path

import pytest

from resnetlab.data.sources.kaggle import fetch_kaggle, is_kaggle, read_kaggle
from resnetlab.data.sources.listing import list_folder
from resnetlab.data.sources.reader import Reader
from resnetlab.errors import DataError, MachineError
from resnetlab.recipe import Data

FORMS = ["", ".zip", ".tar", ".tar.gz", ".7z"]  # '' is a folder
LABELS = {"1": "frog", "2": "truck", "3": "frog", "10": "cat"}
ROWS = tuple(LABELS.items())


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNETLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "sync", lambda: None)


@pytest.fixture
def digit_bytes(digit_folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(digit_folder.glob("*/*.png"))]


def put(path: Path, members: dict[str, bytes]) -> None:
    """Write files into an archive of the kind its name speaks of; without an ending, beside it."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as file:
            for name, content in members.items():
                file.writestr(name, content)
    elif path.suffix == ".7z":
        py7zr = pytest.importorskip("py7zr", reason="py7zr (extra 'archives') is not installed")
        with py7zr.SevenZipFile(path, "w") as file:
            for name, content in members.items():
                file.writestr(content, name)
    elif path.suffix:
        with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as file:
            for name, content in members.items():
                header = tarfile.TarInfo(name)
                header.size = len(content)
                file.addfile(header, io.BytesIO(content))
    else:
        for name, content in members.items():
            (path.parent / name).parent.mkdir(parents=True, exist_ok=True)
            (path.parent / name).write_bytes(content)


@pytest.fixture
def make(tmp_path, digit_bytes):
    """Make a competition's folder: images by id, the rows of the table, the form of train."""

    def build(form="", ids=tuple(LABELS), rows=ROWS, table="trainLabels.csv"):
        root = tmp_path / "cifar"
        root.mkdir(exist_ok=True)
        numbered = dict(zip(ids, digit_bytes, strict=False))
        put(root / f"train{form}", {f"train/{name}.png": numbered[name] for name in ids})
        lines = ["id,label", *(f"{name},{label}" for name, label in rows)]
        (root / table).write_text("\n".join(lines))
        (root / "sampleSubmission.csv").write_text("id,label\n1,cat\n2,cat\n")
        return root

    return build


def read(root: Path, **settings: object):
    return read_kaggle(list_folder(root), Data(**settings))


# Reading


@pytest.mark.parametrize("form", FORMS)
def test_each_id_labels_the_training_image_of_that_name(make, digit_bytes, form):
    root = make(form)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert is_kaggle(list_folder(root))
    catalog = read(root)
    source = Reader(catalog.root)

    assert catalog.root == root
    assert catalog.classes == ("cat", "frog", "truck")
    found = {
        Path(name).stem: catalog.classes[label]
        for name, label in zip(catalog.ids, catalog.labels, strict=True)
    }
    assert found == LABELS
    below = f"train{form}/train" if form else "train"
    assert set(catalog.ids) == {f"{below}/{name}.png" for name in LABELS}
    for name, content in zip(LABELS, digit_bytes, strict=False):
        row = list(catalog.ids).index(f"{below}/{name}.png")
        assert source(catalog.paths[row]) == content
    assert set(catalog.split) == {""}
    assert catalog.notes == ()
    assert before == {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "table", ["trainLabels.csv", "TRAIN_LABELS.CSV", "labels.csv", "train.csv"]
)
def test_the_table_may_have_any_customary_name(make, table):
    root = make(table=table)

    assert is_kaggle(list_folder(root))
    assert len(read(root)) == 4


def test_the_folders_may_say_that_they_hold_images(make):
    root = make()
    (root / "train").rename(root / "Train_Images")
    put(root / "x", {"test_images/9.png": b"9"})

    assert is_kaggle(list_folder(root))
    assert "1 images of test_images have no label" in read(root).notes[0]
    assert len(read(root)) == 4


def test_the_table_may_come_from_excel(make):
    root = make()
    lines = ["id;label", *(f"{name};{label}" for name, label in LABELS.items())]
    (root / "trainLabels.csv").write_text("\r\n".join(lines), encoding="utf-16")

    assert read(root).classes == ("cat", "frog", "truck")


def test_other_folders_are_not_of_this_form(make, tmp_path):
    root = make()
    (root / "trainLabels.csv").unlink()
    assert not is_kaggle(list_folder(root))

    (root / "labels.csv").touch()
    (root / "train" / "cat").mkdir()  # class folders
    assert not is_kaggle(list_folder(root))

    (tmp_path / "empty" / "train").mkdir(parents=True)
    (tmp_path / "empty" / "labels.csv").touch()
    assert not is_kaggle(list_folder(tmp_path / "empty"))


def test_of_an_archive_and_its_unpacked_folder_the_folder_is_read(make):
    make(".zip")
    root = make("")

    assert {name.partition("/")[0] for name in read(root).ids} == {"train"}


def test_two_archives_or_two_tables_are_refused(make):
    root = make(".zip")
    (root / "labels.csv").write_text("id,label\n")
    with pytest.raises(DataError, match=r"both 'labels.csv' and 'trainLabels.csv' are there; keep"):
        read(root)
    (root / "labels.csv").unlink()
    make(".tar")
    with pytest.raises(DataError, match=r"both 'train.tar' and 'train.zip' are there; keep one"):
        read(root)


# Test images


@pytest.mark.parametrize("form", FORMS)
def test_test_images_are_counted_not_read(make, form):
    root = make()
    put(root / f"test{form}", {f"test/{number}.png": b"junk" for number in range(12)})
    catalog = read(root)

    assert len(catalog) == 4
    assert catalog.notes == (
        f"12 images of test{form} have no label; name their classes with: "
        f"resnetlab predict RUN {root}/test{form}",
    )


def test_the_command_for_test_images_can_be_pasted_whatever_their_folder_is_called(make):
    root = make()
    put(root / "test set", {f"test set/{number}.png": b"junk" for number in range(3)})

    command = read(root).notes[0].partition("with: ")[2]
    assert shlex.split(command) == ["resnetlab", "predict", "RUN", f"{root}/test set"]


def test_a_7z_archive_of_test_images_is_not_unpacked(make, tmp_path):
    root = make()
    put(root / "test.7z", {"test/1.png": b"junk"})
    read(root)

    assert not (tmp_path / "cache").exists()


def test_test_images_that_cannot_be_listed_do_not_stop_the_training(make):
    root = make()
    (root / "test.zip").write_bytes(b"half a download")

    assert (
        read(root)
        .notes[0]
        .startswith(
            f"test.zip was passed over: {root}/test.zip: not a zip archive that can be read"
        )
    )


# Rows and images that don't match


def test_rows_without_an_image_and_images_without_a_row_are_refused(make):
    ids = [*LABELS, *(f"junk{number}" for number in range(7))]
    root = make(ids=ids, rows=[*ROWS, ("77", "cat"), ("78", "cat")])

    with pytest.raises(
        DataError, match=r"2 rows without an image.*'77'.*7 images without a row"
    ) as caught:
        read(root)
    assert "junk4.png" in str(caught.value)
    assert "junk5.png" not in str(caught.value)  # the first five


def test_unmatched_rows_and_images_are_dropped_on_request(make):
    root = make(ids=[*LABELS, "junk"], rows=[*ROWS, ("77", "cat")])
    catalog = read(root, unmatched="drop")

    assert len(catalog) == 4
    assert [note[:2] for note in catalog.notes] == ["1 ", "1 "]


def test_a_repeated_row_counts_once_with_a_note(make):
    catalog = read(make(rows=[*ROWS, ("1", "frog")]))

    assert len(catalog) == 4
    assert "repeat" in catalog.notes[0]


def test_an_id_with_two_labels_is_refused(make):
    with pytest.raises(DataError, match="label 'frog' and 'cat'"):
        read(make(rows=[*ROWS, ("1", "cat")]))


def test_an_id_that_two_images_have_is_refused(make):
    root = make()
    (root / "train" / "1.jpg").write_bytes(b"")

    with pytest.raises(DataError, match=r"could be any of 2 images"):
        read(root)


def test_a_label_outside_the_class_list_is_refused(make):
    with pytest.raises(DataError, match=r"label 'truck' is none of the 2 in data.classes"):
        read(make(), classes=("frog", "cat"))


# Fetching


class ClientError(Exception):
    def __init__(self, status):
        super().__init__(f"({status})\nReason: many lines\nof text")
        self.status = status


class HttpError(Exception):
    def __init__(self, status):
        super().__init__(f"{status} Client Error")
        self.response = types.SimpleNamespace(status_code=status)


@pytest.fixture
def client(monkeypatch):
    """A stand-in for Kaggle's client: `bring` writes the files, or raises; `calls` counts."""
    stand_in = types.SimpleNamespace(calls=0, bring=None, authenticate=lambda: None)

    class KaggleApi:
        def authenticate(self):
            print("chatter")
            stand_in.authenticate()

        def competition_download_files(self, name, path=None, quiet=False):
            stand_in.calls += 1
            stand_in.bring(Path(path) / f"{name}.zip")

    module = types.ModuleType("kaggle.api.kaggle_api_extended")
    module.KaggleApi = KaggleApi
    monkeypatch.setitem(sys.modules, "kaggle", types.ModuleType("kaggle"))
    monkeypatch.setitem(sys.modules, "kaggle.api", types.ModuleType("kaggle.api"))
    monkeypatch.setitem(sys.modules, "kaggle.api.kaggle_api_extended", module)
    return stand_in


def brings(root: Path):
    files = {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }
    return lambda target: put(target, files)


def test_a_competition_is_fetched_unpacked_and_read(make, client, tmp_path, capsys):
    root = make(".zip")
    client.bring = brings(root)
    folder = fetch_kaggle("cifar-10", tmp_path / "data")

    assert folder == tmp_path / "data" / "kaggle-cifar-10"
    assert len(read(folder)) == 4
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [
        "kaggle-cifar-10", "kaggle-cifar-10.lock",
    ]  # fmt: skip
    assert capsys.readouterr().out == ""
    for name in ("trainLabels.csv", "train.zip"):
        assert hashlib.sha256((folder / name).read_bytes()).digest() == (
            hashlib.sha256((root / name).read_bytes()).digest()
        )


def test_what_was_fetched_is_not_fetched_again(make, client, tmp_path):
    client.bring = brings(make())
    for _ in range(2):
        fetch_kaggle("cifar-10", tmp_path / "data")

    assert client.calls == 1


def test_a_damaged_download_is_thrown_away(make, client, tmp_path):
    client.bring = lambda target: target.write_bytes(b"PK half")
    with pytest.raises(DataError, match="not a zip archive that can be read"):
        fetch_kaggle("cifar-10", tmp_path / "data")
    client.bring = brings(make())

    assert len(read(fetch_kaggle("cifar-10", tmp_path / "data"))) == 4


def test_a_download_that_means_harm_writes_nothing_elsewhere(client, tmp_path):
    client.bring = lambda target: put(
        target, {"a.csv": b"", "../../canary": b"", "../kaggle-x-evil/c": b""}
    )
    with pytest.raises(DataError, match="leads elsewhere"):
        fetch_kaggle("x", tmp_path / "data")

    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == [
        "data", "data/kaggle-x.lock",
    ]  # fmt: skip


def test_without_the_client_the_error_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "kaggle", None)

    with pytest.raises(
        MachineError, match=r"needs Kaggle's client .*pip install 'resnetlab\[kaggle\]'"
    ):
        fetch_kaggle("cifar-10", tmp_path)


@pytest.mark.parametrize(
    "error", [SystemExit(1), OSError("Could not find kaggle.json"), ValueError("bad")]
)
def test_without_credentials_the_error_says_where_they_go(client, tmp_path, error):
    def refuse():
        raise error

    client.authenticate = refuse
    with pytest.raises(
        MachineError, match=r"no valid credentials; put the token .* ~/.kaggle/kaggle.json, or"
    ):
        fetch_kaggle("cifar-10", tmp_path)


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (401, MachineError, r"no valid credentials"),
        (403, DataError, r"accept the competition's rules .*kaggle.com/c/cifar-10/rules"),
        (404, DataError, r"knows no such competition"),
        (
            500,
            MachineError,
            r"could not be fetched \(.+\); try again, or download .*/c/cifar-10/data",
        ),
    ],
)
@pytest.mark.parametrize("error", [ClientError, HttpError])
def test_a_refusal_is_one_line_with_the_way_out(client, tmp_path, status, kind, message, error):
    def refuse(target):
        raise error(status)

    client.bring = refuse
    with pytest.raises(kind, match=f"kaggle:cifar-10: .*{message}") as caught:
        fetch_kaggle("cifar-10", tmp_path)
    assert "\n" not in str(caught.value)


def test_a_client_that_brings_nothing_is_an_error(client, tmp_path):
    client.bring = lambda target: None

    with pytest.raises(MachineError, match="brought no zip file"):
        fetch_kaggle("cifar-10", tmp_path)


@pytest.mark.parametrize("name", ["../x", "", "a/b", "-x", "a b", "a\0b"])
def test_what_is_no_name_of_a_competition_is_refused(tmp_path, name):
    with pytest.raises(DataError, match="name is the last part of its address"):
        fetch_kaggle(name, tmp_path)
    assert list(tmp_path.iterdir()) == []
