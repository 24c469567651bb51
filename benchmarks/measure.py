"""A measurement is a process of its own; its result is a line in a file, so that a run can go on.

`python -m benchmarks.measure PART TITLE NAME SETTINGS` is that process.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.plan import LONG, Comparison, Settings, comparisons_of

LONGEST_S = 1800  # of a measurement, but for the long parts

Line = dict[str, Any]


def measure_part(part: str, settings: Settings, file: Path) -> None:
    """Measure what is missing of a part, the contestants in turn, and append it to the file."""
    todo = [
        (comparison.title, name, number)
        for comparison in comparisons_of(part, settings)
        for number, name in turns(comparison, settings.rounds)
        if not is_done(line_of(comparison.title, name, number, settings), read_lines(file))
    ]
    if todo and "error" in (prepared := in_process(part, "", "", settings)):
        raise SystemExit(f"{part} can't be prepared: {prepared['error']}")
    for title, name, number in todo:
        line = line_of(title, name, number, settings) | in_process(part, title, name, settings)
        with file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(line) + "\n")
        print(f"{title}: {name}: {line.get('metrics', line.get('error'))}", flush=True)


def turns(comparison: Comparison, rounds: int) -> list[tuple[int, str]]:
    """Return round and name of each measurement; every second round runs backwards.

    So a drift of the machine's speed hits all alike.
    """
    names = list(comparison.contestants)
    return [
        (number, name)
        for number in range(rounds if comparison.repeat else 1)
        for name in (names if number % 2 == 0 else reversed(names))
    ]


def line_of(title: str, name: str, number: int, settings: Settings) -> Line:
    """Return what tells a measurement from others."""
    return {"title": title, "name": name, "round": number, "settings": settings.key()}


def is_done(line: Line, lines: list[Line]) -> bool:
    """Return whether a measurement is there already; one that failed is tried again."""
    return any("metrics" in other and line.items() <= other.items() for other in lines)


def read_lines(file: Path) -> list[Line]:
    """Return all that was measured so far."""
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    return [json.loads(line) for line in text.splitlines()]


def in_process(part: str, title: str, name: str, settings: Settings) -> Line:
    """Return {'metrics': ...} or {'error': ...} of one measurement; without a title, prepare it."""
    values = json.dumps(asdict(replace(settings, started=time.monotonic())))
    command = [sys.executable, "-m", "benchmarks.measure", part, title, name, values]
    environment = os.environ | {
        "RESNETLAB_CACHE": str(Path(settings.work) / "cache"),
        "NO_ALBUMENTATIONS_UPDATE": "1",  # it would ask its server at every import
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    longest = None if part in LONG else LONGEST_S
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=longest
        )
    except subprocess.TimeoutExpired:
        return {"error": f"no end after {LONGEST_S} s"}
    if done.returncode == 0:
        result: Line = json.loads(done.stdout.splitlines()[-1])
        return result
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return {"error": lines[-1][:200] if lines else f"ended with {done.returncode}"}


def measure(part: str, title: str, name: str, values: str) -> Line:
    """Do the work of the process."""
    settings = Settings(**json.loads(values))
    if name.startswith("resnetlab"):
        # Lightning brings torchmetrics, which Fabric takes seconds to load wherever it is there.
        # Whoever has resnetlab alone doesn't have it.
        sys.modules["torchmetrics"] = None  # type: ignore[assignment]
    try:
        if not title:
            import_module(f"benchmarks.{part}").prepare(settings)
            return {}
        (comparison,) = (c for c in comparisons_of(part, settings) if c.title == title)
        return {"metrics": comparison.contestants[name](settings)}
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith(("resnetlab", "benchmarks")):
            raise
        return {"error": f"not installed ({error.name})"}


if __name__ == "__main__":
    print("\n" + json.dumps(measure(*sys.argv[1:])))
