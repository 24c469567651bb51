"""A bundle tells images unlike its training images, by whatever computes it, or says that it can't."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resnetlab.cli.main import main
from resnetlab.deploy.bundle import save_bundle
from resnetlab.deploy.predictor import Predictor
from resnetlab.deploy.runtimes import installed
from resnetlab.errors import CheckpointError
from resnetlab.evaluation.shift.reference import Reference, nearest, unit


def scenes(folder: Path, kind: str, count: int) -> list[Path]:
    """Write images: 'warm' ones are smooth and red, 'cold' ones are noise in blue."""
    rng = np.random.default_rng(len(kind))
    folder.mkdir(exist_ok=True)
    for number in range(count):
        image = np.zeros((16, 16, 3), np.uint8)
        if kind == "warm":
            image[:, :, 0] = rng.integers(180, 250)
            image[4 : 4 + rng.integers(2, 8), :, 1] = 90
        else:
            image[:, :, 2] = rng.integers(0, 256, (16, 16))
        Image.fromarray(image).save(folder / f"{number:03d}.png")
    return sorted(folder.glob("*.png"))


@pytest.fixture(scope="module")
def warm(tmp_path_factory) -> list[Path]:
    return scenes(tmp_path_factory.mktemp("images") / "warm", "warm", 160)


@pytest.fixture(scope="module")
def cold(tmp_path_factory) -> list[Path]:
    return scenes(tmp_path_factory.mktemp("images") / "cold", "cold", 120)


@pytest.fixture(scope="module")
def knowing(tmp_path_factory, classifier, facts, warm) -> Path:
    """A bundle that knows 40 warm images, its threshold set by 100 others."""
    folder = tmp_path_factory.mktemp("knowing") / "bundle"
    pixels = np.stack([np.asarray(Image.open(path)) for path in warm[:140]])
    with torch.inference_mode():
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        features = classifier.eval().features(images).numpy()
        confidences = classifier(images).softmax(1).amax(1).numpy()
    training = unit(features[:40]).astype(np.float16)
    _, distances = nearest(features[40:], training)
    save_bundle(folder, classifier, facts, "", Reference(training, distances, confidences[40:]))
    return folder


def test_images_unlike_the_training_images_are_marked(knowing, warm, cold):
    predictor = Predictor(knowing)
    assert predictor.why_not_told == ""
    familiar = [each.out_of_distribution for each in predictor.predict(warm[140:])]
    foreign = [each.out_of_distribution for each in predictor.predict(cold[:20])]
    assert sum(familiar) <= 4
    assert all(foreign)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("backend", ["torch-bf16", "openvino", "onnx"])
def test_every_backend_that_gives_features_tells_the_same(knowing, warm, cold, backend):
    if not installed(backend):
        pytest.skip(f"what {backend} needs is not here")
    files = [*warm[140:], *cold[:5]]
    expected = [each.distance for each in Predictor(knowing).predict(files)]
    found = [each.distance for each in Predictor(knowing, backend=backend).predict(files)]
    np.testing.assert_allclose(found, expected, atol=5e-3 if backend == "torch-bf16" else 1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", ["onnx", "openvino", "torch"])
def test_an_exported_model_tells_it_alone(knowing, warm, cold, tmp_path, kind):
    pytest.importorskip({"onnx": "onnxruntime"}.get(kind, kind))
    words = ["--format", kind, "--out", str(tmp_path / kind), "--images", str(warm[0].parent)]
    assert main(["export", str(knowing), *words]) == 0
    files = [*warm[140:145], *cold[:5]]
    expected = [each.out_of_distribution for each in Predictor(knowing).predict(files)]
    found = [each.out_of_distribution for each in Predictor(tmp_path / kind).predict(files)]
    assert found == expected
    assert all(found[5:])


def test_a_bundle_without_a_reference_says_that_it_cannot_tell(bundle, warm, tmp_path, capsys):
    out = tmp_path / "answers.csv"
    assert main(["predict", str(bundle), str(warm[0]), "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert "names a class for any image" in said.err
    assert "out_of_distribution" not in out.read_text()
    assert main(["evaluate", str(bundle), "--foreign", str(warm[0].parent)]) == 2
    assert "can't tell images unlike its training images" in capsys.readouterr().err


def test_predict_marks_counts_and_warns_of_drift(knowing, warm, cold, tmp_path, capsys):
    assert main(["predict", str(knowing), str(cold[0])]) == 0
    assert "unlike the training images" in capsys.readouterr().out
    out = tmp_path / "cold.csv"
    assert main(["predict", str(knowing), str(cold[0].parent), "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert "120 files, 120 unlike the training images" in said.out
    assert "do not look like those of validation" in said.err
    assert "out_of_distribution" in out.read_text().splitlines()[0]


def test_familiar_images_are_no_drift(knowing, warm, capsys):
    assert main(["predict", str(knowing), str(warm[0].parent)]) == 0
    assert "do not look like" not in capsys.readouterr().err


def test_foreign_images_are_measured_on_a_bundle(knowing, cold, capsys):
    assert main(["evaluate", str(knowing), "--foreign", str(cold[0].parent), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["images"] == 120
    assert found["refused"]["value"] == 1.0
    assert found["sure_and_kept"]["value"] == 0.0


def test_a_damaged_reference_is_an_error_not_a_guess(knowing, tmp_path):
    import shutil

    copy = shutil.copytree(knowing, tmp_path / "copy")
    content = bytearray((copy / "reference.safetensors").read_bytes())
    content[-1] ^= 1
    (copy / "reference.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"reference\.safetensors: is damaged"):
        Predictor(copy)
    (copy / "reference.safetensors").unlink()
    with pytest.raises(CheckpointError, match="can't be read"):
        Predictor(copy)


def test_the_server_marks_them_counts_them_and_logs_drift(knowing, cold, capsys, monkeypatch):
    pytest.importorskip("fastapi")
    from starlette.testclient import TestClient

    from resnetlab.deploy.server import answering
    from resnetlab.deploy.server.answering import Service
    from resnetlab.deploy.server.app import make_app

    monkeypatch.setattr(answering, "WINDOW", 100)
    with TestClient(make_app(Service([knowing], "torch"))) as client:
        assert client.get("/model").json()["tells_out_of_distribution"]
        for start in range(0, 100, 25):
            files = [("files", (path.name, path.read_bytes())) for path in cold[start : start + 25]]
            rows = client.post("/predict", files=files).json()["predictions"]
            assert all(row["out_of_distribution"] for row in rows)
        text = client.get("/metrics").text
    assert "resnetlab_out_of_distribution_total 100" in text
    assert "resnetlab_drifted_windows_total 1" in text
    assert "the last 100 images do not look like those of validation" in capsys.readouterr().err
