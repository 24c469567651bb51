"""Bad input, rows 55 to 60: images of more than 8 bits, formats that can't be read, and data as they are found."""

import asyncio
import json
import re
import zipfile
from itertools import count
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageEnhance, ImageOps
from scipy.special import softmax

from resnetlab import predict
from resnetlab.data.catalog import Catalog
from resnetlab.deploy.predictor import Predictor
from resnetlab.system.files import read_csv
from tests.scorecard.conftest import QUICK

CLASSES = ("china", "flower")


def trained(data: Path, tell, *more: str) -> tuple[Path, str]:
    """Train on the data; return the run's folder and what was said."""
    out = data.parent / "runs"
    said = tell("train", data, *QUICK, "--out", out, "--name", "run", *more)
    assert said.code == 0, said.err
    return out / "run", said.err + said.out


def moved(data: Path, place) -> Path:
    """Move each image to the path that `place` gives for its class and number, 0 to 11."""
    for name in CLASSES:
        for number, path in enumerate(sorted((data / name).iterdir())):
            target = data / place(name, number)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
        (data / name).rmdir()
    return data


# Values of more than 8 bits

DEEP = {"12 bits in a 16-bit PNG": (".png", np.uint16, 4095), "float TIFF": (".tif", np.float32, 1)}


@pytest.fixture(params=DEEP)
def deep(request, data) -> tuple[Path, int]:
    """The images in grey, in values of more than 8 bits; and the value that is white."""
    ending, kind, white = DEEP[request.param]
    for path in sorted(data.rglob("*.jpg")):
        values = np.asarray(Image.open(path).convert("L")) * (white / 255)
        Image.fromarray(values.astype(kind)).save(path.with_suffix(ending))
        path.unlink()
    return data, white


def test_row_55_one_scale_is_said_stored_and_the_same_in_prediction_and_server(deep, tell):
    pytest.importorskip("fastapi")
    from resnetlab.deploy.server.answering import Service

    data, white = deep
    run, said = trained(data, tell)
    assert f"0 becomes black and {white} white, for all of them and in prediction alike" in said
    facts = json.loads((run / "bundle" / "model.json").read_text())
    assert facts["value_range"] == [0, white]

    validated = pq.read_table(run / "predictions-val.parquet").to_pylist()
    paths = [data / row["id"] for row in validated]
    means = [
        Predictor(run / "bundle").preparations[0].decoded(path.read_bytes()).mean()
        for path in paths
    ]
    expected = [np.asarray(Image.open(path)).mean() * 255 / white for path in paths]
    np.testing.assert_allclose(means, expected, atol=3)  # neither black nor clipped

    offline = predict(run, paths, backend="torch")
    service = Service([run / "bundle"], "torch")
    served = asyncio.run(service.answer([(path.name, path.read_bytes()) for path in paths]))
    service.close()
    known = softmax([np.array(row["logits"]) / facts["temperature"] for row in validated], axis=1)
    for rows in (offline, served["predictions"]):
        found = [list(row["probabilities"].values()) for row in rows]
        np.testing.assert_allclose(found, known, atol=1e-4)


def test_row_55_a_scale_that_leaves_images_nearly_black_is_told(deep, tell):
    data, white = deep
    said = tell("inspect", data, "--set", f"data.value_range=[0,{16 * white}]")

    assert said.code == 0
    assert "of black to white" in said.out
    assert "--set data.value_range=[LOW,HIGH]" in said.out


# Folders


def test_row_56_split_folders_never_become_classes(data, tell):
    numbers = count(1)
    moved(data, lambda name, n: f"train/{name}.{n}.jpg" if n < 10 else f"test1/{next(numbers)}.jpg")
    said = tell("inspect", data)
    assert said.code == 3
    assert "(china 10, flower 10): take them by --label-from-name" in said.error

    run, said = trained(data, tell, "--label-from-name")
    assert "4 images of 'test1' have no label" in said
    catalog = Catalog.load(run / "catalog.parquet")
    assert catalog.classes == CLASSES
    assert {name.split("/")[0] for name in catalog.ids} == {"train"}


@pytest.mark.parametrize("test", ["test", "test1", "Test_Set"])
def test_row_58_a_flat_unlabelled_test_beside_train_is_found_and_said(data, tell, test):
    moved(data, lambda name, n: f"train/{name}/{n}.jpg" if n < 10 else f"{test}/{name[0]}{n}.jpg")
    said = tell("inspect", data)

    assert "photos: 20 images of 2 classes" in said.out
    assert f"4 images of '{test}' have no label and were left aside" in said.out + said.err


def test_row_58_folders_around_the_classes_are_found_and_said(data, tell):
    moved(data, lambda name, n: f"archive/Dataset/{name}/{n}.jpg")
    said = tell("inspect", data)

    assert "photos: 24 images of 2 classes" in said.out
    assert "the classes were found below 'archive/Dataset'" in said.out + said.err


def test_row_58_zips_within_a_zip_are_found_and_said(data, tell, tmp_path):
    images = {path: path.read_bytes() for path in sorted(data.rglob("*.jpg"))}
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as outer:
        with zipfile.ZipFile(outer.open("outer/train.zip", "w"), "w") as inner:
            for path, content in images.items():
                inner.writestr(f"train/{path.relative_to(data)}", content)
        with zipfile.ZipFile(outer.open("outer/test1.zip", "w"), "w") as inner:
            inner.writestr("test1/1.jpg", next(iter(images.values())))
    said = tell("inspect", tmp_path / "outer.zip")

    assert "outer: 24 images of 2 classes" in said.out
    assert "1 images of 'test1' have no label" in said.out + said.err


# Formats

UNREAD = {
    "phone.heic": (b"\0\0\0\x18ftypheic" + bytes(40), "HEIC needs: pip install 'resnetlab[heif]'"),
    "scan.dcm": (bytes(128) + b"DICM" + bytes(40), "DICOM needs: pip install 'resnetlab[dicom]'"),
    "photo.CR2": (b"II*\0" + bytes(40), "camera raw can't be read here; convert it to PNG or JPEG"),
    "new.jxl": (b"\xff\x0a" + bytes(40), "JPEG XL can't be read here; convert it to PNG or JPEG"),
}


def test_row_57_what_can_not_be_read_is_counted_by_type_with_what_helps(data, tell, monkeypatch):
    monkeypatch.setattr("resnetlab.data.formats.find_spec", lambda name: None)  # without extras
    for name, (content, _) in UNREAD.items():
        for number in range(3):
            (data / "china" / f"{number}-{name}").write_bytes(content + bytes([number]))
    said = tell("inspect", data, "--set", "data.max_problem_frac=0.5")
    assert said.code == 0
    stopped = tell("train", data, *QUICK, "--out", data.parent / "runs")
    assert stopped.code == 3
    assert "12 of 36 images can't be used, more than the 1.0% allowed" in stopped.error
    for _, why in UNREAD.values():
        line = f"3 of 36 images (china 3): {why}"
        assert line in " ".join(said.out.split())
        assert line in " ".join(stopped.err.split())


# Tables


def labels(data: Path) -> dict[str, str]:
    """Return the label that a table gives each image, '0' or '1'."""
    paths = (path.relative_to(data) for path in sorted(data.rglob("*.jpg")))
    return {str(path): str(CLASSES.index(path.parts[0])) for path in paths}


TABLES = {
    "without header": lambda rows: "".join(f"{name},{label}\n" for name, label in rows.items()),
    "divided by blanks": lambda rows: "".join(f"{name} {label}\n" for name, label in rows.items()),
    "of another machine": lambda rows: (
        "file,label\n" + "".join(f"/home/anna/photos/{n},{label}\n" for n, label in rows.items())
    ),
    "of Windows, bare": lambda rows: "".join(
        f"C:\\data\\{name.replace('/', chr(92))},{label}.0\n" for name, label in rows.items()
    ),
    "labels as 1.0": lambda rows: (
        "file,label\n" + "".join(f"{name},{label}.0\n" for name, label in rows.items())
    ),
}


@pytest.mark.parametrize("form", TABLES)
def test_row_59_tables_of_all_kinds_are_read_right(data, tell, tmp_path, form):
    truth = labels(data)
    (data / "labels.csv").write_text(TABLES[form](truth))
    said = tell("inspect", data / "labels.csv", "--fix", tmp_path / "clean.csv")

    assert said.code == 0, said.err
    rows = read_csv(tmp_path / "clean.csv")
    found = {str(Path(row["path"])).removeprefix("photos/"): row["label"] for row in rows}
    assert found == truth


def test_row_59_a_table_for_each_split_is_read_right(data, tell):
    truth = labels(data)
    for split, numbers in (("train", range(8)), ("test", range(8, 12))):
        rows = [
            f"{name},{label}" for name, label in truth.items() if int(Path(name).stem) in numbers
        ]
        (data / f"{split}.csv").write_text("\n".join(["file,label", *rows]))
    run, _ = trained(data, tell)
    catalog = Catalog.load(run / "catalog.parquet")

    found = {
        name: catalog.classes[label]
        for name, label in zip(catalog.ids, catalog.labels, strict=True)
    }
    assert found == truth
    is_test = [int(Path(name).stem) >= 8 for name in catalog.ids]
    assert (catalog.split == "test").tolist() == is_test


def test_row_59_a_table_that_fits_no_image_is_refused_with_what_was_found_and_the_way_out(
    data, tell
):
    (data / "labels.csv").write_text("/other/a.jpg,0\n/other/b.jpg,1\n")
    said = tell("inspect", data / "labels.csv")

    assert said.code == 3
    assert "a.jpg" in said.error
    assert "--images" in said.error or "--set data." in said.error


# Copies that tools made

TOOLS = {
    "flip": lambda image: ImageOps.mirror(image),
    "bright": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "crop": lambda image: image.crop((4, 3, 156, 117)).resize(image.size),
}
NAMES = {
    "of a script": lambda number, tool: f"{number:02}_{tool}.jpg" if tool else f"{number:02}.jpg",
    "of Roboflow": lambda number, tool: (
        f"{number:02}_jpg.rf.{['', *TOOLS].index(tool):02x}{number:04x}9a.jpg"
    ),
}


@pytest.fixture(params=NAMES)
def copied(request, data) -> Path:
    """Each image four times, as tools that augment a folder leave it."""
    for path in sorted(data.rglob("*.jpg")):
        with Image.open(path) as image:
            image.load()
        path.unlink()
        for tool, change in {"": lambda image: image, **TOOLS}.items():
            name = NAMES[request.param](int(path.stem), tool)
            change(image).save(path.with_name(name), quality=90)
    return data


def original_of(name: str) -> str:
    """Return class and number of the image that a copy was made of."""
    path = Path(name)
    return f"{path.parent.name}/{path.name[:2]}"


def test_row_60_copies_that_tools_made_are_grouped_before_the_split_and_counted(copied, tell):
    run, said = trained(copied, tell)
    assert "24 groups" in said
    catalog = Catalog.load(run / "catalog.parquet")
    splits = {original_of(name): set() for name in catalog.ids}
    for name, split in zip(catalog.ids, catalog.split, strict=True):
        splits[original_of(name)].add(split)
    assert len(splits) == 24
    assert all(len(of_one) == 1 for of_one in splits.values())


def test_row_60_copies_in_several_given_splits_are_grouped_and_counted(copied, tell):
    for path in sorted(copied.rglob("*.jpg")):
        number = int(path.name[:2])
        is_last = path == max(path.parent.glob(f"{path.name[:2]}*"))
        split = "test" if number >= 8 or (number < 4 and is_last) else "train"
        target = copied / split / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    for name in CLASSES:
        (copied / name).rmdir()
    run, said = trained(copied, tell)
    catalog = Catalog.load(run / "catalog.parquet")

    training = {original_of(name) for name in catalog.ids[catalog.rows("train")]}
    tested = catalog.ids[catalog.rows("test")]
    shared = sum(original_of(name) in training for name in tested)
    assert len(tested) == 40, "what is tested stays"
    counted = re.search(r"(\d+) of 40 test images are of a group that training has", said)
    assert not shared or (counted and int(counted[1]) >= shared), f"{shared} were not told"
