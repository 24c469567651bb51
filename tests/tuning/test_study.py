import json
import sqlite3
import threading
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from resnetlab.errors import CheckpointError, MachineError, RecipeError
from resnetlab.recipe import validate
from resnetlab.tuning import study as module
from resnetlab.tuning.queue import claim, enqueue, finish, locked, next_trial, report
from resnetlab.tuning.sampling import make_pruner
from resnetlab.tuning.space import suggest
from resnetlab.tuning.study import open_study, reachable, require_url, shown, without_password

SPACE = {
    "training.optimizer": ["sgd", "adam"],
    "training.lr": {"low": 1e-4, "high": 1e-1, "log": True},
    "training.momentum": {"low": 0.5, "high": 0.9, "when": {"training.optimizer": "sgd"}},
}
ALWAYS = lambda: True  # noqa: E731


def recipe_for(sampler="tpe", pruner="none", space=SPACE):
    return validate({"tuning": {"space": space, "sampler": sampler, "pruner": pruner}}, "recipe")


def opened(folder: Path, recipe, name="search", place: Path | None = None):
    return open_study(f"sqlite:///{folder / 'study.db'}", name, recipe, 2, 12, place or folder)


def score(values) -> float:
    """A made-up score of which more is better: adam, and a rate near 0.003."""
    return (values["training.optimizer"] == "adam") - abs(values["training.lr"] - 0.003)


def run_all(search, recipe, most=99) -> list[dict]:
    found = []
    while len(found) < most:
        with next_trial(search, ALWAYS) as trial:
            if trial is None:
                break
            values = suggest(recipe, trial)
            found.append(values)
            finish(search, trial, TrialState.COMPLETE, score(values))
    return found


@pytest.mark.parametrize("sampler", ["grid", "random", "qmc", "tpe"])
def test_the_same_seed_gives_the_same_trials_however_often_the_process_is_begun_anew(
    tmp_path, sampler
):
    space = SPACE if sampler != "grid" else {"training.lr": [0.1, 0.01, 0.001]}
    recipe = recipe_for(sampler, space=space)
    folders = [tmp_path / "whole", tmp_path / "cut"]
    for folder in folders:
        folder.mkdir()
    global score
    kept, score = score, (lambda values: -values["training.lr"])
    try:
        search = opened(folders[0], recipe)
        enqueue(search, recipe, 8)
        whole = run_all(search, recipe)
        cut = []
        for _ in range(4):
            search = opened(folders[1], recipe)
            enqueue(search, recipe, 8)
            cut += run_all(search, recipe, most=2)
    finally:
        score = kept
    assert len(whole) == (3 if sampler == "grid" else 8)
    assert cut == whole


def test_another_seed_gives_others(tmp_path):
    recipe = recipe_for("tpe")
    first = opened(tmp_path, recipe, "first")
    second = opened(tmp_path, recipe.override({"seed": 1}), "second", tmp_path / "x")
    for search in (first, second):
        enqueue(search, recipe, 3)
    assert run_all(first, recipe) != run_all(second, recipe)


def test_tpe_learns_from_what_was_found(tmp_path):
    recipe = recipe_for("tpe")
    search = opened(tmp_path, recipe)
    enqueue(search, recipe, 26)
    found = run_all(search, recipe)

    late = [values["training.optimizer"] for values in found[14:]]
    assert late.count("adam") > 8


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")  # of threads
def test_a_trial_is_given_to_one_of_many_alone(tmp_path):
    recipe = recipe_for("random")
    searches = [opened(tmp_path, recipe, place=tmp_path / str(n)) for n in range(4)]
    enqueue(searches[0], recipe, 16)
    taken: list[int] = []

    def work(search):
        while True:
            with next_trial(search, ALWAYS) as trial:
                if trial is None:
                    return
                taken.append(trial.number)
                finish(search, trial, TrialState.COMPLETE, 0.5)

    threads = [threading.Thread(target=work, args=(search,)) for search in searches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(16))


def test_a_trial_that_was_cut_off_goes_on_here_first_with_the_same_values(tmp_path):
    recipe = recipe_for("tpe")
    search = opened(tmp_path, recipe)
    enqueue(search, recipe, 3)
    with next_trial(search, ALWAYS) as trial:
        before = suggest(recipe, trial)
        report(search, trial, [1], 0.5)  # and the process ends

    search = opened(tmp_path, recipe)
    with next_trial(search, ALWAYS) as trial:
        assert trial.number == 0
        assert suggest(recipe, trial) == before
        report(search, trial, [1, 2], 0.7)
    stored = search.trials()[0].intermediate_values
    assert stored == {1: 0.5, 2: 0.7}  # what was reported stays


def test_a_trial_of_a_living_process_is_not_taken_from_it(tmp_path):
    recipe = recipe_for("random")
    search = opened(tmp_path, recipe)
    enqueue(search, recipe, 2)
    with next_trial(search, ALWAYS) as first, next_trial(search, ALWAYS) as second:
        assert (first.number, second.number) == (0, 1)


def test_a_silent_trial_of_another_machine_is_run_again_once(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "SILENCE_S", 1)
    recipe = recipe_for("random")
    there = opened(tmp_path, recipe, place=tmp_path / "there")
    enqueue(there, recipe, 1)
    with next_trial(there, ALWAYS) as trial:
        values = suggest(recipe, trial)  # and nobody hears of it any more

    here = opened(tmp_path, recipe, place=tmp_path / "here")
    assert run_all(here, recipe) == [values]
    first, again = here.trials()
    assert (first.state, again.state) == (TrialState.FAIL, TrialState.COMPLETE)


def test_a_trial_that_was_taken_over_is_left_to_the_other(tmp_path, capsys):
    recipe = recipe_for("random")
    search = opened(tmp_path, recipe)
    enqueue(search, recipe, 1)
    with next_trial(search, ALWAYS) as trial:
        suggest(recipe, trial)
        search.study.tell(trial.number, state=TrialState.FAIL)  # declared dead meanwhile
        finish(search, trial, TrialState.COMPLETE, 0.9, reason="")
    assert search.trials()[0].state == TrialState.FAIL
    assert "counts as dead" in capsys.readouterr().err


def test_nothing_is_begun_when_the_time_is_up(tmp_path):
    recipe = recipe_for("random")
    search = opened(tmp_path, recipe)
    enqueue(search, recipe, 2)
    with next_trial(search, lambda: False) as trial:
        assert trial is None


def test_some_cells_of_a_large_grid_are_drawn_by_lot(tmp_path):
    space = {"training.lr": [0.1, 0.2, 0.3, 0.4], "training.epochs": [1, 2, 3, 4]}
    recipe = recipe_for("grid", space=space)
    search = opened(tmp_path, recipe)
    enqueue(search, recipe, 6)
    cells = [trial.system_attrs["fixed_params"] for trial in search.trials()]
    assert len({json.dumps(cell) for cell in cells}) == 6
    assert len({cell["training.lr"] for cell in cells}) > 2  # not the first six


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("none", optuna.pruners.NopPruner),
        ("median", optuna.pruners.MedianPruner),
        ("halving", optuna.pruners.SuccessiveHalvingPruner),
        ("hyperband", optuna.pruners.HyperbandPruner),
    ],
)
def test_every_pruner_has_a_name(name, kind):
    assert isinstance(make_pruner(name, 2, 12), kind)


@pytest.mark.parametrize("name", ["median", "halving", "hyperband"])
def test_a_hopeless_trial_is_given_up_before_its_end(tmp_path, name):
    recipe = recipe_for("random", name)
    search = opened(tmp_path, recipe)
    enqueue(search, recipe, 8)
    given_up = []
    for number in range(8):
        with next_trial(search, ALWAYS) as trial:
            suggest(recipe, trial)
            for step in range(1, 25):
                if report(search, trial, [step], 1 - number / 10 + step / 1000):  # ever worse
                    given_up.append(number)
                    finish(search, trial, TrialState.PRUNED, None)
                    break
            else:
                finish(search, trial, TrialState.COMPLETE, 1 - number / 10)
    assert 0 not in given_up
    assert 7 in given_up


def test_a_loss_is_made_small(tmp_path):
    recipe = recipe_for("random").override({"training.monitor": "loss"})
    assert opened(tmp_path, recipe).study.direction == optuna.study.StudyDirection.MINIMIZE


def test_a_damaged_storage_is_told(tmp_path):
    (tmp_path / "study.db").write_bytes(b"no database at all" * 100)
    url = f"sqlite:///{tmp_path / 'study.db'}"
    with pytest.raises(CheckpointError, match=r"study\.db: is damaged"), reachable(url):
        opened(tmp_path, recipe_for())


def test_a_storage_that_stays_locked_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LOCKED_S", 0.2)
    search = opened(tmp_path, recipe_for())
    other = sqlite3.connect(tmp_path / "study.db")
    other.execute("BEGIN EXCLUSIVE")
    try:
        with (
            pytest.raises(MachineError, match=r"can't be used .*locked"),
            reachable("sqlite:///study.db"),
        ):
            enqueue(search, recipe_for("random"), 1)
    finally:
        other.close()


def test_a_database_nobody_answers_for_is_told():
    pytest.importorskip("psycopg")
    url = "postgresql+psycopg://user:secret@127.0.0.1:9/search"
    with pytest.raises(MachineError, match="can't be used") as caught, reachable(url):
        open_study(url, "search", recipe_for(), 2, 12, Path())
    assert "secret" not in str(caught.value)


def test_a_driver_that_is_not_installed_is_told():
    url = "mysql+nosuchdriver://localhost/search"
    with (
        pytest.raises(MachineError, match=r"driver is not installed|can't be used"),
        reachable(url),
    ):
        open_study(url, "search", recipe_for(), 2, 12, Path())


def test_what_is_no_address_is_refused():
    with pytest.raises(RecipeError, match=r"--storage must be the address .* Got 'here'"):
        require_url("here")


def test_a_password_is_neither_shown_nor_kept():
    url = "postgresql+psycopg://me:secret@host/search"
    assert shown(url) == "postgresql+psycopg://me:***@host/search"
    assert without_password(url) == "postgresql+psycopg://me@host/search"


def test_a_claim_that_fails_leaves_no_folder(tmp_path):
    """Of two folders that share a storage, the second finds the trial taken."""
    recipe = recipe_for("random")
    here, there = (opened(tmp_path, recipe, place=tmp_path / name) for name in ("here", "there"))
    enqueue(here, recipe, 2)
    seen = there.trials(TrialState.WAITING)
    with next_trial(here, ALWAYS) as first, locked(there.trial_folder(0)) as mine:
        assert mine
        assert first.number == 0
        assert not claim(there, seen[0])

    assert not there.trial_folder(0).exists()
    assert here.trial_folder(0).is_dir()


def test_a_failed_claim_removes_nothing_that_a_trial_has_written(tmp_path):
    recipe = recipe_for("random")
    search = opened(tmp_path, recipe)
    enqueue(search, recipe, 1)
    seen = search.trials(TrialState.WAITING)
    with next_trial(search, ALWAYS) as trial:
        folder = search.fold_folder(0, 0)
        folder.mkdir(parents=True)
        finish(search, trial, TrialState.COMPLETE, 0.5)
    with locked(search.trial_folder(0)) as mine:
        assert mine
        assert not claim(search, seen[0])

    assert folder.is_dir()


def test_a_storage_of_an_older_optuna_is_refused_in_words(tmp_path):
    opened(tmp_path, recipe_for())
    with sqlite3.connect(tmp_path / "study.db") as tables:
        tables.execute("UPDATE alembic_version SET version_num = 'v2.6.0.a'")
    with pytest.raises(CheckpointError) as caught:
        opened(tmp_path, recipe_for())
    said = str(caught.value)
    assert f"study.db: its search was begun with an older Optuna than {optuna.__version__}" in said
    assert "optuna storage upgrade --storage sqlite:///" in said


def test_a_storage_of_a_newer_optuna_is_refused_in_words(tmp_path):
    opened(tmp_path, recipe_for())
    with sqlite3.connect(tmp_path / "study.db") as tables:
        tables.execute("UPDATE alembic_version SET version_num = 'v99.0.0.a'")
    with pytest.raises(CheckpointError, match=r"begun with a newer Optuna .* update resnetlab"):
        opened(tmp_path, recipe_for())


@pytest.mark.parametrize(
    ("found", "way_out"), [(0, "finish it with that version"), (2, "update resnetlab")]
)
def test_a_study_of_another_version_is_refused_in_words(tmp_path, found, way_out):
    opened(tmp_path, recipe_for()).study.set_user_attr("format", found)
    with pytest.raises(CheckpointError) as caught:
        opened(tmp_path, recipe_for())
    assert f"its format is {found}, this one reads 1); {way_out}" in str(caught.value)


def test_a_study_that_something_else_made_is_refused(tmp_path):
    study = optuna.create_study(storage=f"sqlite:///{tmp_path / 'study.db'}", study_name="search")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    with pytest.raises(CheckpointError, match="begun by another version of resnetlab"):
        opened(tmp_path, recipe_for())


def test_a_search_begun_before_formats_were_written_goes_on(tmp_path):
    search = opened(tmp_path, recipe_for("random"))
    search.study.set_user_attr("home", search.place)
    enqueue(search, recipe_for("random"), 1)
    with sqlite3.connect(tmp_path / "study.db") as tables:
        tables.execute("DELETE FROM study_user_attributes WHERE key = 'format'")
    assert not opened(tmp_path, recipe_for("random")).created


@pytest.mark.parametrize(("sampler", "most"), [("grid", 6), ("random", 9), ("qmc", 9)])
def test_more_trials_are_those_that_a_longer_search_would_have_had(tmp_path, sampler, most):
    space = {"training.lr": [0.1, 0.03, 0.01, 0.003, 0.001, 0.0003]} if sampler == "grid" else SPACE
    recipe = recipe_for(sampler, space=space)
    for name in ("at once", "in two"):
        (tmp_path / name).mkdir()
    together, apart = (opened(tmp_path / name, recipe) for name in ("at once", "in two"))
    enqueue(together, recipe, most - 1)
    for count in (2, most - 1, 3):
        enqueue(apart, recipe, count)

    def queued(search):
        return [trial.system_attrs["fixed_params"] for trial in search.trials()]

    assert queued(apart) == queued(together)
