"""The ways to compute the same network: PyTorch, OpenVINO, ONNX Runtime; in fp32, bf16 or int8.

Torch is imported where it computes or converts, so that names can be checked without it.
"""

import contextlib
import io
import logging
from collections.abc import Callable
from functools import cache, partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from resnetlab.deploy.tracing import alone
from resnetlab.errors import MachineError, RecipeError, one_line
from resnetlab.recipe import did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

    from resnetlab.models.classifier import Classifier


class Output(NamedTuple):
    """What a network gives for B images: logits (B, K), and features (B, D) where the runtime has them."""

    logits: np.ndarray
    features: np.ndarray | None = None


Compute = Callable[[np.ndarray], Output]  # images uint8 (B, S, S, 3)

PART = 2  # images that a thread computes at once: more leave its caches

CONVERTED = ("openvino", "openvino-bf16", "openvino-int8", "onnx")  # on a processor alone
NEEDS = {
    "openvino": ("openvino", "onnx"),
    "openvino-bf16": ("openvino", "onnx"),
    "openvino-int8": ("openvino", "onnx", "nncf"),
    "onnx": ("onnxruntime", "onnx"),
}


def make_compute(name: str, classifier: "Classifier", samples: np.ndarray) -> Compute:
    """Return what computes logits by the backend of this name; see BACKENDS.

    `classifier` is folded, in evaluation mode, channels last. `samples`, uint8 (P, S, S, 3), are
    images of the kind to come: int8 takes the range of its numbers from them. Raises MachineError
    where the network can't be converted.
    """
    if name not in CONVERTED:
        return BACKENDS[name](classifier, samples)
    try:
        return BACKENDS[name](classifier, samples)
    except Exception as error:  # whatever a foreign converter raises, the way out is the same
        raise MachineError(
            f"backend '{name}' can't take this network ({one_line(error)}); use --backend torch"
        ) from error


def check_backend(name: str, device: str) -> None:
    """Raise RecipeError for no backend, or one of no use on the device, MachineError for one not here."""
    if name == "auto":
        return
    if name not in BACKENDS:
        raise RecipeError(
            f"backend must be one of auto, {', '.join(BACKENDS)}. Got {name!r} instead"
            f"{did_you_mean(name, BACKENDS)}"
        )
    if name in CONVERTED and device != "cpu":
        raise RecipeError(f"backend '{name}' computes on the processor; on {device} use torch")
    lacking = [package for package in NEEDS.get(name, ()) if not find_spec(package)]
    if lacking:
        extra = "int8" if "nncf" in lacking else "fast"
        raise MachineError(
            f"backend '{name}' needs {' and '.join(lacking)}: pip install 'resnetlab[{extra}]'"
        )


def installed(name: str) -> bool:
    """Return whether what a backend needs is there."""
    return all(find_spec(package) for package in NEEDS.get(name, ()))


def by_torch(classifier: "Classifier", low: bool = False) -> Compute:
    """Compute by PyTorch in fp32; `low`: all but the head in bf16."""
    import torch

    device = classifier.mean.device

    def compute(images: np.ndarray) -> Output:
        batch = torch.from_numpy(images).permute(0, 3, 1, 2).to(device)
        with alone, torch.inference_mode():
            with torch.autocast(device.type, torch.bfloat16, enabled=low):
                features = classifier.features(batch)
            features = features.float()  # bf16 would round the logits
            logits: Tensor = classifier.head(features)
            return Output(logits.cpu().numpy(), features.cpu().numpy())

    return compute


def by_openvino(classifier: "Classifier", samples: np.ndarray, precision: str = "f32") -> Compute:
    """Compute by OpenVINO in 'f32', 'bf16' or 'i8', with as many threads as PyTorch."""
    import openvino
    import torch

    from resnetlab.deploy.graph import as_onnx

    core = openvino.Core()
    model = core.read_model(as_onnx(classifier, samples.shape[1]))
    if precision == "i8":
        model = quantised(model, samples)
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    told = precision != "i8"  # in 8 bits features lie elsewhere than those they are compared with
    at_once = core.compile_model(model, "CPU", settings | {"PERFORMANCE_HINT": "LATENCY"})

    @cache
    def streams() -> Any:
        many = settings | {"NUM_STREAMS": settings["INFERENCE_NUM_THREADS"]}
        return openvino.AsyncInferQueue(core.compile_model(model, "CPU", many))

    def compute(images: np.ndarray) -> Output:
        if len(images) <= PART:  # all threads on each image
            found = at_once(images)
            # They lie in memory that the next call writes into.
            return Output(np.array(found[0]), np.array(found[1]) if told else None)
        outputs: dict[int, Output] = {}

        def keep(request: Any, start: int) -> None:
            logits, *features = [
                np.array(request.get_output_tensor(n).data) for n in range(1 + told)
            ]
            outputs[start] = Output(logits, *features)

        queue = streams()
        queue.set_callback(keep)
        for start in range(
            0, len(images), PART
        ):  # each thread on images of its own: none waits for another
            queue.start_async([images[start : start + PART]], start)
        queue.wait_all()
        parts = [outputs[start] for start in sorted(outputs)]
        logits = np.concatenate([part.logits for part in parts])
        features = [part.features for part in parts if part.features is not None]
        return Output(logits, np.concatenate(features) if features else None)

    return compute


def quantised(model: Any, samples: np.ndarray) -> Any:
    """Return an OpenVINO model in whole numbers of 8 bits, their ranges taken from `samples`."""
    import nncf

    nncf.set_log_level(logging.ERROR)
    dataset = nncf.Dataset([image[None] for image in samples])
    with contextlib.redirect_stdout(io.StringIO()):  # it draws bars where results belong
        return nncf.quantize(model, dataset, subset_size=len(samples))


def by_onnx(classifier: "Classifier", samples: np.ndarray) -> Compute:
    """Compute by ONNX Runtime in fp32, with as many threads as PyTorch."""
    import onnxruntime
    import torch

    from resnetlab.deploy.graph import IMAGES, as_onnx

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    content = as_onnx(classifier, samples.shape[1])
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def compute(images: np.ndarray) -> Output:
        return Output(*session.run(None, {IMAGES: images}))

    return compute


BACKENDS: dict[str, Callable[["Classifier", np.ndarray], Compute]] = {
    "torch": lambda classifier, _: by_torch(classifier),
    "torch-bf16": lambda classifier, _: by_torch(classifier, low=True),
    "openvino": by_openvino,
    "openvino-bf16": partial(by_openvino, precision="bf16"),
    "openvino-int8": partial(by_openvino, precision="i8"),
    "onnx": by_onnx,
}
