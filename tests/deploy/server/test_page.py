"""The page in a browser: an image is answered, explained and corrected, and trained from; nothing leaves."""

import csv
from pathlib import Path

import pytest

from resnetlab.cli.main import main

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = Path("/usr/bin/chromium")
needs_browser = pytest.mark.skipif(not CHROMIUM.is_file(), reason=f"no browser at {CHROMIUM}")
PHONE = {"width": 390, "height": 844}


@pytest.fixture
def browser():
    with playwright.sync_playwright() as started:
        options = ["--no-sandbox", "--disable-background-networking"]
        browser = started.chromium.launch(executable_path=str(CHROMIUM), args=options)
        yield browser
        browser.close()


@needs_browser
def test_an_image_is_answered_explained_corrected_and_nothing_leaves_the_machine(
    browser, start, run, photo_folder, tmp_path
):
    table = tmp_path / "corrections.csv"
    server = start(run, "--corrections", str(table), "--uncertain-below", "1")
    place = f"http://127.0.0.1:{server.port}/"
    page = browser.new_page(viewport=PHONE, color_scheme="dark")
    asked, complaints = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))

    page.goto(place)
    page.get_by_text("Names one of 2 classes: china, flower.").wait_for()
    photos = [photo_folder / "china" / "00.jpg", photo_folder / "flower" / "05.jpg"]
    page.locator("#files").set_input_files([*map(str, photos), __file__])
    page.get_by_text("2 images answered.").wait_for()

    card = page.locator("article").first
    likeliest = card.locator("dt").first.inner_text()
    assert likeliest in ("china", "flower")
    assert card.locator("h2").inner_text() == f"{likeliest}uncertain"
    look = card.get_by_role("button", name="Where it looked")
    look.press("Enter")  # the keyboard alone will do
    card.locator("canvas").wait_for()
    assert look.get_attribute("aria-pressed") == "true"
    card.get_by_role("button", name="Wrong?").click()
    right = card.locator("option").nth(1).inner_text()
    card.get_by_role("combobox").select_option(right)
    card.get_by_role("button", name="Keep as this").click()
    card.get_by_text(f"Kept as {right}; 1 in the table.").wait_for()

    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert complaints == []
    assert all(url.startswith((place, "blob:", "data:")) for url in asked), asked
    (row,) = csv.DictReader(table.read_text().splitlines())
    assert row["label"] == right
    assert (tmp_path / row["path"]).read_bytes() == photos[1].read_bytes()
    words = ["--model", "mlp", "--epochs", "1", "--image-size", "16", "--device", "cpu"]
    out = [
        "--out",
        str(tmp_path / "runs"),
        "--name",
        "again",
        "--set",
        "data.classes=[china,flower]",
    ]
    assert main(["train", str(photo_folder), str(table), *words, *out]) == 0


@needs_browser
def test_the_nearest_training_images_are_shown_with_their_classes(
    browser, start, pictured, digit_folder
):
    server = start(pictured)
    page = browser.new_page(viewport=PHONE)
    page.goto(f"http://127.0.0.1:{server.port}/")
    page.locator("#files").set_input_files(str(digit_folder / "2" / "000.png"))
    page.get_by_role("button", name="Nearest training images").press("Enter")
    shown = page.get_by_role("list", name="Nearest training images")
    shown.wait_for()
    assert shown.locator("li").count() == 4
    assert set(shown.locator("li").all_inner_texts()) <= {"0", "1", "2", "3"}
    assert all(
        image.evaluate("image => image.naturalWidth") == 64 for image in shown.locator("img").all()
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


@needs_browser
def test_a_page_that_wants_a_key_asks_for_it(browser, start, bundle, monkeypatch):
    monkeypatch.setenv("RESNETLAB_API_KEY", "correct horse")
    server = start(bundle)
    page = browser.new_page()
    page.goto(f"http://127.0.0.1:{server.port}/")
    page.locator("#key").fill("correct horse")
    page.locator("#key").press("Enter")
    page.get_by_text("Names one of 3 classes").wait_for()
    assert not page.locator("#ask-key").is_visible()


@needs_browser
def test_the_page_has_no_fault_that_axe_knows(browser, start, run, photo_folder):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    server = start(run)
    for scheme in ("light", "dark"):
        page = browser.new_page(color_scheme=scheme)
        page.goto(f"http://127.0.0.1:{server.port}/")
        page.locator("#files").set_input_files(str(photo_folder / "china" / "00.jpg"))
        page.get_by_text("1 image answered.").wait_for()
        found = axe.Axe().run(page)
        assert found.violations_count == 0, found.generate_report()


def test_what_is_kept_is_a_table_to_train_from(serving, photo_folder, tmp_path):
    table = tmp_path / "corrections.csv"
    client = serving(corrections=table)
    for name in ("china", "flower"):
        for path in sorted((photo_folder / name).iterdir()):
            files = [("files", (path.name, path.read_bytes(), "image/jpeg"))]
            assert client.post("/corrections", files=files, data={"label": name}).status_code == 200
    again = [("files", ("x.jpg", path.read_bytes(), "image/jpeg"))]
    kept = client.post("/corrections", files=again, data={"label": "china"}).json()
    assert kept == {"kept": 24}, "the last label counts"
    client.post("/corrections", files=again, data={"label": "flower"})
    args = ["train", str(table), "--model", "mlp", "--epochs", "1", "--image-size", "16"]
    assert main([*args, "--out", str(tmp_path / "runs"), "--device", "cpu"]) == 0


@pytest.mark.parametrize(
    ("content", "label", "status"),
    [(b"no image", "cat", 415), (None, "", 400), (None, "a\nb", 400), (None, "x" * 300, 400)],
)
def test_what_can_not_be_kept_is_refused(serving, photo_folder, tmp_path, content, label, status):
    table = tmp_path / "corrections.csv"
    client = serving(corrections=table)
    content = content or (photo_folder / "china" / "00.jpg").read_bytes()
    files = [("files", ("x.jpg", content, "image/jpeg"))]
    assert client.post("/corrections", files=files, data={"label": label}).status_code == status
    assert list(tmp_path.iterdir()) == []


def test_without_the_flag_nothing_is_kept(client, photo_folder):
    files = [("files", ("x.jpg", (photo_folder / "china" / "00.jpg").read_bytes(), "image/jpeg"))]
    response = client.post("/corrections", files=files, data={"label": "cat"})
    assert response.status_code == 404
    assert "start serve with --corrections" in response.json()["error"]


# Where it looked


def test_the_box_is_the_part_of_the_image_that_the_network_sees(serving, run, photo_folder):
    from starlette.testclient import TestClient

    from resnetlab.deploy.server.answering import Service
    from resnetlab.deploy.server.app import make_app

    with TestClient(make_app(Service([run / "bundle"], "torch"))) as client:
        content = (photo_folder / "china" / "00.jpg").read_bytes()
        headers = {"content-type": "image/jpeg"}
        found = client.post("/explain", content=content, headers=headers).json()
        assert found["class"] in ("china", "flower")
        assert found["box"] == pytest.approx(
            [0.125, 0, 0.75, 1], abs=0.02
        )  # 160 by 120 px, cut to a square
        files = [("files", ("x.jpg", content, "image/jpeg"))]
        other = client.post("/explain", files=files, data={"label": "flower"}).json()
        assert other["class"] == "flower"
        assert client.post("/explain", files=files, data={"label": "cow"}).status_code == 400
        broken = client.post("/explain", content=b"x", headers=headers)
        assert broken.status_code == 415
