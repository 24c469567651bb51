"""Pages: they say the verdict first, open alone, and bear with what is not there."""

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from resnetlab.errors import DataError
from resnetlab.report import formats, words
from resnetlab.report.opening import beware
from resnetlab.report.page import write_comparison_page, write_inspect_page, write_run_report

EVIL = "<script>alert(1)</script>"


def interval(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": low, "high": high}


def scores(right: int, wrong: int) -> dict[str, Any]:
    number = 2 * (right + wrong)
    accuracy = interval(right / (right + wrong), 0.9444, 0.9913)
    one = {"support": number // 2, "predicted": number // 2}
    names = ("precision", "recall", "f1")
    return {
        "samples": number,
        "confidence": 0.95,
        "accuracy": accuracy,
        "loss": interval(0.08, 0.04, 0.13),
        "top5": None,
        **dict.fromkeys(
            ("balanced_accuracy", "macro_precision", "macro_recall", "macro_f1"), accuracy
        ),
        "per_class": [
            {"class": name, **one, **dict.fromkeys(names, accuracy)} for name in ("cup", EVIL)
        ],
        "confusion_matrix": [[right, wrong], [wrong, right]],
    }


def audit() -> dict[str, Any]:
    moments = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    return {
        "name": "cups & mugs",
        "images": 602,
        "used": 600,
        "problems": [{"id": f"{EVIL}.jpg", "problem": "cannot be decoded"}] * 2,
        "notes": ["Split with seed 0."],
        "classes": ["cup", EVIL],
        "counts": {"train": [120, 120], "val": [90, 90], "test": [90, 90]},
        "moments": {"train": moments, "per_class": {"cup": moments, EVIL: moments}},
        "sizes": {"width": [8, 20, 90], "height": [8, 30, 60]},
        "duplicates": 3,
        "conflicts": 1,
    }


def metrics() -> dict[str, Any]:
    return {
        "dataset": audit(),
        "model": {"name": "resnet50", "parameters": 23_528_522, "trainable": 23_528_522},
        "training": {"epochs": 30, "epochs_run": 12, "best_epoch": 9, "stopped": "early stopping"},
        "val": scores(88, 2),
    }


def opening(accuracy: float) -> dict[str, Any]:
    return {
        "opened": "2026-03-02T09:14:07+00:00",
        "recipe_sha256": "9f3c" * 16,
        "accuracy": accuracy,
    }


def run_folder(folder: Path, metrics: dict[str, Any], openings: int = 0) -> Path:
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps(metrics))
    ledger = [opening(0.978 - index / 100) for index in range(openings)]
    (folder / "test_ledger.json").write_text(json.dumps(ledger))
    (folder / "recipe.yaml").write_text("training:\n  lr: 0.01\n  optimizer: sgd\n")
    facts = {"resnetlab": "0.1.0", "command": "resnetlab train cups --epochs 30"}
    (folder / "environment.json").write_text(json.dumps(facts))
    return folder


def image(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (150, 300), "red").save(path)
    return path


def assert_opens_alone(page: str) -> None:
    assert "http://" not in page
    assert "https://" not in page
    scripts = re.findall(r"<script([^>]*)>(.*?)</script>", page, re.DOTALL)
    code = [text for attributes, text in scripts if "application/json" not in attributes]
    assert len(code) == 1, "one script, its own"
    digest = base64.b64encode(hashlib.sha256(code[0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page, "and no other may run"
    assert "<link" not in page
    assert "url(" not in page
    assert all(
        source.startswith(("data:image/png;base64,", "data:image/jpeg;base64,"))
        for source in re.findall(r'src="([^"]*)', page)
    )
    assert all(target.startswith("#") for target in re.findall(r'href="([^"]*)', page))
    assert "default-src 'none'" in page


def test_the_verdict_on_the_test_comes_first(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "runs/cups", metrics() | {"test": scores(88, 2)}, openings=1)
    path = write_run_report(folder)
    assert path == folder / "report.html"
    page = path.read_text(encoding="utf-8")
    sentence = (
        "On 180 test images that it had never seen, the model classifies 97.8 % correctly "
        "(95 % interval 94.4 to 99.1 %)."
    )
    assert page.index(sentence) < page.index("<h2>")
    assert "opened once, on 2026-03-02 09:14" in page
    assert_opens_alone(page)


def test_before_the_test_is_opened_validation_stands_in_and_says_so(tmp_path: Path) -> None:
    page = write_run_report(run_folder(tmp_path / "runs/cups", metrics())).read_text()
    assert "On 180 validation images, the model classifies 97.8 % correctly" in page
    assert "a little optimistic" in page
    assert "resnetlab evaluate runs/cups" in page
    assert str(tmp_path) not in page, "a page that is sent away does not tell where it was made"


@pytest.mark.parametrize(("split", "times"), [("val", 1), ("test", 0)])
def test_what_was_chosen_on_the_images_that_measure_it_is_called_optimistic(
    tmp_path: Path, split: str, times: int
) -> None:
    threshold = {"threshold": 0.9, "wanted": 0.05, "coverage": interval(0.8, 0.7, 0.9)}
    threshold["error"] = interval(0.01, 0.0, 0.03)
    facts = {"dataset": audit(), split: scores(88, 2) | {"selective": {"thresholds": [threshold]}}}
    folder = run_folder(tmp_path / "cups", facts)
    image(folder / "figures" / f"risk-coverage-{split}.png")
    page = write_run_report(folder).read_text()
    assert "Error rate wanted" in page
    assert page.count("chosen on these very images") == times


def test_a_run_without_test_images_is_not_sent_to_open_them(tmp_path: Path) -> None:
    facts = metrics()
    facts["dataset"]["counts"]["test"] = [0, 0]
    page = write_run_report(run_folder(tmp_path / "cups", facts)).read_text()
    assert "No images were set aside for a test." in page
    assert "resnetlab evaluate" not in page


def test_a_model_that_was_not_trained_here_is_not_said_to_have_never_seen_the_images() -> None:
    assert "never seen" not in words.verdict({"test": scores(88, 2)}, Path("cups"))["sentence"]


def test_opening_the_test_more_than_once_is_worth_a_warning(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "cups", metrics() | {"test": scores(88, 2)}, openings=3)
    page = write_run_report(folder).read_text()
    assert 'class="warning">The test split was opened 3 times.' in page
    assert "Trust the first most, 97.8 %" in page


def test_a_warning_of_the_data_ends_as_a_sentence() -> None:
    facts = metrics() | {"test": scores(88, 2)}
    facts["dataset"]["warnings"] = ["1 of 2 classes have fewer than 10 images"]
    assert beware(facts, []) == "Beware: 1 of 2 classes have fewer than 10 images."


def test_what_users_named_is_text_and_never_markup(tmp_path: Path) -> None:
    facts = metrics()
    facts["dataset"]["name"] = EVIL
    page = write_run_report(run_folder(tmp_path / "cups", facts)).read_text()
    assert EVIL not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_figures_are_embedded_whole_at_the_size_of_the_text(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "cups", metrics())
    file = image(folder / "figures/per-class-val.png")
    page = write_run_report(folder).read_text()
    found = re.search(r'src="data:image/png;base64,([^"]+)" width="100" height="200"', page)
    assert found
    assert base64.b64decode(found[1]) == file.read_bytes()
    assert_opens_alone(page)


@pytest.mark.parametrize("missing", ["dataset", "model", "training", "val"])
def test_whatever_is_absent_is_left_out(missing: str, tmp_path: Path) -> None:
    facts = {key: value for key, value in metrics().items() if key != missing}
    page = write_run_report(run_folder(tmp_path / "cups", facts)).read_text()
    assert "</html>" in page
    assert_opens_alone(page)


def test_of_a_model_that_was_measured_only_no_settings_of_a_training_are_told(
    tmp_path: Path,
) -> None:
    measured = {key: value for key, value in metrics().items() if key != "training"}
    for found, told in ((metrics(), True), (measured, False)):
        page = write_run_report(run_folder(tmp_path / str(told), found)).read_text()
        assert ("optimiser sgd" in page) == told


def test_an_empty_run_folder_gives_a_page_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "cups").mkdir()
    page = write_run_report(tmp_path / "cups").read_text()
    assert "<h1>cups</h1>" in page
    assert "This run has no results yet." in page


def test_without_a_run_folder_the_error_names_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cups: there is no run folder here"):
        write_run_report(tmp_path / "cups")


def test_equal_runs_give_equal_pages(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "cups", metrics())
    assert write_run_report(folder).read_bytes() == write_run_report(folder).read_bytes()


def test_the_data_section_tells_numbers_balance_sizes_and_copies(tmp_path: Path) -> None:
    write_inspect_page(audit(), {"classes": image(tmp_path / "c.png")}, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "600 of 602 images can be used, in 2 classes: 240 for training" in page
    assert "Every class has 300 images." in page
    assert "8 to 90 px (median 20) wide and 8 to 60 px (median 30) high" in page
    assert "3 images are exact copies of another. 1 image carries two labels" in page
    assert "Set aside: 2 images" in page
    assert_opens_alone(page)


def test_classes_without_an_image_stand_beside_the_macro_figures(tmp_path: Path) -> None:
    score = scores(9, 1)
    score["per_class"][0]["support"] = 0
    folder = run_folder(tmp_path / "run", metrics() | {"test": score})
    page = write_run_report(folder).read_text(encoding="utf-8")

    assert "Test: No image of cup: the balanced accuracy says nothing of it" in page
    assert formats.no_image_of([]) == ""
    assert "a, b, c, d, e and 4 more" in formats.no_image_of(list("abcdefghi"))


def test_an_audit_before_any_split_counts_all_images(tmp_path: Path) -> None:
    findings = audit() | {"counts": {"all": [400, 200]}}
    write_inspect_page(findings, {}, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "in 2 classes." in page
    assert "the classes are somewhat uneven" in page


def test_a_comparison_says_what_is_shown_and_what_would_be(tmp_path: Path) -> None:
    accuracy = interval(0.9, 0.88, 0.92)
    comparison = {
        "samples": 600,
        "runs": [
            {"name": name, "accuracy": accuracy, "loss": 0.3, "macro_f1": 0.9}
            for name in ("small", EVIL)
        ],
        "pairs": [
            {
                "a": "small",
                "b": EVIL,
                "difference": interval(0.02, -0.01, 0.05),
                "only_a_right": 30,
                "only_b_right": 18,
                "p_adjusted": 0.11,
                "verdict": "not shown",
                "sentence": "Nothing is shown.",
            }
        ],
        "smallest_difference": 0.041,
        "summary": "600 images cannot show which is best.",
    }
    runs = [{"name": "small", "model": {"name": "cnn", "parameters": 890_000}}]
    write_comparison_page(comparison, {}, tmp_path / "page.html", runs)
    page = (tmp_path / "page.html").read_text()
    assert page.index("600 images cannot show which is best.") < page.index("<h2>")
    assert "+2.0 (−1.0 to +5.0)" in page
    assert "about 4.1 points would be found four times out of five" in page
    assert "890 k" in page
    assert_opens_alone(page)


def test_only_all_is_called_a_hundred_per_cent() -> None:
    assert formats.percent(1.0) == "100.0 %"
    assert formats.percent(0.9998) == "99.9 %"
    assert formats.percent(0.0001) == "0.1 %"
    assert formats.percent(0.0) == "0.0 %"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.24, "4.2 s"), (59.7, "1 min 0 s"), (143, "2 min 23 s"), (11_100, "3 h 5 min")],
)
def test_durations_read_as_one_says_them(seconds: float, text: str) -> None:
    assert formats.duration(seconds) == text
