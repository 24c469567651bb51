"""A search in the report and on the terminal: what was tried, what is best, and how sure that is."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from resnetlab.cli.tables import console, print_search
from resnetlab.report.drawing import parallel as drawn
from resnetlab.report.drawing.style import DPI, WIDTH
from resnetlab.report.page import write_run_report
from resnetlab.report.search import _best_epoch as best_epoch
from resnetlab.report.search import draw_search
from resnetlab.report.trials import ranked, setting_names, setting_text

SPACE = {
    "training.lr": {"low": 1e-4, "high": 0.1, "log": True, "step": None},
    "training.optimizer": {"choices": ["sgd", "adamw"]},
    "training.momentum": {
        "low": 0.5,
        "high": 0.99,
        "log": False,
        "step": None,
        "when": {"training.optimizer": ["sgd"]},
    },
}
FIGURES = {"search-parallel", "search-trials", "search-importance", "curves-folds"}


def trial(number: int, mean: float | None = None, **facts: Any) -> dict[str, Any]:
    values = {"training.lr": 0.01, "training.optimizer": "adamw"}
    if number % 2:
        values |= {"training.optimizer": "sgd", "training.momentum": 0.9}
    return {
        "number": number,
        "state": "finished",
        "values": values,
        "mean": mean,
        "spread": 0.012,
        "epochs_run": 4,
        "reported": [] if mean is None else [[step, mean * step / 4] for step in range(1, 5)],
        "difference": None,
        "p_adjusted": None,
        "verdict": None,
        "reason": "",
    } | facts


def pruned(number: int) -> dict[str, Any]:
    reported = [[1, 0.1], [2, 0.15]]
    return trial(
        number, 0.15, state="pruned", reported=reported, reason="at fold 1, epoch 2", spread=None
    )


def search(*trials: dict[str, Any], **facts: Any) -> dict[str, Any]:
    interval = {"value": -0.1, "low": -0.3, "high": 0.1}
    others = {"difference": interval, "p_adjusted": 0.4, "verdict": "not shown"}
    trials = trials or (
        trial(0, 0.3, **others),
        trial(1, 0.4, verdict="best"),
        pruned(2),
        trial(3, state="failed", reason="the loss is no longer a finite number"),
    )
    return {
        "name": "cups-1a2b3c4d",
        "sampler": "random",
        "pruner": "median",
        "select": "best",
        "monitor": "accuracy",
        "folds": 2,
        "repeats": 1,
        "epochs_max": 2,
        "confidence": 0.95,
        "space": SPACE,
        "trials": list(trials),
        "best": 1,
        "chosen": 1,
        "epochs": None,
        "epochs_run": 10,
        "epochs_in_full": 16,
        "summary": "Trial 1 is best; 2 folds cannot show it.",
        "importance": {"training.lr": 0.7, "training.optimizer": 0.3},
        "history": history(epochs=(2, 2)),
        "plan": None,
    } | facts


def history(epochs: tuple[int, ...]) -> list[dict[str, Any]]:
    return [
        {
            "epoch": epoch,
            "fold": fold,
            **dict.fromkeys(("train_loss", "val_loss"), 1 / epoch),
            **dict.fromkeys(("train_accuracy", "val_accuracy"), 1 - 1 / (epoch + 1)),
        }
        for fold, last in enumerate(epochs)
        for epoch in range(1, last + 1)
    ]


def image(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def page(folder: Path, found: dict[str, Any], **metrics: Any) -> str:
    folder.mkdir(parents=True)
    (folder / "search.json").write_text(json.dumps(found))
    dataset = {"name": "cups", "classes": ["cup", "mug"], "counts": {"test": [9, 9]}}
    (folder / "metrics.json").write_text(json.dumps({"dataset": dataset} | metrics))
    return write_run_report(folder).read_text(encoding="utf-8")


def scores() -> dict[str, Any]:
    one = {"value": 0.4, "low": 0.35, "high": 0.45}
    return {
        "samples": 40,
        "confidence": 0.95,
        "accuracy": one,
        "loss": one,
        "per_class": [],
        "confusion_matrix": [],
    }


def printed(found: dict[str, Any]) -> str:
    with console.capture() as capture:
        print_search(found)
    return capture.get()


def test_a_search_gives_four_figures(tmp_path: Path) -> None:
    draw_search(search(), tmp_path)
    assert {path.stem for path in tmp_path.iterdir()} == FIGURES
    assert all(image(path).shape[1] == round(WIDTH * DPI) for path in tmp_path.glob("*.png"))
    assert {path.stem for path in tmp_path.glob("*.svg")} == FIGURES


@pytest.mark.parametrize(
    ("missing", "gone"),
    [
        ({"importance": None}, {"search-importance"}),
        ({"history": []}, {"curves-folds"}),
        ({"trials": [trial(1, 0.4), pruned(2)]}, {"search-parallel", "search-trials"}),
        ({"trials": [trial(0, 0.3, reported=[]), trial(1, 0.4, reported=[])]}, {"search-trials"}),
    ],
)
def test_what_cannot_be_drawn_is_left_out(
    missing: dict[str, Any], gone: set[str], tmp_path: Path
) -> None:
    draw_search(search(**missing), tmp_path)
    assert {path.stem for path in tmp_path.iterdir()} == FIGURES - gone


@pytest.mark.parametrize(("settings", "trials"), [(1, 3), (10, 200)])
def test_few_and_many_settings_and_trials_fit_the_page(
    settings: int, trials: int, tmp_path: Path
) -> None:
    keys = [f"training.a_setting_with_a_long_name_{index}" for index in range(settings)]
    space = {key: {"choices": [True, None, [0.1, 1.0]]} for key in keys}
    rows = [
        trial(n, n / 300, values=dict.fromkeys(keys, [True, None][n % 2])) for n in range(trials)
    ]
    draw_search(search(*rows, space=space, importance=dict.fromkeys(keys, 0.1)), tmp_path)
    height, width, _ = image(tmp_path / "search-parallel.png").shape
    assert width <= WIDTH * DPI + 1
    assert height < 7 * DPI


def test_a_failed_trial_is_not_drawn_and_a_pruned_one_is(tmp_path: Path) -> None:
    images = []
    finished = [trial(0, 0.3), trial(1, 0.4)]
    for more in ([], [trial(2, state="failed")], [pruned(2)]):
        draw_search(search(*finished, *more), tmp_path)
        images.append(image(tmp_path / "search-parallel.png"))
    assert images[0].shape == images[1].shape
    assert (images[0] == images[1]).all()
    assert images[0].shape != images[2].shape or (images[0] != images[2]).any()


def test_of_scores_and_of_losses_the_best_is_on_top() -> None:
    trials = [trial(0, 0.3), trial(1, 0.4)]
    for monitor, best in (("accuracy", 1), ("loss", 0)):
        found = search(*trials, monitor=monitor)
        heights = drawn._score_axis(found, ranked(found)).heights
        assert heights[best] == 1.0
        assert heights[1 - best] == 0.0


def test_one_exploded_loss_does_not_flatten_the_others() -> None:
    found = search(*[trial(n, 0.3 + n / 10) for n in range(5)], trial(5, 1e6), monitor="loss")
    heights = drawn._score_axis(found, ranked(found)).heights
    assert heights[0] - heights[4] > 0.2


def test_a_log_scale_puts_the_geometric_mean_in_the_middle() -> None:
    low, middle, high = drawn._heights([1e-4, 1e-2, 1.0], 1e-4, 1.0, log=True)
    assert (low, high) == (0.0, 1.0)
    assert middle == pytest.approx(0.5)


def test_a_line_passes_below_a_setting_that_its_trial_lacks() -> None:
    found = search(trial(0, 0.3), trial(1, 0.4))
    axis = drawn._setting_axis("training.momentum", found, ranked(found))
    assert axis.heights[0] < 0 <= axis.heights[1]
    assert axis.passed


def test_trials_of_the_same_choice_do_not_hide_each_other_and_the_better_lies_higher() -> None:
    found = search(trial(0, 0.3), trial(2, 0.4))
    heights = drawn._setting_axis("training.optimizer", found, ranked(found)).heights
    assert 0.5 < heights[0] < heights[2] < 1


def test_the_ring_of_the_folds_is_an_epoch_that_all_of_them_reached() -> None:
    assert best_epoch(history(epochs=(3, 5)), "accuracy") == 3


def test_trials_stand_best_first_and_those_without_a_score_at_the_end() -> None:
    order = [pruned(0), trial(1, 0.3), trial(2, 0.4), trial(3, 0.3)]
    assert [row["number"] for row in ranked(search(*order))] == [2, 1, 3, 0]
    assert [row["number"] for row in ranked(search(*order, monitor="loss"))] == [1, 3, 2, 0]


def test_settings_are_named_by_their_last_word_while_that_tells_them_apart() -> None:
    space = {"training.lr": {}, "data.image_size": {}, "model.image_size": {}}
    names = ["lr", "data.image_size", "model.image_size"]
    assert list(setting_names({"space": space}).values()) == names
    values = (True, None, 0.012345, 1e-5, 128, "sgd", [0.5, 1.0])
    texts = ["true", "none", "0.0123", "1e-05", "128", "sgd", "[0.5, 1]"]
    assert [setting_text(value) for value in values] == texts


def test_without_retraining_the_finding_of_the_search_is_the_verdict(tmp_path: Path) -> None:
    text = page(tmp_path / "cups", search())
    assert text.count("Trial 1 is best; 2 folds cannot show it.") == 1
    assert text.index("Trial 1 is best") < text.index("<h2>")
    assert "No model was trained with the chosen settings yet." in text
    assert "This run has no results yet." not in text
    assert 'href="#search"' in text
    assert 'href="#results"' not in text


def test_after_retraining_validation_is_said_to_be_that_of_the_folds(tmp_path: Path) -> None:
    training = {"epochs": 2, "epochs_run": 2}
    text = page(tmp_path / "cups", search(), val=scores(), training=training)
    assert "Of 40 images that it was not trained on, the chosen trial" in text
    assert "These images also chose the settings" in text
    assert "this opens them:" in text
    assert "Validation figures are cross-validated" in text
    assert "not by the final network" in text
    assert "Trial 1 is best" in text[text.index('id="search"') : text.index('id="training"')]


def test_a_run_without_a_search_says_nothing_of_one(tmp_path: Path) -> None:
    (tmp_path / "cups").mkdir()
    (tmp_path / "cups/metrics.json").write_text(json.dumps({"val": scores()}))
    text = write_run_report(tmp_path / "cups").read_text()
    assert 'id="search"' not in text
    assert "cross-validated" not in text


def test_the_section_tells_what_was_searched_and_how_it_was_judged(tmp_path: Path) -> None:
    text = " ".join(page(tmp_path / "cups", search()).split())
    assert "A random search over lr, optimizer and momentum: 4 trials, 2 finished" in text
    assert "1 pruned early by the median rule and 1 failed" in text
    assert "scored on 2 folds, by accuracy" in text
    assert "10 epochs were spent; all trials in full would have taken 16." in text
    assert "Nadeau and Bengio (2003)" in text
    assert "adjusted after Holm" in text
    assert "The test split was not touched by the search." in text


def test_the_table_holds_scores_differences_and_reasons(tmp_path: Path) -> None:
    text = page(tmp_path / "cups", search())
    assert "40.0 %" in text
    assert "−10.0 (−30.0 to +10.0)" in text
    assert "pruned at fold 1, epoch 2" in text
    assert "failed: the loss is no longer a finite number" in text
    assert "15.0 %" not in text, "what a pruned trial came to is no score of it"
    assert "<td>–</td>" in text, "a setting that a trial lacks"


def test_losses_are_written_as_numbers_of_which_the_lower_is_better(tmp_path: Path) -> None:
    found = search(monitor="loss", best=0, chosen=0)
    text = page(tmp_path / "cups", found)
    assert "0.300" in text
    assert "−0.100 (−0.300 to +0.100)" in text
    assert "Lower is better." in text
    assert "30.0 %" not in text


def test_one_validation_split_is_said_to_show_no_difference(tmp_path: Path) -> None:
    rows = [trial(0, 0.3, spread=None), trial(1, 0.4, spread=None, verdict="best")]
    text = page(tmp_path / "cups", search(*rows, folds=1))
    assert "no difference between trials can be shown" in text
    assert "Nadeau" not in text
    assert "<th>Spread</th>" not in text


def test_a_cheaper_trial_that_was_chosen_is_explained(tmp_path: Path) -> None:
    text = page(tmp_path / "cups", search(chosen=0))
    assert "not shown, chosen" in text
    assert "Trial 0 was chosen instead of trial 1: it is the cheapest" in text


@pytest.mark.parametrize(("number", "folded"), [(30, False), (31, True)])
def test_a_long_table_is_folded(number: int, folded: bool, tmp_path: Path) -> None:
    text = page(tmp_path / "cups", search(*[trial(n, n / 100) for n in range(number)]))
    assert ("<summary>All trials, best first" in text) == folded


def test_values_are_text_and_never_markup(tmp_path: Path) -> None:
    row = trial(0, 0.3, values={"training.lr": 0.01, "training.optimizer": "<script>"})
    assert "<script>" not in page(tmp_path / "cups", search(row, trial(1, 0.4)))


def test_the_terminal_shows_the_best_first_and_the_finding_below() -> None:
    lines = printed(search())
    assert lines.index("40.0 %") < lines.index("30.0 %") < lines.index("pruned")
    assert "−10.0 (−30.0 to +10.0)" in lines
    assert lines.rstrip().endswith("Trial 1 is best; 2 folds cannot show it.")


def test_the_terminal_shows_twenty_trials_and_says_where_the_others_are() -> None:
    many = printed(search(*[trial(n, n / 100) for n in range(23)]))
    assert "... 3 more in search.json" in many
    assert "3.0 %" in many
    assert "\n2 " not in many
    assert "more in" not in printed(search())
