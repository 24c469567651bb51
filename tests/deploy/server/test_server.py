"""What a program sees of the server: answers, refusals, limits."""

import asyncio
import json
import socket
import tempfile
import threading
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.requests import Request

from resnetlab import predict
from resnetlab.deploy.predictor import Predictor
from resnetlab.deploy.server import body
from resnetlab.deploy.server.answering import Service
from resnetlab.deploy.server.corrections import Corrections
from resnetlab.deploy.server.limits import Limits
from resnetlab.errors import CheckpointError

JPEG = {"content-type": "image/jpeg"}
FORM = {"content-type": "multipart/form-data; boundary=b"}
FIELD = b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n'


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


def test_the_interface_says_what_is_kept(serving, tmp_path):
    def said(**more) -> str:
        return serving(**more).get("/openapi.json").json()["info"]["description"]

    assert said().endswith("Nothing that is sent is kept.")
    assert "kept but the images and labels of /corrections" in said(corrections=tmp_path / "c.csv")


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


@pytest.mark.parametrize("path", ["/predict", "/explain", "/nearest", "/corrections"])
@pytest.mark.parametrize("problem", ["not an image", "truncated", "too many pixels"])
def test_row_51_every_path_refuses_alike(
    serving, photos, bomb, tmp_path, monkeypatch, path, problem
):
    monkeypatch.setattr(Predictor, "has_pictures", True)
    cut = photos[0].read_bytes()[:-900]
    content = {"not an image": b"text", "truncated": cut, "too many pixels": bomb}[problem]
    response = serving(corrections=tmp_path / "c.csv").post(path, content=content, headers=JPEG)
    assert response.status_code == (415 if problem == "not an image" else 400)
    assert response.json() == {"error": f"no sound image: {problem}"}


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
    response = client.post("/predict", files=[("files", ("large.jpg", large, "image/jpeg"))])
    assert response.status_code == 200, response.text


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
    serving, bundle, photos, monkeypatch
):
    client = serving(Limits(requests=4, batch=4))
    expected = probs(predict(bundle, photos[:1], backend="torch"))
    found = []
    others_answered = threading.Event()
    answers = Predictor.answers

    def answer_late(*rest):
        others_answered.wait(10)
        return answers(*rest)

    def ask() -> None:
        found.append(client.post("/predict", files=as_files(photos[:1])))
        if len(found) == 56:
            others_answered.set()

    monkeypatch.setattr(Predictor, "answers", answer_late)
    threads = [threading.Thread(target=ask) for _ in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    good = [response for response in found if response.status_code == 200]
    busy = [response for response in found if response.status_code == 503]
    assert (len(good), len(busy)) == (4, 56)
    assert all(response.headers["retry-after"] == "1" for response in busy)
    for response in good:
        np.testing.assert_allclose(probs(response.json()["predictions"]), expected, atol=1e-6)
    assert client.service.metrics.active == 0


@pytest.mark.parametrize("slow", [(Predictor, "answers"), (body, "parse_form")])
def test_who_sent_in_time_and_waits_too_long_is_told_to_come_again(
    serving, photos, monkeypatch, slow
):
    at_once = getattr(*slow)
    monkeypatch.setattr(*slow, lambda *rest: time.sleep(0.6) or at_once(*rest))
    response = serving(Limits(seconds=0.2)).post("/predict", files=as_files(photos[:1]))
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert "no answer within 0.2 s" in response.json()["error"]


@pytest.mark.parametrize("part", [FIELD, b"--b?\r\n"], ids=["fields", "nearly fields"])
def test_a_form_of_countless_parts_is_refused_at_once(client, part):
    content = FIELD + part * (30_000_000 // len(part)) + b"--b--\r\n"
    began = time.monotonic()
    response = client.post("/predict", content=content, headers=FORM)
    assert time.monotonic() - began < 4
    assert response.status_code == 413
    assert "send at most 32 images and 16 fields" in response.json()["error"]


def test_a_form_may_have_fields_beside_its_images(client, photos):
    response = client.post(
        "/predict", files=as_files(photos[:2]), data={f"x{n}": "1" for n in range(16)}
    )
    assert response.status_code == 200


def test_while_a_form_is_parsed_others_are_answered(client, photos, monkeypatch):
    began, others_answered, in_time = threading.Event(), threading.Event(), []
    parse_form = body.parse_form

    def parse_late(*rest):
        began.set()
        in_time.append(others_answered.wait(5))
        return parse_form(*rest)

    monkeypatch.setattr(body, "parse_form", parse_late)
    asking = threading.Thread(
        target=client.post, args=["/predict"], kwargs={"files": as_files(photos[:1])}
    )
    asking.start()
    assert began.wait(5)
    assert client.get("/healthz").status_code == 200
    others_answered.set()
    asking.join()
    assert in_time == [True]


@pytest.mark.parametrize(
    ("kind", "times"), [("image/jpeg", 1.5), ("multipart/form-data; boundary=b", 2.5)]
)
def test_a_body_is_in_memory_once_and_the_files_of_a_form_once_more(kind, times):
    head = b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
    sizes = iter([100_000] * 100)
    ends = [b"\r\n--b--\r\n", head]

    async def receive():
        content = ends.pop() if len(ends) == 2 else bytes(next(sizes, 0)) or ends.pop()
        return {"type": "http.request", "body": content, "more_body": bool(ends)}

    async def peak_of_reading() -> int:
        headers = [(b"content-type", kind.encode())]
        request = Request({"type": "http", "method": "POST", "headers": headers}, receive)
        form = await body.read_form(request, Limits())
        assert len(form.files[0][1]) >= 10_000_000
        return tracemalloc.get_traced_memory()[1]

    tracemalloc.start()
    try:
        peak = asyncio.run(peak_of_reading())
    finally:
        tracemalloc.stop()
    assert peak < times * 10_000_000


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


@pytest.mark.parametrize("rows", ["", "1.png,cat\n"])
def test_corrections_go_into_no_table_of_other_columns(tmp_path, rows):
    table = tmp_path / "other.csv"
    table.write_text(f"file,class\n{rows}")
    with pytest.raises(
        CheckpointError, match=r"must be path, label\. Got file, class; choose another"
    ):
        Corrections(table)
