"""An exported model answers as the original does, or there is none."""

import io
import json
import re
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnetlab import predict
from resnetlab.cli.main import main
from resnetlab.deploy.bundle import load_bundle
from resnetlab.deploy.export import formats
from resnetlab.deploy.export.exported import is_exported, load_exported
from resnetlab.deploy.runtimes import Output, by_torch
from resnetlab.errors import CheckpointError
from resnetlab.runs.run import Run
from resnetlab.workflows.deployment import exporting

PACKAGES = {"onnx": "onnxruntime", "openvino": "openvino", "torch": "torch"}


def probs_of(model: Path, images: list[Path], backend: str = "auto") -> np.ndarray:
    return np.array(
        [list(row["probabilities"].values()) for row in predict(model, images, backend=backend)]
    )


@pytest.fixture
def bundle(run, tmp_path) -> Path:
    return shutil.copytree(run / "bundle", tmp_path / "bundle")


@pytest.fixture(scope="module", params=["inside", "outside"])
def preparation(request) -> str:
    return request.param


@pytest.fixture(scope="module", params=PACKAGES)
def exported(request, run, preparation, tmp_path_factory) -> tuple[Path, str]:
    """The run in each format, prepared by the graph and outside of it, and what the command said."""
    if not find_spec(PACKAGES[request.param]):
        pytest.skip(f"{PACKAGES[request.param]} is not here")
    out = tmp_path_factory.mktemp("exported") / request.param
    words = ["--format", request.param, "--out", str(out), "--preparation", preparation]
    said = io.StringIO()
    with redirect_stdout(said):
        assert main(["export", str(run), *words]) == 0
    return out, said.getvalue()


def test_every_format_answers_as_predict_does(run, photo_folder, exported, preparation):
    out, said = exported
    assert re.search(r"prepared images: the same class (\d+) of \1 times", said)
    assert ("files, prepared by the graph" in said) == (preparation == "inside")
    expected = probs_of(run, [photo_folder], "torch")
    np.testing.assert_allclose(probs_of(out, [photo_folder]), expected, atol=1e-4)
    assert np.ptp(expected, axis=0).max() > 0.03, "the images are told apart at all"


def test_the_script_beside_a_model_needs_nothing_of_ours(
    run, photo_folder, tmp_path, exported, preparation
):
    out, _ = exported
    files = [
        *sorted(photo_folder.rglob("*.jpg"))[::6],
        tmp_path / "rotated.jpg",
        tmp_path / "clear.png",
    ]
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(files[0]) as image:
        image.save(files[-2], exif=exif, quality=95)
        image.putalpha(image.convert("L").point(lambda value: 255 * (value > 128)))
        image.save(files[-1])
    script = out / "predict.py"
    text = script.read_text()
    assert "resnetlab" not in text
    assert text.count("\n") <= (17 if preparation == "inside" else 21)

    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), *map(str, files)],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip

    for line, row in zip(done.stdout.splitlines(), predict(run, files), strict=True):
        name, first, *_ = line.split("  ")
        label, share = first.rsplit(" ", 1)
        assert name == row["file"]
        if row["probability"] > 0.6:  # else the two may well be near
            assert label == row["class"]
        assert float(share[:-1]) / 100 == pytest.approx(row["probability"], abs=0.05)


def test_a_bundle_with_an_exported_model_answers_without_torch(bundle, onnx_folder, photo_folder):
    shutil.copytree(onnx_folder, bundle / "onnx")
    code = (
        "import sys; from resnetlab.cli.main import main; code = main(sys.argv[1:]);"
        "print(sorted({'torch', 'scipy', 'sklearn'} & set(sys.modules))); sys.exit(code)"
    )
    image = photo_folder / "china" / "00.jpg"
    done = subprocess.run(
        [sys.executable, "-c", code, "predict", str(bundle), str(image)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "[]"
    assert "computed by onnx (exported) in fp32" in done.stderr


def test_what_was_exported_from_other_weights_is_not_used(
    bundle, onnx_folder, photo_folder, capsys
):
    shutil.copytree(onnx_folder, bundle / "onnx")
    facts = json.loads((bundle / "onnx" / "export.json").read_text())
    (bundle / "onnx" / "export.json").write_text(json.dumps(facts | {"weights_sha256": "other"}))
    predict(bundle, [photo_folder / "china" / "00.jpg"])
    error = capsys.readouterr().err
    assert "was exported from other weights and is not used; export again" in error
    assert "computed by torch in fp32" in error


def test_a_damaged_file_is_refused(onnx_folder, tmp_path):
    folder = shutil.copytree(onnx_folder, tmp_path / "onnx")
    content = bytearray((folder / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "model.onnx").write_bytes(content)
    with pytest.raises(CheckpointError, match="is damaged"):
        load_exported(folder)


def test_a_model_that_answers_its_own_images_otherwise_is_refused(onnx_folder, tmp_path):
    folder = shutil.copytree(onnx_folder, tmp_path / "onnx")
    facts = json.loads((folder / "export.json").read_text())
    facts["check"]["probabilities"][0].reverse()
    (folder / "export.json").write_text(json.dumps(facts))
    with pytest.raises(CheckpointError, match="answers the images stored with it otherwise"):
        load_exported(folder)


@pytest.mark.parametrize("key", ["facts", "files", "check", "runtime"])
def test_a_description_that_lacks_something_is_told(onnx_folder, tmp_path, key):
    folder = shutil.copytree(onnx_folder, tmp_path / "onnx")
    facts = json.loads((folder / "export.json").read_text())
    del facts[key]
    (folder / "export.json").write_text(json.dumps(facts))
    with pytest.raises(CheckpointError, match=f"lacks '{key}'"):
        load_exported(folder)


def test_a_converter_that_gets_it_wrong_leaves_nothing(run, tmp_path, monkeypatch, capsys):
    """As PyTorch's newer exporter did with ResNets, in silence."""
    write = formats.WRITERS["onnx"]

    def write_wrong(module, folder, calibration):
        weight = module.classifier.head.weight
        weight.data *= -1
        try:
            return write(module, folder, calibration)
        finally:
            weight.data *= -1

    monkeypatch.setitem(formats.WRITERS, "onnx", write_wrong)
    assert main(["export", str(run), "--out", str(tmp_path / "wrong")]) == 4
    assert "the exported model is not the original" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_failed_export_leaves_the_one_before(run, onnx_folder, tmp_path, monkeypatch):
    folder = shutil.copytree(onnx_folder, tmp_path / "onnx")
    monkeypatch.setitem(formats.WRITERS, "onnx", lambda *rest: 1 / 0)
    assert main(["export", str(run), "--out", str(folder)]) == 5
    load_exported(folder)
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.filterwarnings("ignore")  # of the packages behind
def test_eight_bits_say_what_accuracy_they_cost(run, tmp_path, capsys):
    out = tmp_path / "int8"
    args = ["export", str(run), "--format", "openvino", "--quantize", "int8", "--max-loss", "0.5"]
    assert main([*args, "--out", str(out)]) == 0
    assert re.search(
        r"lost -?[\d.]+% \(95% interval -?[\d.]+% to [\d.]+%\)", capsys.readouterr().out
    )
    assert (out / "model.bin").stat().st_size < 0.6 * (
        run / "bundle/model.safetensors"
    ).stat().st_size
    load_exported(out)


def test_eight_bits_that_cost_too_much_are_refused(run, monkeypatch):
    from resnetlab.deploy.export import exported

    original = by_torch(load_bundle(run / "bundle")[0])
    monkeypatch.setattr(
        exported, "open_openvino", lambda path: lambda images: Output(-original(images).logits)
    )
    accuracy = exporting.accuracy_kept(Run(run), Path("x"), load_bundle(run / "bundle")[0])
    with pytest.raises(CheckpointError, match=r"8 bits lose \d+\.\d+% of accuracy on \d+ valid"):
        exporting.check_loss(accuracy, 0.0)


def test_where_eight_bits_lose_more_than_half_a_point_the_layers_that_cost_it_are_looked_for(
    run, tmp_path, monkeypatch, capsys
):
    calibrations, losses = [], [0.02, 0.004]
    write = formats.WRITERS["openvino"]

    def write_recorded(module, folder, calibration):
        calibrations.append(calibration)
        return write(module, folder, None)

    def measured(*_):
        loss = {"value": losses[len(calibrations) - 1], "low": 0.001, "high": 0.1}
        return {"images": 12, "original": 0.9, "int8": 0.9 - loss["value"], "loss": loss}

    monkeypatch.setattr(formats, "require_package", lambda *_: None)
    monkeypatch.setitem(formats.WRITERS, "openvino", write_recorded)
    monkeypatch.setattr(exporting, "accuracy_kept", measured)
    found = exporting.export(run, "openvino", tmp_path / "int8", quantize="int8")
    assert found["accuracy"]["loss"]["value"] == 0.004
    assert [bool(each.labelled) for each in calibrations] == [False, True]
    assert calibrations[1].most_lost == 0.005
    image, label = calibrations[1].labelled[0]
    assert image.dtype == np.uint8 and image.ndim == 3 and isinstance(label, int)
    assert "8 bits lose 2.00% of accuracy; looking for the layers" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore")  # of the packages behind
def test_nncf_keeps_layers_as_they_were_until_little_is_lost(run, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "UNNOTICED_LOSS", 0.0)
    measured = exporting.accuracy_kept

    def lossy(*arguments):
        found = measured(*arguments)
        return found | {"loss": {"value": 0.02, "low": 0.01, "high": 0.03}}

    monkeypatch.setattr(exporting, "accuracy_kept", lossy)
    found = exporting.export(run, "openvino", tmp_path / "int8", quantize="int8", max_loss=1.0)
    assert found["accuracy"]["int8"] >= found["accuracy"]["original"]
    load_exported(tmp_path / "int8")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--format", "tflite"], 2, "--format must be one of onnx, openvino, torch. Got 'tflite'"),
        (["--quantize", "int4"], 2, "--quantize must be int8. Got 'int4'"),
        (["--quantize", "int8"], 2, "--quantize int8 goes with --format openvino"),
        (["--preparation", "none"], 2, "--preparation must be inside or outside"),
        (["--images", "gone"], 3, "gone: no such file or folder"),
    ],
)
def test_a_mistake_gets_one_clear_line(run, tmp_path, capsys, arguments, code, message):
    assert main(["export", str(run), "--out", str(tmp_path / "x"), *arguments]) == code
    assert message in capsys.readouterr().err


def test_a_bundle_alone_is_compared_on_images_that_are_given(
    bundle, photo_folder, tmp_path, capsys
):
    out = tmp_path / "exported"
    assert main(["export", str(bundle), "--format", "torch", "--out", str(out)]) == 3
    assert "give some by --images FOLDER" in capsys.readouterr().err
    args = [
        "export",
        str(bundle),
        "--format",
        "torch",
        "--out",
        str(out),
        "--images",
        str(photo_folder),
    ]
    assert main(args) == 0
    assert is_exported(out)


def test_a_folder_with_other_files_is_never_replaced(run, tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("years of work")

    assert main(["export", str(run), "--format", "onnx", "--out", str(tmp_path)]) == 5

    assert "is not empty; choose a new folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
