"""A service on a small network, asked in this process."""

import http.client
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from resnetlab.cli.main import main
from resnetlab.deploy.bundle import save_bundle
from resnetlab.deploy.server.answering import Service
from resnetlab.deploy.server.limits import Limits

pytest.importorskip("fastapi")
pytest.importorskip("python_multipart")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, classifier, facts) -> Path:
    folder = tmp_path_factory.mktemp("served") / "bundle"
    save_bundle(folder, classifier, facts, "# A card\n")
    return folder


@pytest.fixture(scope="module")
def pictured(tmp_path_factory, digit_folder) -> Path:
    """A bundle trained on 72 scanned digits, with their pictures."""
    out = tmp_path_factory.mktemp("pictured")
    words = ["--model", "cnn", "--weights", "none", "--image-size", "16", "--epochs", "1"]
    words += ["--split", "0.6", "0.4", "0", "--set", "evaluation.thumbnails=true"]
    assert main(["train", str(digit_folder), *words, "--out", str(out), "--name", "digits"]) == 0
    return out / "digits" / "bundle"


@pytest.fixture
def serving(bundle) -> Iterator[Callable]:
    """Make a client of a service with these limits and this key."""
    from starlette.testclient import TestClient

    from resnetlab.deploy.server.app import make_app

    opened = []

    def make(limits: Limits | None = None, key: str | None = None, **more):
        service = Service([bundle], "torch", limits, **more)
        client = TestClient(make_app(service, key), raise_server_exceptions=False)
        client.__enter__()
        opened.append(client)
        client.service = service
        return client

    yield make
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture
def client(serving):
    return serving()


class Server:
    """A server in a process of its own, on a port that is free."""

    def __init__(self, bundle: Path, *more: str) -> None:
        words = ["serve", str(bundle), "--port", "0", "--backend", "torch", *more]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "resnetlab", *words], stderr=subprocess.PIPE, text=True
        )
        for line in self.process.stderr:
            if found := re.search(r"serving at http://127.0.0.1:(\d+)", line):
                self.port = int(found[1])
                break

    def post(self, content: bytes) -> tuple[int, dict]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("POST", "/predict", content, {"Content-Type": "image/jpeg"})
            response = connection.getresponse()
            content = response.read()
            assert response.headers["content-type"] == "application/json", content
            return response.status, json.loads(content)
        finally:
            connection.close()

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30)
        print(self.process.stderr.read())  # seen where a test fails
        return code


@pytest.fixture
def start() -> Iterator[Callable[..., Server]]:
    """Start a server on a model, with more words of the command line."""
    started: list[Server] = []

    def begin(model: Path, *more: str) -> Server:
        started.append(Server(model, *more))
        return started[-1]

    yield begin
    for server in started:
        if server.process.poll() is None:
            server.process.kill()
        server.process.wait()
        server.process.stderr.close()
