"""How an image reaches a network: the same way in training, evaluation, prediction and server."""

from dataclasses import dataclass

import numpy as np

from resnetlab.data.augment.draw import PLAIN
from resnetlab.data.augment.render import render
from resnetlab.data.store.decode import decode
from resnetlab.deploy.bundle import BundleFacts


@dataclass(frozen=True)
class Preparation:
    """What a bundle's facts say about preparing an image; two models may share it.

    Decoded, reduced to `short_side` px, cut or squeezed (`fit`) to a square of `image_size` px.
    """

    image_size: int
    short_side: int
    fit: str
    max_pixels: int
    value_range: tuple[float, float] | None

    @classmethod
    def of(cls, facts: BundleFacts) -> "Preparation":
        """Return the preparation that a bundle asks for."""
        return cls(
            facts.image_size, facts.short_side, facts.fit, facts.max_pixels, facts.value_range
        )

    def __call__(self, content: bytes) -> np.ndarray:
        """Return a file's image, uint8 (S, S, 3). Raises ImageProblem with the reason."""
        return self.square(self.decoded(content))

    def decoded(self, content: bytes) -> np.ndarray:
        """Return a file's image upright and reduced, uint8 (H, W, 3). Raises ImageProblem."""
        return decode(
            content, self.short_side, self.max_pixels, value_range=self.value_range
        ).pixels

    def square(self, pixels: np.ndarray) -> np.ndarray:
        """Return the network's view, uint8 (S, S, 3), of reduced pixels (H, W, 3)."""
        out = np.empty((self.image_size, self.image_size, 3), dtype=np.uint8)
        render(pixels, PLAIN, np.zeros(3), self.fit, out)
        return out
