"""Bad input, rows 40 to 43: checkpoints, weights, bundles and runs of others, damaged or malicious."""

import hashlib
import itertools
import json
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save_file

from resnetlab.cli.main import main
from resnetlab.deploy.bundle import facts_for, save_bundle
from resnetlab.errors import StoppedError
from resnetlab.models import build
from resnetlab.recipe import Recipe
from resnetlab.runs.run import Run
from resnetlab.system import interruption
from resnetlab.training.checkpoint import save_checkpoint
from tests.scorecard.conftest import QUICK
from tests.scorecard.test_tables import Canary

SPLIT = ["--set", "data.split=[0.5, 0.25, 0.25]", "--set", "training.checkpoint_minutes=1e-9"]
LAST, BEFORE = "checkpoints/last.safetensors", "checkpoints/before.safetensors"
WEIGHTS, FACTS = "bundle/model.safetensors", "bundle/model.json"


@pytest.fixture(scope="module")
def runs(photo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two finished runs on the same images, `first` and `second`, and `cut`, ended in between."""
    out = tmp_path_factory.mktemp("runs")
    words = ["train", str(photo_folder), *QUICK, *SPLIT, "--out", str(out), "--name"]
    for name, rate in (("first", "0.01"), ("second", "0.02")):
        assert main([*words, name, "--lr", rate]) == 0
        assert main(["evaluate", str(out / name)]) == 0
    with pytest.MonkeyPatch.context() as patch:
        asked = itertools.count(1)
        stop = StoppedError("terminated", 143)
        patch.setattr(
            interruption, "asked_of_any", lambda ahead_s: stop if next(asked) == 3 else None
        )
        assert main([*words, "cut", "--batch-size", "2"]) == 143
    return out


@pytest.fixture
def run(runs: Path, tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Return a copy of one of them, to be spoilt."""
    return lambda name: Path(shutil.copytree(runs / name, tmp_path / name))


def spoil(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    cut = content[: len(content) // 3]
    path.write_bytes({"bit": content, "cut": cut, "empty": b"", "no text": b"\xff\x00"}[how])


def trust(weights: Path) -> None:
    """Write the right checksum beside the weights of a bundle, as whoever made them would."""
    facts = weights.with_name("model.json")
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    facts.write_text(json.dumps(json.loads(facts.read_text()) | {"weights_sha256": digest}))


# Row 40


@pytest.mark.parametrize(
    ("network", "classes", "difference"),
    [
        ("mlp", 5, "head.weight has shape (5, 64), not (2, 64)"),
        ("cnn", 2, "backbone.dense.weight has shape (512, 1024), not (64, 768)"),
    ],
)
def test_row_40_a_checkpoint_of_another_network_or_class_count_is_refused(
    run, tell, network, classes, difference
):
    folder = run("cut")
    (folder / BEFORE).unlink()
    other = build(network, classes, 16)
    optimizer = torch.optim.SGD(other.parameters(), lr=0.1)
    save_checkpoint(folder / LAST, other, optimizer, None, {"history": []})
    said = tell("train", "--resume", folder)

    assert said.code == 4
    assert f"{folder / LAST}: does not fit this network ({difference})" in said.error


def test_row_40_a_bundle_with_another_class_count_is_refused_with_both(tmp_path, data, tell):
    bundle = tmp_path / "bundle"
    recipe = Recipe().override({"model.name": "resnet18", "data.image_size": 32})
    save_bundle(bundle, build("resnet18", 3, 32), facts_for(recipe, ("a", "b")), "")
    said = tell("predict", bundle, data)

    assert said.code == 4
    assert f"{bundle}: the weights don't fit resnet18 with 2 classes (" in said.error
    assert said.error.endswith("; they are of resnet18 with 3 classes")


def test_row_40_weights_of_another_network_are_refused_with_both(tmp_path, data, tell):
    path = tmp_path / "weights.safetensors"
    save_file(build("resnet34", 5, 32).state_dict(), path)
    more = ["--model", "resnet18", "--image-size", "32", "--weights", path, "--out", tmp_path]
    said = tell("train", data, *more)

    assert said.code == 4
    assert f"{path} does not fit resnet18: 96 unexpected: " in said.error
    assert said.error.endswith("Nothing was loaded. It holds resnet34.")


# Row 41


@pytest.mark.parametrize("how", ["bit", "cut", "empty"])
def test_row_41_in_place_of_a_damaged_checkpoint_the_one_before_is_taken(run, tell, how):
    folder = run("cut")
    spoil(folder / LAST, how)
    said = tell("train", "--resume", folder)

    assert said.code == 0, said.err
    assert f"{folder / LAST}: " in said.err
    assert "the one before is taken" in said.err


@pytest.mark.parametrize("how", ["bit", "cut", "empty"])
def test_row_41_where_no_checkpoint_is_sound_that_is_told(run, tell, how):
    folder = run("cut")
    spoil(folder / LAST, how)
    spoil(folder / BEFORE, how)
    said = tell("train", "--resume", folder)

    assert said.code == 4
    assert f"{folder / BEFORE}: " in said.error


@pytest.mark.parametrize("how", ["bit", "cut", "empty"])
@pytest.mark.parametrize("verb", ["evaluate", "predict"])
def test_row_41_a_damaged_bundle_is_refused(run, data, tell, verb, how):
    folder = run("first")
    ledger = (folder / "test_ledger.json").read_bytes()
    spoil(folder / WEIGHTS, how)
    said = tell(verb, folder, *([data] if verb == "predict" else []))

    assert said.code == 4
    assert said.error == f"resnetlab: {folder / WEIGHTS}: is damaged (its checksum differs)"
    assert (folder / "test_ledger.json").read_bytes() == ledger


@pytest.mark.parametrize("how", ["cut", "empty"])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_row_41_a_damaged_file_of_weights_is_refused(tmp_path, data, tell, suffix, how):
    path = tmp_path / f"weights{suffix}"
    (torch.save if suffix == ".pth" else save_file)(build("mlp", 2, 16).state_dict(), path)
    spoil(path, how)
    said = tell("train", data, *QUICK, "--weights", path, "--out", tmp_path)

    assert said.code == 4
    assert f"{path} can't be read" in said.error


@pytest.mark.parametrize("how", ["cut", "empty", "no text"])
@pytest.mark.parametrize(
    ("name", "verb"),
    [
        ("metrics.json", "evaluate"),
        ("metrics.json", "compare"),
        ("metrics.json", "resume"),
        ("test_ledger.json", "evaluate"),
        ("environment.json", "evaluate"),
        ("history.csv", "compare"),
        ("catalog.parquet", "evaluate"),
        ("catalog.parquet", "resume"),
        ("predictions-test.parquet", "compare"),
        (FACTS, "predict"),
    ],
)
def test_row_41_a_damaged_file_of_a_run_is_named_and_stays(
    runs, run, data, tmp_path, tell, name, verb, how
):
    folder = run("cut" if verb == "resume" else "first")
    spoil(folder / name, how)
    damaged = (folder / name).read_bytes()
    words = {
        "evaluate": ["evaluate", folder],
        "compare": ["compare", folder, runs / "second", "--out", tmp_path / "comparison"],
        "resume": ["train", "--resume", folder],
        "predict": ["predict", folder, data],
    }
    said = tell(*words[verb])

    assert said.code == 4
    assert str(folder / name) in said.error
    assert (folder / name).read_bytes() == damaged


def test_row_41_a_ledger_that_went_away_is_missed(run, tell):
    folder = run("first")
    (folder / "test_ledger.json").unlink()
    said = tell("evaluate", folder)

    assert said.code == 4
    assert "test_ledger.json: is gone, but the test split was opened" in said.error
    assert not (folder / "test_ledger.json").exists()


def test_row_41_a_bundle_of_numbers_that_are_none_is_refused(run, data, tell):
    weights = run("first") / WEIGHTS
    tensors = load(weights.read_bytes())
    tensors["head.bias"][1] = torch.nan
    save_file(tensors, weights)
    trust(weights)
    said = tell("predict", weights.parent, data)

    assert said.code == 4
    assert said.error == f"resnetlab: {weights}: head.bias holds what is no finite number"


# Row 42


def test_the_trap_of_row_42_works(tmp_path):
    pickle.loads(pickle.dumps(Canary(tmp_path / "canary")))

    assert (tmp_path / "canary").exists()


@pytest.mark.parametrize("name", [LAST, WEIGHTS, FACTS])
def test_row_42_a_malicious_pickle_in_a_run_is_not_executed(run, data, tmp_path, tell, name):
    folder = run("cut" if name == LAST else "first")
    (folder / BEFORE).unlink(missing_ok=True)
    (folder / name).write_bytes(pickle.dumps(Canary(tmp_path / "canary")))
    if name == WEIGHTS:
        trust(folder / WEIGHTS)
    said = tell("train", "--resume", folder) if name == LAST else tell("predict", folder, data)

    assert said.code == 4
    assert str(folder / name) in said.error
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("name", ["w.pth", "w.pt", "w.safetensors", "w.pkl", "among tensors.pth"])
def test_row_42_malicious_weights_are_not_executed(data, tmp_path, tell, name):
    path, canary = tmp_path / name, Canary(tmp_path / "canary")
    path.write_bytes(pickle.dumps(canary))
    if name == "among tensors.pth":
        torch.save(build("mlp", 2, 16).state_dict() | {"more": canary}, path)
    said = tell("train", data, *QUICK, "--weights", path, "--out", tmp_path)

    assert said.code == 4
    assert str(path) in said.error
    assert "not executed" in said.error
    assert not (tmp_path / "canary").exists()


# Row 43


def safetensors(how: str) -> bytes:
    """Return a file whose header says too much."""
    places = {
        "overlapping": ([0, 32], [16, 48]),
        "twice the same": ([0, 32], [0, 32]),
        "beyond the end": ([0, 32], [2**40, 2**40 + 32]),
        "with a hole": ([0, 32], [64, 96]),
    }
    tensors = {
        name: {"dtype": "F32", "shape": [8], "data_offsets": place}
        for name, place in zip("ab", places.get(how, ([0, 32], [32, 64])), strict=True)
    }
    header = json.dumps(tensors).encode()
    sizes = {"longer than the file": len(header) + 10**6, "longer than memory": 2**63 - 1}
    return sizes.get(how, len(header)).to_bytes(8, "little") + header + bytes(64)


HEADERS = ("longer than the file", "longer than memory", "overlapping", "twice the same",
           "beyond the end", "with a hole")  # fmt: skip


def test_a_header_that_says_no_more_than_there_is_can_be_read():
    assert load(safetensors("sound")).keys() == {"a", "b"}


@pytest.mark.parametrize("how", HEADERS)
@pytest.mark.parametrize("name", [LAST, WEIGHTS, "weights.safetensors"])
def test_row_43_a_header_that_says_too_much_is_refused(run, data, tmp_path, tell, name, how):
    folder = run("cut" if name == LAST else "first")
    (folder / BEFORE).unlink(missing_ok=True)
    (folder / name).write_bytes(safetensors(how))
    if name == WEIGHTS:
        trust(folder / WEIGHTS)
    words = {
        LAST: ["train", "--resume", folder],
        WEIGHTS: ["predict", folder, data],
        "weights.safetensors": ["train", data, *QUICK, "--weights", folder / name],
    }
    said = tell(*words[name])

    assert said.code == 4
    assert f"{folder / name}" in said.error
    assert "can't be read" in said.error


def test_row_43_a_bundle_of_a_newer_version_is_refused(run, data, tell):
    facts = run("first") / FACTS
    facts.write_text(json.dumps(json.loads(facts.read_text()) | {"format": 2}))
    said = tell("predict", facts.parent, data)

    assert said.code == 4
    assert "is of format 2, this version of resnetlab reads format 1; update" in said.error


@pytest.mark.parametrize(
    ("facts", "said_of_it"),
    [
        ({"max_pixels": "5"}, "max_pixels must be a whole number. Got '5'"),
        ({"short_side": -1}, "short_side must be a whole number. Got -1"),
        ({"image_size": 10**9}, "data.image_size must be less than or equal to 2048"),
        ({"fit": "zoom"}, "data.fit must be 'crop' or 'stretch'. Got 'zoom'"),
        ({"classes": ["china", 3]}, "classes must be two names or more. Got ('china', 3)"),
        ({"network": "os.system"}, "model.name must be one of mlp, cnn"),
    ],
)
def test_row_43_facts_that_no_model_can_have_are_refused(run, data, tell, facts, said_of_it):
    path = run("first") / FACTS
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))
    said = tell("predict", path.parent, data)

    assert said.code == 4
    assert f"{path}: no network can be built by it (" in said.error
    assert said_of_it in said.error


def test_what_was_spoilt_was_sound(run, runs, data, tmp_path, tell):
    """Else the rows above would show nothing."""
    finished, cut = run("first"), run("cut")
    assert tell("evaluate", finished).code == 0
    assert tell("predict", finished, data).code == 0
    assert tell("compare", finished, runs / "second", "--out", tmp_path / "comparison").code == 0
    assert tell("train", "--resume", cut).code == 0
    assert Run(cut).metrics["training"]["epochs_run"] == 1
