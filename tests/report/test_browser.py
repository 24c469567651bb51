"""Pages in a browser: clicked through by mouse and keyboard, both themes, phone and paper, without network."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from resnetlab.cli.main import main

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
SIZES = {"desktop": (1100, 900), "phone": (390, 844)}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, digit_folder: Path) -> Path:
    """The report of a small network that makes mistakes, its test split opened."""
    out = tmp_path_factory.mktemp("runs")
    quick = ["--epochs", "1", "--weights", "none", "--image-size", "16", "--device", "cpu"]
    words = ["--model", "mlp", "--out", str(out), "--name", "mlp", "--lr", "0.001"]
    assert main(["train", str(digit_folder), *words, *quick]) == 0
    assert main(["evaluate", str(out / "mlp"), "--by", "folder"]) == 0
    return out / "mlp" / "report.html"


@pytest.fixture(scope="module")
def pages(
    report: Path, digit_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """The page of each verb that writes one: training, inspection, comparison of two networks."""
    out = tmp_path_factory.mktemp("pages")
    quick = ["--epochs", "1", "--weights", "none", "--image-size", "16", "--device", "cpu"]
    words = ["--model", "mlp", "--out", str(out), "--name", "other", "--lr", "0.1"]
    assert main(["train", str(digit_folder), *words, *quick]) == 0
    assert main(["evaluate", str(out / "other")]) == 0
    assert (
        main(["compare", str(report.parent), str(out / "other"), "--out", str(out / "both")]) == 0
    )
    assert main(["inspect", str(digit_folder), "--out", str(out / "data")]) == 0
    found = {name: next((out / name).glob("*.html")) for name in ("both", "data")}
    return {"training": report, "comparison": found["both"], "inspection": found["data"]}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, report: Path) -> Iterator[Page]:
    """The report, opened; whatever it says on the console or asks of the network fails the test."""
    context = browser.new_context(viewport={"width": 1100, "height": 900})
    page, heard = context.new_page(), []
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on(
        "request", lambda request: heard.append(request.url) if "http" in request.url[:5] else None
    )
    page.goto(report.as_uri())
    yield page
    assert heard == []
    context.close()


def test_a_cell_of_the_confusion_matrix_opens_its_images_and_escape_closes_them(page: Page) -> None:
    cell = page.locator("table.matrix td:not(.right) button").first
    count = int(cell.inner_text())
    cell.focus()
    page.keyboard.press("Enter")
    dialog = page.locator("dialog")
    assert dialog.is_visible()
    assert " taken for " in dialog.locator("h2").inner_text()
    pictures = dialog.locator("img")
    assert pictures.count() == min(count, 24)
    assert pictures.first.evaluate("image => image.complete && image.naturalWidth") == 72
    page.keyboard.press("Escape")
    assert not dialog.is_visible()


def test_a_column_sorts_down_then_up(page: Page) -> None:
    page.locator("summary", has_text="Scores of each class").first.click()
    table = page.locator("table.sortable[data-csv^=per-class]").first
    recall = table.locator("th", has_text="Recall")

    def values() -> list[float]:
        cells = table.locator("tbody tr td:nth-child(5)")
        return [float(cell.get_attribute("data-value") or 0) for cell in cells.all()]

    recall.locator("button").click()
    assert values() == sorted(values(), reverse=True)
    assert recall.get_attribute("aria-sort") == "descending"
    recall.locator("button").press("Enter")
    assert values() == sorted(values())


def test_a_table_is_saved_as_csv(page: Page) -> None:
    with page.expect_download() as download:
        page.locator("button.csv").first.click()
    text = Path(download.value.path()).read_text(encoding="utf-8-sig")
    assert '"Accuracy","' in text


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("which", ["training", "comparison", "inspection"])
def test_nothing_serious_stands_between_a_reader_and_a_page(
    browser: Browser, pages: dict[str, Path], which: str, theme: str, size: str
) -> None:
    width, height = SIZES[size]
    context = browser.new_context(
        color_scheme=theme,
        viewport={"width": width, "height": height},  # type: ignore[arg-type]
    )
    page, heard = context.new_page(), []
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on(
        "request", lambda request: heard.append(request.url) if "http" in request.url[:5] else None
    )
    page.goto(pages[which].as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width, (
        "it never scrolls sideways"
    )
    found = Axe().run(page).response["violations"]
    serious = [each for each in found if each["impact"] in ("serious", "critical")]
    said = [(each["id"], [node["html"][:120] for node in each["nodes"][:3]]) for each in serious]
    assert not said
    assert heard == []
    context.close()


@pytest.mark.parametrize("which", ["training", "comparison", "inspection"])
def test_on_paper_all_is_open_black_on_white_and_nothing_is_cut_off(
    browser: Browser, pages: dict[str, Path], which: str
) -> None:
    a4_px = 718  # the width of A4 between margins of 10 mm
    context = browser.new_context(color_scheme="dark", viewport={"width": a4_px, "height": 1000})
    page = context.new_page()
    page.goto(pages[which].as_uri())
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    wide = page.evaluate(
        "width => [...document.querySelectorAll('body *')].filter(each => each.checkVisibility()"
        " && each.getBoundingClientRect().right > width + 1).map(each => each.outerHTML.slice(0, 80))",
        a4_px,
    )
    assert wide == []
    closed = page.evaluate(
        "[...document.querySelectorAll('details:not(.long) > :not(button)')].filter(each => !each.checkVisibility())"
        ".map(each => each.outerHTML.slice(0, 80))"
    )
    assert closed == []
    for wanted in ("nav", "button.csv"):
        assert not any(each.is_visible() for each in page.locator(wanted).all())
    context.close()


def test_headings_are_the_words_of_the_field(page: Page) -> None:
    headings = page.locator("h2, h3, h4").all_inner_texts()
    for wanted in ("Confusion matrix", "Calibration", "Subgroups", "Test ledger", "Surest errors"):
        assert wanted in headings


def test_the_first_screen_says_what_how_good_and_what_to_beware_of(page: Page) -> None:
    text = page.locator(".verdict").inner_text()
    assert "mlp was trained on 96 images of 4 classes" in text
    assert "12 test images that it had never seen" in text
    assert "Beware: " in text


def test_the_page_is_small(report: Path) -> None:
    assert report.stat().st_size < 3e6


def test_every_figure_is_there_as_png_and_svg_and_every_table_as_csv(report: Path) -> None:
    folder = report.parent
    for name in ("confusion-test", "per-class-test", "reliability-test", "risk-coverage-test"):
        assert (folder / "figures" / f"{name}.png").is_file()
        assert (folder / "figures" / f"{name}.svg").is_file()
    tables = {path.name for path in (folder / "tables").glob("*-test.csv")}
    assert tables == {
        *("scores-test.csv", "per-class-test.csv", "confusion-test.csv", "by-folder-test.csv")
    }
