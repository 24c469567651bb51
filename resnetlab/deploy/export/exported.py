"""A model exported for another runtime: a folder that is enough to predict, without torch."""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from resnetlab.deploy.bundle import BundleFacts, facts_from
from resnetlab.deploy.preparation import Preparation
from resnetlab.deploy.runtime import Runtime, probabilities_by
from resnetlab.deploy.runtimes import Compute, Output
from resnetlab.errors import CheckpointError, MachineError, one_line
from resnetlab.system.files import damaged, read_json
from resnetlab.system.progress import log

FORMAT = 1
DESCRIPTION = "export.json"
IMAGES, PROBABILITIES, LOGITS = "images", "probabilities", "logits"  # what goes in and comes out
FEATURES = "features"  # of fp32; a model from before has none
READY = ("onnx", "openvino")  # folders of a bundle that are looked into, the quickest to load first
PACKAGES = {"onnx": "onnxruntime", "openvino": "openvino", "torch": "torch"}
# On the stored images, by this machine's arithmetic: in fp32 only the order of sums may differ.
ALLOWED = {"fp32": 1e-3, "int8": 0.1}


@dataclass(frozen=True)
class Exported:
    """An exported model, checked on the images stored with it; `digest` tells the weights it is of."""

    folder: Path
    digest: str
    facts: BundleFacts
    runtime: Runtime


def is_exported(folder: Path) -> bool:
    """Return whether a folder holds an exported model."""
    return (folder / DESCRIPTION).is_file()


def ready_in(bundle: Path, digest: str, names: Sequence[str] = READY) -> Exported | None:
    """Return the first model in fp32 that was exported into a bundle with weights of this checksum.

    `names` are the folders looked into. None where there is none, or what runs it isn't installed.
    One of other weights is not used, and that is said.
    """
    for name in names:
        folder = bundle / name
        if not is_exported(folder) or find_spec(PACKAGES[name]) is None:
            continue
        if read_json(folder / DESCRIPTION, dict).get("weights_sha256") == digest:
            return load_exported(folder)
        log(f"note: {folder} was exported from other weights and is not used; export again")
    return None


def load_exported(folder: Path) -> Exported:
    """Return a folder's model, once it answers its stored images as it did when it was made.

    Raises CheckpointError where it is damaged or answers otherwise, MachineError where what runs it
    is not installed.
    """
    path = folder / DESCRIPTION
    values: dict[str, Any] = read_json(path, dict)
    if values.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: is of format {values.get('format')}, this version of resnetlab reads format "
            f"{FORMAT}; update resnetlab"
        )
    try:
        facts = facts_from(values["facts"])
        kind, precision = values["runtime"], values["precision"]
        files, stored, of = values["files"], values["check"], values["weights_sha256"]
        open_model, package = OPENERS[kind], PACKAGES[kind]
    except (KeyError, TypeError) as error:
        raise damaged(path, f"lacks {one_line(error)}") from error
    for name, digest in files.items():
        check_file(folder / name, digest)
    if find_spec(package) is None:
        raise MachineError(f"{folder}: needs the package {package}: pip install 'resnetlab[fast]'")
    try:
        compute = open_model(folder / next(iter(files)))
    except Exception as error:  # whatever a foreign runtime raises on a file that it doesn't take
        raise CheckpointError(f"{folder}: {package} can't load it ({one_line(error)})") from error
    check_answers(folder, compute, facts, stored, ALLOWED[precision])
    return Exported(folder, of, facts, Runtime(f"{kind} (exported)", compute, precision=precision))


def check_file(path: Path, digest: str) -> None:
    """Raise CheckpointError where a file is not the one that was exported."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: can't be read ({error.strerror}); export again") from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise CheckpointError(f"{path}: is damaged (its checksum differs); export again")


def check_answers(
    folder: Path, compute: Compute, facts: BundleFacts, stored: dict[str, Any], allowed: float
) -> None:
    """Raise CheckpointError where a model answers the images stored with it otherwise than the original."""
    prepare = Preparation.of(facts)
    try:
        views = [prepare.square(read_pixels(folder / name)) for name in stored["images"]]
        expected = np.array(stored["probabilities"], dtype=np.float64)
        difference = float(np.abs(probabilities_by(compute, np.stack(views)) - expected).max())
    except (KeyError, ValueError, OSError) as error:
        raise damaged(folder / DESCRIPTION, f"its test images: {one_line(error)}") from error
    if not difference <= allowed:
        raise CheckpointError(
            f"{folder}: answers the images stored with it otherwise than when it was made (a "
            f"probability is {difference:.2g} off, allowed are {allowed:g}); export again on this machine"
        )


def read_pixels(path: Path) -> np.ndarray:
    """Return the RGB pixels of a PNG, uint8 (H, W, 3). Raises OSError."""
    pixels: Any = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR_RGB)
    if pixels is None:
        raise OSError(f"{path.name} is no image")
    return np.asarray(pixels)


def thread_count() -> int:
    """Return how many threads may compute: what OMP_NUM_THREADS allows, else one a core."""
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return int(allowed) if allowed.isdigit() and int(allowed) else cores or 1


def open_onnx(path: Path) -> Compute:
    """Open an ONNX file for ONNX Runtime on the processor."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = thread_count()
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])

    names = [each for each in (LOGITS, FEATURES) if each in {o.name for o in session.get_outputs()}]

    def compute(images: np.ndarray) -> Output:
        return Output(*session.run(names, {IMAGES: images}))

    return compute


def open_openvino(path: Path) -> Compute:
    """Open OpenVINO's file for the processor, in fp32 where it isn't quantised."""
    import openvino

    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": thread_count(),
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    names = {name for output in compiled.outputs for name in output.get_names()}

    def compute(images: np.ndarray) -> Output:
        found = compiled({IMAGES: images})
        # They lie in memory that the next call writes into.
        return Output(*(np.array(found[each]) for each in (LOGITS, FEATURES) if each in names))

    return compute


def open_torch(path: Path) -> Compute:
    """Open what torch.export saved."""
    import torch

    module = torch.export.load(path).module()

    def compute(images: np.ndarray) -> Output:
        with torch.inference_mode():
            _, *found = module(torch.tensor(images))  # a copy: images may be read-only
        return Output(*map(np.asarray, found))

    return compute


OPENERS: dict[str, Callable[[Path], Compute]] = {
    "onnx": open_onnx,
    "openvino": open_openvino,
    "torch": open_torch,
}
