"""Two processes on the CPU, joined by gloo, train as one would; a cut ends both, and nothing is lost."""

import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from resnetlab.data.batches import View
from resnetlab.training.hardware.device import make_fabric
from resnetlab.training.initial import build_network, network_with
from resnetlab.training.loop import fit
from resnetlab.training.predict import predict

CLASSES = ("high", "middle", "low")
PROGRAM = Path(__file__).with_name("process.py")
NEAR = 1e-4  # by which losses may differ, of 1, and weights, absolutely: sums are added in another order
SGD = {"training__optimizer": "sgd", "training__lr": 0.003, "data__augment": "small"}
# By name, what a training has; 30 images, so that batches of 8 are uneven for two processes.
LIKE_ONE = {
    "plain": {},
    "uneven": {"training__batch_size": 5, "training__accumulate": 2},
    "fewer-images-than-needed": {"training__batch_size": 3, "training__epochs": 1},
    "weighted": {
        "training__class_weights": {"high": 5.0},
        "training__sampler": "balanced",
        "training__clip_norm": 0.5,
    },
    "mixed": {"training__mixup": 0.4, "training__cutmix": 1.0},
    "synchronised": {
        "model__hidden": (8,),
        "training__sync_batchnorm": True,
        "training__epochs": 1,  # norms of five images magnify what rounding leaves
        "training__batch_size": 5,
        "training__ema": 0.9,
    },
    "synchronised-maps": {
        "model__name": "resnet18",
        "training__sync_batchnorm": True,
        "training__epochs": 1,
        "training__batch_size": 30,
    },
    "frozen": {"model__freeze": "all", "training__frozen_views": 2},
    "adapters": {"model__lora__rank": 2},
}
# What could make two runs differ; its norms keep statistics of their own.
RESTLESS = {
    "model__dropout": 0.3,
    "model__hidden": (8,),
    "data__augment": "photo",
    "training__mixup": 0.4,
    "training__ema": 0.9,
}
CUT = {
    "given up": {},
    "whole": RESTLESS,
    "stopped": RESTLESS,
    "resumed": RESTLESS,
    "killed": RESTLESS,
}


@pytest.fixture(scope="module")
def tasks(make_recipe, make_samples):
    """Everything that the two processes are to do, by name."""
    train, val, many = make_samples(30), make_samples(12, seed=1), make_samples(150)
    found = {}
    for name, settings in (LIKE_ONE | CUT).items():
        recipe = make_recipe(model__weights="none", **(SGD if name in LIKE_ONE else {}), **settings)
        found[name] = {
            "kind": "fit",
            "name": "stopped" if name == "resumed" else name,
            "recipe": recipe,
            "state": build_network(recipe, len(CLASSES)).state_dict(),
            "train": train,
            "val": val,
        }
    found["predict"] = found["plain"] | {"kind": "predict", "train": many, "view": View(16, "crop")}
    return found


def run_two(tasks: list[dict], folder: Path) -> list:
    """Let two processes do the tasks; return what the first wrote of each."""
    file = folder / f"tasks-{len(list(folder.iterdir()))}"
    file.write_bytes(pickle.dumps(tasks))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    known = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    both = [
        subprocess.Popen(
            [sys.executable, str(PROGRAM), str(file), str(folder)],
            env=os.environ | known | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    words = [process.communicate(timeout=300)[1] for process in both]
    files = [Path(f"{file}-{number}.found") for number in range(len(tasks))]
    assert all(each.is_file() for each in files), "\n".join(words)
    assert not words[1], "the second process says nothing"
    return [pickle.loads(each.read_bytes()) for each in files]


@pytest.fixture(scope="module")
def two(tasks, tmp_path_factory):
    """What two processes made of all tasks, with a second start for the training that was killed."""
    folder = tmp_path_factory.mktemp("two")
    order = [name for name in tasks if name != "killed"]
    found = run_two([tasks[name] for name in order] + [tasks["killed"]], folder)
    results = dict(zip([*order, "killed"], found, strict=True))
    (results["resumed after the kill"],) = run_two([tasks["killed"]], folder)
    return results


def alone(task: dict, folder: Path):
    """Do a task in this process."""
    network = network_with(task["recipe"], 3, task["state"])
    if task["kind"] == "predict":
        return predict(network, task["train"], task["view"], CLASSES, 0, 0).logits
    fabric = make_fabric("cpu", "fp32", 1)
    history = fit(
        fabric, network, task["train"], task["val"], CLASSES, task["recipe"], folder / task["name"]
    )
    return history, network.state_dict()


def same_bits(first, second) -> bool:
    return first[0] == second[0] and all(
        torch.equal(first[1][name], second[1][name]) for name in first[1]
    )


@pytest.mark.parametrize("name", LIKE_ONE)
def test_the_loss_curve_of_two_is_that_of_one(tasks, two, tmp_path, name):
    history, weights = alone(tasks[name], tmp_path)

    for row, other in zip(history, two[name][0], strict=True):
        assert other == pytest.approx(row, rel=NEAR)
    for key, tensor in weights.items():
        if "num_batches" not in key:
            assert torch.allclose(two[name][1][key], tensor, atol=NEAR), key


def test_each_image_is_predicted_once_and_to_the_bit_as_by_one(tasks, two, tmp_path):
    assert np.array_equal(two["predict"], alone(tasks["predict"], tmp_path))


def test_norms_learn_from_each_part_unless_synchronised(tasks, two, tmp_path):
    history, _ = alone(tasks["whole"], tmp_path)

    assert two["whole"][0][0]["train_loss"] != pytest.approx(history[0]["train_loss"], rel=NEAR)


def test_what_ends_a_training_in_the_main_process_ends_it_in_both(two):
    assert two["given up"] == "given up"  # and what came after it was done by both


def test_a_signal_to_one_ends_both_and_going_on_gives_the_same_bits(two):
    code, words, _ = two["stopped"]

    assert (code, words) == (143, "terminated; what was finished is kept")
    assert same_bits(two["resumed"], two["whole"])


def test_a_killed_process_ends_the_other_and_going_on_gives_the_same_bits(two):
    code, words, seconds = two["killed"]

    assert code == 5
    assert seconds < 60
    assert words == (
        "one of the 2 processes has ended, or doesn't answer any more; what was finished is kept"
    )
    assert same_bits(two["resumed after the kill"], two["whole"])
