"""What is compared: the settings of a run, its parts, and who takes part in each comparison."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any

Metrics = dict[str, float | str]

# Each is a module here with `comparisons(settings)` and `prepare(settings)`.
PARTS = ("input", "train", "frozen", "infer", "export", "memory", "cifar", "transfer")
LONG = ("cifar", "transfer")  # only where it is asked for


@dataclass(frozen=True)
class Settings:
    """What all measurements of a run share; an empty path stands for none."""

    work: str  # what is made on the way: images, stores, runs
    machine: str = ""
    images: str = ""  # class folders of photographs
    small: str = ""  # CIFAR-10 as folders
    bundle: str = ""
    runs: str = ""  # finished runs on small images
    size: int = 224  # px
    count: int = 1000  # photographs
    steps: int = 20  # of training, timed, over all rounds
    rounds: int = 2
    minutes: int = 5  # that each contestant of a race trains
    started: float = 0.0  # when this process was started, by time.monotonic

    @property
    def timed_steps(self) -> int:
        """Return the steps of training that are timed in one process."""
        return max(1, self.steps // self.rounds)

    def key(self) -> dict[str, Any]:
        """Return what must be the same for an earlier measurement to count."""
        own = ("work", "runs", "started")
        return {name: value for name, value in asdict(self).items() if name not in own}


@dataclass(frozen=True, eq=False)
class Comparison:
    """One task and who does it, by name; the first is ours, against which the others are held."""

    title: str
    contestants: Mapping[str, Callable[[Settings], Metrics]]
    note: str = ""
    repeat: bool = True  # False: one round is enough


def comparisons_of(part: str, settings: Settings) -> tuple[Comparison, ...]:
    """Return the comparisons of a part."""
    found: tuple[Comparison, ...] = import_module(f"benchmarks.{part}").comparisons(settings)
    return found
