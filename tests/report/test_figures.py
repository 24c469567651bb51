"""Figures: there, of a sensible size, with something on them, and the same for the same input."""

import re
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from PIL import Image

from resnetlab.report.drawing import figures
from resnetlab.report.drawing.costs import cost_plot
from resnetlab.report.drawing.curves import learning_curves, overlaid_curves
from resnetlab.report.drawing.figures import (
    class_distribution,
    confusion_matrix,
    difference_plot,
    per_class_scores,
)
from resnetlab.report.drawing.galleries import contact_sheet, sample_predictions
from resnetlab.report.drawing.style import DPI, WIDTH, WRONG, shorten, spread

COLUMN = round(WIDTH * DPI)
LONG_NAMES = [f"class number {index} with a rather long name" for index in range(100)]


def opened(path: Path) -> np.ndarray:
    """Return a figure as (H, W, 3), after a look whether anything is on it."""
    image = np.asarray(Image.open(path).convert("RGB"))
    assert np.count_nonzero(np.bincount(image.ravel())) > 10, "the image is blank"
    assert image.shape[1] <= COLUMN * 1.02
    return image


def holds_colour(image: np.ndarray, colour: str) -> bool:
    wanted = [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
    return bool((np.abs(image.astype(int) - wanted).max(axis=2) < 8).any())


def interval(value: float, half: float = 0.05) -> dict[str, float]:
    return {"value": value, "low": max(0, value - half), "high": min(1, value + half)}


def history(epochs: int, folds: tuple[int, ...] = (-1,)) -> list[dict[str, Any]]:
    return [
        {
            "epoch": epoch,
            "fold": fold,
            "train_loss": 2 / epoch,
            "train_accuracy": 1 - 0.8 / epoch,
            "val_loss": 2.1 / epoch + fold / 50,
            "val_accuracy": 0.98 - 0.8 / epoch,
        }
        for fold in folds
        for epoch in range(1, epochs + 1)
    ]


def random_images(*sizes: tuple[int, int]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


@pytest.mark.parametrize("number", [2, 100])
def test_a_distribution_grows_with_its_classes_but_fits_the_page(
    number: int, tmp_path: Path
) -> None:
    path = tmp_path / "classes.png"
    counts = {"train": list(range(1, number + 1)), "val": [3] * number, "test": [0] * number}
    class_distribution(counts, LONG_NAMES[:number], path)
    height, width, _ = opened(path).shape
    assert width == COLUMN
    assert height < (2 if number == 2 else 14) * DPI


def test_of_very_many_classes_the_two_ends_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "MOST_BARS", 4)
    heights = []
    for number in (4, 9):
        class_distribution({"all": [5] * number}, LONG_NAMES[:number], tmp_path / "classes.png")
        heights.append(opened(tmp_path / "classes.png").shape[0])
    assert heights[1] - heights[0] < DPI / 4, "only a line that says what is left out is added"


def test_learning_curves_lie_beside_each_other_and_folds_in_columns(tmp_path: Path) -> None:
    learning_curves(history(20), 12, tmp_path / "one.png")
    learning_curves(history(6, folds=(0, 1, 2)), 4, tmp_path / "folds.png")
    one, folds = opened(tmp_path / "one.png"), opened(tmp_path / "folds.png")
    assert one.shape[1] == COLUMN
    assert folds.shape[0] > one.shape[0], "with folds, loss and accuracy lie one below the other"


def test_a_history_read_from_csv_and_one_without_validation_can_be_drawn(tmp_path: Path) -> None:
    rows = [{**row, "val_loss": "", "val_accuracy": None} for row in history(1)]
    texts = [
        {key: "" if value is None else str(value) for key, value in row.items()} for row in rows
    ]
    learning_curves(texts, 1, tmp_path / "curves.png")
    opened(tmp_path / "curves.png")


def test_the_curves_of_many_runs_fit_one_image(tmp_path: Path) -> None:
    runs = {LONG_NAMES[index]: history(3 + index) for index in range(10)}
    overlaid_curves(runs, tmp_path / "overlaid.png")
    assert opened(tmp_path / "overlaid.png").shape[1] == COLUMN
    times = {name: [60.0 * epoch for epoch, _ in enumerate(rows, 1)] for name, rows in runs.items()}
    overlaid_curves(runs, tmp_path / "minutes.png", times)
    assert opened(tmp_path / "minutes.png").shape[1] == COLUMN


def test_labels_move_apart_as_little_as_needed_and_keep_their_order() -> None:
    assert spread([0.1, 0.5, 0.9], gap=0.2, low=0, high=1) == [0.1, 0.5, 0.9]
    assert spread([0.5, 0.5], gap=0.2, low=0, high=1) == pytest.approx([0.4, 0.6])
    assert spread([1.0, 0.99, 0.0], gap=0.2, low=0, high=1) == pytest.approx([1.0, 0.8, 0.0])


@pytest.mark.parametrize(("number", "normalised"), [(2, False), (10, True), (100, True)])
def test_a_confusion_matrix_is_readable_from_2_to_100_classes(
    number: int, normalised: bool, tmp_path: Path
) -> None:
    path = tmp_path / "confusion.png"
    matrix = np.eye(number, dtype=int) * 9
    matrix[0, 1] = 6
    confusion_matrix(matrix.tolist(), LONG_NAMES[:number], path, normalised=normalised)
    height, width, _ = opened(path).shape
    assert 0.9 < width / height < 1.1
    assert width > 1.5 * DPI


def test_a_mistake_stands_out_and_a_right_answer_does_not(tmp_path: Path) -> None:
    path = tmp_path / "confusion.png"
    redness = []
    for matrix in ([[9, 0], [0, 9]], [[9, 0], [9, 0]]):
        confusion_matrix(matrix, ["cup", "mug"], path, normalised=False)
        image = opened(path).astype(int)
        redness.append(float((image[..., 0] - image[..., 1]).max()))
    assert redness[0] < 30 < 100 < redness[1]


def test_of_very_many_classes_the_lowest_scores_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "MOST_SCORES", 4)
    rows = [
        {"class": name, "support": 12, **dict.fromkeys(("precision", "recall", "f1"), interval(f1))}
        for name, f1 in zip(LONG_NAMES[:9], np.linspace(0.9, 0.1, 9), strict=True)
    ]
    renamed = [{**row, "class": "another"} for row in rows[:5]] + rows[5:]
    drawn = []
    for chosen in (rows, renamed, rows[5:]):
        per_class_scores(chosen, tmp_path / "scores.png")
        drawn.append(opened(tmp_path / "scores.png"))
    assert (drawn[0] == drawn[1]).all(), "the highest are not drawn"
    assert (drawn[0] != drawn[2]).any(), "that there are more is said"


def test_wrong_predictions_are_marked_and_images_may_differ_in_size(tmp_path: Path) -> None:
    images = random_images((8, 8), (64, 20), (300, 400))
    true = ["cup", "fork", "spoon"]
    sample_predictions(images, true, true, [0.9, 0.8, 0.7], tmp_path / "right.png")
    sample_predictions(images, true, ["cup"] * 3, [0.9, 0.8, 0.7], tmp_path / "wrong.png")
    # Dark noise could hold the colour by chance, so the frames are looked for by their number.
    assert (opened(tmp_path / "right.png") != opened(tmp_path / "wrong.png")).sum() > 1000
    assert holds_colour(opened(tmp_path / "wrong.png"), WRONG)


def test_a_contact_sheet_has_a_row_for_each_label(tmp_path: Path) -> None:
    images = random_images((8, 8), (16, 8))
    contact_sheet([("cup", images)], tmp_path / "one.png")
    contact_sheet([("cup", images), ("fork", images[:1])], tmp_path / "two.png")
    one, two = opened(tmp_path / "one.png"), opened(tmp_path / "two.png")
    assert two.shape[0] == pytest.approx(2 * one.shape[0], abs=2)


def test_a_difference_is_filled_only_where_it_is_shown(tmp_path: Path) -> None:
    pair = {"a": "resnet50", "b": "mlp", "difference": interval(0.02), "verdict": "shown"}
    images = []
    for verdict in ("shown", "not shown"):
        path = tmp_path / f"{verdict}.png"
        difference_plot({"pairs": [pair | {"verdict": verdict}]}, path)
        images.append(opened(path))
    assert (images[0] != images[1]).any()


def test_the_same_input_gives_the_same_bytes_and_the_users_style_stays_out(tmp_path: Path) -> None:
    drawn = []
    for size in (9.0, 30.0):
        with matplotlib.rc_context({"font.size": size, "text.usetex": False}):
            difference_plot(
                {"pairs": [{"a": "a", "b": "b", "difference": interval(0), "verdict": "shown"}]},
                tmp_path / "figure.png",
            )
            assert matplotlib.rcParams["font.size"] == size
        drawn.append((tmp_path / "figure.png").read_bytes())
    assert drawn[0] == drawn[1]


def test_class_names_are_text_whatever_signs_they_hold(tmp_path: Path) -> None:
    names = ["$\\frac$ or _this_^", "椅子 🪑"]
    confusion_matrix([[1, 0], [1, 1]], names, tmp_path / "confusion.png", normalised=False)
    opened(tmp_path / "confusion.png")


def test_a_long_name_keeps_its_beginning_and_its_end() -> None:
    assert shorten("cup", 10) == "cup"
    assert shorten("a white-throated sparrow", 12) == "a white-…row"
    assert shorten("two\nlines", 20) == "two lines"


@pytest.mark.parametrize("minutes", [(22.7, 24.3), (2, 31), (0.4, 900)])
def test_an_axis_of_costs_has_ticks_however_near_or_far_they_are(
    minutes: tuple[float, float], tmp_path: Path
) -> None:
    runs = [{"name": name, "accuracy": interval(0.8)} for name in "ab"]
    costs = {name: {"Training, minutes": each} for name, each in zip("ab", minutes, strict=True)}

    assert cost_plot(runs, costs, tmp_path / "costs.png")

    texts = re.findall(r">([\d.]+)</text>", (tmp_path / "costs.svg").read_text())
    assert (
        sum(f"{power * step:g}" in texts for power in (0.1, 1, 10, 100) for step in (1, 2, 5)) >= 2
    )
