"""Commands that work in many processes: started here, or checked against what was started."""

import subprocess
import sys

import pytest

from resnetlab.cli import launching
from resnetlab.cli.launching import exit_code
from resnetlab.cli.main import main
from resnetlab.system.files import read_csv


@pytest.fixture
def eight(monkeypatch):
    """Look as if torchrun had started eight processes, but join none."""
    for name, value in {"RANK": "0", "WORLD_SIZE": "8", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("resnetlab.system.ranks.connect", lambda: None)


@pytest.mark.parametrize("verb", ["train", "resume", "reproduce", "tune"])
def test_a_divided_network_is_refused(verb, capsys):
    assert main([verb, "photos", "--strategy", "fsdp"]) == 2
    assert capsys.readouterr().err == (
        "resnetlab: --strategy must be ddp: each process has the whole network, which one GPU must "
        "hold. Networks are not divided (fsdp). Got 'fsdp'\n"
    )


def test_many_machines_need_somebody_who_starts_the_command_on_each(capsys):
    assert main(["train", "photos", "--devices", "4", "--nodes", "2"]) == 2
    assert "by srun or by torchrun --nnodes 2 --nproc-per-node 4" in capsys.readouterr().err


def test_what_is_asked_for_must_be_what_was_started(eight, capsys):
    assert main(["train", "photos", "--devices", "2", "--nodes", "2"]) == 2
    assert capsys.readouterr().err == (
        "resnetlab: --devices 2 --nodes 2 make 4 processes, but torchrun or SLURM started 8; leave "
        "both out, or start as many\n"
    )


def test_a_search_has_processes_for_a_trial_or_trials_side_by_side(eight, capsys):
    assert main(["tune", "photos", "--jobs", "2"]) == 2
    assert "--jobs 2: here 8 processes share each trial" in capsys.readouterr().err


def test_more_processes_than_gpus_are_refused(monkeypatch, capsys):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)

    assert main(["train", "photos", "--devices", "3"]) == 5
    assert "there are 2 GPUs here; take as many, or --device cpu" in capsys.readouterr().err


def test_the_command_ends_with_the_exit_code_of_its_processes(monkeypatch):
    monkeypatch.setattr(launching, "launch", lambda count: 40 + count)

    assert main(["train", "photos", "--device", "cpu", "--devices", "2"]) == 42


@pytest.mark.parametrize(
    ("codes", "code", "line"),
    [
        ({0: 143, 1: 143}, 143, ""),
        ({0: 5, 1: -9}, 5, "resnetlab: process 2 of 2 was killed (SIGKILL)\n"),
        ({1: -9}, 5, "resnetlab: process 2 of 2 was killed (SIGKILL)\n"),
        ({0: 3, 1: 3}, 3, ""),
    ],
)
def test_a_killed_process_counts_as_a_machine_that_failed(codes, code, line, capsys):
    assert exit_code(codes, 2) == code
    assert capsys.readouterr().err == line


@pytest.mark.scorecard
def test_one_command_trains_and_predicts_in_two_processes(digit_folder, tmp_path):
    command = [
        sys.executable,
        "-m",
        "resnetlab",
        "train",
        str(digit_folder),
        "--out",
        str(tmp_path),
    ]
    command += ["--model", "mlp", "--image-size", "8", "--epochs", "2", "--device", "cpu"]
    words = []
    for name, more in {"one": [], "two": ["--devices", "2"]}.items():
        ended = subprocess.run(
            [*command, "--name", name, *more], capture_output=True, text=True, timeout=500
        )
        assert ended.returncode == 0, ended.stderr
        words.append(ended.stderr)

    assert words[1].count("epoch   1/2") == 1, "one process speaks"
    one, two = (read_csv(tmp_path / name / "history.csv") for name in ("one", "two"))
    for row, other in zip(one, two, strict=True):
        assert float(other["train_loss"]) == pytest.approx(float(row["train_loss"]), rel=1e-5)
        assert float(other["val_loss"]) == pytest.approx(float(row["val_loss"]), rel=1e-5)
    assert not list(tmp_path.glob("*-2")), "one run each"
