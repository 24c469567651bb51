"""The fastest runtime is taken, of those that keep the answers of fp32."""

import numpy as np
import pytest

from resnetlab.deploy import choice
from resnetlab.deploy.choice import choose, named
from resnetlab.deploy.runtime import Runtime, probabilities_by
from resnetlab.deploy.runtimes import Output, by_torch
from resnetlab.errors import MachineError

SECONDS = {"torch": 1.0, "torch-bf16": 0.5, "openvino-bf16": 0.25, "openvino": 0.75, "onnx": 0.8}
MANY = 1000


@pytest.fixture
def network(classifier):
    return classifier.eval()


@pytest.fixture
def samples() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (80, 16, 16, 3), dtype=np.uint8)


@pytest.fixture
def made(monkeypatch):
    """Put stand-ins in the place of all runtimes: as fast as SECONDS says, off in logits by `off`.

    Returns `off`, by name, and the names of those that were made.
    """
    off: dict[str, float] = {}
    names: list[str] = []

    def make(name, classifier, samples):
        names.append(name)
        if off.get(name) is None and name in off:
            raise MachineError("can't take this network")
        compute = by_torch(classifier)
        shift = np.array([off.get(name, 0.0), 0, 0])
        return lambda images: Output(compute(images).logits + shift)

    monkeypatch.setattr(choice, "make_compute", make)
    monkeypatch.setattr(choice, "installed", lambda name: True)
    monkeypatch.setattr(choice, "seconds_of", lambda runtime, _: SECONDS[runtime.name])
    monkeypatch.setattr(choice, "fastest_precision", lambda: "bf16")
    return off, names


def test_the_fastest_is_chosen(made, network, samples):
    assert choose(network, samples, MANY).name == "openvino-bf16"


def test_what_is_no_faster_is_not_chosen(made, network, samples, monkeypatch):
    monkeypatch.setitem(SECONDS, "openvino-bf16", 0.5)

    assert choose(network, samples, MANY).name == "torch-bf16"


def test_what_changes_a_probability_by_too_much_is_not_chosen(made, network, samples):
    off, _ = made
    off["openvino-bf16"] = 0.3

    assert choose(network, samples, MANY).name == "torch-bf16"


def test_without_bf16_that_keeps_the_answers_the_runtimes_in_fp32_are_tried(made, network, samples):
    off, names = made
    off["torch-bf16"] = 0.3

    assert choose(network, samples, MANY).name == "openvino"
    assert "openvino-bf16" not in names


def test_fp32_has_to_be_fp32(made, network, samples, monkeypatch):
    off, _ = made
    monkeypatch.setattr(choice, "fastest_precision", lambda: "fp32")
    off["openvino"] = 0.01  # where bf16 would be let pass

    assert choose(network, samples, MANY).name == "onnx"


def test_the_network_is_not_converted_for_little_work(made, network, samples):
    _, names = made

    assert choose(network, samples, 39).name == "torch-bf16"  # 39 images of half a second
    assert names == ["torch", "torch-bf16"]


def test_a_runtime_that_can_not_take_the_network_is_passed_over(made, network, samples):
    off, names = made
    off["openvino-bf16"] = None

    assert choose(network, samples, MANY).name == "torch-bf16"
    assert "openvino-bf16" in names


def test_a_runtime_that_is_not_installed_is_passed_over(made, network, samples, monkeypatch):
    _, names = made
    monkeypatch.setattr(choice, "installed", lambda name: name.startswith("torch"))

    assert choose(network, samples, MANY).name == "torch-bf16"
    assert "openvino-bf16" not in names


def test_whatever_is_chosen_leaves_close_calls_to_fp32(made, network, samples):
    off, _ = made
    off["openvino-bf16"] = 0.05

    chosen = choose(network, samples, MANY)

    fast, exact = (probabilities_by(each, samples) for each in (chosen.compute, by_torch(network)))
    top_two = np.sort(fast, axis=1)[:, -2:]
    close = top_two[:, 1] - top_two[:, 0] < 0.04
    assert 0 < close.sum() < len(close)
    found = chosen.probabilities(samples)
    np.testing.assert_allclose(found[close], exact[close], atol=1e-6)
    assert np.array_equal(found[~close], fast[~close])
    assert np.array_equal(found.argmax(axis=1), exact.argmax(axis=1))


def test_two_classes_that_change_places_within_the_tolerance_are_put_right():
    fast, exact = (
        np.log([[0.7, 0.3], [0.505, 0.495]]),
        np.log([[0.69, 0.31], [0.495, 0.505]]),
    )
    runtime = Runtime(
        "fast", lambda rows: Output(fast[rows]), lambda rows: Output(exact[rows]), tolerance=0.02
    )

    np.testing.assert_allclose(runtime.probabilities(np.arange(2)), [[0.7, 0.3], [0.495, 0.505]])


def test_a_runtime_asked_for_by_name_says_what_it_changes(made, network, samples):
    off, _ = made
    off["onnx"] = 0.05

    runtime = named("onnx", network, samples)

    assert runtime.compared == 16
    assert 0.001 < runtime.difference < 0.0126  # a logit's shift times a quarter at most
    assert str(runtime).startswith("onnx (against fp32 on 16 of the images: same class 1")
    assert str(runtime).endswith("probabilities at most 0.01 off)")


def test_int8_learns_from_other_images_than_it_is_judged_on(made, network, samples, monkeypatch):
    learned, judged = [], []
    make, compare = choice.make_compute, choice.compare
    monkeypatch.setattr(
        choice, "make_compute", lambda name, *rest: learned.append(rest[1]) or make(name, *rest)
    )
    monkeypatch.setattr(choice, "compare", lambda *rest: judged.append(rest[3]) or compare(*rest))

    named("openvino-int8", network, samples)

    assert (len(learned[0]), len(judged[0])) == (64, 16)
    assert not {each.tobytes() for each in learned[0]} & {each.tobytes() for each in judged[0]}


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_images_do_for_a_runtime_asked_for_by_name(made, network, samples, count):
    assert named("openvino-int8", network, samples[:count]).compared == 1


def test_pytorch_in_fp32_says_no_more_than_its_name():
    assert str(Runtime("torch", lambda images: images)) == "torch in fp32"
