"""The same images in every form that people hold them in: one catalog, one split, one model."""

import csv
import gzip
import hashlib
import io
import json
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.numpy
import torch
from PIL import Image
from sklearn.datasets import load_digits

from resnetlab import workflows
from resnetlab.data import splits
from resnetlab.data.audit.quarantine import audit
from resnetlab.data.catalog import Catalog
from resnetlab.data.sources.source import read_source
from resnetlab.data.store.pixels import read_images
from resnetlab.errors import DataError
from resnetlab.recipe import Data, Recipe

RECIPE = Recipe().override(
    {
        "model.name": "mlp", "model.weights": "none", "data.image_size": 32, "data.split": [0.6, 0.2, 0.2],
        "training.epochs": 2, "training.batch_size": 8, "training.device": "cpu", "training.precision": "fp32",
    }
)  # fmt: skip


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """45 scanned digits in colour, uint8 (45, 32, 32, 3), no two alike."""
    digits = load_digits(n_class=3).images[:45]
    grey = np.stack([np.asarray(Image.fromarray(d * 15.9375).resize((32, 32))) for d in digits])
    ink = np.random.default_rng(0).uniform(0.3, 1, (45, 1, 1, 3))
    return np.rint(np.clip(grey[..., None], 0, 255) * ink).astype(np.uint8)


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return np.asarray(load_digits(n_class=3).target[:45], dtype=np.int64)


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


# Each form: a function that writes it into a folder and returns what the user would name as DATA.


def class_folders(out: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    for number, (pixels, label) in enumerate(zip(images, labels, strict=True)):
        path = out / "digits" / str(label) / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(pixels))
    return out / "digits"


def zipped(out: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    folder = class_folders(out, images, labels)
    with zipfile.ZipFile(out / "digits.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in folder.rglob("*.png"):
            archive.write(path, path.relative_to(folder))
    return out / "digits.zip"


def tarred(mode: str, ending: str) -> Callable[..., Path]:
    def write(out: Path, images: np.ndarray, labels: np.ndarray) -> Path:
        folder = class_folders(out, images, labels)
        with tarfile.open(out / f"digits{ending}", mode) as archive:
            archive.add(folder, "digits")
        return out / f"digits{ending}"

    return write


def seven_zipped(out: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    py7zr = pytest.importorskip("py7zr", reason="reading .7z is an extra")
    folder = class_folders(out, images, labels)
    with py7zr.SevenZipFile(out / "digits.7z", "w") as archive:
        archive.writeall(folder, "digits")
    return out / "digits.7z"


def kaggle(out: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    """As downloaded: train.7z, test.7z full of junk, trainLabels.csv with ids without an ending."""
    py7zr = pytest.importorskip("py7zr", reason="reading .7z is an extra")
    for split, content in (("train", images), ("test", images[::-1, :, ::-1])):
        folder = out / "unpacked" / split
        folder.mkdir(parents=True)
        for number, pixels in enumerate(content, start=1):
            (folder / f"{number}.png").write_bytes(png(pixels))
        (out / "competition").mkdir(exist_ok=True)
        with py7zr.SevenZipFile(out / "competition" / f"{split}.7z", "w") as archive:
            archive.writeall(folder, split)
    table = [f"{number},{label}" for number, label in enumerate(labels, start=1)]
    (out / "competition" / "trainLabels.csv").write_text("\n".join(["id,label", *table]))
    return out / "competition"


def kaggle_unpacked(out: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    folder = kaggle(out, images, labels)
    for split in ("train", "test"):
        (folder / f"{split}.7z").unlink()
        (out / "unpacked" / split).rename(folder / split)
    return folder


def flat(out: Path, images: np.ndarray) -> None:
    (out / "set" / "images").mkdir(parents=True)
    for number, pixels in enumerate(images):
        (out / "set" / "images" / f"{number:02}.png").write_bytes(png(pixels))


def label_table(out: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    """As Excel writes it."""
    flat(out, images)
    table = [f"images/{number:02}.png;{label}" for number, label in enumerate(labels)]
    (out / "set" / "labels.csv").write_bytes(
        "\r\n".join(["Filename;Class", *table]).encode("utf-16")
    )
    return out / "set"


def one_hot_table(out: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    flat(out, images)
    with (out / "set" / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "0", "1", "2"])
        for number, label in enumerate(labels):
            writer.writerow([f"{number:02}", *np.eye(3, dtype=int)[label]])
    return out / "set" / "labels.csv"


def numpy_files(out: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    """Three files of images, three of labels, channels first."""
    (out / "set").mkdir()
    for number, rows in enumerate(np.array_split(np.arange(len(labels)), 3)):
        np.save(out / "set" / f"data{number}.npy", images[rows].transpose(0, 3, 1, 2))
        np.save(out / "set" / f"labels{number}.npy", labels[rows])
    return out / "set"


def numpy_zip(out: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    np.savez_compressed(out / "set.npz", images=images, labels=labels)
    return out / "set.npz"


def torch_file(out: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    floats = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    torch.save({"images": floats, "labels": torch.from_numpy(labels)}, out / "set.pt")
    return out / "set.pt"


def safetensors_file(out: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    tensors = {"images": images, "labels": labels}
    safetensors.numpy.save_file(tensors, out / "set.safetensors")
    return out / "set.safetensors"


def cifar_batches(out: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    folder = out / "cifar-10-batches-py"
    folder.mkdir()
    rows = images.transpose(0, 3, 1, 2).reshape(len(labels), -1)
    for number, split in enumerate(np.array_split(np.arange(len(labels)), 5), start=1):
        batch = {
            b"data": rows[split],
            b"labels": labels[split].tolist(),
            b"batch_label": b"training",
        }
        (folder / f"data_batch_{number}").write_bytes(pickle.dumps(batch, protocol=2))
    names = {b"label_names": [b"0", b"1", b"2"]}
    (folder / "batches.meta").write_bytes(pickle.dumps(names, protocol=2))
    return folder


def image_rows(images: np.ndarray, labels: np.ndarray) -> pa.Table:
    """As Hugging Face's datasets keep them."""
    cells = [{"bytes": png(pixels), "path": None} for pixels in images]
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    features = {
        "image": {"_type": "Image"},
        "label": {"names": ["0", "1", "2"], "_type": "ClassLabel"},
    }
    table = pa.table({"image": pa.array(cells, struct), "label": pa.array(labels, pa.int64())})
    return table.replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})}
    )


def parquet(out: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    (out / "set" / "data").mkdir(parents=True)
    table = image_rows(images, labels)
    for number in range(2):
        rows = table.slice(25 * number, 25)
        pq.write_table(rows, out / "set" / "data" / f"train-{number:05}-of-00002.parquet")
    return out / "set"


def saved_to_disk(out: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    folder = out / "set"
    folder.mkdir()
    table = image_rows(images, labels)
    path = str(folder / "data-00000-of-00001.arrow")
    with pa.OSFile(path, "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    files = [{"filename": "data-00000-of-00001.arrow"}]
    (folder / "state.json").write_text(json.dumps({"_data_files": files, "_split": None}))
    info = json.loads(table.schema.metadata[b"huggingface"])["info"]
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return folder


def shards(out: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    (out / "set").mkdir()
    for shard, rows in enumerate(np.array_split(np.arange(len(labels)), 2)):
        with tarfile.open(out / "set" / f"shard-{shard:03}.tar", "w") as archive:
            for row in rows:
                content = {"png": png(images[row]), "cls": str(labels[row]).encode()}
                for ending, member in content.items():
                    info = tarfile.TarInfo(f"{row:06}.{ending}")
                    info.size = len(member)
                    archive.addfile(info, io.BytesIO(member))
    return out / "set"


FORMS: dict[str, Callable[..., Path]] = {
    "zip": zipped,
    "tar": tarred("w", ".tar"),
    "tar.gz": tarred("w:gz", ".tar.gz"),
    "tar.xz": tarred("w:xz", ".tar.xz"),
    "7z": seven_zipped,
    "Kaggle": kaggle,
    "Kaggle, unpacked": kaggle_unpacked,
    "label table": label_table,
    "one-hot table": one_hot_table,
    "npy": numpy_files,
    "npz": numpy_zip,
    "pt": torch_file,
    "safetensors": safetensors_file,
    "CIFAR batches": cifar_batches,
    "Parquet": parquet,
    "saved to disk": saved_to_disk,
    "WebDataset": shards,
}


def content_of(data: Path) -> dict[str, tuple[str, int, int, str]]:
    """Return what a catalog says of each image, by its content: class, width, height, split."""
    catalog = read_source(data, Data())
    catalog, _ = read_images(catalog, 37, 10**7, 2)
    whole = catalog.with_columns(split=np.full(len(catalog), "", dtype=object))
    catalog = splits.split(audit(whole, Data()), (0.6, 0.2, 0.2), 0)
    names = [catalog.classes[label] for label in catalog.labels]
    columns = (catalog.sha256, names, catalog.width, catalog.height, catalog.split)
    return {digest: rest for digest, *rest in zip(*columns, strict=True)}


def weights_of(data: Path, out: Path) -> str:
    run = workflows.train(data, RECIPE, out)
    return hashlib.sha256((run.bundle / "model.safetensors").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def as_folders(tmp_path_factory, images, labels) -> tuple[dict[str, object], str]:
    folder = tmp_path_factory.mktemp("folders")
    data = class_folders(folder, images, labels)
    return content_of(data), weights_of(data, folder / "runs")


@pytest.mark.parametrize("form", FORMS)
def test_the_form_changes_neither_catalog_nor_split_nor_weights(
    as_folders, tmp_path, images, labels, form
):
    data = FORMS[form](tmp_path, images, labels)
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    content, weights = as_folders

    assert content_of(data) == content
    assert weights_of(data, tmp_path / "runs") == weights
    assert before == {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}


def test_grey_images_are_the_same_as_files_arrays_and_idx(tmp_path):
    digits = load_digits(n_class=3)
    grey = np.rint(digits.images[:45] * 15.9375).astype(np.uint8)
    labels = digits.target[:45]
    expected = content_of(class_folders(tmp_path / "png", grey, labels))
    (tmp_path / "idx").mkdir()
    header = np.array([0x803, 45, 8, 8], ">i4").tobytes()
    with gzip.open(tmp_path / "idx" / "train-images-idx3-ubyte.gz", "wb") as file:
        file.write(header + grey.tobytes())
    with gzip.open(tmp_path / "idx" / "train-labels-idx1-ubyte.gz", "wb") as file:
        file.write(np.array([0x801, 45], ">i4").tobytes() + labels.astype(np.uint8).tobytes())
    np.savez(tmp_path / "mnist.npz", x_train=grey, y_train=labels)

    assert content_of(tmp_path / "idx") == expected
    assert content_of(tmp_path / "mnist.npz") == expected


def test_a_run_is_reopened_from_its_catalog_whatever_the_form(tmp_path, images, labels):
    for form in ("zip", "npy", "Parquet"):
        (tmp_path / form).mkdir()
        data = FORMS[form](tmp_path / form, images, labels)
        run = workflows.train(data, RECIPE, tmp_path / form / "runs")
        scores = workflows.evaluate(run.folder)
        tested = len(Catalog.load(run.catalog_file).rows("test"))
        assert scores["samples"] == tested > 0


@pytest.mark.parametrize("form", [class_folders, zipped])
def test_a_column_named_for_images_without_a_table_is_refused(tmp_path, images, labels, form):
    data = form(tmp_path, images, labels)
    settings = Data.model_validate({"columns": {"group": "patient"}})
    with pytest.raises(DataError, match=r"data.columns.group names a column of a label table, and"):
        read_source(data, settings)
