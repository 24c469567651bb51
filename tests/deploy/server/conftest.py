"""A service on a small network, asked in this process."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

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
