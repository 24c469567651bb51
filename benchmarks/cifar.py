"""CIFAR-10: accuracy over minutes, of runs that are finished or, without any, of three new ones."""

import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks.plan import Comparison, Metrics, Settings

SEEDS = (0, 1, 2)
TRAIN = "train DIR --recipe cifar10-fast --seed {} --out OUT"


def comparisons(settings: Settings) -> tuple[Comparison, ...]:
    """Return the runs to be described: those in a folder, or one for each seed."""
    title = "CIFAR-10, accuracy over minutes"
    if settings.runs:
        folders = sorted(path.parent for path in Path(settings.runs).glob("*/metrics.json"))
        runs = {folder.name: partial(finished, folder) for folder in folders}
        return (Comparison(title, runs, repeat=False),)
    runs = {f"seed {seed}": partial(train, seed) for seed in SEEDS}
    note = f"`resnetlab {TRAIN.format('N')}`, the whole command; then `resnetlab evaluate RUN`."
    return (Comparison(title, runs, note, repeat=False),)


def prepare(settings: Settings) -> None:
    """Nothing is made up here: the images must be there."""
    if not (settings.small or settings.runs):
        raise SystemExit("the part cifar needs --small, CIFAR-10 as folders, or --runs")


def train(seed: int, settings: Settings) -> Metrics:
    """Run both commands with an empty cache; the clock covers the first, decoding and report too."""
    with tempfile.TemporaryDirectory(dir=settings.work) as out:
        environment = os.environ | {"RESNETLAB_CACHE": f"{out}/cache"}
        resnetlab = partial(subprocess.run, check=True, env=environment)
        places = {"DIR": settings.small, "OUT": f"{out}/runs"}
        words = [places.get(word, word) for word in TRAIN.format(seed).split()]
        started = time.monotonic()
        resnetlab([sys.executable, "-m", "resnetlab", *words])
        minutes = (time.monotonic() - started) / 60
        (run,) = Path(out, "runs").iterdir()
        resnetlab([sys.executable, "-m", "resnetlab", "evaluate", run])
        return {"whole command, min": minutes} | finished(run, settings)


def finished(run: Path, _: Settings) -> Metrics:
    """Read a run: test accuracy where the test split was opened, and the way there by validation."""
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    minutes = metrics["training"]["seconds"] / 60
    with (run / "history.csv").open(encoding="utf-8") as file:
        epochs = list(csv.DictReader(file))
    part = "val" if epochs[0]["val_accuracy"] else "train"
    way = [float(epoch[f"{part}_accuracy"]) for epoch in epochs]
    shown = sorted({round(len(way) * share / 4) for share in (1, 2, 3, 4)} - {0})
    steps = (f"{minutes * epoch / len(way):.1f} min {way[epoch - 1]:.1%}" for epoch in shown)
    test = metrics.get("test", {}).get("accuracy")
    return {
        "test accuracy": "{value:.2%} ({low:.2%} to {high:.2%})".format(**test) if test else "",
        "training, min": minutes,
        "on the way": f"{part}: {', '.join(steps)}",
    }
