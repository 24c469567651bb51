"""The command's beginning and end: arguments in, an exit code out, one line for an error."""

import os
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from contextlib import suppress

import typer

from resnetlab.cli.app import app
from resnetlab.cli.options import (
    spread_values,
)
from resnetlab.errors import ResnetlabError
from resnetlab.system import interruption, ranks
from resnetlab.system.files import DISK_TROUBLES
from resnetlab.system.progress import write


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; return the exit code: 0 to 7, 130 interrupted, 143 terminated."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    with interruption.handle_signals(shlex.join(["resnetlab", *arguments])):
        code = run(arguments)
        ranks.dismiss(code)
    return code


def run(arguments: list[str]) -> int:
    """Run a command line, or the part in it that is another process's to ask for; return the exit code."""
    debug = "--debug" in arguments  # anywhere on the line
    try:
        ranks.connect()
        if not ranks.is_main():
            import resnetlab.training.loop  # noqa: F401  # takes seconds, in which the main one reads

            return ranks.follow()
        code = app(
            spread_values([word for word in arguments if word != "--debug"]),
            standalone_mode=False,
            prog_name="resnetlab",
        )
        return code if isinstance(code, int) else 0
    except ResnetlabError as error:
        return fail(str(error), error.exit_code, debug)
    except (KeyboardInterrupt, typer.Abort):
        return fail("interrupted; what was finished is kept", 130, False)
    except OSError as error:
        if error.errno not in DISK_TROUBLES:
            return fail(fault(error), 1, debug)
        place = error.filename or "output"
        return fail(
            f"{place}: can't be written ({error.strerror}); make room, then go on", 5, debug
        )
    except Exception as error:
        # Typer's own complaints about arguments know how to show themselves.
        if hasattr(error, "show") and hasattr(error, "exit_code"):
            with suppress(OSError):  # nobody takes it
                error.show()
            return int(error.exit_code)
        return fail(fault(error), 1, debug)


def fault(error: Exception) -> str:
    """Return what is said of an error that nobody expected."""
    return (
        f"{type(error).__name__}: {error}. This is a fault in resnetlab; run again with --debug and "
        "tell us"
    )


def fail(message: str, code: int, debug: bool) -> int:
    """Print one line about an error, and the traceback where asked for; return the exit code."""
    place = ranks.place()
    who = f" (process {place.rank + 1} of {place.count})" if place.rank else ""
    if debug:
        write(traceback.format_exc())
    write(f"resnetlab{who}: {message}\n")
    return code


def entry_point() -> None:
    """Run as the command `resnetlab`."""
    code = main()
    if (
        ranks.place().count > 1
    ):  # torchrun ends all where one has ended; this one has its own exit code
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    others = set(threading.enumerate()) - {threading.main_thread()}
    if any(not thread.daemon for thread in others):  # one hangs in a read: Python would wait for it
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    sys.exit(code)
