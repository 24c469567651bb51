"""A bundle goes to a hub and comes from there: a server on this machine that speaks as much of it as is needed."""

import base64
import hashlib
import json
import runpy
import shutil
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from huggingface_hub import constants
from PIL import Image

from resnetlab import predict
from resnetlab.cli.main import main
from resnetlab.deploy.bundle import load_bundle, save_bundle
from resnetlab.errors import MachineError, RecipeError
from resnetlab.evaluation.shift.reference import Reference, unit

COMMIT = "1" * 40


class Hub(BaseHTTPRequestHandler):
    """Keeps the files of one repository, user/photos."""

    files: dict[str, bytes]
    space: dict[str, bytes]
    created: list[dict]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/api/repos/create":
            self.created.append(json.loads(body))
            self.answer({"url": f"{constants.ENDPOINT}/user/photos"})
        elif self.path == "/api/validate-yaml":
            self.answer({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            names = [each["path"] for each in json.loads(body)["files"]]
            self.answer(
                {
                    "files": [
                        {"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in names
                    ]
                }
            )
        elif "/commit/" in self.path:
            store = self.space if self.path.startswith("/api/spaces/") else self.files
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    value = entry["value"]
                    store[value["path"]] = base64.b64decode(value["content"])
            url = f"{constants.ENDPOINT}/user/photos/commit/" + COMMIT
            self.answer({"success": True, "commitOid": COMMIT, "commitUrl": url})
        else:
            self.answer({}, 404)

    def do_HEAD(self) -> None:
        self.send_file(body=False)

    def do_GET(self) -> None:
        if self.path.startswith("/api/models/user/photos/tree/"):
            tree = [
                {"type": "file", "path": name, "size": len(content), "oid": "2" * 40}
                for name, content in self.files.items()
            ]
            self.answer(tree)
        elif self.path.startswith("/api/models/user/photos"):
            siblings = [{"rfilename": name} for name in self.files]
            self.answer({"id": "user/photos", "sha": COMMIT, "siblings": siblings})
        else:
            self.send_file(body=True)

    def send_file(self, body: bool) -> None:
        content = self.files.get(self.path.partition(f"/resolve/{COMMIT}/")[2])
        if content is None:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def answer(self, value: dict | list, status: int = 200) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub(tmp_path, monkeypatch):
    handler = type("OwnHub", (Hub,), {"files": {}, "space": {}, "created": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr("huggingface_hub.hf_api.ENDPOINT", address, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setenv("HF_TOKEN", "hf_of_a_test")
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    yield handler
    server.shutdown()
    server.server_close()


@pytest.fixture
def photos(photo_folder):
    return sorted(photo_folder.rglob("*.jpg"))[::8]


def test_a_run_goes_to_the_hub_with_its_scores_and_answers_from_there(hub, run, photos, capsys):
    assert main(["push", str(run), "user/photos"]) == 0
    assert hub.created[0]["visibility"] == "private"
    assert set(hub.files) >= {"model.json", "model.safetensors", "README.md"}
    nothing, head, text = hub.files["README.md"].decode().split("---\n")
    assert nothing == ""
    front = yaml.safe_load(head)
    assert front["library_name"] == "resnetlab"
    assert front["pipeline_tag"] == "image-classification"
    value = front["model-index"][0]["results"][0]["metrics"][0]["value"]
    assert 0 <= value <= 1
    assert "interval" in text

    expected = predict(run, photos)
    assert predict("hf:user/photos", photos) == expected


def test_what_tells_strange_images_goes_along(hub, run, photos, tmp_path):
    classifier, facts = load_bundle(run / "bundle")
    features = np.random.default_rng(0).normal(size=(30, classifier.head.in_features))
    reference = Reference(unit(features).astype(np.float16), np.ones(30), np.ones(30))
    save_bundle(tmp_path / "bundle", classifier, facts, "# A card\n", reference)
    assert main(["push", str(tmp_path / "bundle"), "user/photos"]) == 0

    found = predict("hf:user/photos", photos)

    assert all("out_of_distribution" in row for row in found)
    assert found == predict(tmp_path / "bundle", photos)


def test_a_space_is_a_page_that_answers_as_the_bundle_does(
    hub, run, photos, tmp_path, capsys, monkeypatch
):
    assert main(["push", str(run), "user/photos", "--space"]) == 2
    assert f"first: resnetlab export {run} --format onnx" in capsys.readouterr().err
    assert hub.created == []
    copy = shutil.copytree(run, tmp_path / "run")
    assert main(["export", str(copy), "--format", "onnx"]) == 0
    assert main(["push", str(copy), "user/photos", "--space"]) == 0
    assert [each.get("type", "model") for each in hub.created] == ["model", "space"]
    assert hub.created[1]["sdk"] == "gradio"
    front = yaml.safe_load(hub.space["README.md"].decode().split("---\n")[1])
    assert front["sdk"] == "gradio"
    assert front["models"] == ["user/photos"]

    place = tmp_path / "space"
    place.mkdir()
    for name, content in hub.space.items():
        (place / name).write_bytes(content)
    asked = []
    page = SimpleNamespace(launch=lambda: None)
    gradio = SimpleNamespace(
        Interface=lambda answer, *_, **__: asked.append(answer) or page,
        Image=lambda **_: None,
        Label=lambda **_: None,
    )
    monkeypatch.setitem(sys.modules, "gradio", gradio)
    runpy.run_path(str(place / "app.py"))
    (row,) = predict(run, photos[:1])
    found = asked[0](np.asarray(Image.open(photos[0]).convert("RGB")))
    assert found == pytest.approx(row["probabilities"], abs=0.01)  # prepared by the graph


def test_without_the_hub_the_cache_answers(hub, run, photos, monkeypatch):
    main(["push", str(run), "user/photos", "--public"])
    assert hub.created[0]["visibility"] == "public"
    expected = predict("hf:user/photos", photos)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert predict("hf:user/photos", photos) == expected


def test_a_folder_in_the_hubs_form_is_a_bundle(run, tmp_path, photos):
    folder = shutil.copytree(run / "bundle", tmp_path / "models--user--photos")
    assert predict(folder, photos) == predict(run, photos)


def test_a_repository_that_is_not_there_is_told_in_a_line(hub, photos):
    with pytest.raises(MachineError, match=r"hf:user/gone: the Hugging Face hub could not do it"):
        predict("hf:user/gone", photos)


@pytest.mark.parametrize("name", ["photos", "a/b/c", "/x", ""])
def test_a_name_that_is_no_repository_is_refused(run, name):
    from resnetlab import push

    with pytest.raises(RecipeError, match="is called user/name"):
        push(run, name)
