"""However a command ends, it is one line and an exit code."""

import errno

import pytest

from resnetlab.cli import main as module
from resnetlab.cli.main import entry_point, main


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "run/history.csv"),
            5,
            "run/history.csv: can't be written (No space left on device); make room, then go on",
        ),
        (
            OSError(errno.ENOTTY, "Not a typewriter"),
            1,
            "OSError: [Errno 25] Not a typewriter. This is a fault in resnetlab; run again with "
            "--debug and tell us",
        ),
        (
            ZeroDivisionError("division by zero"),
            1,
            "ZeroDivisionError: division by zero. This is a fault in resnetlab; run again with "
            "--debug and tell us",
        ),
        (KeyboardInterrupt(), 130, "interrupted; what was finished is kept"),
    ],
)
def test_what_no_command_foresaw_is_told_in_one_line(monkeypatch, capsys, error, code, line):
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(module, "app", fail)

    assert main(["models"]) == code
    assert capsys.readouterr() == ("", f"resnetlab: {line}\n")


def test_the_process_ends_with_the_exit_code(monkeypatch):
    monkeypatch.setattr(module, "main", lambda: 3)

    with pytest.raises(SystemExit) as caught:
        entry_point()
    assert caught.value.code == 3
