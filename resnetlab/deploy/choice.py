"""Which way to compute: what is here is tried on some of the images, and must keep the predictions."""

import numpy as np

from resnetlab.deploy.runtime import Runtime, probabilities_by, seconds_of
from resnetlab.deploy.runtimes import Compute, installed, make_compute
from resnetlab.errors import MachineError
from resnetlab.models.classifier import Classifier
from resnetlab.training.hardware.probe import fastest_precision

COMPARED = 16  # images on which another way is held against fp32
CALIBRATED = 64  # others, from which int8 takes the range of its numbers
WORTH_S = 20.0  # work left from which converting the network, some seconds, can pay
# The most that a probability may be off: in fp32 sums are taken in another order, no more.
TOLERANCE = {"torch-bf16": 0.02, "openvino-bf16": 0.02, "openvino": 1e-4, "onnx": 1e-4}


def named(name: str, classifier: Classifier, samples: np.ndarray) -> Runtime:
    """Return the runtime that was asked for by name, held against fp32 on some samples.

    What it learns from samples (int8), it learns from others where there are two at least.
    """
    apart = np.arange(len(samples)) % (1 + CALIBRATED // COMPARED) == 0
    others = samples if apart.all() else samples[~apart]
    compute = make_compute(name, classifier, others)
    expected = probabilities_by(make_compute("torch", classifier, samples), samples[apart])
    return compare(name, compute, expected, samples[apart])


def choose(classifier: Classifier, samples: np.ndarray, count: float) -> Runtime:
    """Return the fastest runtime that keeps the predictions, for `count` images like `samples`.

    It keeps them where no probability of the samples is off by its TOLERANCE. Runtimes that convert
    the network are tried only where the work left is long enough.
    """
    device = classifier.mean.device.type
    trial = Trial(classifier, samples[:COMPARED])
    if device != "cpu" or fastest_precision() == "bf16":  # emulated, a try alone would take long
        trial.consider("torch-bf16")
    if device == "cpu" and trial.seconds * count >= WORTH_S:
        in_bf16 = trial.best.name == "torch-bf16"
        for name in ("openvino-bf16",) if in_bf16 else ("openvino", "onnx"):
            trial.consider(name)
    return trial.best


class Trial:
    """The best runtime so far, and the seconds an image takes it."""

    def __init__(self, classifier: Classifier, samples: np.ndarray) -> None:
        self.classifier, self.samples = classifier, samples
        self.exact = make_compute("torch", classifier, samples)
        self.expected = probabilities_by(self.exact, samples)
        self.best = Runtime("torch", self.exact)
        self.seconds = seconds_of(self.best, samples)

    def consider(self, name: str) -> None:
        """Take the runtime of this name where it is here, keeps the predictions and is faster."""
        if not installed(name):
            return
        try:
            compute = make_compute(name, self.classifier, self.samples)
        except MachineError:  # a network that it can't take
            return
        allowed = TOLERANCE[name]
        found = compare(name, compute, self.expected, self.samples, self.exact, allowed)
        if (
            found.difference < allowed
            and (seconds := seconds_of(found, self.samples)) < self.seconds
        ):
            self.best, self.seconds = found, seconds


def compare(
    name: str,
    compute: Compute,
    expected: np.ndarray,
    samples: np.ndarray,
    exact: Compute | None = None,
    tolerance: float = 0.0,
) -> Runtime:
    """Return the runtime with what it differs by from the `expected` probabilities of fp32."""
    found = probabilities_by(compute, samples)
    agreed = int((found.argmax(axis=1) == expected.argmax(axis=1)).sum())
    difference = float(np.abs(found - expected).max())
    return Runtime(name, compute, exact, tolerance, difference, agreed, len(samples))
