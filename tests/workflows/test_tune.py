"""A search as its user sees it: what is written, what it says, what it must not do."""

import json
import shutil
from pathlib import Path

import numpy as np
import optuna
import pytest

from resnetlab import workflows
from resnetlab.cli.main import main
from resnetlab.data.catalog import Catalog
from resnetlab.errors import DataError, DivergedError, RecipeError, StoppedError
from resnetlab.evaluation.predictions import Predictions
from resnetlab.recipe import Recipe
from resnetlab.runs.run import Run
from resnetlab.system import interruption
from resnetlab.system.files import read_csv, read_json
from resnetlab.tuning import lr_range_test, search

TINY = {
    "data.image_size": 16,
    "data.augment": "none",
    "data.workers": 0,
    "model.name": "mlp",
    "training.epochs": 2,
    "training.batch_size": 16,
    "training.optimizer": "adamw",
    "training.precision": "fp32",
    "training.threads": 1,
    "evaluation.resamples": 100,
    "tuning.folds": 2,
}
GRID = {"training.lr": [0.0003, 0.01], "training.epochs": [1, 2]}


@pytest.fixture(autouse=True)
def no_deadline_is_left():
    yield
    interruption.reset()


def recipe_for(space=GRID, **values) -> Recipe:
    changed = {key.replace("__", "."): value for key, value in values.items()}
    return Recipe().override(TINY | {"tuning.space": space} | changed)


def found_in(run: Run) -> dict:
    return read_json(run.folder / "search.json", dict)


def table_of(run: Run) -> list[dict]:
    """Everything about the trials but how long they took."""
    return [row | {"seconds": None} for row in found_in(run)["trials"]]


@pytest.fixture(scope="module")
def run(digit_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A grid of four trials on two folds, and the retraining; to be read only."""
    return workflows.tune(digit_folder, recipe_for(), tmp_path_factory.mktemp("runs"), "grid")


def fold_folder(run: Run, trial: int, fold: int) -> Path:
    return run.folder / "trials" / f"{trial:04d}" / f"fold-{fold}"


def test_the_folder_holds_the_search_and_the_network_trained_by_what_it_found(run):
    names = {path.name for path in run.folder.iterdir()}
    assert {"search.yaml", "search.json", "study.db", "trials", "best.yaml"} <= names
    assert {
        "recipe.yaml",
        "bundle",
        "history.csv",
        "report.html",
        "predictions-val.parquet",
    } <= names
    assert "unfinished.json" not in names
    assert 'id="search"' in (run.folder / "report.html").read_text()


def test_the_table_has_every_trial_with_values_scores_and_verdict(run):
    found = found_in(run)
    assert [row["values"] for row in found["trials"]] == [
        {"training.lr": lr, "training.epochs": epochs} for lr in (0.0003, 0.01) for epochs in (1, 2)
    ]
    assert {row["state"] for row in found["trials"]} == {"finished"}
    assert found["chosen"] == found["best"] == 3  # the larger rate, for longer
    assert found["trials"][3]["verdict"] == "best"
    assert all(len(row["scores"]) == 2 for row in found["trials"])
    assert found["epochs_run"] == found["epochs_in_full"] == 2 * (1 + 2 + 1 + 2)


@pytest.mark.parametrize("trial", range(4))
@pytest.mark.parametrize("fold", range(2))
def test_a_score_is_that_of_the_stored_answers(run, trial, fold):
    answers = Predictions.load(fold_folder(run, trial, fold) / "predictions.parquet")
    score = float((answers.predicted == answers.labels).mean())
    assert found_in(run)["trials"][trial]["scores"][fold] == pytest.approx(score)


def test_every_trial_is_measured_on_the_same_folds(run):
    for fold in range(2):
        ids = [
            set(Predictions.load(fold_folder(run, trial, fold) / "predictions.parquet").ids)
            for trial in range(4)
        ]
        assert all(each == ids[0] for each in ids)


def test_out_of_fold_answers_are_there_once_for_each_image_but_the_tests(run):
    catalog = Catalog.load(run.catalog_file)
    answers = Predictions.load(run.predictions("val")).in_id_order()
    assert sorted(answers.ids) == sorted(catalog.ids[catalog.rows("train")])
    assert set(answers.fold) == {0, 1}


def test_the_retraining_learns_from_all_but_the_test_split_for_as_long_as_the_trial_did(run):
    assert run.recipe.training.epochs == found_in(run)["epochs"] == 2
    assert run.recipe.training.lr == 0.01
    assert run.metrics["training"]["epochs_run"] == 2
    counts = run.metrics["dataset"]["counts"]
    assert sum(counts["val"]) == 0
    assert sum(counts["train"]) == 120 - sum(counts["test"])


def test_the_test_split_stays_closed_until_it_is_asked_for(run, tmp_path):
    assert run.ledger == []
    assert not run.predictions("test").is_file()
    copy = tmp_path / "copy"
    shutil.copytree(run.folder, copy)
    workflows.evaluate(copy)
    assert len(Run(copy).ledger) == 1


def test_the_checkpoints_of_trials_are_gone(run):
    assert not list((run.folder / "trials").rglob("*.safetensors"))


def test_the_best_recipe_can_be_trained_from_and_sets_the_same_images_aside(
    run, digit_folder, tmp_path
):
    code = main(
        [
            "train",
            str(digit_folder),
            "--recipe",
            str(run.folder / "best.yaml"),
            "--out",
            str(tmp_path),
            "--name",
            "again",
        ]
    )
    assert code == 0
    before, after = (Catalog.load(each.catalog_file) for each in (run, Run(tmp_path / "again")))
    assert (before.split == after.split).all()
    assert (run.folder / "history.csv").read_text() == (
        tmp_path / "again" / "history.csv"
    ).read_text()


@pytest.mark.parametrize("fold", range(2))
def test_a_fold_is_what_a_training_on_it_alone_would_be(run, digit_folder, tmp_path, fold):
    """No network, no statistic and no random number is carried over from fold or trial before."""
    values = {"data.folds": 2, "data.fold": fold, "training.lr": 0.01}
    alone = workflows.train(digit_folder, recipe_for().override(values), tmp_path, "alone")

    assert (alone.folder / "history.csv").read_text() == (
        fold_folder(run, 3, fold) / "history.csv"
    ).read_text()
    first = Predictions.load(alone.predictions("val")).in_id_order()
    second = Predictions.load(fold_folder(run, 3, fold) / "predictions.parquet").in_id_order()
    assert (first.ids == second.ids).all()
    assert (first.logits == second.logits).all()


def test_s0s_search_word_for_word(digit_folder, tmp_path, capsys):
    line = (
        "--lr 0.001 0.01 --batch-size 16 32 --epochs 1 2 --optimizer sgd adam --folds 2 --sampler grid "
        f"--model mlp --image-size 16 --out {tmp_path} --name s0 --no-retrain"
    )
    code = main(["tune", str(digit_folder), *line.split()])
    assert code == 0
    out = capsys.readouterr().out
    assert len(found_in(Run(tmp_path / "s0"))["trials"]) == 16
    assert "16 trials by accuracy" in out
    assert not (tmp_path / "s0" / "bundle").exists()
    assert (tmp_path / "s0" / "report.html").is_file()
    assert main(["resume", str(tmp_path / "s0")]) == 0
    assert "is finished" in capsys.readouterr().err


def test_s1s_search_over_the_head_and_a_model_from_it(digit_folder, tmp_path, capsys):
    line = (
        f"--recipe s1-resnet50-search --model mlp --image-size 16 --out {tmp_path} --name s1 "
        "--set training.epochs=1 --set evaluation.resamples=100 "
        "--set model.upsample=0 --set model.pool=average"  # an MLP has none to choose
    )
    assert main(["tune", str(digit_folder), *line.split()]) == 0
    run = Run(tmp_path / "s1")
    rows = found_in(run)["trials"]
    assert len(rows) == 5
    assert {row["state"] for row in rows} == {"finished"}
    for row in rows:
        assert 1e-5 <= row["values"]["training.lr"] <= 1e-3
        assert 128 <= row["values"]["model.hidden.0"] <= 1024
        assert 64 <= row["values"]["model.hidden.1"] <= 512
        assert 0.3 <= row["values"]["model.dropout"] <= 0.7
    chosen = rows[found_in(run)["chosen"]]["values"]
    assert run.recipe.model.hidden == (chosen["model.hidden.0"], chosen["model.hidden.1"])
    capsys.readouterr()
    assert main(["predict", str(run.folder), str(digit_folder / "3")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 30


def test_a_trial_that_diverges_is_failed_and_the_search_goes_on(digit_folder, tmp_path):
    run = workflows.tune(
        digit_folder,
        recipe_for({"training.lr": [1e18, 0.01]}, training__optimizer="sgd"),
        tmp_path,
        retrain=False,
    )
    first, second = found_in(run)["trials"]
    assert first["state"] == "failed"
    assert "no longer a finite number" in first["reason"]
    assert second["verdict"] == "best"


def test_where_every_trial_diverges_the_search_says_so(digit_folder, tmp_path):
    recipe = recipe_for({"training.lr": [1e18, 1e17]}, training__optimizer="sgd")
    with pytest.raises(DivergedError, match="No trial was finished; 2 failed, the first because"):
        workflows.tune(digit_folder, recipe, tmp_path)


@pytest.mark.parametrize(("faults", "state"), [(1, "finished"), (2, "failed")])
def test_an_unforeseen_error_gets_a_second_chance_and_no_third(
    digit_folder, tmp_path, monkeypatch, faults, state
):
    left = [RuntimeError("the disk of the GPU fell off")] * faults
    train_fold = search.train_fold

    def faulty(*arguments):
        if left:
            raise left.pop()
        return train_fold(*arguments)

    monkeypatch.setattr(search, "train_fold", faulty)
    recipe = recipe_for({"training.lr": [0.001, 0.01]})
    run = workflows.tune(digit_folder, recipe, tmp_path, retrain=False)
    first, second = found_in(run)["trials"]
    assert (first["state"], second["state"]) == (state, "finished")
    assert ("the disk of the GPU fell off" in first["reason"]) == (state == "failed")


def test_noise_has_no_winner(digit_folder, tmp_path):
    """Labels that images got by lot: whatever comes out best, no difference is shown."""
    generator = np.random.default_rng(0)
    for path in sorted(digit_folder.rglob("*.png")):
        place = tmp_path / "noise" / str(generator.integers(4))
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place / f"{path.parent.name}-{path.name}")
    recipe = recipe_for({"training.lr": [0.0001, 0.001, 0.01, 0.1]}, tuning__folds=5)
    run = workflows.tune(tmp_path / "noise", recipe, tmp_path / "runs", retrain=False)
    found = found_in(run)
    assert "no difference is shown" in found["summary"]
    assert {row["verdict"] for row in found["trials"]} == {"best", "not shown"}


def test_a_real_difference_is_shown(digit_folder, tmp_path):
    recipe = recipe_for({"training.lr": [1e-7, 0.01]}, tuning__folds=5, training__epochs=4)
    found = found_in(workflows.tune(digit_folder, recipe, tmp_path, retrain=False))
    assert "and is shown to be better than the other one" in found["summary"]


def test_a_search_that_is_cut_off_within_a_trial_goes_on_to_the_same_table(
    digit_folder, tmp_path, run, monkeypatch
):
    steps = 0
    wanted = interruption.requested

    def cut(ahead_s: float = 0.0) -> bool:
        nonlocal steps
        steps += ahead_s > 0  # asked so after each step of a training
        if ahead_s > 0 and steps == 14:
            interruption.set_deadline(0)
        return wanted(ahead_s)

    monkeypatch.setattr(interruption, "requested", cut)
    with pytest.raises(StoppedError, match="go on with: resnetlab resume"):
        workflows.tune(digit_folder, recipe_for(), tmp_path, "cut")
    interruption.reset()
    cut_off = Run(tmp_path / "cut")
    assert not (cut_off.folder / "search.json").is_file()
    assert list((cut_off.folder / "trials").rglob("last.safetensors"))  # within a training
    workflows.resume(cut_off.folder)
    assert table_of(cut_off) == table_of(run)
    assert (cut_off.folder / "history.csv").read_text() == (run.folder / "history.csv").read_text()


def test_another_process_of_jobs_runs_what_nobody_has_begun(
    digit_folder, tmp_path, run, monkeypatch
):
    with monkeypatch.context() as patch, pytest.raises(StoppedError):
        patch.setattr(search, "run_trial", stop_it)
        workflows.tune(digit_folder, recipe_for(), tmp_path, "shared")
    interruption.reset()
    shared = Run(tmp_path / "shared")
    url, name = f"sqlite:///{shared.folder / 'study.db'}", found_in(run)["name"]

    search.assist(str(shared.folder), url, name, left=3600)
    monkeypatch.setattr(search, "run_trial", lambda *_: pytest.fail("a trial is left"))
    workflows.resume(shared.folder)

    assert table_of(shared) == table_of(run)


def stop_it(*_):
    raise StoppedError("terminated", 143)


def test_images_that_changed_end_a_search_that_goes_on(digit_folder, tmp_path, monkeypatch):
    data = tmp_path / "digits"
    shutil.copytree(digit_folder, data)
    monkeypatch.setattr(
        search,
        "run_trials",
        lambda work: interruption.set_deadline(0) or interruption.raise_if_requested(),
    )
    with pytest.raises(StoppedError):
        workflows.tune(data, recipe_for(), tmp_path, "cut")
    interruption.reset()
    one, other = data / "0" / "000.png", data / "1" / "000.png"
    one.write_bytes(other.read_bytes())
    with pytest.raises(
        DataError, match=r"1 changed, the first is 0/000\.png; bring them back, or begin anew"
    ):
        workflows.resume(tmp_path / "cut")


def test_pruned_trials_are_marked_and_cost_less(digit_folder, tmp_path):
    space = {"training.lr": [0.03, 0.01, 1e-7, 2e-7, 3e-7, 4e-7]}
    recipe = recipe_for(space, tuning__pruner="halving", training__epochs=4)
    run = workflows.tune(digit_folder, recipe, tmp_path, retrain=False)
    found = found_in(run)
    states = [row["state"] for row in found["trials"]]
    assert states[0] == "finished"
    assert states[2:] == ["pruned"] * 4
    assert found["trials"][2]["reason"].startswith("at fold 1, epoch ")
    assert found["epochs_run"] < found["epochs_in_full"] / 2
    assert not (run.folder / "trials" / "0002" / "fold-0").exists()  # nothing comes of it


def test_a_trial_of_fewer_epochs_stands_where_it_ended_while_others_go_on(run):
    reported = dict(found_in(run)["trials"][2]["reported"])  # one epoch a fold, of at most two
    assert sorted(reported) == [1, 2, 3]
    assert reported[1] == reported[2]


def test_patience_decides_for_how_long_to_retrain(digit_folder, tmp_path):
    values = {"training__patience": 1, "training__epochs": 6, "tuning__folds": 3}
    recipe = recipe_for({"training.lr": [0.03]}, **values)
    run = workflows.tune(digit_folder, recipe, tmp_path)
    found = found_in(run)
    best = [
        max(rows, key=lambda row: (row["val_accuracy"], row["epoch"]))["epoch"]
        for fold in range(3)
        if (rows := [row for row in found["history"] if row["fold"] == fold])
    ]
    assert found["epochs"] == sorted(best)[1]
    assert run.recipe.training.epochs == found["epochs"]
    assert run.recipe.training.patience is None


def test_the_cheapest_within_one_error_may_be_taken(digit_folder, tmp_path):
    # Weight decay changes next to nothing in two epochs, so that the cheaper is always near enough.
    space = {"training.weight_decay": [0.0, 1e-6], "model.name": ["cnn", "mlp"]}
    recipe = recipe_for(space, tuning__select="one-se", training__lr=1e-7)
    found = found_in(workflows.tune(digit_folder, recipe, tmp_path, retrain=False))
    scores = {row["number"]: row["mean"] for row in found["trials"]}
    chosen = found["trials"][found["chosen"]]
    if chosen["values"]["model.name"] == "cnn":  # then the other network must be clearly worse
        assert max(scores[1], scores[3]) < max(scores.values())
    assert chosen["macs"] == min(
        row["macs"] for row in found["trials"] if row["mean"] >= chosen["mean"]
    )


def test_repeats_deal_the_folds_anew_and_train_by_other_seeds(digit_folder, tmp_path):
    recipe = recipe_for({"training.lr": [0.01, 0.02]}, tuning__repeats=2, training__epochs=1)
    run = workflows.tune(digit_folder, recipe, tmp_path)
    found = found_in(run)
    assert all(len(row["scores"]) == 4 for row in found["trials"])
    answers = [
        Predictions.load(fold_folder(run, 0, fold) / "predictions.parquet") for fold in range(4)
    ]
    assert [set(each.seed) for each in answers] == [{0}, {0}, {1}, {1}]
    assert set(answers[0].ids) not in (set(answers[2].ids), set(answers[3].ids))
    assert len(Predictions.load(run.predictions("val")).in_id_order()) == sum(
        run.metrics["dataset"]["counts"]["train"]
    )


def test_without_folds_the_validation_split_decides_and_nothing_is_said_of_chance(
    digit_folder, tmp_path
):
    recipe = recipe_for({"training.lr": [0.001, 0.01]}, tuning__folds=1)
    run = workflows.tune(digit_folder, recipe, tmp_path)
    found = found_in(run)
    assert "a single validation split can't show how sure that is" in found["summary"]
    assert all(row["difference"] is None for row in found["trials"])
    assert sum(run.metrics["dataset"]["counts"]["val"]) == 0  # it learns in the end


def test_the_size_of_images_may_be_searched(digit_folder, tmp_path):
    recipe = recipe_for({"data.image_size": [8, 24]}, training__epochs=1)
    run = workflows.tune(digit_folder, recipe, tmp_path)
    assert [row["state"] for row in found_in(run)["trials"]] == ["finished"] * 2
    assert (
        run.recipe.data.image_size
        == found_in(run)["trials"][found_in(run)["best"]]["values"]["data.image_size"]
    )


def test_with_nothing_said_rate_and_weight_decay_are_searched(digit_folder, tmp_path):
    recipe = recipe_for({}, tuning__trials=2, training__epochs=1)
    found = found_in(workflows.tune(digit_folder, recipe, tmp_path, retrain=False))
    assert list(found["space"]) == ["training.lr", "training.weight_decay"]
    assert (found["sampler"], found["pruner"], len(found["trials"])) == ("tpe", "halving", 2)


def test_a_wrong_space_is_told_before_anything_is_read(tmp_path, capsys):
    assert main(["tune", str(tmp_path / "nowhere"), "--set", "tuning.space={seed: [1, 2]}"]) == 2
    assert "'seed' can't be searched" in capsys.readouterr().err


def test_a_budget_that_holds_nothing_is_told_with_what_would_do(digit_folder, tmp_path):
    with pytest.raises(RecipeError, match=r"--budget is too short: a trial takes .* give at least"):
        workflows.tune(digit_folder, recipe_for(), tmp_path / "runs", budget_s=1.0)
    assert not (tmp_path / "runs").exists()  # no folder is left of it


def test_a_search_plans_itself_to_its_budget(digit_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("resnetlab.tuning.budget.MOST_TRIALS", 6)  # there is time for many
    space = {"training.lr": {"low": 1e-4, "high": 1e-1, "log": True}}
    recipe = recipe_for(space, training__epochs=2)
    run = workflows.tune(digit_folder, recipe, tmp_path, budget_s=120.0)
    found = found_in(run)
    assert found["plan"].startswith("6 trials")
    assert "are kept for the retraining" in found["plan"]
    assert found["chosen"] is not None
    assert (run.folder / "bundle" / "model.json").is_file()


def test_when_the_time_is_up_the_best_so_far_is_taken(digit_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("resnetlab.workflows.tuning.planned", two_trials_in_time)
    recipe = recipe_for({"training.lr": [0.01, 0.02, 0.03, 0.04]})
    run = workflows.tune(digit_folder, recipe, tmp_path, budget_s=3600.0)
    states = [row["state"] for row in found_in(run)["trials"]]
    assert states[0] == "finished"
    assert states[-1] == "waiting"
    assert (run.folder / "bundle" / "model.json").is_file()


def test_a_search_that_goes_on_with_a_budget_is_planned_anew(
    digit_folder, tmp_path, monkeypatch, capsys
):
    """What it was begun for does not matter: as many more trials as fit, and the retraining."""
    monkeypatch.setattr("resnetlab.tuning.budget.MOST_TRIALS", 4)
    space = {"training.lr": {"low": 1e-4, "high": 1e-1, "log": True}}
    end_after_the_first_trial(monkeypatch)
    with pytest.raises(StoppedError):
        workflows.tune(digit_folder, recipe_for(space), tmp_path, "cut")
    interruption.reset()
    monkeypatch.undo()
    monkeypatch.setattr("resnetlab.tuning.budget.MOST_TRIALS", 4)
    assert main(["resume", str(tmp_path / "cut"), "--budget", "2m"]) == 0

    found = found_in(Run(tmp_path / "cut"))
    assert "plan: 3 more trials" in capsys.readouterr().err
    assert found["plan"].startswith("3 more trials")
    states = [row["state"] for row in found["trials"]]
    assert states.count("waiting") == 0 or states[0] == "finished"
    assert (tmp_path / "cut" / "bundle" / "model.json").is_file()


def end_after_the_first_trial(monkeypatch):
    """Ask for an end when the first trial is done."""
    run_trial = search.run_trial

    def then_end(work, trial):
        run_trial(work, trial)
        interruption.set_deadline(0)

    monkeypatch.setattr(search, "run_trial", then_end)


def two_trials_in_time(recipe, catalog, store, deadline, retrain):
    """Plan four trials, and be wrong about the time: it is up when the first one is done."""
    import time

    run_trial = search.run_trial

    def late(work, trial):
        run_trial(work, trial)
        object.__setattr__(work, "deadline", time.monotonic())

    search.run_trial = late
    return (
        recipe.override({"tuning.trials": 4, "tuning.pruner": "none"}),
        time.monotonic() + 99,
        "x",
    )


@pytest.fixture(autouse=True)
def as_before():
    """Whatever a test puts in place of run_trial is gone after it."""
    before = search.run_trial
    yield
    search.run_trial = before


def test_trying_rates_leaves_no_trace_in_what_follows(digit_folder, tmp_path):
    recipe = recipe_for({}, model__dropout=0.3)
    before = workflows.train(digit_folder, recipe, tmp_path, "before")
    found = workflows.find_lr(digit_folder, recipe, tmp_path, "rates")
    after = workflows.train(digit_folder, recipe, tmp_path, "after")

    assert (before.folder / "history.csv").read_text() == (after.folder / "history.csv").read_text()
    weights = [(each.bundle / "model.safetensors").read_bytes() for each in (before, after)]
    assert weights[0] == weights[1]
    assert 1e-5 < found["suggested"] < 0.1
    assert len(read_csv(tmp_path / "rates" / "rates.csv")) > 20
    assert (tmp_path / "rates" / "rates.png").is_file()


def test_rates_are_tried_with_what_reading_has_settled(digit_folder, tmp_path, monkeypatch):
    def look(catalog, store, recipe):
        tried.append(recipe.data.augment.flip)
        raise DataError("seen enough")

    tried: list = []
    monkeypatch.setattr(lr_range_test, "try_learning_rates", look)
    recipe = recipe_for({}, data__augment={"flip": "auto"})
    with pytest.raises(DataError, match="seen enough"):
        workflows.find_lr(digit_folder, recipe, tmp_path)
    assert tried[0] != "auto"


def test_rates_are_tried_from_the_command_line(digit_folder, tmp_path, capsys):
    code = main(
        [
            "tune",
            str(digit_folder),
            "--find-lr",
            "--model",
            "mlp",
            "--image-size",
            "16",
            "--out",
            str(tmp_path),
        ]
    )
    assert code == 0
    assert "a tenth of that is a good first try" in capsys.readouterr().out


def test_optunas_own_tools_read_the_storage(run):
    study = optuna.load_study(
        study_name=found_in(run)["name"], storage=f"sqlite:///{run.folder / 'study.db'}"
    )
    assert study.best_trial.number == found_in(run)["best"]
    assert json.loads(json.dumps(study.best_params)) == study.best_params
