"""A successor on disk is taken over, in whatever order its files come and whatever fails in between."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
import torch

from resnetlab.deploy.bundle import CARD, FACTS, WEIGHTS, read_facts, save_bundle
from resnetlab.deploy.server import live as watched
from resnetlab.deploy.server.live import Live
from resnetlab.models import build


@pytest.fixture
def served(tmp_path, classifier, facts) -> Path:
    save_bundle(tmp_path / "served", classifier, facts, "# A card\n")
    return tmp_path / "served"


@pytest.fixture
def successor(tmp_path, facts) -> Path:
    torch.manual_seed(7)
    other = build(facts.network, 3, facts.image_size, facts.stem, facts.dropout)
    save_bundle(tmp_path / "new", other, facts, "# Another\n")
    return tmp_path / "new"


@pytest.fixture
def live(served, monkeypatch) -> Iterator[Live]:
    monkeypatch.setattr(watched, "POLL_S", 0.02)
    found = Live([served], "torch", lambda predictor: None)
    yield found
    found.close()


@pytest.fixture
def notes(capsys) -> Callable[[], int]:
    """Give how many times it was said until now that the model before goes on."""
    said: list[str] = []

    def counted() -> int:
        said.append(capsys.readouterr().err)
        return "".join(said).count("the model before goes on answering")

    return counted


def replace(served: Path, successor: Path) -> None:
    """Copy a successor in as it is saved: the description last."""
    for name in (WEIGHTS, CARD, FACTS):
        shutil.copy(successor / name, served)


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def answers_by(live: Live, bundle: Path) -> bool:
    return live.predictor.models[0].digest == read_facts(bundle / FACTS)[1]


def test_a_successor_whose_description_is_copied_first_is_taken_over(
    live, served, successor, notes
):
    before = live.predictor
    shutil.copy(successor / FACTS, served)
    wait_for(notes)  # a look in between finds the weights before
    assert live.predictor is before

    shutil.copy(successor / WEIGHTS, served)
    wait_for(lambda: answers_by(live, successor))


def test_what_is_still_being_copied_is_left_alone(live, served, successor, monkeypatch, notes):
    before, sizes = live.predictor, count()
    with monkeypatch.context() as growing:
        growing.setattr(watched, "files_in", lambda folders: {("weights", next(sizes), 0)})
        replace(served, successor)
        wait_for(lambda: next(sizes) > 10)
        assert live.predictor is before
    wait_for(lambda: answers_by(live, successor))
    assert notes() == 0


def test_that_a_bundle_is_removed_is_said_once(live, served, notes):
    shutil.rmtree(served)
    wait_for(notes)
    time.sleep(0.3)
    assert notes() == 1


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("of a library"), KeyError("x")])
def test_whatever_a_successor_fails_by_it_is_tried_again_when_a_file_changes(
    live, served, successor, notes, error
):
    tried = []

    def fail(predictor) -> None:
        tried.append(predictor)
        raise error

    live.accept = fail
    replace(served, successor)
    wait_for(notes)
    time.sleep(0.3)
    assert (len(tried), notes()) == (1, 1), "once while nothing changes"

    live.accept = lambda predictor: None
    os.utime(served / WEIGHTS)
    wait_for(lambda: answers_by(live, successor))
