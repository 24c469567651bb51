"""Which process this is, and what of a batch is its own."""

import os

import pytest

from resnetlab.system import ranks
from resnetlab.system.progress import log
from resnetlab.system.ranks import Place, State

TORCHRUN = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}
SRUN = {
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_NTASKS": "8",
    "SLURM_NTASKS_PER_NODE": "4",
    "SLURM_JOB_ID": "1234567",
    "SLURM_NODELIST": "gpu[07-08]",
}


@pytest.fixture
def told(monkeypatch):
    """Tell this process by variables where it stands, and afterwards nothing any more."""
    for name in [*TORCHRUN, *SRUN, "MASTER_ADDR", "MASTER_PORT", "SLURM_JOB_NAME"]:
        monkeypatch.setenv(name, "")  # noted, so that what is set on the way goes too
        monkeypatch.delenv(name)

    def tell(variables: dict[str, str]) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return tell


def test_a_process_that_nobody_started_with_others_is_alone(told):
    told({})

    assert ranks.place() == Place(0, 1, 0)
    ranks.connect()
    assert ranks.world() == 1
    assert ranks.is_main()


@pytest.mark.parametrize("variables", [TORCHRUN, SRUN])
def test_torchrun_and_srun_tell_a_process_its_place(told, variables):
    told(variables)

    assert ranks.place() == Place(rank=5, count=8, local_rank=1)


@pytest.mark.parametrize(
    "variables",
    [
        {"SLURM_NTASKS": "8", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"},  # srun wasn't used
        SRUN | {"SLURM_JOB_NAME": "interactive"},
    ],
)
def test_a_batch_script_and_a_shell_of_slurm_are_alone(told, variables):
    told(variables)

    assert ranks.place() == Place()


def test_slurms_first_machine_is_where_the_main_process_is(told):
    told(SRUN)

    ranks.find_main()

    assert (os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]) == ("gpu07", "19567")


def test_of_processes_that_joined_only_the_main_one_speaks(told, capsys, monkeypatch):
    told(TORCHRUN)
    log("alone")
    monkeypatch.setattr(ranks, "_waiting", "a group")
    log("heard by nobody")
    told({"RANK": "0"})
    log("the main one")

    assert capsys.readouterr().err == "alone\nthe main one\n"


@pytest.mark.parametrize("world", [1, 2, 3, 8])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 16, 31])
@pytest.mark.parametrize("least", [1, 2])
def test_parts_cover_every_row_once_in_order_and_none_is_too_small(
    told, monkeypatch, world, count, least
):
    monkeypatch.setattr(ranks, "_state", State.TOGETHER)
    parts = []
    for rank in range(world):
        told({"RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_RANK": str(rank)})
        parts.append(list(range(count))[ranks.part(count, least)])

    assert [row for part in parts for row in part] == list(range(count))
    sizes = [len(part) for part in parts if part]
    assert all(size >= min(least, count) for size in sizes)
    assert max(sizes, default=0) - min(sizes, default=0) <= 1


def test_what_an_error_leaves_lost_is_not_shared_again(monkeypatch):
    monkeypatch.setattr(ranks, "_state", State.LOST)

    with (
        pytest.raises(ranks.LostError, match="has ended, or doesn't answer") as caught,
        ranks.together(print),
    ):
        pass
    assert caught.value.exit_code == 5
