"""The demo runs the commands that a user would type, in their order, and stops where one fails."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from resnetlab.cli.main import main


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What the demo would have run."""
    ran: list[list[str]] = []

    def run(words: list[str], **_: object) -> SimpleNamespace:
        assert words[:3] == [sys.executable, "-m", "resnetlab"]
        ran.append(words[3:])
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(subprocess, "run", run)
    return ran


def test_it_inspects_trains_three_networks_opens_the_test_split_compares_and_predicts(
    commands, tmp_path, capsys
):
    assert main(["demo", "--out", str(tmp_path)]) == 0

    verbs = [words[0] for words in commands]
    assert verbs == ["inspect", *["train"] * 3, *["evaluate"] * 3, "compare", "predict"]
    assert len(list((tmp_path / "digits").glob("*/*.png"))) == 1797
    said = capsys.readouterr().out
    assert all(f"$ resnetlab {' '.join(words)}" in said for words in commands)


def test_a_second_demo_beside_the_first_names_its_runs_anew(commands, tmp_path):
    (tmp_path / "runs" / "digits-mlp").mkdir(parents=True)

    assert main(["demo", "--out", str(tmp_path)]) == 0

    evaluated = [Path(words[1]).name for words in commands if words[0] == "evaluate"]
    assert evaluated == ["digits-mlp-2", "digits-cnn", "digits-resnet18"]


def test_a_command_that_fails_ends_it_with_that_commands_exit_code(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=5))

    assert main(["demo", "--out", str(tmp_path)]) == 5
    assert "the demo's command 'resnetlab inspect " in capsys.readouterr().err
