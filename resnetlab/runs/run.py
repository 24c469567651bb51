"""A run: one folder that holds one result, and all that is needed to repeat or resume it."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from resnetlab.data.catalog import CATALOG_FILE
from resnetlab.errors import CheckpointError, DataError, MachineError
from resnetlab.recipe import Recipe, load_recipe
from resnetlab.system.cache import used_by
from resnetlab.system.files import (
    TEMPORARY,
    damaged,
    holder,
    read_csv,
    read_json,
    take,
    write_csv,
    write_json,
    write_text,
)
from resnetlab.system.progress import log


@dataclass(frozen=True)
class Run:
    """The folder of a run and the names of what lies in it."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def catalog_file(self) -> Path:
        return self.folder / CATALOG_FILE

    @property
    def figures(self) -> Path:
        return self.folder / "figures"

    @property
    def bundle(self) -> Path:
        return self.folder / "bundle"

    @property
    def reproduction_file(self) -> Path:
        return self.folder / "reproduction.json"

    def checkpoint(self, name: str) -> Path:
        """Return the file of the 'last' or 'best' checkpoint."""
        return self.folder / "checkpoints" / f"{name}.safetensors"

    def predictions(self, split: str) -> Path:
        """Return the file of the predictions for a split."""
        return self.folder / f"predictions-{split}.parquet"

    @property
    def recipe(self) -> Recipe:
        """Read the resolved recipe. Raises RecipeError, and CheckpointError where a section is missing."""
        path = self.folder / "recipe.yaml"
        recipe = load_recipe(path)
        # A run from before the search existed has no such section, and its training needs none.
        sections = Recipe.model_fields.keys() - {"tuning"}
        lost = sorted(sections - recipe.model_fields_set)
        if lost:  # an empty file would be a valid recipe
            raise damaged(path, f"has no {lost[0]}")
        return recipe

    def write_recipe(self, recipe: Recipe) -> None:
        """Write the resolved recipe."""
        write_text(self.folder / "recipe.yaml", recipe.to_yaml())

    @property
    def metrics(self) -> dict[str, Any]:
        """Read what was measured so far; nothing where nothing was. Raises CheckpointError."""
        path = self.folder / "metrics.json"
        return read_json(path, dict) if path.is_file() else {}

    def add_metrics(self, **sections: Any) -> None:
        """Add sections to metrics.json, or replace them."""
        write_json(self.folder / "metrics.json", self.metrics | sections)

    @property
    def times(self) -> list[float]:
        """Seconds of training, over all sittings, until the end of each epoch; nothing where that isn't known."""
        path = self.folder / "times.csv"
        return [float(row["seconds"]) for row in read_csv(path)] if path.is_file() else []

    def write_times(self, times: Sequence[float]) -> None:
        """Write the seconds of training until the end of each epoch."""
        rows = [[epoch, f"{seconds:.1f}"] for epoch, seconds in enumerate(times, 1)]
        write_csv(self.folder / "times.csv", ["epoch", "seconds"], rows)

    @property
    def environment(self) -> dict[str, Any]:
        """Read what the result may depend on besides recipe and data. Raises CheckpointError."""
        facts: dict[str, Any] = read_json(self.folder / "environment.json", dict)
        return facts

    def add_to_environment(self, **facts: Any) -> None:
        """Add facts to environment.json, or replace them."""
        write_json(self.folder / "environment.json", self.environment | facts)

    @property
    def ledger(self) -> list[dict[str, Any]]:
        """Read how often and when the test split was opened. Raises CheckpointError."""
        path = self.folder / "test_ledger.json"
        if not path.is_file() and self.predictions("test").is_file():
            raise CheckpointError(f"{path}: is gone, but the test split was opened; bring it back")
        entries: list[dict[str, Any]] = read_json(path, list) if path.is_file() else []
        if not all(isinstance(entry, dict) for entry in entries):
            raise damaged(path, "holds what is no entry")
        return entries

    def add_to_ledger(self, entry: dict[str, Any]) -> None:
        """Add one line to the ledger of the test split."""
        write_json(self.folder / "test_ledger.json", [*self.ledger, entry])

    def _repr_html_(self) -> str | None:
        """Return the first screen of the report, which a notebook shows; None where there is no report."""
        report = self.folder / "report.html"
        if not report.is_file():
            return None
        page = report.read_text(encoding="utf-8")
        parts = [
            found[0]
            for part in ("style", "header")
            if (found := re.search(f"<{part}>.*?</{part}>", page, re.S))
        ]
        first = re.sub("<nav>.*?</nav>", "", "".join(parts), flags=re.S)
        return (
            f'<iframe srcdoc="{escape(first)}" style="width:100%;height:520px;border:0"></iframe>'
        )

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep every other process out of the folder; the system lets go when this one ends.

        What a killed process left half written is removed. Raises MachineError where another is at
        work in the folder, or it can't be written.
        """
        try:
            file = (self.folder / ".lock").open("a+b", buffering=0)
        except OSError as error:
            raise MachineError(f"{self.folder}: can't be written ({error.strerror})") from error
        with file:
            if not take(file, log):
                raise MachineError(f"{self.folder}: {holder(file)} is at work on this run")
            for leftover in self.folder.rglob(f".*{TEMPORARY}"):
                if leftover.is_file():
                    leftover.unlink(missing_ok=True)
            with used_by(self.folder):
                yield


def create_run(out: Path, name: str) -> Run:
    """Make a new run folder out/name, counted up where there is one: name-2, name-3, ...

    Raises MachineError where the folder can't be written.
    """
    name = re.sub(r"[^\w.-]+", "-", name).strip("-.") or "run"
    try:
        out.mkdir(parents=True, exist_ok=True)
        for count in range(1, 100_000):
            folder = out / (name if count == 1 else f"{name}-{count}")
            try:
                folder.mkdir()  # atomic: of two processes one gets the name
                return Run(folder)
            except FileExistsError:
                continue
    except OSError as error:
        raise MachineError(
            f"{out}: can't be written ({error.strerror}); choose another with --out"
        ) from error
    raise MachineError(f"{out}: more than 100,000 runs are named {name}; choose another with --out")


def open_run(folder: Path) -> Run:
    """Open the run in a folder. Raises DataError where there is none, CheckpointError where it is damaged."""
    if not (folder / "recipe.yaml").is_file():
        raise DataError(f"{folder}: no run here (a run has a recipe.yaml)")
    run = Run(folder)
    _ = run.recipe, run.metrics, run.ledger  # damage is reported before hours of work, not after
    if (folder / "environment.json").is_file():
        _ = run.environment
    return run


def bundle_of(folder: Path) -> Path:
    """Return the bundle in a run's folder, or the folder itself where it is a bundle."""
    if (folder / "model.json").is_file():
        return folder
    if (folder / "bundle" / "model.json").is_file():
        return folder / "bundle"
    raise DataError(
        f"{folder}: neither a bundle (model.json) nor a finished run (bundle/model.json)"
    )
