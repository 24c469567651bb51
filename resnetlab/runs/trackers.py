"""Trackers of experiments, told of a run beside its own files: TensorBoard's event files, an MLflow server."""

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from resnetlab.recipe import Recipe
from resnetlab.runs.run import Run
from resnetlab.system.files import read_json, whole, write_json
from resnetlab.system.progress import log
from resnetlab.system.requirements import require_package

NO_CURVES = {"epoch", "fold"}
LONGEST_VALUE = 500  # characters of a setting that MLflow takes


class Tracker(Protocol):
    """What is told of a training by `recipe` in `folder`; perhaps it was before, and was cut off."""

    def __init__(self, recipe: Recipe, folder: Path, name: str) -> None: ...

    def tell_epoch(self, row: Mapping[str, Any]) -> None:
        """Tell of one row of the history; one that is repeated takes the place of the former."""

    def tell_result(self) -> None:
        """Tell what the finished run holds."""


class TensorBoard:
    """Event files in the run's folder, one an epoch. A disk that can't be written ends the training."""

    def __init__(self, recipe: Recipe, folder: Path, name: str) -> None:
        self.folder = folder / "tensorboard"

    def tell_epoch(self, row: Mapping[str, Any]) -> None:
        """Write one epoch as an event file of its own, whole.

        TensorBoard's own writer works in a thread, which a full disk leaves with a traceback.
        """
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter
        from torch.utils.tensorboard.summary import scalar

        events = [Event(wall_time=time.time(), file_version="brain.Event:2")]
        for name, value in curves(row).items():
            summary = scalar(name, value)  # type: ignore[no-untyped-call]
            events.append(Event(wall_time=time.time(), step=row["epoch"], summary=summary))
        file_name = f"events.out.tfevents.{row['epoch']:010d}.resnetlab"
        with whole(self.folder / file_name) as temporary, temporary.open("wb") as file:
            writer = RecordWriter(file)
            for event in events:
                writer.write(event.SerializeToString())

    def tell_result(self) -> None:
        """Tell nothing: curves are all that it shows."""


class MLflow:
    """A run of MLflow, at MLFLOW_TRACKING_URI, in the experiment MLFLOW_EXPERIMENT_NAME or 'resnetlab'.

    A server that does not answer is told of once; the training goes on without it.
    """

    def __init__(self, recipe: Recipe, folder: Path, name: str) -> None:
        self.recipe, self.run, self.name = recipe, Run(folder), name
        self.lost = False
        # Its own patience with a server that is gone is minutes, in which nothing would be trained.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # it would tell its makers too

    def tell_epoch(self, row: Mapping[str, Any]) -> None:
        """Send one row of the history."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, row["epoch"]) for name, value in curves(row).items()]
        self._tell(lambda client, run_id: client.log_batch(run_id, metrics=metrics))

    def tell_result(self) -> None:
        """Send what validation showed, with its intervals, and the report; the run is then finished."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(f"best/{name}", value, now, 0) for name, value in self._measured()]

        def tell(client: Any, run_id: str) -> None:
            client.log_batch(run_id, metrics=metrics)
            for name in ("report.html", "recipe.yaml", "metrics.json"):
                if (self.run.folder / name).is_file():  # a trial has none
                    client.log_artifact(run_id, str(self.run.folder / name))
            client.set_terminated(run_id)

        self._tell(tell)

    def _measured(self) -> Iterator[tuple[str, float]]:
        """List what validation showed, each figure with the ends of its interval."""
        for name, figure in self.run.metrics.get("val", {}).items():
            if isinstance(figure, dict) and figure.keys() == {"value", "low", "high"}:
                for end, value in figure.items():
                    if value is not None and math.isfinite(value):
                        yield name if end == "value" else f"{name}.{end}", value

    def _tell(self, what: Callable[[Any, str], None]) -> None:
        if self.lost:
            return
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        try:
            client = MlflowClient()
            what(client, self._run_id(client))
        except (MlflowException, OSError) as error:
            self.lost = True
            reason = str(error).splitlines()[0][:200]
            log(f"note: MLflow is told nothing more of {self.name}: {reason}")

    def _run_id(self, client: Any) -> str:
        """Return which run of MLflow this is, begun where there is none yet."""
        file = self.run.folder / "mlflow.json"
        if file.is_file():
            return str(read_json(file, dict)["run_id"])
        from mlflow.entities import Param

        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "resnetlab")
        known = client.get_experiment_by_name(name)
        experiment = known.experiment_id if known else client.create_experiment(name)
        run_id = str(client.create_run(experiment, run_name=self.name).info.run_id)
        settings = self.recipe.model_dump(mode="json")
        params = [Param(key, value[:LONGEST_VALUE]) for key, value in flat(settings)]
        client.log_batch(run_id, params=params)
        write_json(file, {"run_id": run_id})
        return run_id


# A tracker is named like the package that it needs, and like the extra that brings it.
TRACKERS: dict[str, type[Tracker]] = {"tensorboard": TensorBoard, "mlflow": MLflow}


def require_tracker(recipe: Recipe) -> None:
    """Raise MachineError where the package of the tracker that a recipe names is not installed."""
    if name := recipe.training.log:
        require_package(name, f"training.log={name}", name)


def tracker_of(recipe: Recipe, folder: Path, name: str = "") -> Tracker | None:
    """Return what is told of the training in a folder, which is its name if it has no other; None: nothing is."""
    log = recipe.training.log
    return None if log is None else TRACKERS[log](recipe, folder, name or folder.name)


def curves(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures of an epoch that were measured, as train/loss, val/accuracy and so on."""
    return {
        name.replace("_", "/", 1): float(value)
        for name, value in row.items()
        if name not in NO_CURVES and value is not None and math.isfinite(value)
    }


def flat(tree: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """List the settings of a recipe as section.key and what they are."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{before}{key}.")
        else:
            yield before + key, str(value)
