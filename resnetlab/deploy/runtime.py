"""A way to compute probabilities, and how far it is from PyTorch in fp32."""

import time
from dataclasses import dataclass

import numpy as np

from resnetlab.deploy.runtimes import Compute

TIMED = 8  # images computed against the clock


@dataclass(frozen=True)
class Runtime:
    """A way to compute probabilities, and how far it is from PyTorch in fp32.

    On `compared` images the likeliest class was the same `agreed` times and no probability was
    off by more than `difference`. With `exact`, images whose two likeliest classes could change
    places within `tolerance` are computed again by that.
    """

    name: str
    compute: Compute
    exact: Compute | None = None
    tolerance: float = 0.0
    difference: float = 0.0
    agreed: int = 0
    compared: int = 0
    precision: str = "fp32"

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Return float64 probabilities (B, K) for prepared images, uint8 (B, S, S, 3)."""
        return self.answer(images)[0]

    def answer(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return float64 probabilities (B, K) for prepared images, and features (B, D) where it gives them."""
        logits, features = self.compute(images)
        probs = softmax(logits)
        if self.exact is not None:
            close = margins(probs) < 2 * self.tolerance
            if close.any():
                probs[close] = probabilities_by(self.exact, images[close])
        return probs, features

    def __str__(self) -> str:
        """Name it, and say in a line what it costs in precision."""
        if not self.compared:
            return f"{self.name} in {self.precision}"
        kept = f"; where two classes are nearer than {2 * self.tolerance:g}, torch in fp32"
        return (
            f"{self.name} (against fp32 on {self.compared} of the images: same class "
            f"{self.agreed} times, probabilities at most {self.difference:.1g} off)"
            f"{kept if self.exact else ''}"
        )


def probabilities_by(compute: Compute, images: np.ndarray) -> np.ndarray:
    """Return float64 probabilities (B, K)."""
    return softmax(compute(images).logits)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return float64 probabilities (B, K) of logits; SciPy's takes a quarter of a second to import."""
    logits = logits.astype(np.float64)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probs: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return probs


def margins(probs: np.ndarray) -> np.ndarray:
    """Return how far the likeliest class lies before the next one, (B,)."""
    best = np.partition(probs, -2, axis=1)
    margin: np.ndarray = best[:, -1] - best[:, -2]
    return margin


def seconds_of(runtime: Runtime, samples: np.ndarray) -> float:
    """Return the seconds an image takes, once the runtime has been used before."""
    started = time.perf_counter()
    runtime.probabilities(samples[:TIMED])
    return (time.perf_counter() - started) / len(samples[:TIMED])
