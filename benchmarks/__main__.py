"""`python -m benchmarks [PART ...]`: measure, and write results.md and results.json."""

import argparse
import json
import os
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks.measure import measure_part, read_lines
from benchmarks.plan import LONG, PARTS, Settings, comparisons_of
from benchmarks.table import markdown, rows_of

PATHS = {
    "images": "class folders of photographs; without it images are made up",
    "small": "CIFAR-10 as folders, for the part cifar",
    "bundle": "the network of the part infer",
    "runs": "finished runs to be described by the part cifar, which then trains none",
}
NUMBERS = {
    "size": "side of the network's input, px",
    "count": "photographs",
    "steps": "steps of training that are timed",
    "rounds": "times that everybody has a turn",
    "minutes": "that each has in a race",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the chosen parts, and write the tables of all that was measured with these settings."""
    options = parse(arguments)
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    file = out / "measurements.jsonl"
    if options.fresh:
        file.unlink(missing_ok=True)
    paths = {name: getattr(options, name) for name in PATHS}
    settings = Settings(
        work=str(out / "work"),
        machine=machine(),
        **{name: str(Path(path).resolve()) if path else "" for name, path in paths.items()},
        **{name: getattr(options, name) for name in NUMBERS},
    )
    head = heading(settings)
    print(head, flush=True)
    for part in options.parts or [part for part in PARTS if part not in LONG]:
        measure_part(part, settings, file)
        write_tables(out, head, settings)
    print((out / "results.md").read_text(encoding="utf-8"))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    for name, what in PATHS.items():
        parser.add_argument(f"--{name}", default="", help=what)
    for name, what in NUMBERS.items():
        parser.add_argument(f"--{name}", type=int, default=getattr(Settings, name), help=what)
    parser.add_argument("--fresh", action="store_true", help="forget earlier measurements")
    options = parser.parse_args(arguments)
    unknown = [part for part in options.parts if part not in PARTS]
    if unknown:
        parser.error(f"there is no part {unknown[0]}; parts are {', '.join(PARTS)}")
    return options


def machine() -> str:
    """Return what the figures depend on: processor, cores, versions."""
    from resnetlab.runs.environment import processor

    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "torchvision"))
    return f"{processor()['name']}, {os.cpu_count()} cores; {versions}"


def heading(settings: Settings) -> str:
    """Return the lines above the tables: machine, load, images."""
    images = "photographs" if settings.images else "made-up images (smooth noise, 500×375 px)"
    return (
        f"{settings.machine}; load {os.getloadavg()[0]:.1f} at the start. "
        f"{settings.count:,} {images}. Medians of {settings.rounds} rounds.\n"
    )


def write_tables(out: Path, head: str, settings: Settings) -> None:
    """Write results.md and results.json from all that was measured with these settings."""
    lines = read_lines(out / "measurements.jsonl")
    found = {
        comparison: rows
        for part in PARTS
        for comparison in comparisons_of(part, settings)
        if (rows := rows_of(comparison, lines, settings))
    }
    texts = [head, *(markdown(comparison, rows) for comparison, rows in found.items())]
    (out / "results.md").write_text("\n".join(texts), encoding="utf-8")
    tables = {comparison.title: rows for comparison, rows in found.items()}
    content = json.dumps({"machine": head.strip(), "tables": tables}, indent=1, ensure_ascii=False)
    (out / "results.json").write_text(content + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
