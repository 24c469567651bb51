"""Bundles that earlier versions wrote: every later version must load them and answer as they did.

A bundle that stops loading breaks whoever keeps one: add a new one beside these, never renew them.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from resnetlab import predict

KEPT = sorted((Path(__file__).parent / "fixtures").glob("bundle-*.json"))


@pytest.mark.parametrize("file", KEPT, ids=lambda path: path.stem)
@pytest.mark.parametrize("kind", ["bundle", "exported"])
def test_a_kept_bundle_answers_as_it_did(file: Path, kind: str, tmp_path: Path) -> None:
    answers = json.loads(file.read_text())
    digits = load_digits(n_class=3).images
    images = []
    for answer in answers:
        images.append(tmp_path / f"{answer['digit']}.png")
        pixels = np.rint(digits[answer["digit"]] * 255 / 16).astype(np.uint8)
        Image.fromarray(pixels).save(images[-1])
    folder = file.with_suffix("")
    if kind == "exported":
        pytest.importorskip("onnxruntime")
        rows = predict(folder / "onnx", images)
    else:
        rows = predict(folder, images, backend="torch")

    for row, answer in zip(rows, answers, strict=True):
        assert row["probabilities"] == pytest.approx(answer["probabilities"], abs=1e-4)
    assert len({row["class"] for row in rows}) > 1


def test_there_is_one() -> None:
    assert KEPT
