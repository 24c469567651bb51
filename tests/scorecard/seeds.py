"""Sound files of every kind that is read, each with what reads it: what a fuzzer begins with."""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from resnetlab.data.catalog import Catalog
from resnetlab.data.sources.reader import Reader
from resnetlab.data.sources.source import read_source
from resnetlab.data.store.decode import ImageProblem, decode, peek_size
from resnetlab.deploy.bundle import facts_for, load_bundle, save_bundle
from resnetlab.deploy.predictor import Predictor
from resnetlab.evaluation.predictions import Predictions
from resnetlab.models import build
from resnetlab.models.pretrained import load_weights
from resnetlab.recipe import AUGMENT_PRESETS, Data, Recipe, load_recipe, recipe_folder, recipe_names
from resnetlab.runs.run import Run
from resnetlab.system.files import read_csv, write_csv
from resnetlab.training.checkpoint import load_checkpoint, save_checkpoint
from tests.data.sources.test_forms import FORMS, class_folders, flat

Photos = list[Image.Image]


class Sound(NamedTuple):
    """A file, and what reads it: without an error as long as it is sound."""

    file: Path
    read: Callable[[], object]


def written(path: Path, content: bytes, read: Callable[[Path], object]) -> Sound:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return Sound(path, partial(read, path))


# Images


def see(path: Path) -> None:
    """Decode an image as training, prediction and the first look at a header do."""
    content = path.read_bytes()
    try:
        peek_size(content)
        decode(content, 16, 10**6, allow_truncated=True)
    finally:
        decode(content, 16, 10**6)


def image_forms(photo: Image.Image) -> Iterator[tuple[str, Image.Image, dict[str, Any]]]:
    """Give (format, image, options of saving) for every mode and packing that is read."""
    grey, dots = photo.convert("L"), photo.convert("1")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    clear = photo.convert("RGBA")
    clear.putalpha(grey)
    notes = Image.Exif()
    notes[0x0112], notes[0x010F] = 6, "Camera"
    more = {"save_all": True, "append_images": [photo.rotate(180)]}
    yield from (
        ("JPEG", photo, {}),
        ("JPEG", photo, {"progressive": True, "subsampling": 0}),
        ("JPEG", photo, {"exif": notes, "restart_marker_rows": 1}),
        ("JPEG", grey, {}),
        ("JPEG", photo.convert("CMYK"), {}),
        ("MPO", photo, {"save_all": True, "append_images": [photo.resize((20, 15))]}),
        ("PNG", photo, {"exif": notes}),
        ("PNG", photo.quantize(16), {"transparency": 3}),
        ("PNG", grey.convert("LA"), {}),
        *(("PNG", each, {}) for each in (dots, grey, deep, clear)),
        ("PNG", photo, more),
        *(("BMP", each, {}) for each in (dots, grey, photo)),
        ("GIF", photo, {}),
        ("GIF", photo, more | {"transparency": 1}),
        ("WEBP", photo, {"exif": notes}),
        ("WEBP", clear, {"lossless": True}),
        ("WEBP", photo, more),
        *(("TIFF", photo, {"compression": how}) for how in (None, "tiff_lzw", "packbits", "jpeg")),
        ("TIFF", dots, {"compression": "group4"}),
        ("TIFF", deep, {"exif": notes, "compression": "tiff_adobe_deflate"}),
        ("TIFF", clear, {"big_tiff": True}),
        ("TIFF", photo, {"save_all": True, "append_images": [photo.resize((20, 15))]}),
        *(("PPM", each, {}) for each in (dots, grey, deep, photo)),
    )


def images(folder: Path, photos: Photos) -> list[Sound]:
    sounds = []
    for photo in photos:
        for form, image, options in image_forms(photo):
            file = io.BytesIO()
            image.copy().save(file, form, **options)  # saving leaves traces in an image
            sounds.append(written(folder / f"{len(sounds)}.{form}", file.getvalue(), see))
    return [*sounds, written(folder / "plain.PPM", b"P3\n# plain\n2 1 255\n1 2 3 9 8 7\n", see)]


# Data sets


def take_in(data: Path) -> None:
    """List a set, and decode some of its images as the audit does."""
    catalog = read_source(data, Data())
    read = Reader(catalog.root)
    for path in catalog.paths[:3]:
        try:
            decode(read(path), 16, 10**6)
        except (OSError, ImageProblem):
            pass  # a finding


def digits(photos: Photos) -> tuple[np.ndarray, np.ndarray]:
    """Return 9 images, uint8 (9, 32, 32, 3), and labels of three classes (9,)."""
    pixels = np.stack([np.asarray(photo.resize((32, 32))) for photo in photos])
    return np.resize(pixels, (9, 32, 32, 3)), np.arange(9) % 3


ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252")


def tables(folder: Path, photos: Photos) -> list[Sound]:
    pixels, labels = digits(photos)
    flat(folder, pixels)
    names = [f"images/{number:02}.png" for number in range(9)]
    splits = ["train"] * 6 + ["val", "val", "test"]
    layouts = {
        "label": [["Filename", "Class"], *zip(names, labels, strict=True)],
        "split": [
            ["path", "label", "split", "group", "fold"],
            *zip(names, ["größe", '"a, b"', "c"] * 3, splits[::-1], labels, labels, strict=True),
        ],
        "hot": [
            ["id", "a", "b", "c"],
            *([name, *np.eye(3)[label]] for name, label in zip(names, labels, strict=True)),
        ],
    }
    sounds = []
    for layout, rows in layouts.items():
        for encoding in ENCODINGS:
            for delimiter, end in ((",", "\n"), (";", "\r\n")):
                text = end.join(delimiter.join(map(str, row)) for row in rows)
                path = folder / "set" / f"{layout}-{len(sounds)}.csv"
                sounds.append(written(path, text.encode(encoding), take_in))
        columns = dict(zip(rows[0], map(list, zip(*rows[1:], strict=True)), strict=True))
        path = folder / "set" / f"{layout}.parquet"
        pq.write_table(pa.table(columns), path)
        sounds.append(Sound(path, partial(take_in, path)))
    return sounds


def recipes(folder: Path, photos: Photos) -> list[Sound]:
    contents = [(recipe_folder() / f"{name}.yaml").read_bytes() for name in recipe_names()]
    for preset in AUGMENT_PRESETS:
        settings = {"data.augment": preset, "data.classes": ["a", "b"], "training.epochs": 3}
        contents.append(Recipe().override(settings).to_yaml().encode())
    return [
        written(folder / f"{number}.yaml", content, load_recipe)
        for number, content in enumerate(contents)
    ]


def archives(folder: Path, photos: Photos) -> list[Sound]:
    content = digits(photos)
    sounds = []
    for form in ("zip", "tar", "tar.gz", "tar.xz", "7z"):
        (folder / form).mkdir(parents=True)
        path = FORMS[form](folder / form, *content)
        sounds.append(Sound(path, partial(take_in, path)))
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        here = folder / f"method-{method}"
        with zipfile.ZipFile(here.with_suffix(".zip"), "w", method) as archive:
            for path in class_folders(here, *content).rglob("*.png"):
                archive.write(path, path.relative_to(here))
        sounds.append(Sound(here.with_suffix(".zip"), partial(take_in, here.with_suffix(".zip"))))
    return sounds


def arrays(folder: Path, photos: Photos) -> list[Sound]:
    content = digits(photos)
    sounds = []
    for form in ("npy", "npz", "pt", "safetensors", "CIFAR batches", "Parquet", "WebDataset"):
        (folder / form).mkdir(parents=True)
        data = FORMS[form](folder / form, *content)
        files = sorted(data.rglob("*.*") if data.is_dir() else [data])
        files += sorted(data.glob("data_batch_?"))
        sounds += [Sound(file, partial(take_in, data)) for file in files if file.is_file()]
    return sounds


# Models and runs

NETWORK = Recipe().override({"model.name": "mlp", "data.image_size": 8})


def checkpoints(folder: Path, photos: Photos) -> list[Sound]:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 3))
    sounds = []
    for number, kind in enumerate((torch.optim.SGD, torch.optim.AdamW)):
        path = folder / f"{number}.safetensors"
        optimizer = kind(network.parameters(), lr=0.1)
        network(torch.zeros(2, 3, 4, 4)).sum().backward()
        optimizer.step()
        save_checkpoint(path, network, optimizer, None, {"history": [{"epoch": 1, "loss": 0.5}]})
        sounds.append(Sound(path, partial(load_checkpoint, path, network, optimizer)))
    return sounds


def bundles(folder: Path, photos: Photos) -> list[Sound]:
    """Facts and weights; the weights have the right checksum however they were spoilt."""
    save_bundle(folder, build("mlp", 3, 8), facts_for(NETWORK, ("a", "b", "c")), "# A card\n")
    photos[0].save(folder / "photo.png")
    facts, weights = folder / "model.json", folder / "model.safetensors"

    def predict() -> None:
        (answer,) = Predictor(folder).predict([folder / "photo.png"], workers=1)
        assert answer.probs is not None

    def trust_and_load() -> None:
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
        facts.write_text(json.dumps(json.loads(facts.read_text()) | {"weights_sha256": digest}))
        classifier, _ = load_bundle(folder)
        classifier(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))

    return [Sound(facts, predict), Sound(weights, trust_and_load)]


def weights(folder: Path, photos: Photos) -> list[Sound]:
    network = build("mlp", 3, 8)
    sounds = []
    for path in (folder / "weights.safetensors", folder / "weights.pth"):
        (save_file if path.suffix == ".safetensors" else torch.save)(network.state_dict(), path)
        sounds.append(Sound(path, partial(load_weights, network, str(path), "mlp")))
    return sounds


def runs(folder: Path, photos: Photos) -> list[Sound]:
    run = Run(folder)
    run.write_recipe(NETWORK)
    run.add_metrics(dataset={"name": "photos", "classes": ["a", "b"]}, val={"accuracy": 0.5})
    run.add_to_ledger({"opened": "2026-01-01T00:00:00+00:00", "accuracy": 0.5})
    write_csv(folder / "history.csv", ["epoch", "val_loss"], [[1, 0.5], [2, 0.25]])
    catalog = read_source(class_folders(folder, *digits(photos)), Data())
    catalog.save(run.catalog_file)
    ids, logits = ["1.png", "2.png"], [[1, 2], [2, 1]]
    Predictions.make(ids, [0, 1], logits, ["a", "b"]).save(run.predictions("val"))
    readers: dict[str, Callable[[], object]] = {
        "recipe.yaml": lambda: run.recipe,
        "metrics.json": lambda: run.metrics,
        "test_ledger.json": lambda: run.ledger,
        "history.csv": lambda: read_csv(folder / "history.csv"),
        "catalog.parquet": lambda: Catalog.load(run.catalog_file).counts("all"),
        "predictions-val.parquet": lambda: Predictions.load(run.predictions("val")),
    }
    return [Sound(folder / name, read) for name, read in readers.items()]


KINDS: dict[str, Callable[[Path, Photos], list[Sound]]] = {
    "images": images,
    "tables": tables,
    "recipes": recipes,
    "archives": archives,
    "arrays": arrays,
    "checkpoints": checkpoints,
    "bundles": bundles,
    "weights": weights,
    "runs": runs,
}
