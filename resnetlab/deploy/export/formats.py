"""Files of other runtimes, written from a classifier: ONNX, OpenVINO, torch.export."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from resnetlab.deploy.export.exported import FEATURES, IMAGES, LOGITS, PROBABILITIES
from resnetlab.deploy.export.inside import FromImages
from resnetlab.deploy.graph import onnx_bytes
from resnetlab.errors import MachineError, RecipeError, one_line
from resnetlab.system.requirements import require_package

MOST_PX = 65535  # sides of an image that torch.export is told of
NEEDED = {"onnx": ("onnx", "onnxruntime"), "openvino": ("onnx", "openvino"), "torch": ()}


def check_format(name: str, quantize: str | None) -> None:
    """Raise RecipeError for what can't be asked for, MachineError where a package is missing."""
    if name not in WRITERS:
        raise RecipeError(f"--format must be one of {', '.join(WRITERS)}. Got '{name}'")
    if quantize not in (None, "int8"):
        raise RecipeError(f"--quantize must be int8. Got '{quantize}'")
    if quantize and name != "openvino":
        raise RecipeError(f"--quantize int8 goes with --format openvino. Got --format {name}")
    for package in NEEDED[name]:
        require_package(package, f"--format {name}", "fast")
    if quantize:
        require_package("nncf", "--quantize int8", "int8")


@dataclass(frozen=True)
class Calibration:
    """Prepared images (S, S, 3), from which 8 bits take their ranges.

    With `labelled`, images and their classes, the layers that cost accuracy stay as they were until what is
    lost on those is at most `most_lost`.
    """

    images: Sequence[np.ndarray]
    labelled: Sequence[tuple[np.ndarray, int]] = ()
    most_lost: float = 0.0


def write_model(
    name: str, module: FromImages, folder: Path, calibration: Calibration | None = None
) -> list[str]:
    """Write a module's files into a folder; return their names, first the one to open.

    With a calibration the network computes in whole numbers of 8 bits. Raises MachineError where the
    runtime can't take the network.
    """
    try:
        return WRITERS[name](module, folder, calibration)
    except Exception as error:  # whatever a foreign converter raises, the way out is the same
        raise MachineError(
            f"--format {name} can't take this network ({one_line(error)}); try another format"
        ) from error


def as_onnx_model(module: FromImages) -> bytes:
    """Return a module as an ONNX file's bytes, for any number of images, of any size where it prepares them."""
    any_size = {1: "H", 2: "W"} if module.preparation else {}
    axes = {name: {0: "B"} for name in (PROBABILITIES, LOGITS, FEATURES)}
    axes = {IMAGES: {0: "B"} | any_size} | axes
    return onnx_bytes(module, example_for(module), axes)


def example_for(module: FromImages) -> torch.Tensor:
    """Return images to trace a module with: two of them, not square, so that no axis is taken for another."""
    side = module.image_size
    shape = (2, side + 40, side + 24, 3) if module.preparation else (2, side, side, 3)
    return torch.zeros(shape, dtype=torch.uint8)


def write_onnx(module: FromImages, folder: Path, _: Any) -> list[str]:
    """Write model.onnx."""
    import onnx

    content = as_onnx_model(module)
    onnx.checker.check_model(content)
    (folder / "model.onnx").write_bytes(content)
    return ["model.onnx"]


def write_openvino(module: FromImages, folder: Path, calibration: Calibration | None) -> list[str]:
    """Write model.xml and model.bin, in fp32 or quantised."""
    import openvino

    model = openvino.Core().read_model(as_onnx_model(module))
    if calibration is not None:
        model = quantised(model, calibration)
    openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)
    return ["model.xml", "model.bin"]


def quantised(model: Any, calibration: Calibration) -> Any:
    """Return an OpenVINO model whose network is in 8 bits; its preparation stays."""
    import contextlib
    import io
    import logging

    # It looks for a compiler of GPU code, and torch says aloud that there is none.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    import nncf

    nncf.set_log_level(logging.ERROR)
    # What lies in no module of the network is preparation.
    outside = nncf.IgnoredScope(patterns=["/[^/]+$"], validate=False)
    dataset = nncf.Dataset([image[None] for image in calibration.images])
    settings: dict[str, Any] = {"subset_size": len(calibration.images), "ignored_scope": outside}
    with contextlib.redirect_stdout(io.StringIO()):  # it draws bars where results belong
        if not calibration.labelled:
            found = nncf.quantize(model, dataset, **settings)
        else:
            labelled = nncf.Dataset(list(calibration.labelled), lambda pair: pair[0][None])
            found = nncf.quantize_with_accuracy_control(
                model, dataset, labelled, share_right, max_drop=calibration.most_lost, **settings
            )
    if not any(layer.get_type_name() == "FakeQuantize" for layer in found.get_ops()):
        raise RuntimeError("no layer of it can be had in 8 bits")
    return found


def share_right(model: Any, pairs: Iterable[tuple[np.ndarray, int]]) -> tuple[float, list[float]]:
    """Return the accuracy of a compiled model of OpenVINO on images and their classes, and each image's."""
    right = [float(model(image[None])[LOGITS].argmax() == label) for image, label in pairs]
    return sum(right) / len(right), right


def write_torch(module: FromImages, folder: Path, _: Any) -> list[str]:
    """Write model.pt2, which torch.export.load opens without any code of ours."""
    dim = torch.export.Dim
    sides = {1: dim("H", min=2, max=MOST_PX), 2: dim("W", min=2, max=MOST_PX)}
    shapes = {IMAGES: {0: dim("B", min=1, max=MOST_PX)} | (sides if module.preparation else {})}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(module, (example_for(module),), dynamic_shapes=shapes)
        torch.export.save(program, folder / "model.pt2")
    return ["model.pt2"]


Writer = Callable[[FromImages, Path, Calibration | None], list[str]]
WRITERS: dict[str, Writer] = {
    "onnx": write_onnx,
    "openvino": write_openvino,
    "torch": write_torch,
}
