"""An untrained network in a bundle: enough to say that nothing is lost on the way."""

from pathlib import Path

import pytest
import torch

from resnetlab.cli.main import main
from resnetlab.deploy.bundle import BundleFacts, facts_for, save_bundle
from resnetlab.models import Classifier, build
from resnetlab.recipe import Recipe

SMALL = ["--model", "cnn", "--weights", "none", "--epochs", "15", "--image-size", "32"]
CLASSES = ("cat", "dog", '猫, "quoted"')


@pytest.fixture(scope="session")
def facts() -> BundleFacts:
    recipe = Recipe().override({"model.name": "cnn", "data.image_size": 16, "model.dropout": 0.5})
    return facts_for(recipe, CLASSES)


@pytest.fixture(scope="session")
def classifier(facts) -> Classifier:
    torch.manual_seed(0)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    network = build(facts.network, 3, facts.image_size, facts.stem, facts.dropout, mean, std)
    with torch.no_grad():
        network.head.weight *= 3  # sure enough of itself that a difference shows
    return network.to(memory_format=torch.channels_last)


@pytest.fixture
def bundle(tmp_path, classifier, facts) -> Path:
    folder = tmp_path / "bundle"
    save_bundle(folder, classifier, facts, "# A card\n")
    return folder


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, photo_folder: Path) -> Path:
    """A small run on real photographs."""
    out = tmp_path_factory.mktemp("exported")
    args = ["train", str(photo_folder), "--out", str(out), "--name", "photos", "--device", "cpu"]
    assert main([*args, *SMALL, "--split", "0.5", "0.3", "0.2"]) == 0
    return out / "photos"
