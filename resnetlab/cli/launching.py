"""The same command in many processes, which share each batch: started here, or by torchrun or SLURM."""

import logging
import signal
import sys
import uuid
from typing import Annotated

import typer

from resnetlab.errors import MachineError, RecipeError
from resnetlab.system import ranks
from resnetlab.system.progress import log

DevicesOption = Annotated[
    int | None,
    typer.Option(
        "--devices", min=1, help="GPUs, or processes on processors, that share each batch."
    ),
]
NodesOption = Annotated[
    int | None,
    typer.Option("--nodes", min=1, help="Machines; torchrun or srun starts the command on each."),
]
StrategyOption = Annotated[
    str, typer.Option("--strategy", help="ddp: each process has the whole network.")
]


def spread(
    devices: int | None, nodes: int | None, strategy: str, device: str | None = None
) -> None:
    """Run this command in as many processes as were asked for; return where this is one of them already.

    Raises typer.Exit with their exit code, RecipeError where that many can't be started from here,
    MachineError where there aren't as many GPUs.
    """
    if strategy != "ddp":
        raise RecipeError(
            "--strategy must be ddp: each process has the whole network, which one GPU must hold. "
            f"Networks are not divided (fsdp). Got '{strategy}'"
        )
    count = (devices or 1) * (nodes or 1)
    started = ranks.place().count
    if started > 1:
        if (devices or nodes) and count != started:
            raise RecipeError(
                f"--devices {devices or 1} --nodes {nodes or 1} make {count} processes, but torchrun or SLURM "
                f"started {started}; leave both out, or start as many"
            )
        return
    if nodes is not None and nodes > 1:
        raise RecipeError(
            f"--nodes {nodes}: start the command on each machine, by srun or by torchrun --nnodes {nodes} "
            f"--nproc-per-node {devices or 1} --rdzv-backend c10d --rdzv-endpoint HOST:29500 -m resnetlab ..."
        )
    if count > 1:
        require_gpus(count, device)
        raise typer.Exit(launch(count))


def require_gpus(count: int, device: str | None) -> None:
    """Raise MachineError where so many processes would not have a GPU each, on a machine that has some."""
    if device == "cpu":
        return
    import torch

    there = torch.cuda.device_count()
    if 0 < there < count:
        raise MachineError(
            f"--devices {count}: there are {there} GPUs here; take as many, or --device cpu"
        )


def launch(count: int) -> int:
    """Run this very command in `count` processes of this machine, by torchrun's agent; return the exit code.

    Where one ends by an error the agent ends the others; a signal is passed on to all.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.disable()  # the agent's own words: what went wrong the processes say
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.5,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "resnetlab", *sys.argv[1:])
    except ChildFailedError as error:
        codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
        return exit_code(codes, count)
    except SignalException as stop:
        return 128 + stop.sigval
    return 0


def exit_code(codes: dict[int, int], count: int) -> int:
    """Return the exit code of a command whose processes ended with these, and say which was killed."""
    for rank, code in codes.items():
        if code < 0:
            name = signal.Signals(-code).name
            log(f"resnetlab: process {rank + 1} of {count} was killed ({name})")
    own = [code for _, code in sorted(codes.items()) if code > 0]
    return own[0] if own else MachineError.exit_code
