"""Every way to compute gives the logits of the same network, as near as its numbers are fine."""

import numpy as np
import pytest
import torch
from scipy.special import softmax

from resnetlab.deploy import runtimes
from resnetlab.deploy.fold import folded
from resnetlab.deploy.runtimes import BACKENDS, check_backend, installed, make_compute
from resnetlab.errors import MachineError, RecipeError
from resnetlab.models import build

# How far a probability may be from fp32's. Found on this network: 2e-6 between the ways of fp32,
# 0.007 in bf16, 0.03 in int8.
ALLOWED = {"torch-bf16": 0.02, "openvino-bf16": 0.02, "openvino-int8": 0.1}
needs_package = [
    pytest.param(
        name, marks=pytest.mark.skipif(not installed(name), reason=f"what {name} needs is not here")
    )
    for name in BACKENDS
]


def images(count: int, side: int = 32) -> np.ndarray:
    """Make smooth images of various colours."""
    rough = np.random.default_rng(3).random((count, 4, 4, 3))
    fine = rough.repeat(side // 4, axis=1).repeat(side // 4, axis=2)
    return (255 * fine).astype(np.uint8)


@pytest.fixture(scope="module")
def network():
    """A ResNet-18 with moments of its own, sure enough of itself that a difference shows."""
    torch.manual_seed(0)
    classifier = build("resnet18", 4, 32)
    for module in classifier.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    classifier.train()(torch.from_numpy(images(16)).permute(0, 3, 1, 2))
    with torch.no_grad():
        classifier.head.weight *= 5
    return classifier.eval()


def probs_of(network, images: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return network(torch.from_numpy(images).permute(0, 3, 1, 2)).double().softmax(1).numpy()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the packages behind
@pytest.mark.parametrize("name", needs_package)
def test_every_backend_answers_as_the_network_does(name, network):
    compute = make_compute(name, folded(network), images(16))

    for count in (1, 16):
        batch = images(16)[:count]
        expected = probs_of(network, batch)
        found = softmax(compute(batch).logits.astype(np.float64), axis=1)

        assert found.shape == (count, 4)
        assert np.abs(found - expected).max() < ALLOWED.get(name, 1e-4)
    assert np.ptp(probs_of(network, images(16)), axis=0).max() > 0.05  # they are told apart


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", needs_package)
def test_an_answer_stays_when_the_next_is_computed(name, network):
    compute = make_compute(name, folded(network), images(4))

    first = compute(images(4)[:2])
    kept = [None if each is None else each.copy() for each in first]
    compute(images(4)[2:])

    for each, before in zip(first, kept, strict=True):
        assert np.array_equal(each, before)


def test_bf16_is_not_fp32_by_another_name(network):
    exact, low = (
        make_compute(name, folded(network), images(1))(images(4)).logits
        for name in ("torch", "torch-bf16")
    )

    assert low.dtype == np.float32
    assert 0 < np.abs(exact - low).max() < 0.1


def test_an_unknown_backend_is_told():
    with pytest.raises(RecipeError) as caught:
        check_backend("openvno", "cpu")

    assert str(caught.value) == (
        "backend must be one of auto, torch, torch-bf16, openvino, openvino-bf16, openvino-int8, "
        "onnx. Got 'openvno' instead, did you mean 'openvino'?"
    )


@pytest.mark.parametrize(
    ("name", "lacking", "complaint"),
    [
        ("openvino", {"openvino"}, "needs openvino: pip install 'resnetlab[fast]'"),
        ("onnx", {"onnxruntime", "onnx"}, "needs onnxruntime and onnx: pip install 'resnetlab[fast]'"),
        ("openvino-int8", {"nncf"}, "needs nncf: pip install 'resnetlab[int8]'"),
    ],
)  # fmt: skip
def test_a_backend_that_is_not_installed_says_how_to_get_it(monkeypatch, name, lacking, complaint):
    monkeypatch.setattr(runtimes, "find_spec", lambda package: package not in lacking)

    with pytest.raises(MachineError) as caught:
        check_backend(name, "cpu")

    assert str(caught.value) == f"backend '{name}' {complaint}"
    assert not installed(name)


def test_a_backend_for_processors_is_refused_on_a_gpu():
    with pytest.raises(RecipeError, match="'onnx' computes on the processor; on cuda use torch"):
        check_backend("onnx", "cuda")


@pytest.mark.parametrize("name", ["auto", "torch", "torch-bf16"])
def test_torch_is_always_there(name):
    check_backend(name, "cpu")


def test_a_network_that_a_converter_can_not_take_leads_to_torch(monkeypatch, network):
    def refuse(*_):
        raise RuntimeError("no such operation\nat line 3")

    monkeypatch.setitem(BACKENDS, "openvino", refuse)

    with pytest.raises(MachineError) as caught:
        make_compute("openvino", network, images(1))

    assert str(caught.value) == (
        "backend 'openvino' can't take this network (no such operation); use --backend torch"
    )
