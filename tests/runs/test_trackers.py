"""What trackers of experiments are told of a run, and that none of them can hold it up."""

from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import resnetlab
from resnetlab.recipe import Recipe
from resnetlab.runs.trackers import tracker_of
from resnetlab.system.files import read_json
from resnetlab.training.history import COLUMNS

MEASURED = {
    "lr",
    *(f"{part}/loss" for part in ("train", "val")),
    *(f"{part}/accuracy" for part in ("train", "val")),
    "val/balanced_accuracy",
    "val/macro_f1",
}
SETTINGS = {
    "training.epochs": 2,
    "model.name": "mlp",
    "data.image_size": 16,
    "training.log": "mlflow",
}


def row(epoch: int, accuracy: float | None = 0.5) -> dict[str, Any]:
    """Return an epoch of a history; without an accuracy nothing validated."""
    rest = dict.fromkeys(COLUMNS, None if accuracy is None else 0.5)
    measured = {"lr": 0.1, "train_loss": 1.5, "train_accuracy": 0.5}
    return rest | measured | {"epoch": epoch, "fold": -1, "val_accuracy": accuracy}


def tell(folder: Path, log: str, *rows: dict[str, Any]) -> None:
    """Tell a tracker of some epochs, each as after a cut."""
    for each in rows:
        tracker = tracker_of(Recipe().override({"training.log": log}), folder)
        assert tracker is not None
        tracker.tell_epoch(each)


# TensorBoard


def events_in(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder / "tensorboard")).Reload()


def test_tensorboard_gets_an_event_an_epoch_and_figure(tmp_path: Path) -> None:
    tell(tmp_path, "tensorboard", row(1, 0.25), row(2, 0.75))

    events = events_in(tmp_path)
    assert set(events.Tags()["scalars"]) == MEASURED
    assert [(each.step, each.value) for each in events.Scalars("val/accuracy")] == [
        (1, 0.25),
        (2, 0.75),
    ]


def test_in_tensorboard_an_epoch_that_is_repeated_after_a_cut_is_there_once(tmp_path: Path) -> None:
    tell(tmp_path, "tensorboard", row(1, 0.25), row(1, 0.5))

    assert [each.value for each in events_in(tmp_path).Scalars("val/accuracy")] == [0.5]


def test_tensorboard_gets_no_figure_that_was_not_measured(tmp_path: Path) -> None:
    tell(tmp_path, "tensorboard", row(1, None))

    assert set(events_in(tmp_path).Tags()["scalars"]) == {"lr", "train/loss", "train/accuracy"}


# MLflow


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """Return what reads MLflow's own files, to which trackers write here."""
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    return MlflowClient()


def runs_of(client: MlflowClient, experiment: str = "resnetlab") -> list[Any]:
    found = client.get_experiment_by_name(experiment)
    return list(client.search_runs([found.experiment_id])) if found else []


def test_mlflow_gets_settings_curves_result_and_report_of_a_training(
    digit_folder: Path, tmp_path: Path, client: MlflowClient
) -> None:
    run = resnetlab.train(digit_folder, Recipe().override(SETTINGS), tmp_path, "digits")

    (told,) = runs_of(client)
    assert told.info.run_name == "digits" and told.info.status == "FINISHED"
    assert told.data.params["model.name"] == "mlp" and told.data.params["training.epochs"] == "2"
    assert [each.step for each in client.get_metric_history(told.info.run_id, "val/accuracy")] == [
        1,
        2,
    ]
    for end in ("value", "low", "high"):
        name = "best/accuracy" + ("" if end == "value" else f".{end}")
        assert told.data.metrics[name] == run.metrics["val"]["accuracy"][end]
    artifacts = {file.path for file in client.list_artifacts(told.info.run_id)}
    assert artifacts == {"report.html", "recipe.yaml", "metrics.json"}


def test_mlflow_is_told_of_one_run_though_it_was_cut(tmp_path: Path, client: MlflowClient) -> None:
    tell(tmp_path, "mlflow", row(1, 0.25), row(2, 0.75))

    (told,) = runs_of(client)
    assert told.info.run_id == read_json(tmp_path / "mlflow.json", dict)["run_id"]
    assert [each.value for each in client.get_metric_history(told.info.run_id, "val/accuracy")] == [
        0.25,
        0.75,
    ]


def test_the_experiment_is_the_one_that_the_environment_names(
    tmp_path: Path, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "waste")
    tell(tmp_path, "mlflow", row(1))

    assert len(runs_of(client, "waste")) == 1 and not runs_of(client)


def test_a_server_that_is_gone_is_told_of_once_and_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    tracker = tracker_of(Recipe().override({"training.log": "mlflow"}), tmp_path, "digits")
    assert tracker is not None
    for epoch in (1, 2):
        tracker.tell_epoch(row(epoch))
    tracker.tell_result()

    said = capsys.readouterr().err
    assert said.count("note: MLflow is told nothing more of digits: ") == 1


def test_nobody_is_told_where_nobody_was_named(tmp_path: Path) -> None:
    assert tracker_of(Recipe(), tmp_path) is None
