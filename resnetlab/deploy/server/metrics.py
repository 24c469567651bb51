"""Counters in the text form that Prometheus reads."""

from bisect import bisect_left
from collections import Counter
from threading import Lock

BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # upper ends, seconds


class Metrics:
    """How many requests, with which status and how long; how many images and batches; drift."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.requests: Counter[tuple[str, int]] = Counter()
        self.within: Counter[int] = Counter()
        self.seconds = 0.0
        self.images = self.batches = self.active = self.models = 0
        self.out_of_distribution = self.drifted = 0
        self.drift_p = 1.0  # of the last window of images, see deploy.server.answering

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        with self.lock:
            self.requests[path, status] += 1
            if path == "/predict":
                self.within[bisect_left(BUCKETS_S, seconds)] += 1
                self.seconds += seconds

    def batch(self, images: int) -> None:
        """Count a batch that was computed."""
        with self.lock:
            self.batches += 1
            self.images += images

    def text(self) -> str:
        """Return all of it as Prometheus reads it."""
        with self.lock:
            lines = ["# TYPE resnetlab_requests_total counter"]
            lines += [
                f'resnetlab_requests_total{{path="{path}",status="{status}"}} {count}'
                for (path, status), count in sorted(self.requests.items())
            ]
            lines.append("# TYPE resnetlab_request_seconds histogram")
            below = 0
            for place, end in enumerate((*map(str, BUCKETS_S), "+Inf")):
                below += self.within[place]
                lines.append(f'resnetlab_request_seconds_bucket{{le="{end}"}} {below}')
            lines += [
                f"resnetlab_request_seconds_sum {self.seconds:.6f}",
                f"resnetlab_request_seconds_count {below}",
            ]
            for name, kind, value in (
                ("images_total", "counter", self.images),
                ("batches_total", "counter", self.batches),
                ("models_loaded_total", "counter", self.models),
                ("requests_active", "gauge", self.active),
                ("out_of_distribution_total", "counter", self.out_of_distribution),
                ("drifted_windows_total", "counter", self.drifted),
                ("drift_p_value", "gauge", self.drift_p),
            ):
                lines += [f"# TYPE resnetlab_{name} {kind}", f"resnetlab_{name} {value}"]
        return "\n".join(lines) + "\n"
