"""Many processes that share the batches of one training: which of them this is, and what they tell each other.

The main process (rank 0) does the work of a verb as if it were alone. Where it comes to what can be shared,
a training or a prediction, it calls the others in (`together`); they wait for that in `follow`. Only
meanwhile is `world` above 1, and only then does anything here cost more than a comparison. So a single
process, and all that the main one does alone, know nothing of the others.
"""

import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

from resnetlab.errors import DivergedError, MachineError, StoppedError, one_line

if TYPE_CHECKING:
    from torch import Tensor

STEP_TIMEOUT = timedelta(minutes=10)  # for what all compute; a process that is dead shows at once
WAIT_TIMEOUT = timedelta(days=30)  # for what the main one does alone, such as reading all images

Result = TypeVar("Result")


class State(Enum):
    """What the processes do at the moment."""

    APART = "the main one works, the others wait to be called in"
    TOGETHER = "all work on the same"
    MAIN_ALONE = "all work on the same, and wait for something that the main one does for all"
    LOST = "one has ended, or left the others"


@dataclass(frozen=True)
class Place:
    """Which of `count` processes this is, from 0, and which of those on its machine."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0


class LostError(StoppedError):
    """Another process has ended, or doesn't answer."""

    def __init__(self) -> None:
        count = place().count
        super().__init__(f"one of the {count} processes has ended, or doesn't answer any more", 5)


class LeftError(Exception):
    """The main process has left the common work by an error of its own; it tells of it."""


# A process has one place among the others, so what is known of them is kept once for all of it.
_state = State.APART
# The group through which the others wait for the main one; None where this process has not joined any.
_waiting: Any = None
_shared: BaseException | None = None  # the last error of which the others know


def place() -> Place:
    """Return this process's place, as torchrun or SLURM's srun tells it; the only one where none does."""
    known = os.environ
    if {"RANK", "WORLD_SIZE", "LOCAL_RANK"} <= known.keys():
        return Place(int(known["RANK"]), int(known["WORLD_SIZE"]), int(known["LOCAL_RANK"]))
    # A batch script itself has no such variable: it is no step, and alone.
    in_shell = known.get("SLURM_JOB_NAME") in ("bash", "interactive")
    if "SLURM_STEP_NUM_TASKS" in known and not in_shell:
        count = int(known["SLURM_STEP_NUM_TASKS"])
        return Place(int(known["SLURM_PROCID"]), count, int(known["SLURM_LOCALID"]))
    return Place()


def is_main() -> bool:
    """Return whether this process is the one that writes and speaks; one that joined no others is."""
    return _waiting is None or place().rank == 0


def world() -> int:
    """Return how many processes work together at the moment."""
    return place().count if _state is State.TOGETHER else 1


def rank() -> int:
    """Return which of those that work together at the moment this is."""
    return place().rank if _state is State.TOGETHER else 0


def connect() -> None:
    """Find the other processes, where there are any. Raises MachineError, LostError."""
    global _waiting
    count = place().count
    if count == 1:
        return
    import torch
    import torch.distributed as dist

    find_main()
    backend = "gloo"
    if place().local_rank < torch.cuda.device_count():
        torch.cuda.set_device(place().local_rank)
        backend = "cpu:gloo,cuda:nccl"
    with answered():
        dist.init_process_group(backend, rank=place().rank, world_size=count, timeout=STEP_TIMEOUT)
        _waiting = dist.new_group(backend="gloo", timeout=WAIT_TIMEOUT)


def find_main() -> None:
    """Set where the main process is to be found, which torchrun says and SLURM's list of machines tells."""
    if "MASTER_ADDR" in os.environ and "MASTER_PORT" in os.environ:
        return
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

    try:
        slurm = SLURMEnvironment()
    except RuntimeError as error:
        raise MachineError(f"SLURM: {one_line(error)}") from error
    os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = slurm.main_address, str(slurm.main_port)


@contextmanager
def answered() -> Iterator[None]:
    """Raise LostError where another process gives no answer."""
    global _state
    try:
        yield
    except RuntimeError as error:  # of all kinds that torch.distributed has
        _state = State.LOST
        raise LostError from error


@contextmanager
def together(job: Callable[..., object], *arguments: Any) -> Iterator[None]:
    """Let the others do `job(*arguments)` while the main process does what stands in this context.

    Both must come by the same calls of this module in the same order. Nothing happens where there are
    no others, or they are at work already. Arguments are pickled. Raises LostError.
    """
    global _state
    if _state is State.LOST:
        raise LostError
    if _waiting is None or _state is not State.APART:
        yield
        return
    tell((job, arguments))
    _state = State.TOGETHER
    try:
        yield
    except BaseException as error:
        if _state is State.TOGETHER:
            _state = State.APART if known_to_all(error) else State.LOST
        raise
    _state = State.APART


def known_to_all(error: BaseException) -> bool:
    """Return whether every process raises an error alike, or has been told of it."""
    agreed = isinstance(error, (StoppedError, DivergedError)) and not isinstance(error, LostError)
    return agreed or error is _shared


def follow() -> int:
    """Do what the main process calls for, until it says with which exit code to end; return that."""
    global _state
    while True:
        order = tell(None)
        if isinstance(order, int):
            return order
        job, arguments = order
        _state = State.TOGETHER
        try:
            job(*arguments)
        except LostError:
            raise
        except (LeftError, StoppedError, DivergedError):
            pass  # so has the main process, which says why
        _state = State.APART


def dismiss(code: int) -> None:
    """Let the other processes end with an exit code, where there are any and none is lost."""
    global _waiting
    if _waiting is None or _state is State.LOST:
        return
    import torch.distributed as dist

    with suppress(LostError):
        if is_main():
            tell(code)
        dist.destroy_process_group()
    _waiting = None


def tell(value: Any) -> Any:
    """Return what the main process passes here; the others wait for it, however long. Raises LostError."""
    import torch.distributed as dist

    # Pickled before: an error of that is none of the connection.
    box = [pickle.dumps(value) if is_main() else b""]
    with answered():
        dist.broadcast_object_list(box, src=0, group=_waiting)
    return pickle.loads(box[0])  # from a process of this very command


def on_main(work: Callable[[], Result]) -> Result:
    """Do work on the main process alone; every process returns what it gives.

    Where it raises an error, the others raise LeftError.
    """
    global _state, _shared
    if world() == 1:
        return work()
    if not is_main():
        raised, result = tell(None)
        if raised:
            raise LeftError
        return result  # type: ignore[no-any-return]
    _state = State.MAIN_ALONE
    try:
        result = work()
    except Exception as error:
        tell((True, None))
        _shared = error
        raise
    finally:
        if _state is State.MAIN_ALONE:
            _state = State.TOGETHER
    tell((False, result))
    return result


def part(count: int, least: int = 1) -> slice:
    """Return which of `count` things are this process's: contiguous, as equal as can be.

    Who gets any gets `least` of them, where there are as many: of few, some processes get none.
    """
    sharing = min(world(), max(count // least, 1))
    each, more = divmod(count, sharing)
    number = min(rank(), sharing)
    start = number * each + min(number, more)
    own = each + (number < more) if rank() < sharing else 0
    return slice(start, start + own)


def most(number: int) -> int:
    """Return the largest number that any process gives."""
    if world() == 1:
        return number
    import torch
    import torch.distributed as dist

    box = torch.tensor(number)
    with answered():
        dist.all_reduce(box, dist.ReduceOp.MAX)
    return int(box)


def add_up(tensors: "list[Tensor]") -> None:
    """Set tensors of one device and type to their sums over all processes, at once."""
    import torch
    import torch.distributed as dist

    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    with answered():
        dist.all_reduce(flat)
    sums = torch.split(flat, [tensor.numel() for tensor in tensors])
    for tensor, total in zip(tensors, sums, strict=True):
        tensor.copy_(total.view_as(tensor))


def gather(own: Any) -> list[Any]:
    """Return what each process gives, in their order; it is pickled."""
    if world() == 1:
        return [own]
    import torch.distributed as dist

    found: list[Any] = [None] * world()
    with answered():
        dist.all_gather_object(found, own, group=_waiting)
    return found
