"""A run is a folder of its own: named once, never overwritten, held by one process at a time."""

import errno
import re
import socket
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest

from resnetlab.errors import CheckpointError, DataError, MachineError
from resnetlab.recipe import Recipe
from resnetlab.runs.run import Run, create_run, open_run


def test_names_are_counted_up_and_nothing_is_overwritten(tmp_path):
    first = create_run(tmp_path, "photos")
    (first.folder / "precious").write_text("mine")

    names = [first.name, create_run(tmp_path, "photos").name, create_run(tmp_path, "photos").name]

    assert names == ["photos", "photos-2", "photos-3"]
    assert (first.folder / "precious").read_text() == "mine"


def test_a_name_that_a_file_has_is_taken(tmp_path):
    (tmp_path / "photos").write_text("a file")

    assert create_run(tmp_path, "photos").name == "photos-2"


@pytest.mark.parametrize(
    ("wish", "name"),
    [
        ("my photos (new)!", "my-photos-new"),
        ("../../etc/passwd", "etc-passwd"),
        ("a/b\\c", "a-b-c"),
        ("..", "run"),
        ("", "run"),
        ("-rf", "rf"),
        (".hidden", "hidden"),
        ("caf\udce9", "caf"),
        ("Fotos-Kätzchen_2.1", "Fotos-Kätzchen_2.1"),
        ("猫", "猫"),
    ],
)
def test_a_name_keeps_letters_digits_and_little_else(tmp_path, wish, name):
    run = create_run(tmp_path / "runs", wish)

    assert run.folder == tmp_path / "runs" / name
    assert run.folder.is_dir()


def test_a_folder_that_cannot_be_written_is_named_with_a_way_out(tmp_path, monkeypatch):
    def refuse(self, *arguments, **options):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)

    with pytest.raises(MachineError) as caught:
        create_run(tmp_path, "photos")

    assert caught.value.exit_code == 5
    assert str(caught.value) == (
        f"{tmp_path}: can't be written (Permission denied); choose another with --out"
    )


def test_an_out_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "runs").write_text("a file")

    with pytest.raises(MachineError, match="runs: can't be written"):
        create_run(tmp_path / "runs", "photos")


def test_only_a_folder_with_a_recipe_is_a_run(tmp_path):
    with pytest.raises(DataError) as caught:
        open_run(tmp_path)

    assert str(caught.value) == f"{tmp_path}: no run here (a run has a recipe.yaml)"


def test_a_run_keeps_its_recipe(tmp_path):
    recipe = Recipe().override({"training.epochs": 7, "data.augment": "photo"})

    Run(tmp_path).write_recipe(recipe)

    assert open_run(tmp_path).recipe == recipe


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.8])
def test_a_recipe_that_lost_a_split_is_not_taken_for_another(tmp_path, share):
    run = Run(tmp_path)
    run.write_recipe(Recipe())
    lines = (tmp_path / "recipe.yaml").read_text().splitlines(keepends=True)
    (tmp_path / "recipe.yaml").write_text("".join(lines[: int(share * len(lines))]))

    with pytest.raises(CheckpointError, match=r"recipe\.yaml: is damaged \(has no "):
        _ = run.recipe


def test_metrics_are_added_section_by_section(tmp_path):
    run = Run(tmp_path)
    assert run.metrics == {}

    run.add_metrics(model={"name": "mlp"}, val={"loss": 2.0})
    run.add_metrics(val={"loss": 1.0})

    assert run.metrics == {"model": {"name": "mlp"}, "val": {"loss": 1.0}}


def test_the_ledger_keeps_every_entry(tmp_path):
    run = Run(tmp_path)
    assert run.ledger == []

    run.add_to_ledger({"opened": "first"})
    run.add_to_ledger({"opened": "second"})

    assert run.ledger == [{"opened": "first"}, {"opened": "second"}]


@pytest.mark.parametrize("content", ["", "{}", "[3]", '[{"opened": '])
def test_a_damaged_ledger_is_told_and_never_begun_anew(tmp_path, content):
    run = Run(tmp_path)
    (tmp_path / "test_ledger.json").write_text(content)

    with pytest.raises(CheckpointError, match=r"test_ledger\.json: is damaged"):
        run.add_to_ledger({"opened": "again"})

    assert (tmp_path / "test_ledger.json").read_text() == content


def test_a_ledger_that_is_gone_while_predictions_of_the_test_split_are_there_is_missed(tmp_path):
    run = Run(tmp_path)
    run.predictions("test").write_text("")

    with pytest.raises(CheckpointError) as caught:
        _ = run.ledger

    assert str(caught.value) == (
        f"{tmp_path / 'test_ledger.json'}: is gone, but the test split was opened; bring it back"
    )


@pytest.mark.parametrize("content", ["", "[]", '{"val": '])
def test_damaged_metrics_are_told_and_not_written_over(tmp_path, content):
    run = Run(tmp_path)
    (tmp_path / "metrics.json").write_text(content)

    with pytest.raises(CheckpointError, match=r"metrics\.json: is damaged"):
        run.add_metrics(val={"loss": 1.0})

    assert (tmp_path / "metrics.json").read_text() == content


# One process at a time.

HOLD = """
import sys, time
from html import unescape
from pathlib import Path
from resnetlab.runs.run import Run

with Run(Path(sys.argv[1])).held():
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_until_the_first_is_dead(tmp_path, holder):
    with pytest.raises(MachineError) as caught, Run(tmp_path).held():
        pytest.fail("two processes in one run")
    assert str(caught.value) == (
        f"{tmp_path}: another process ({holder.pid} on {socket.gethostname()}) is at work on this run"
    )

    holder.kill()
    holder.wait()

    with Run(tmp_path).held():
        assert (tmp_path / ".lock").is_file()  # the file stays, and means nothing by itself


def test_the_same_process_is_refused_a_second_hold(tmp_path):
    run = Run(tmp_path)

    with run.held(), pytest.raises(MachineError, match="another process"), run.held():
        pytest.fail("held twice")

    with run.held():
        pass


def test_a_run_is_let_go_when_the_work_in_it_fails(tmp_path):
    with pytest.raises(OSError, match="disk full"), Run(tmp_path).held():
        raise OSError("disk full")

    with Run(tmp_path).held():
        pass


def test_a_run_that_cannot_be_written_can_not_be_held(tmp_path):
    with pytest.raises(MachineError, match="can't be written"), Run(tmp_path / "gone").held():
        pytest.fail("held nothing")


def test_a_notebook_shows_the_first_screen_of_the_report_apart_from_its_own_page(tmp_path):
    run = Run(tmp_path)
    assert run._repr_html_() is None
    page = (
        "<style>h1 {}</style><header><h1>A & B</h1><nav>links</nav></header><main>the rest</main>"
    )
    (tmp_path / "report.html").write_text(page)
    (shown,) = re.findall('<iframe srcdoc="(.*?)"', run._repr_html_())
    assert unescape(shown) == "<style>h1 {}</style><header><h1>A & B</h1></header>"


def test_what_was_left_half_written_goes_and_folders_stay(tmp_path):
    run = create_run(tmp_path, "photos")
    (run.folder / ".metrics.json.abc.tmp").touch()
    (run.folder / "bundle" / ".onnx.tmp").mkdir(parents=True)

    with run.held():
        pass

    assert not (run.folder / ".metrics.json.abc.tmp").exists()
    assert (run.folder / "bundle" / ".onnx.tmp").is_dir()
