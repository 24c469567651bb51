import os
import pickle
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from resnetlab.errors import CheckpointError, MachineError, RecipeError
from resnetlab.models import Classifier, build
from resnetlab.models.pretrained import load_weights


@pytest.fixture(scope="module")
def published() -> dict[str, torch.Tensor]:
    """Stand in for downloaded weights: torchvision's network, none of its values the default."""
    torch.manual_seed(1)
    model = torchvision.models.resnet18(weights=None)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.weight)
    return model.state_dict()


@pytest.fixture
def classifier() -> Classifier:
    return build("resnet18", num_classes=5, image_size=32, stem="imagenet")


def assert_loaded(classifier: Classifier, state: dict[str, torch.Tensor]) -> None:
    loaded = classifier.backbone.state_dict()
    assert set(loaded) == {key for key in state if not key.startswith("fc.")}
    assert all(torch.equal(loaded[key], state[key]) for key in loaded)


def refusal(classifier: Classifier, path: Path, name: str = "resnet18") -> str:
    """Give the message of a refused load, having checked that nothing of it was loaded."""
    before = {key: value.clone() for key, value in classifier.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        load_weights(classifier, str(path), name)
    after = classifier.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    return str(caught.value)


@pytest.mark.parametrize("suffix", ["safetensors", "pth", "pt"])
def test_a_file_of_weights_is_loaded_without_its_head(suffix, classifier, published, tmp_path):
    path = tmp_path / f"weights.{suffix}"
    (save_file if suffix == "safetensors" else torch.save)(published, path)
    head = classifier.head.weight.clone()

    load_weights(classifier, str(path), "resnet18")

    assert_loaded(classifier, published)
    assert torch.equal(classifier.head.weight, head)


@pytest.mark.parametrize("wrapper", ["state_dict", "model"])
def test_what_training_scripts_wrap_around_the_weights_is_taken_off(
    wrapper, classifier, published, tmp_path
):
    parallel = {f"module.{key}": value for key, value in published.items()}
    torch.save({wrapper: parallel, "epoch": 90, "arch": "resnet18"}, tmp_path / "best.pth")

    load_weights(classifier, str(tmp_path / "best.pth"), "resnet18")

    assert_loaded(classifier, published)


def test_the_backbone_of_our_own_classifier_is_taken(classifier, tmp_path):
    other = build("resnet18", num_classes=37, image_size=32, stem="imagenet", mean=(0.5, 0.5, 0.5))
    save_file(other.state_dict(), tmp_path / "model.safetensors")
    mean = classifier.mean.clone()

    load_weights(classifier, str(tmp_path / "model.safetensors"), "resnet18")

    assert_loaded(classifier, other.backbone.state_dict())
    assert torch.equal(classifier.mean, mean)


def test_small_networks_and_small_stems_load_their_own_weights(tmp_path):
    for name in ("mlp", "cnn", "resnet18"):
        trained, fresh = build(name, 3, 16), build(name, 4, 16)
        torch.save(trained.state_dict(), tmp_path / f"{name}.pt")
        load_weights(fresh, str(tmp_path / f"{name}.pt"), name)
        assert_loaded(fresh, trained.backbone.state_dict())


def test_old_files_without_batch_counters_load(classifier, published, tmp_path):
    old = {key: value for key, value in published.items() if "num_batches" not in key}
    torch.save(old, tmp_path / "old.pth")

    load_weights(classifier, str(tmp_path / "old.pth"), "resnet18")

    assert torch.equal(classifier.backbone.layer4[1].bn2.weight, published["layer4.1.bn2.weight"])


def test_weights_of_half_precision_are_widened(classifier, published, tmp_path):
    half = {
        key: value.half() if value.is_floating_point() else value
        for key, value in published.items()
    }
    save_file(half, tmp_path / "half.safetensors")

    load_weights(classifier, str(tmp_path / "half.safetensors"), "resnet18")

    weight = classifier.backbone.conv1.weight
    assert weight.dtype == torch.float32
    assert torch.equal(weight, published["conv1.weight"].half().float())


def test_a_missing_and_a_foreign_weight_are_named_and_nothing_is_loaded(
    classifier, published, tmp_path
):
    state = {key: value for key, value in published.items() if not key.startswith("layer4.1.bn2")}
    path = tmp_path / "odd.pth"
    torch.save(state | {"layer4.1.gn2.weight": torch.ones(512)}, path)

    assert refusal(classifier, path) == (
        f"{path} does not fit resnet18: "
        "4 missing: layer4.1.bn2.weight, layer4.1.bn2.bias, layer4.1.bn2.running_mean, ...; "
        "1 unexpected: layer4.1.gn2.weight. Nothing was loaded."
    )


def test_the_weights_of_another_network_are_refused(classifier, tmp_path):
    save_file(torchvision.models.resnet34(weights=None).state_dict(), tmp_path / "r34.safetensors")

    message = refusal(classifier, tmp_path / "r34.safetensors")

    assert "does not fit resnet18" in message
    assert "96 unexpected: layer1.2.bn1.bias, layer1.2.bn1.num_batches_tracked" in message


def test_integers_in_place_of_real_numbers_are_refused(classifier, published, tmp_path):
    quantised = published | {"conv1.weight": published["conv1.weight"].to(torch.int8)}
    save_file(quantised, tmp_path / "int8.safetensors")

    assert "conv1.weight (64x3x7x7 int8 instead of 64x3x7x7 float32)" in refusal(
        classifier, tmp_path / "int8.safetensors"
    )


def test_the_small_stem_is_told_to_be_big(published, tmp_path):
    torch.save(published, tmp_path / "weights.pth")

    message = refusal(build("resnet18", 5, 32), tmp_path / "weights.pth")

    assert message.endswith(
        "1 of another shape or type: conv1.weight (64x3x7x7 float32 instead of 64x3x3x3 float32). "
        "Nothing was loaded. Published weights need the 'imagenet' stem: "
        "set model.stem=imagenet, or data.image_size above 64."
    )


class Malice:
    """A pickle that makes a folder when it is executed."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (str(self.canary),)


def test_a_malicious_pickle_is_not_executed(classifier, published, tmp_path):
    canary = tmp_path / "canary"
    pickle.loads(pickle.dumps(Malice(canary)))
    assert canary.exists()  # the trap works ...
    canary.rmdir()

    infected = {**published, "payload": Malice(canary)}
    for file, state in {"new.pth": infected, "wrapped.pt": {"state_dict": infected}}.items():
        torch.save(state, tmp_path / file)
    torch.save(infected, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    for file in ("raw.pth", "raw.pkl", "raw.safetensors"):
        (tmp_path / file).write_bytes(pickle.dumps(Malice(canary)))

    for path in sorted(tmp_path.iterdir()):
        assert "not executed" in refusal(classifier, path), path.name
    assert not canary.exists()  # ... and was not sprung


def test_a_whole_pickled_network_is_refused_with_the_way_out(classifier, tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "whole.pt")

    assert refusal(classifier, tmp_path / "whole.pt") == (
        f"{tmp_path}/whole.pt can't be read: it is damaged, or holds Python objects beside the "
        "weights. They were not executed. Save the weights alone: "
        "torch.save(model.state_dict(), file)."
    )


def test_a_file_cut_short_is_refused(classifier, published, tmp_path):
    for suffix, save in (("pth", torch.save), ("safetensors", save_file)):
        path = tmp_path / f"cut.{suffix}"
        save(published, path)
        path.write_bytes(path.read_bytes()[:-1000])
        assert "it is damaged" in refusal(classifier, path)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1, 2], "holds no weights, but list."),
        ({}, "holds no weights, but dict."),
        ({"epoch": 3}, "holds no state dict: 'epoch' is int, not a tensor."),
    ],
)
def test_a_file_without_weights_says_what_it_holds(value, message, classifier, tmp_path):
    torch.save(value, tmp_path / "other.pt")

    assert refusal(classifier, tmp_path / "other.pt") == f"{tmp_path}/other.pt {message}"


def test_a_source_that_is_no_file_gets_the_allowed_values(classifier):
    assert refusal(classifier, Path("imagenot")) == (
        "imagenot is no file. model.weights must be 'none', 'imagenet' or a file of weights."
    )


def cached(home: Path) -> Path:
    url = torchvision.models.ResNet18_Weights.DEFAULT.url
    return home / "hub" / "checkpoints" / Path(url).name


def test_imagenet_weights_are_taken_from_where_torchvision_keeps_them(
    classifier, published, tmp_path, monkeypatch
):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cached(tmp_path).parent.mkdir(parents=True)
    torch.save(published, cached(tmp_path))

    load_weights(classifier, "imagenet", "resnet18")

    assert_loaded(classifier, published)


def test_imagenet_weights_are_downloaded_once_and_checked_against_their_digest(
    classifier, published, tmp_path, monkeypatch
):
    calls = []

    def download(url, path, hash_prefix):
        calls.append((Path(url).name, hash_prefix))
        torch.save(published, path)

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)

    load_weights(classifier, "imagenet", "resnet18")
    load_weights(classifier, "imagenet", "resnet18")

    assert calls == [("resnet18-f37072fd.pth", "f37072fd")]
    assert_loaded(classifier, published)


@pytest.mark.parametrize(
    "failure", [URLError("no route to host"), RuntimeError("invalid hash value")]
)
def test_without_a_network_one_line_says_which_file_to_place_where(
    failure, classifier, tmp_path, monkeypatch
):
    def download(*_, **__):
        raise failure

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)

    with pytest.raises(MachineError) as caught:
        load_weights(classifier, "imagenet", "resnet18")

    assert str(caught.value) == (
        f"The ImageNet weights of resnet18 could not be downloaded ({failure}). "
        "Place https://download.pytorch.org/models/resnet18-f37072fd.pth "
        f"at {cached(tmp_path)}, or take the network whose weights are packaged "
        "(--model tf_efficientnet_lite0), or train without any: --weights none."
    )


def test_imagenet_weights_on_the_small_stem_are_refused_before_any_download(monkeypatch):
    monkeypatch.setattr(torch.hub, "download_url_to_file", None)

    with pytest.raises(CheckpointError) as caught:
        load_weights(build("resnet18", 5, 32), "imagenet", "resnet18")

    assert str(caught.value) == (
        "ImageNet weights do not fit resnet18. Published weights need the 'imagenet' stem: "
        "set model.stem=imagenet, or data.image_size above 64."
    )


def test_networks_that_nobody_trained_on_imagenet_say_so():
    with pytest.raises(RecipeError) as caught:
        load_weights(build("mlp", 5, 32), "imagenet", "mlp")

    assert str(caught.value) == (
        "model.weights must be 'none' or a file for mlp: "
        "nobody publishes ImageNet weights for it. Got 'imagenet' instead."
    )
