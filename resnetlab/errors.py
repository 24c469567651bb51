"""What can go wrong for a user, each with the exit code the command line ends with."""


class ResnetlabError(Exception):
    """Something a user can mend. The message names the file or key and the way out."""

    exit_code = 1


class RecipeError(ResnetlabError):
    """A setting or an argument is wrong."""

    exit_code = 2


class DataError(ResnetlabError):
    """The images or labels are not fit for what was asked."""

    exit_code = 3


class CheckpointError(ResnetlabError):
    """A checkpoint, bundle or weight file is damaged or does not fit."""

    exit_code = 4


class MachineError(ResnetlabError):
    """The machine lacks something: disk, rights, memory, a package."""

    exit_code = 5


class DivergedError(ResnetlabError):
    """Training produced a loss that is not finite."""

    exit_code = 6


class RequirementError(ResnetlabError):
    """A figure is not what was required of it."""

    exit_code = 7


class StoppedError(ResnetlabError):
    """The work was asked to end, by a signal or a deadline, and ended where nothing is lost."""

    def __init__(self, why: str, exit_code: int, going_on: str = "") -> None:
        super().__init__(
            f"{why}; what was finished is kept{going_on and f', go on with: {going_on}'}"
        )
        self.why, self.exit_code = why, exit_code

    def go_on_with(self, command: str) -> "StoppedError":
        """Return the same with the command that goes on."""
        return StoppedError(self.why, self.exit_code, command)


def one_line(error: BaseException) -> str:
    """Return the first line of what a library says, or the kind of its error where it says nothing."""
    return next(iter(str(error).splitlines()), "")[:200] or type(error).__name__
