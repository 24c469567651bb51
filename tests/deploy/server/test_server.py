"""What a program sees of the server: answers, refusals, limits."""

import asyncio
import json
import socket
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnetlab import predict
from resnetlab.deploy.server.answering import Service
from resnetlab.deploy.server.limits import Limits

JPEG = {"content-type": "image/jpeg"}


@pytest.fixture(scope="module")
def photos(photo_folder: Path) -> list[Path]:
    return sorted(photo_folder.rglob("*.jpg"))


def as_files(paths: list[Path]) -> list:
    return [("files", (path.name, path.read_bytes(), "image/jpeg")) for path in paths]


def probs(rows: list[dict]) -> np.ndarray:
    return np.array([list(row["probabilities"].values()) for row in rows])


# Answers


def test_many_images_of_a_form_get_the_answers_of_predict_in_order(client, bundle, photos):
    response = client.post("/predict", files=as_files(photos))
    assert response.status_code == 200
    rows, expected = response.json()["predictions"], predict(bundle, photos, backend="torch")
    assert [row["file"] for row in rows] == [path.name for path in photos]
    assert [row["class"] for row in rows] == [row["class"] for row in expected]
    np.testing.assert_allclose(probs(rows), probs(expected), atol=1e-6)


@pytest.mark.parametrize("kind", ["image/jpeg", "application/octet-stream", ""])
def test_an_image_may_be_the_body_itself(client, bundle, photos, kind):
    headers = {"content-type": kind} if kind else {}
    response = client.post("/predict", content=photos[0].read_bytes(), headers=headers)
    expected = predict(bundle, photos[:1], backend="torch")
    np.testing.assert_allclose(probs(response.json()["predictions"]), probs(expected), atol=1e-6)


def test_every_orientation_of_exif_is_answered_as_offline(client, bundle, photos, tmp_path):
    files = []
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        files.append(tmp_path / f"{orientation}.jpg")
        with Image.open(photos[0]) as image:
            image.save(files[-1], exif=exif)
    rows = client.post("/predict", files=as_files(files)).json()["predictions"]
    np.testing.assert_allclose(
        probs(rows), probs(predict(bundle, files, backend="torch")), atol=1e-6
    )


def test_an_unusable_image_among_others_has_a_problem(client, photos):
    files = [*as_files(photos[:1]), ("files", ("x.jpg", b"no image", "image/jpeg"))]
    good, bad = client.post("/predict", files=files).json()["predictions"]
    assert good["class"] and not good["problem"]
    assert (bad["class"], bad["problem"], bad["top"]) == (None, "not an image", [])


def test_what_is_uncertain_is_marked(serving, photos):
    row = serving(uncertain_below=1.0).post("/predict", files=as_files(photos[:1])).json()
    assert row["predictions"][0]["uncertain"] is True


def test_the_model_describes_itself_and_counts(client, facts, photos):
    client.post("/predict", files=as_files(photos[:3]))
    found = client.get("/model").json()
    assert found["classes"] == list(facts.classes)
    assert found["card"] == "# A card\n"
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}
    text = client.get("/metrics").text
    assert 'resnetlab_requests_total{path="/predict",status="200"} 1\n' in text
    assert "resnetlab_images_total 3\n" in text
    assert "/predict" in client.get("/openapi.json").json()["paths"]


# Refusals


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"", 400), (b"no image at all", 415), (b"\xff\xd8\xff\xe0 broken", 400)],
    ids=["empty", "text", "broken"],
)
def test_row_51_what_is_no_image_is_refused_and_the_server_lives(client, photos, content, status):
    response = client.post("/predict", content=content, headers=JPEG)
    assert response.status_code == status, response.text
    assert response.json()["error"].startswith("no sound image: ")
    assert client.post("/predict", files=as_files(photos[:1])).status_code == 200


def test_row_51_a_truncated_image_is_refused(client, photos):
    response = client.post("/predict", content=photos[0].read_bytes()[:-900], headers=JPEG)
    assert (response.status_code, response.json()) == (400, {"error": "no sound image: truncated"})


def test_row_51_a_bomb_is_refused_unopened(client, bomb):
    response = client.post("/predict", content=bomb, headers={"content-type": "image/png"})
    assert (response.status_code, response.json()["error"]) == (
        400,
        "no sound image: too many pixels",
    )


@pytest.fixture
def bomb() -> bytes:
    """A PNG of few bytes whose header states 60,000 by 60,000 px."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b'{"url": "http://127.0.0.1:1/x.jpg"}', "application/json"),
        (b"path=/etc/passwd", "application/x-www-form-urlencoded"),
        (b"\x80\x04c__builtin__\neval\n.", "application/python-pickle"),
        (b"/etc/passwd", "text/plain"),
    ],
)
def test_row_54_no_address_path_or_pickle_is_taken(client, monkeypatch, content, kind):
    monkeypatch.setattr(socket.socket, "connect", lambda *rest: pytest.fail("it went out"))
    response = client.post("/predict", content=content, headers={"content-type": kind})
    assert response.status_code == 415
    assert "send images" in response.json()["error"]


def test_row_54_a_form_with_a_path_instead_of_a_file_is_refused(client):
    body = b'--b\r\nContent-Disposition: form-data; name="files"\r\n\r\n/etc/passwd\r\n--b--\r\n'
    headers = {"content-type": "multipart/form-data; boundary=b"}
    response = client.post("/predict", content=body, headers=headers)
    assert (response.status_code, response.json()) == (400, {"error": "the form holds no file"})


@pytest.mark.parametrize("body", [b"", b"--b\r\nContent-Dis", b"nothing", b"--b--\r\n"])
def test_a_broken_form_is_refused(client, body):
    headers = {"content-type": "multipart/form-data; boundary=b"}
    assert client.post("/predict", content=body, headers=headers).status_code == 400


def test_uploads_never_touch_the_disk(client, photos, monkeypatch):
    for name in ("TemporaryFile", "NamedTemporaryFile", "SpooledTemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, lambda *rest, **more: pytest.fail("written to disk"))
    large = photos[0].read_bytes() + bytes(
        3_000_000
    )  # what follows the image's end is no part of it
    client.post("/predict", files=[("files", ("large.jpg", large, "image/jpeg"))])


# Limits


def test_row_50_a_body_over_the_cap_is_refused_with_and_without_a_length(serving):
    client = serving(Limits(body=100_000))
    stated = client.post("/predict", content=bytes(150_000), headers=JPEG)
    pieces = (bytes(10_000) for _ in range(1000))
    streamed = client.post("/predict", content=pieces, headers=JPEG)
    assert (stated.status_code, streamed.status_code) == (413, 413)
    assert "larger than 100000 bytes" in streamed.json()["error"]


def test_too_many_images_in_one_request_are_refused(serving, photos):
    response = serving(Limits(images=2)).post("/predict", files=as_files(photos[:3]))
    assert response.status_code == 413
    assert "more than 2 images" in response.json()["error"]


def test_row_52_a_slow_upload_is_ended_and_its_place_is_free_again(serving, photos):
    client = serving(Limits(seconds=0.3, requests=1))
    answers = []

    async def piece():
        await asyncio.sleep(0.1)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def answered(message):
        answers.append(message)

    headers = [(b"content-type", b"image/jpeg")]
    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": headers}
    client.portal.call(client.app, scope | {"query_string": b""}, piece, answered)
    assert answers[0]["status"] == 408
    assert client.post("/predict", files=as_files(photos[:1])).status_code == 200


def test_row_53_of_many_at_once_some_are_told_to_come_again_and_the_others_are_right(
    serving, bundle, photos
):
    client = serving(Limits(requests=4, batch=4))
    expected = probs(predict(bundle, photos[:1], backend="torch"))
    found = []

    def ask() -> None:
        found.append(client.post("/predict", files=as_files(photos[:1])))

    threads = [threading.Thread(target=ask) for _ in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    good = [response for response in found if response.status_code == 200]
    busy = [response for response in found if response.status_code == 503]
    assert good and len(good) + len(busy) == 60
    assert all(response.headers["retry-after"] == "1" for response in busy)
    for response in good:
        np.testing.assert_allclose(probs(response.json()["predictions"]), expected, atol=1e-6)
    assert client.service.metrics.active == 0


# Who may ask


def test_with_a_key_only_who_sends_it_is_answered(serving, photos):
    client = serving(key="correct horse")
    for headers in ({}, {"authorization": "Bearer wrong"}, {"x-api-key": ""}):
        response = client.post("/predict", files=as_files(photos[:1]), headers=headers)
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
    for headers in ({"authorization": "Bearer correct horse"}, {"x-api-key": "correct horse"}):
        assert (
            client.post("/predict", files=as_files(photos[:1]), headers=headers).status_code == 200
        )
    assert client.get("/healthz").status_code == 200
    assert client.get("/model").status_code == client.get("/metrics").status_code == 401


def test_pages_of_other_sites_get_nothing(client, photos):
    response = client.post(
        "/predict", files=as_files(photos[:1]), headers={"origin": "https://evil.example"}
    )
    assert response.status_code == 403
    own = {"origin": "http://testserver"}
    assert client.post("/predict", files=as_files(photos[:1]), headers=own).status_code == 200


@pytest.mark.parametrize("path", ["/", "/model", "/predict", "/nothing"])
def test_every_answer_forbids_what_comes_from_elsewhere(client, path):
    policy = client.get(path).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "http" not in policy
    assert client.get(path).headers["x-content-type-options"] == "nosniff"


def test_an_answer_is_json_without_what_is_no_number(client, photos):
    text = client.post("/predict", files=as_files(photos[:1])).text
    json.loads(text, parse_constant=lambda name: pytest.fail(name))


def test_what_was_taken_is_answered_before_the_end(bundle, photos):
    async def last_request() -> dict:
        service = Service([bundle], "torch")
        service.metrics.active += 1  # its body is still read when the end begins
        end = asyncio.create_task(service.end())
        await asyncio.sleep(0.1)
        assert service.full
        answer = await service.answer([(photos[0].name, photos[0].read_bytes())])
        service.metrics.active -= 1
        await end
        return answer

    assert asyncio.run(last_request())["predictions"][0]["class"]
