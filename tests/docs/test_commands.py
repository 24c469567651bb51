"""Every command that README and documentation show is one that resnetlab understands."""

import re
import shlex
from pathlib import Path

import pytest

import resnetlab
from resnetlab.cli import demo, train, tune
from resnetlab.cli.main import main
from resnetlab.recipe import validate
from resnetlab.recipe.plain_yaml import read_yaml
from tests.docs.shown import PAGES, ROOT, commands_of

# Each once, named by the first page that has it.
COMMANDS = {
    shlex.join(words): f"{page.relative_to(ROOT)}:{number}"
    for page in reversed(PAGES)
    for number, words in commands_of(page)
}


class Reached(BaseException):
    """A command was understood: its work would begin now."""


class Work:
    """Takes the place of the workflows."""

    def __getattr__(self, name: str) -> None:
        raise Reached


@pytest.mark.parametrize(
    "command", COMMANDS, ids=[f"{place} {command}" for command, place in COMMANDS.items()]
)
def test_command_is_understood(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """Verb, options and recipe keys are there, and values are such as they take."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").touch()  # the reader's own recipe
    monkeypatch.setattr(resnetlab, "workflows", Work(), raising=False)
    for verbs in (train, tune):  # how many processes are started is their environment's affair
        monkeypatch.setattr(verbs, "spread", lambda *_: None)
    monkeypatch.setattr(demo, "run_demo", lambda out: getattr(Work(), "demo"))  # noqa: B009
    try:
        code = main(shlex.split(command))
    except Reached:
        return
    assert code == 0, capsys.readouterr().err


def test_commands_are_found() -> None:
    assert len(COMMANDS) > 100
    assert {shlex.split(command)[0] for command in COMMANDS} >= {"train", "tune", "serve", "push"}


def test_recipes_in_the_pages_are_valid() -> None:
    for page in PAGES:
        blocks = re.findall(r"^```yaml\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
        for block in blocks:
            validate(read_yaml(block), page.name)
