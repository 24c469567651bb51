"""The training images nearest to one that is asked about, where the bundle carries small pictures of them."""

import base64
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from starlette.testclient import TestClient

from resnetlab.deploy.predictor import Predictor
from resnetlab.deploy.server.answering import Service
from resnetlab.deploy.server.app import make_app
from resnetlab.deploy.shift.reference import as_bytes, from_bytes
from resnetlab.evaluation.shift.reference import Pictures


def asked(bundle: Path, image: bytes):
    with TestClient(make_app(Service([bundle], "torch"))) as client:
        kind = {"content-type": "image/png"}
        shown = client.get("/model").json()["shows_nearest"]
        return shown, client.post("/nearest", content=image, headers=kind)


def test_a_training_image_is_nearest_to_itself_and_has_its_class(pictured, digit_folder):
    predictor = Predictor(pictured)
    pictures = predictor.reference.pictures
    assert len(pictures.jpegs) == len(predictor.reference.features) == 72
    paths = sorted(digit_folder.glob("2/*.png"))
    distances = [each.distance for each in predictor.predict(paths)]
    known = paths[int(np.argmin(distances))]  # one of those that were trained on
    shown, answer = asked(pictured, known.read_bytes())
    assert shown
    nearest = answer.json()["nearest"]
    assert len(nearest) == 4
    assert nearest[0]["class"] == "2"
    found = Image.open(io.BytesIO(base64.b64decode(nearest[0]["jpeg"]))).convert("L")
    same = Image.open(known).resize(found.size, Image.Resampling.NEAREST)
    assert np.corrcoef(np.ravel(found), np.ravel(same.convert("L")))[0, 1] > 0.9


def test_what_is_no_image_is_refused(pictured):
    assert asked(pictured, b"no image")[1].status_code == 415


def test_a_bundle_without_pictures_says_how_to_get_them(bundle, photo_folder):
    shown, answer = asked(bundle, (photo_folder / "china" / "00.jpg").read_bytes())
    assert not shown
    assert answer.status_code == 404
    assert "evaluation.thumbnails=true" in answer.json()["error"]


def test_pictures_are_written_and_read_whole(pictured):
    reference = Predictor(pictured).reference
    odd = Pictures(np.array([0, 3, 1]), [b"", b"a jpeg", b"x"])
    again = from_bytes(as_bytes(replace(reference, pictures=odd)))
    assert again.pictures.labels.tolist() == [0, 3, 1]
    assert list(again.pictures.jpegs) == [b"", b"a jpeg", b"x"]
    assert from_bytes(as_bytes(replace(reference, pictures=None))).pictures is None
