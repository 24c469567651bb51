"""The server as a process of its own: replaced bundles, signals, clients that don't behave."""

import http.client
import os
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from resnetlab import predict
from resnetlab.deploy.bundle import read_facts, save_bundle
from resnetlab.models import build


@pytest.fixture
def server(bundle, start):
    return start(bundle)


@pytest.fixture
def photo(photo_folder) -> Path:
    return photo_folder / "china" / "00.jpg"


def test_a_successor_that_can_not_promise_the_error_rate_is_refused_and_the_model_before_goes_on(
    tmp_path, classifier, facts, capsys
):
    from dataclasses import replace

    from resnetlab.deploy.server.answering import Service
    from resnetlab.errors import RecipeError

    bundle = tmp_path / "bundle"
    save_bundle(bundle, classifier, replace(facts, thresholds={"0.05": 0.7}), "")
    service = Service([bundle], "torch", max_error=0.05)
    before = service.live.predictor
    save_bundle(bundle, classifier, facts, "")
    deadline = time.monotonic() + 30
    said = ""
    while "goes on answering" not in said and time.monotonic() < deadline:
        time.sleep(0.1)
        said += capsys.readouterr().err
    assert "can't be promised" in said
    assert service.live.predictor is before
    assert service.metrics.models == 1
    service.close()
    with pytest.raises(RecipeError, match="can't be promised"):
        Service([bundle], "torch", max_error=0.05)


def memory(pid: int) -> int:
    """Return the resident memory of a process, bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_fault_16_a_replaced_bundle_is_taken_over_and_a_signal_ends_it_without_an_answer_lost(
    server, bundle, facts, photo
):
    content = photo.read_bytes()
    answers: list[tuple[int, dict]] = []
    lost: list[Exception] = []
    stop, ending = threading.Event(), threading.Event()

    def ask() -> None:
        while not stop.is_set():
            try:
                answers.append(server.post(content))
            except ConnectionRefusedError:
                return  # it listens no more
            except ConnectionResetError as error:
                if not ending.is_set():  # then it was never taken
                    lost.append(error)
                return
            except (OSError, http.client.HTTPException) as error:
                lost.append(error)
                return

    def expected() -> tuple[str, list[float]]:
        (row,) = predict(bundle, [photo], backend="torch")
        return read_facts(bundle / "model.json")[1], list(row["probabilities"].values())

    models = dict([expected()])
    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    while not answers:
        time.sleep(0.1)
    torch.manual_seed(7)
    other = build(facts.network, 3, facts.image_size, facts.stem, facts.dropout)
    save_bundle(bundle, other, facts, "# Another\n")
    models |= dict([expected()])
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if {answer.get("weights_sha256") for _, answer in list(answers)} == set(models):
            break
        time.sleep(0.1)
    ending.set()
    code = server.end()
    stop.set()
    for thread in threads:
        thread.join()

    assert code == 143
    assert lost == []
    good = [answer for status, answer in answers if status == 200]
    odd = [(status, answer) for status, answer in answers if status not in (200, 503)]
    assert odd == []  # 503: came when the end had begun
    assert len(good) > 0.9 * len(answers)
    assert {answer["weights_sha256"] for answer in good} == set(models)
    for answer in good:
        found = list(answer["predictions"][0]["probabilities"].values())
        np.testing.assert_allclose(found, models[answer["weights_sha256"]], atol=1e-6)


def test_a_bundle_that_is_damaged_on_disk_leaves_the_one_before(server, bundle, photo):
    before = server.post(photo.read_bytes())
    facts = (bundle / "model.json").read_text()
    (bundle / "model.json").write_text(facts[:-20])
    try:
        for line in server.process.stderr:
            if "the model before goes on answering" in line:
                break
        assert server.post(photo.read_bytes()) == before
    finally:
        (bundle / "model.json").write_text(facts)


def test_rows_50_and_52_clients_that_do_not_behave_cost_nothing(server, photo):
    server.post(photo.read_bytes())
    before = memory(server.process.pid)
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
    for _ in range(20):  # gone in the middle of the body
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(head + b"Content-Length: 1000000\r\n\r\n" + bytes(1000))
    with socket.create_connection(("127.0.0.1", server.port)) as client:  # without an end
        client.settimeout(20)
        client.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
        piece = b"100000\r\n" + bytes(0x100000) + b"\r\n"
        try:
            for _ in range(400):
                client.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass
    assert server.post(photo.read_bytes())[0] == 200
    assert memory(server.process.pid) - before < 150e6


def test_a_port_that_is_taken_is_told_before_the_model_is_loaded(bundle, capsys):
    from resnetlab.cli.main import main

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["serve", str(bundle), "--port", port]) == 5
    assert "can't be listened on" in capsys.readouterr().err


def test_a_key_that_is_too_short_is_refused(bundle, capsys, monkeypatch):
    from resnetlab.cli.main import main

    monkeypatch.setenv("RESNETLAB_API_KEY", "abc")
    assert main(["serve", str(bundle), "--port", "0"]) == 2
    assert "must have 8 characters at least. Got 3" in capsys.readouterr().err
