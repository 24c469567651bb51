"""Accuracy by minute: everybody fine-tunes the same network for the same time."""

import math
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any

from benchmarks.lite0 import divided
from benchmarks.manners import Task, evaluation, fastai_learner, loader_for
from benchmarks.plan import Metrics, Settings


def our_race(settings: Settings) -> Metrics:
    """`resnetlab train FOLDER --budget`, with an empty cache, as a command; its lines have the way."""
    marks: dict[int, float] = {}
    with tempfile.TemporaryDirectory(dir=settings.work) as out:
        environment = os.environ | {"RESNETLAB_CACHE": f"{out}/cache"}
        command = [sys.executable, "-m", "resnetlab", "train", str(divided(settings))]
        command += ["--out", f"{out}/runs", "--budget", f"{settings.minutes}m"]
        command += ["--set", "data.max_problem_frac=1.0", "--split", "0.8", "0.2", "0"]
        started = time.monotonic()
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        for line in process.stderr or ():
            if found := re.search(r"^(?:head|epoch) .*validation .*?accuracy ([\d.]+)%", line):
                minute = math.ceil((time.monotonic() - started) / 60)
                marks[minute] = max(marks.get(minute, 0.0), float(found.group(1)) / 100)
        if process.wait():
            raise SystemExit(f"resnetlab train ended with {process.returncode}")
        total = (time.monotonic() - started) / 60
    return by_minute(marks, settings) | {"whole command, min": total}


def race(manner: Callable[[Settings], Task], settings: Settings) -> Metrics:
    """Train for the minutes; score after each of them, while the clock stands still."""
    import torch

    task = manner(settings)
    rates = [group["lr"] for group in task.optimizer.param_groups]
    limit, worked, marks = 60.0 * settings.minutes, 0.0, []
    task.network.train()
    for step, (images, labels) in enumerate(forever(task.loader)):
        started = time.monotonic()
        for group, rate in zip(task.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * task.lr(worked / limit)
        (task.loss(task.network(images), labels) / task.accumulate).backward()
        if (step + 1) % task.accumulate == 0:
            if task.clip:
                torch.nn.utils.clip_grad_norm_(task.network.parameters(), task.clip)
            task.optimizer.step()
            task.optimizer.zero_grad()
        worked += time.monotonic() - started + task.loader.seconds
        if worked >= 60.0 * (len(marks) + 1) or worked >= limit:
            marks.append(accuracy_of(task.network, settings))
        if worked >= limit:
            break
    return by_minute(dict(enumerate(marks, 1)), settings)


def fastai_race(settings: Settings) -> Metrics:
    """`fine_tune` with as many epochs as fit, one at least; scored by itself after each, which isn't counted."""
    from fastai.vision.all import Callback

    worked, marks = 0.0, {}

    class Timer(Callback):  # type: ignore[misc]
        order = 60  # after fastai's recorder, which has the scores

        def before_train(self) -> None:
            self.started = time.monotonic()

        def after_train(self) -> None:
            nonlocal worked
            worked += time.monotonic() - self.started

        def after_epoch(self) -> None:
            marks[math.ceil(worked / 60)] = float(self.learn.recorder.values[-1][-1])

    learner = fastai_learner(settings)
    with learner.no_bar():
        learner.fit(1, cbs=Timer())  # how long an epoch takes with the body frozen
        frozen, worked = worked, 0.0
        epochs = max(1, int((60 * settings.minutes - frozen) / (2.5 * frozen)))
        learner = fastai_learner(settings, Timer())
        with learner.no_bar():
            learner.fine_tune(epochs)
    ended = {"whole command, min": worked / 60, "at its end": f"{max(marks.values()):.1%}"}
    return by_minute(marks, settings) | ended


def forever(loader: Any) -> Iterator[Any]:
    """Yield batches, epoch after epoch."""
    while True:
        yield from loader


def accuracy_of(network: Any, settings: Settings) -> float:
    """Score a network on the images that validate, resized and cropped as is customary."""
    import torch

    was_training = network.training
    network.eval()
    correct, total = 0, 0
    with torch.inference_mode():
        for images, labels in loader_for(settings, "val", evaluation(settings), shuffle=False):
            correct += int((network(images).argmax(dim=1) == labels).sum())
            total += len(labels)
    network.train(was_training)
    return correct / total


def by_minute(marks: dict[int, float], settings: Settings) -> Metrics:
    """Return the best accuracy so far after each minute; 0 before the first."""
    minutes = range(1, settings.minutes + 1)
    best = accumulate((marks.get(minute, 0.0) for minute in minutes), max)
    return {f"{minute} min": f"{value:.1%}" for minute, value in zip(minutes, best, strict=True)}
