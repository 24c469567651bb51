"""What a server takes at most, so that no request can exhaust it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The most of each: bytes of a body, images in it, requests at once, seconds a request may take.

    `batch` are the images that are computed together; 1: each alone. How many pixels an image may have
    stands in the bundle.
    """

    body: int = 32 * 1024 * 1024
    images: int = 32
    requests: int = 64
    seconds: float = 30.0
    batch: int = 16


class Refusal(Exception):
    """A request that gets no answer but a status and the reason, as JSON."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status, self.why = status, why
