"""What a run writes down about machine and code, and what it does not."""

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from resnetlab.runs.environment import environment, git_state, gpu_driver, operating_system


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A git checkout with one commit of one file."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "code.py").write_text("1")
    git(folder, "init", "--quiet")
    git(folder, "add", "code.py")
    git(folder, "commit", "--quiet", "--message", "first")
    return folder


def git(folder: Path, *words: str) -> str:
    person = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *person, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_versions_of_what_computes_are_recorded():
    facts = environment()

    assert facts["torch"] == torch.__version__
    for package in ("torchvision", "lightning", "numpy", "opencv", "pillow", "scipy", "pyarrow"):
        assert re.match(r"\d+\.\d+", facts[package]), package
    assert facts["scikit-learn"] and facts["safetensors"]
    assert facts["python"] == platform.python_version()


def test_features_are_those_by_which_arithmetic_differs(monkeypatch):
    flags = {"fpu", "avx2", "avx512f", "amx_bf16", "hypervisor"}
    monkeypatch.setattr(
        "resnetlab.runs.environment.processor", lambda: {"name": "X", "flags": flags}
    )

    assert environment()["features"] == ["avx2", "avx512f", "amx_bf16"]


def test_the_commit_here_is_recorded_with_whether_it_is_clean(checkout, monkeypatch):
    monkeypatch.chdir(checkout)
    head = git(checkout, "rev-parse", "HEAD")
    assert environment()["git_here"] == {"commit": head, "dirty": False}

    (checkout / "photos.txt").write_text("not tracked")
    assert environment()["git_here"]["dirty"] is False
    (checkout / "code.py").write_text("2")
    assert environment()["git_here"] == {"commit": head, "dirty": True}


def test_a_package_inside_somebodys_checkout_is_not_of_that_commit(checkout):
    installed = checkout / "site-packages"
    installed.mkdir()
    (installed / "hardware.py").write_text("")

    assert git_state(installed, "hardware.py") is None
    assert git_state(checkout, "code.py") is not None


def test_no_git_is_no_obstacle(tmp_path, monkeypatch):
    assert git_state(tmp_path) is None
    git(tmp_path, "init", "--quiet")
    assert git_state(tmp_path) is None, "no commit yet"
    monkeypatch.setenv("PATH", "")
    assert git_state(tmp_path) is None


def test_a_repository_gets_no_program_of_its_own_run(checkout):
    canary = checkout.parent / "canary"
    hook = checkout.parent / "hook"
    hook.write_text(f"#!/bin/sh\ntouch {canary}\n")
    hook.chmod(0o755)
    git(checkout, "config", "core.fsmonitor", str(hook))

    assert git_state(checkout) is not None
    assert not canary.exists()


def test_the_driver_is_read_where_there_is_one(monkeypatch):
    line = (
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023"
    )
    monkeypatch.setattr(Path, "read_text", lambda path: line)
    assert gpu_driver() == "535.104.05"


def test_a_system_without_a_name_is_no_obstacle(monkeypatch):
    assert operating_system()

    def refuse() -> dict[str, str]:
        raise OSError("no os-release")

    monkeypatch.setattr(platform, "freedesktop_os_release", refuse)
    assert operating_system() == platform.system()


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        (["/usr/bin/resnetlab", "train", "my photos"], "resnetlab train 'my photos'"),
        (["/x/resnetlab/__main__.py", "train", "photos"], "resnetlab train photos"),
        (["/home/me/study.py", "7"], "study.py 7"),
    ],
)
def test_the_command_can_be_typed_again(monkeypatch, argv, command):
    monkeypatch.setattr(sys, "argv", argv)

    assert environment()["command"] == command


def test_nobody_is_named_and_no_secret_told(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["resnetlab", "train", "photos"])
    for name in ("USER", "LOGNAME", "HOSTNAME", "API_TOKEN"):
        monkeypatch.setenv(name, "very-secret")
    text = str(environment())

    assert "very-secret" not in text
    assert platform.node() not in text or platform.node() in platform.platform()
    assert str(Path.home()) not in text and os.environ["PATH"] not in text
