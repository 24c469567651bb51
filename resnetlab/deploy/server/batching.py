"""Images of several requests computed together: what waits while one batch is computed is the next."""

import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import groupby

from resnetlab.deploy.predictor import Answer, Predictor, Views
from resnetlab.deploy.server.metrics import Metrics


@dataclass
class Job:
    """One prepared image, the model that it was prepared for, and where its answer goes."""

    predictor: Predictor
    views: Views
    result: "Future[Answer]" = field(default_factory=Future)


class Batcher:
    """One thread that computes whatever waits, at most `most` images at once, each by its own model."""

    def __init__(self, most: int, metrics: Metrics) -> None:
        self.most, self.metrics = most, metrics
        self.waiting: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._work, name="compute", daemon=True)
        self.thread.start()

    def submit(self, predictor: Predictor, views: Views) -> "Future[Answer]":
        """Queue an image; its answer comes as a future."""
        job = Job(predictor, views)
        self.waiting.put(job)
        return job.result

    def close(self) -> None:
        """Compute what still waits, and end."""
        self.waiting.put(None)
        self.thread.join()

    def _work(self) -> None:
        while jobs := self._next():
            for _, same in groupby(jobs, key=lambda job: id(job.predictor)):
                self._compute(list(same))

    def _next(self) -> list[Job]:
        """Wait for an image, and take those that wait with it; nothing at the end."""
        jobs: list[Job] = []
        while len(jobs) < self.most:
            try:
                job = self.waiting.get(block=not jobs)
            except queue.Empty:
                break
            if job is None:
                if jobs:
                    self.waiting.put(None)  # for the next round
                break
            if job.result.set_running_or_notify_cancel():  # else nobody waits for it any more
                jobs.append(job)
        return jobs

    def _compute(self, jobs: Sequence[Job]) -> None:
        try:
            answers = jobs[0].predictor.answers([job.views for job in jobs])
        except Exception as error:  # told to each request; the thread must live
            for job in jobs:
                job.result.set_exception(error)
            return
        self.metrics.batch(len(jobs))
        for job, each in zip(jobs, answers, strict=True):
            job.result.set_result(each)
