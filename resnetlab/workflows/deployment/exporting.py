"""Export a model for another runtime, and say how far it is from the original before it counts."""

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from resnetlab.errors import CheckpointError, DataError, RecipeError
from resnetlab.runs.run import Run, bundle_of, open_run
from resnetlab.system.files import sync, write_json, write_text
from resnetlab.system.progress import log
from resnetlab.system.requirements import require_empty, require_writable

if TYPE_CHECKING:
    from resnetlab.data.batches import Samples
    from resnetlab.deploy.export.formats import Calibration
    from resnetlab.deploy.export.inside import FromImages
    from resnetlab.deploy.preparation import Preparation
    from resnetlab.models.classifier import Classifier

COMPARED = 64  # images at most on which an exported model is held against the original
STORED = 3  # of them, kept beside the model with their probabilities
MAX_LOSS = 0.01  # accuracy that 8 bits may cost unless more is allowed
UNNOTICED_LOSS = 0.005  # beyond it the layers that cost it are looked for, and stay in fp32
CALIBRATING, LABELLED = (
    300,
    300,
)  # training images that give ranges, validation images to look for layers by


def export(
    model: Path,
    format: str = "onnx",
    out: Path | None = None,
    preparation: str = "inside",
    quantize: str | None = None,
    max_loss: float = MAX_LOSS,
    images: Path | None = None,
) -> dict[str, Any]:
    """Export a run or bundle into a folder of its own, compared with the original on real images.

    With no `out` it lies in the bundle, where `predict` and `serve` find it. The images are a run's
    validation images, or those given. `quantize` 'int8' measures on the validation split what 8 bits cost.
    Returns what stands in export.json and the folder. Raises CheckpointError where the exported model
    is too far off or loses more than `max_loss`, DataError without images, RecipeError, MachineError.
    """
    from resnetlab.deploy.bundle import load_bundle, read_facts
    from resnetlab.deploy.export.formats import check_format, write_model
    from resnetlab.deploy.export.inside import FromImages
    from resnetlab.deploy.fold import calibrated, folded
    from resnetlab.deploy.preparation import Preparation
    from resnetlab.deploy.shift.reference import REFERENCE

    check_format(format, quantize)
    if preparation not in ("inside", "outside"):
        raise RecipeError(f"--preparation must be inside or outside. Got '{preparation}'")
    bundle = bundle_of(model)
    folder = (out or bundle / (f"{format}-{quantize}" if quantize else format)).resolve()
    require_replaceable(folder)
    classifier, facts = load_bundle(bundle)
    classifier = calibrated(folded(classifier), facts.temperature)
    prepare = Preparation.of(facts)
    contents = some_images(model, images, prepare)
    run = open_run(model) if quantize else None
    calibration = None if run is None else calibration_of(run)
    module = FromImages(classifier, prepare, preparation == "inside")
    log(f"exporting to {folder}")
    with replaced(folder) as temporary:
        files = write_model(format, module, temporary, calibration)
        measured: dict[str, Any] = {}
        if run is not None and calibration is not None:
            accuracy = accuracy_kept(run, temporary / files[0], classifier)
            loss = accuracy["loss"]
            if loss["value"] > UNNOTICED_LOSS and loss["low"] > 0:  # and not by chance
                log(
                    f"8 bits lose {loss['value']:.2%} of accuracy; looking for the layers that cost it"
                )
                calibration = replace(
                    calibration, labelled=labelled_images(run), most_lost=UNNOTICED_LOSS
                )
                files = write_model(format, module, temporary, calibration)
                accuracy = accuracy_kept(run, temporary / files[0], classifier)
            check_loss(accuracy, max_loss)
            measured["accuracy"] = accuracy
        if quantize:  # features and probabilities are others than those that validation saw
            facts = replace(facts, reference=None, thresholds={})
        if facts.reference is not None:
            shutil.copyfile(bundle / REFERENCE, temporary / REFERENCE)
            files.append(REFERENCE)
        description: dict[str, Any] = {
            "format": 1,
            "runtime": format,
            "precision": quantize or "fp32",
            "preparation": preparation,
            "weights_sha256": read_facts(bundle / "model.json")[1],
            "files": {
                name: hashlib.sha256((temporary / name).read_bytes()).hexdigest() for name in files
            },
            "facts": asdict(facts),
        }
        measured |= compared(temporary / files[0], description, module, contents, temporary)
        finish(temporary, description | measured)
    return description | measured | {"folder": folder}


def finish(folder: Path, description: dict[str, Any]) -> None:
    """Write the description and the script, then open the folder as a user would."""
    from resnetlab.deploy.export.exported import DESCRIPTION, load_exported
    from resnetlab.deploy.export.script import script_for

    inside = description["preparation"] == "inside"
    script = script_for(description["runtime"], description["facts"]["fit"], inside)
    write_text(folder / "predict.py", script)
    write_json(folder / DESCRIPTION, description)
    load_exported(folder)


def require_replaceable(folder: Path) -> None:
    """Raise MachineError where a folder can't be written, or holds what no export has put there."""
    from resnetlab.deploy.export.exported import is_exported

    require_writable(folder.parent)
    if folder.exists() and not is_exported(folder):
        require_empty(folder)


@contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """Give a new folder beside this one; on success it takes the place of what was there."""
    temporary = folder.with_name(f".{folder.name}.new")
    before = folder.with_name(f".{folder.name}.before")
    for leftover in (temporary, before):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if folder.exists():
            folder.rename(before)
        temporary.rename(folder)
        sync(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(before, ignore_errors=True)


def some_images(model: Path, images: Path | None, prepare: "Preparation") -> list[bytes]:
    """Return the files to compare on, all of them sound. Raises DataError where there are none."""
    from resnetlab.data.catalog import Catalog
    from resnetlab.data.sources.reader import Reader
    from resnetlab.data.sources.unlabelled import read_unlabelled
    from resnetlab.data.store.decode import ImageProblem

    if images is not None:
        reads = list(read_unlabelled([images]).values())
    elif (model / "catalog.parquet").is_file():
        catalog = Catalog.load(model / "catalog.parquet")
        rows = catalog.rows("val") if len(catalog.rows("val")) else catalog.rows("train")
        read = Reader(catalog.root)
        reads = [partial(read, catalog.paths[row]) for row in rows]
    else:
        reads = []
    found = []
    for read_one in reads[:: max(1, -(-len(reads) // COMPARED))]:
        try:
            content = read_one()
            prepare(content)
            found.append(content)
        except (OSError, ImageProblem):
            continue
    if not found:
        raise DataError(
            f"{images or model}: no image to compare the exported model with the original on; give "
            "some by --images FOLDER"
        )
    return found


def compared(
    file: Path,
    description: dict[str, Any],
    module: "FromImages",
    contents: Sequence[bytes],
    folder: Path,
) -> dict[str, Any]:
    """Return how an exported model compares with the original, and the test images that go with it.

    Raises CheckpointError where it is too far off.
    """
    from resnetlab.deploy.bundle import facts_from
    from resnetlab.deploy.export.comparison import by_files, check_limit, compare_on, milliseconds
    from resnetlab.deploy.export.exported import OPENERS
    from resnetlab.deploy.preparation import Preparation
    from resnetlab.deploy.runtime import probabilities_by
    from resnetlab.deploy.runtimes import by_torch

    prepare = Preparation.of(facts_from(description["facts"]))
    decoded = [prepare.decoded(content) for content in contents]
    views = np.stack([prepare.square(pixels) for pixels in decoded])
    original = by_torch(module.classifier)
    expected = probabilities_by(original, views)
    compute = OPENERS[description["runtime"]](file)
    own = probabilities_by(compute, views)
    exact = description["precision"] == "fp32"
    comparison: dict[str, Any] = {"prepared": compare_on(own, expected)}
    if module.preparation is not None:
        comparison["files"] = compare_on(by_files(compute, contents), expected)
    for what, each in comparison.items():
        if exact:
            check_limit(what, each)
    comparison["ms"] = milliseconds(compute, views)
    comparison["torch_ms"] = milliseconds(original, views)
    comparison["bytes"] = sum((folder / name).stat().st_size for name in description["files"])
    return {
        "comparison": comparison,
        "check": stored_images(folder, decoded, expected if exact else own),
    }


def stored_images(
    folder: Path, decoded: Sequence[np.ndarray], probs: np.ndarray
) -> dict[str, list[Any]]:
    """Keep some reduced images beside the model, with the probabilities that it must give."""
    from PIL import Image

    chosen = np.unique(np.linspace(0, len(decoded) - 1, min(STORED, len(decoded))).astype(int))
    names = [f"check-{number}.png" for number in range(len(chosen))]
    for name, row in zip(names, chosen, strict=True):
        Image.fromarray(decoded[row]).save(folder / name)
    return {"images": names, "probabilities": probs[chosen].tolist()}


def calibration_of(run: Run) -> "Calibration":
    """Return prepared images of a run's training split, from which 8 bits take their ranges."""
    from resnetlab.data.batches import samples_of
    from resnetlab.deploy.export.formats import Calibration
    from resnetlab.runs.reopen import reopen_data

    catalog, store, _ = reopen_data(run, run.recipe, None)
    images, _ = spread(samples_of(catalog, store, "train"), CALIBRATING, run)
    return Calibration(images)


def labelled_images(run: Run) -> list[tuple[np.ndarray, int]]:
    """Return prepared images of a run's validation split with their classes, some of many."""
    from resnetlab.data.batches import samples_of
    from resnetlab.runs.reopen import reopen_data

    catalog, store, _ = reopen_data(run, run.recipe, None)
    images, labels = spread(samples_of(catalog, store, "val"), LABELLED, run)
    return list(zip(images, labels.tolist(), strict=True))


def spread(samples: "Samples", most: int, run: Run) -> tuple[list[np.ndarray], np.ndarray]:
    """Return so many of a split's images at most, prepared, and their labels."""
    from resnetlab.training.inputs import plain_view

    rows = np.arange(len(samples))[:: max(1, -(-len(samples) // most))]
    batch = samples.batch(rows, plain_view(run.recipe))
    return list(np.asarray(batch.images)), np.asarray(batch.labels)


def accuracy_kept(run: Run, file: Path, classifier: "Classifier") -> dict[str, Any]:
    """Return the validation accuracy of the original and in 8 bits, and what is lost, with its interval.

    Raises DataError without validation images.
    """
    from resnetlab.data.batches import batches, plan_evaluation, samples_of
    from resnetlab.deploy.export.exported import open_openvino
    from resnetlab.deploy.runtimes import by_torch
    from resnetlab.evaluation.paired import paired_interval
    from resnetlab.runs.reopen import reopen_data
    from resnetlab.training.inputs import plain_view

    catalog, store, _ = reopen_data(run, run.recipe, None)
    samples = samples_of(catalog, store, "val")
    if not len(samples):
        raise DataError(f"{run.folder}: has no validation images to measure the loss of 8 bits on")
    right: dict[str, list[np.ndarray]] = {"original": [], "int8": []}
    computes = {"original": by_torch(classifier), "int8": open_openvino(file)}
    for batch in batches(samples, plan_evaluation(len(samples), 64), plain_view(run.recipe), 0):
        for name, compute in computes.items():
            found = compute(np.asarray(batch.images)).logits.argmax(axis=1)
            right[name].append(found == np.asarray(batch.labels))
    before, after = (np.concatenate(right[name]) for name in ("original", "int8"))
    lost, won = int((before & ~after).sum()), int((after & ~before).sum())
    loss = paired_interval(lost, won, len(samples))
    return {
        "images": len(samples),
        "original": float(before.mean()),
        "int8": float(after.mean()),
        "loss": dict(loss),
    }


def check_loss(accuracy: dict[str, Any], max_loss: float) -> None:
    """Raise CheckpointError where 8 bits lose more accuracy than `max_loss`."""
    loss = accuracy["loss"]
    if loss["value"] > max_loss:
        raise CheckpointError(
            f"8 bits lose {loss['value']:.2%} of accuracy on {accuracy['images']} validation images (95% interval "
            f"{loss['low']:.2%} to {loss['high']:.2%}), allowed are {max_loss:.2%}; nothing was written. "
            "Leave --quantize out, or allow more by --max-loss"
        )
