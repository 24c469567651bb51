"""What is chosen for the machine, and what a run writes down about it."""

import json
import sys

import pytest
import torch

from resnetlab.errors import MachineError
from resnetlab.runs.environment import environment, processor
from resnetlab.system import allocator
from resnetlab.training.hardware import device as module
from resnetlab.training.hardware.device import (
    choose_device,
    choose_precision,
    choose_threads,
    make_fabric,
)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_processor_is_tried(monkeypatch, precision):
    monkeypatch.setattr(module, "fastest_precision", lambda network: precision)

    assert choose_precision("auto", "cpu") == precision


def test_the_number_of_threads_is_tried_and_told_where_it_is_not_all(monkeypatch, capsys):
    monkeypatch.setattr("torch.get_num_threads", lambda: 4)
    monkeypatch.setattr(module, "fastest_threads", lambda precision: 2)

    assert choose_threads("auto", "cpu", "fp32") == 2
    assert "2 of 4 threads compute faster" in capsys.readouterr().err


@pytest.mark.parametrize(("asked", "device", "threads"), [(3, "cpu", 3), ("auto", "cuda", 4)])
def test_nothing_is_tried_where_there_is_nothing_to_choose(monkeypatch, asked, device, threads):
    monkeypatch.setattr("torch.get_num_threads", lambda: 4)
    monkeypatch.setattr(module, "fastest_threads", lambda precision: pytest.fail("tried"))

    assert choose_threads(asked, device, "bf16") == threads


@pytest.mark.parametrize(("native", "precision"), [(True, "bf16"), (False, "fp32")])
def test_bf16_is_chosen_where_the_gpu_has_it_not_where_it_is_emulated(
    monkeypatch, native, precision
):
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation or native
    )

    assert choose_precision("auto", "cuda") == precision


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_precision_that_was_asked_for_is_taken(monkeypatch, precision):
    monkeypatch.setattr(module, "fastest_precision", lambda: pytest.fail("tried"))

    assert choose_precision(precision, "cpu") == precision


@pytest.mark.parametrize(
    ("asked", "there", "device"),
    [
        ("auto", True, "cuda"),
        ("auto", False, "cpu"),
        ("cpu", True, "cpu"),
        ("cuda", True, "cuda"),
    ],
)
def test_a_gpu_is_taken_where_there_is_one_and_nothing_else_was_said(
    monkeypatch, asked, there, device
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)

    assert choose_device(asked) == device


def test_a_gpu_that_is_not_there_is_told_with_a_way_out(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    with pytest.raises(MachineError, match=r"training\.device=cuda .* no GPU"):
        choose_device("cuda")


@pytest.mark.parametrize(("ours", "theirs"), [("fp32", "32-true"), ("bf16", "bf16-mixed")])
def test_the_precision_is_that_of_fabric(ours, theirs):
    fabric = make_fabric("cpu", ours)

    assert fabric._precision.precision == theirs
    assert fabric.device.type == "cpu"


def test_the_environment_is_plain_data(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/resnetlab", "train", "photos"])

    facts = environment()

    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert facts["command"] == "resnetlab train photos"
    assert facts["torch"] == torch.__version__
    assert facts["memory_gb"] > 0
    assert {"resnetlab", "python", "numpy", "opencv", "pillow", "platform", "processor", "cores",
            "threads", "gpu"} <= facts.keys()  # fmt: skip


def test_the_processor_is_known_by_name_and_flags():
    assert processor()["name"]
    assert isinstance(processor()["flags"], set)


def test_a_machine_without_proc_is_no_obstacle(monkeypatch):
    monkeypatch.setattr("resnetlab.runs.environment.Path", lambda _: FileNotThere())
    processor.cache_clear()
    try:
        assert processor()["flags"] == set()
        assert isinstance(processor()["name"], str)
    finally:
        processor.cache_clear()


class FileNotThere:
    def read_text(self) -> str:
        raise FileNotFoundError


def test_a_machine_without_glibc_is_no_obstacle(monkeypatch):
    def refuse(name: str):
        raise OSError(f"{name}: not found")

    monkeypatch.setattr(allocator.ctypes, "CDLL", refuse)

    allocator.keep_freed_memory()
