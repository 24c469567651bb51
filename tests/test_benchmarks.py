"""The benchmarks' own book-keeping: turns, resumption, ratios. Nothing is timed here."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import measure
from benchmarks.images import files_in, photographs
from benchmarks.input import Batches
from benchmarks.label_errors import out_of_fold
from benchmarks.lite0 import classes_of, divided
from benchmarks.manners import cosine
from benchmarks.plan import PARTS, Comparison, Settings, comparisons_of
from benchmarks.race import by_minute
from benchmarks.table import markdown, rows_of
from benchmarks.train import WARMUP, Clock, Enough

THREE = Comparison("a race", {name: lambda settings: {} for name in ("ours", "one", "other")})


def lines(settings: Settings, **rates: float) -> list[measure.Line]:
    return [
        measure.line_of("a race", name, number, settings) | {"metrics": {"images/s": rate}}
        for number in range(2)
        for name, rate in rates.items()
    ]


def test_every_second_round_runs_backwards() -> None:
    assert measure.turns(THREE, 2) == [
        *((0, name) for name in ("ours", "one", "other")),
        *((1, name) for name in ("other", "one", "ours")),
    ]


def test_a_split_goes_on_where_it_was_cut_and_tries_again_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def answer(split: str, title: str, name: str, settings: Settings) -> measure.Line:
        asked.append(name or "prepare")
        return {"error": "out of luck"} if name == "one" else {"metrics": {"images/s": 1.0}}

    monkeypatch.setattr(measure, "in_process", answer)
    monkeypatch.setattr(measure, "comparisons_of", lambda split, settings: (THREE,))
    settings, file = Settings(work="", rounds=1), tmp_path / "lines"
    measure.measure_part("race", settings, file)
    assert asked == ["prepare", "ours", "one", "other"]
    measure.measure_part("race", settings, file)
    assert asked[4:] == ["prepare", "one"]
    measure.measure_part("race", replace(settings, size=64), file)
    assert asked[6:] == ["prepare", "ours", "one", "other"], "figures of another size don't count"


def test_a_split_that_cannot_be_prepared_ends_the_run_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "in_process", lambda *_: {"error": "no images"})
    monkeypatch.setattr(measure, "comparisons_of", lambda split, settings: (THREE,))
    with pytest.raises(SystemExit, match="race can't be prepared: no images"):
        measure.measure_part("race", Settings(work=""), tmp_path / "lines")


def test_what_is_not_installed_is_no_failure_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def rival(settings: Settings) -> Any:
        raise ModuleNotFoundError("No module named 'rival'", name="rival")

    race = Comparison("a race", {"rival": rival})
    monkeypatch.setattr(measure, "comparisons_of", lambda split, settings: (race,))
    values = json.dumps({"work": ""})
    assert measure.measure("race", "a race", "rival", values) == {"error": "not installed (rival)"}


def test_label_errors_are_sought_in_features_that_are_standardised_as_in_use() -> None:
    features = torch.randn(100, 4, generator=torch.Generator().manual_seed(0))
    labels = np.arange(100) % 2
    features[:, 3] = torch.from_numpy(labels) * 1e-4  # says all, but hardly varies

    logits = out_of_fold(features, labels, 2, 0)
    features[:, 3] = 0
    np.testing.assert_allclose(logits, out_of_fold(features, labels, 2, 0), atol=0.01)


def test_a_ratio_above_one_says_that_ours_is_better() -> None:
    settings = Settings(work="")
    found = lines(settings, ours=30.0, one=10.0)
    found[0]["metrics"]["first step, s"] = found[2]["metrics"]["first step, s"] = 5.0
    found[1]["metrics"]["first step, s"] = found[3]["metrics"]["first step, s"] = 20.0
    row = rows_of(THREE, found, settings)["one"]
    assert row["ours is × as fast"] == 3.0
    assert row["ours starts × sooner"] == 4.0


def test_the_table_holds_medians_and_the_last_error() -> None:
    settings = Settings(work="")
    found = lines(settings, ours=30.0) + lines(settings, ours=1234.0)
    found.append(measure.line_of("a race", "one", 0, settings) | {"error": "no | luck"})
    text = markdown(THREE, rows_of(THREE, found, settings))
    assert "| ours | 632 |" in text
    assert "| one | no / luck |" in text
    assert "other" not in text, "it was not measured"


def test_the_clock_counts_steps_after_the_warm_up_and_ends_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = Settings(work="", steps=4, rounds=2, started=100.0)
    clock, seconds = Clock(settings), iter(range(110, 200, 2))
    monkeypatch.setattr("benchmarks.train.time.monotonic", lambda: next(seconds))
    for _ in range(WARMUP + 1):
        clock.step()
    with pytest.raises(Enough):
        clock.step()
    assert clock.result(32) == {"images/s": 16.0, "first step, s": 10.0}


@pytest.mark.parametrize("part", PARTS)
def test_every_part_names_its_contestants_without_doing_anything(part: str) -> None:
    found = comparisons_of(part, Settings(work="nowhere"))
    assert all(each.contestants for each in found)
    assert len({each.title for each in found}) == len(found)


def test_everybody_gets_the_same_number_of_images_spread_over_the_classes(
    tmp_path: Path, photo_folder: Path
) -> None:
    settings = Settings(work=str(tmp_path), images=str(photo_folder), count=8)
    assert [path.parent.name for path in files_in(photographs(settings))] == ["china"] * 4 + [
        "flower"
    ] * 4
    assert len(files_in(photographs(settings, 30))) == 30, "more than there are: some come again"
    assert len(files_in(photographs(Settings(work=str(tmp_path), count=6)))) == 6, "made up"


def test_our_pipeline_gives_normalised_floats_of_every_image(
    tmp_path: Path, photo_folder: Path
) -> None:
    settings = Settings(work=str(tmp_path), images=str(photo_folder), count=8, size=32)
    (images, labels), *rest = Batches(settings)
    assert not rest
    assert images.shape == (8, 3, 32, 32)
    assert images.is_floating_point()
    assert images.min() < 0
    assert sorted(labels) == [0] * 4 + [1] * 4


def test_a_race_tells_the_best_so_far_after_each_minute() -> None:
    found = by_minute({2: 0.8, 3: 0.7, 5: 0.9}, Settings(work="", minutes=4))
    assert found == {"1 min": "0.0%", "2 min": "80.0%", "3 min": "80.0%", "4 min": "80.0%"}


def test_a_race_warms_up_and_falls_to_zero() -> None:
    assert [round(cosine(0.1, share), 2) for share in (0.05, 0.1, 0.55, 1.0)] == [0.5, 1.0, 0.5, 0]


def test_a_race_runs_on_photographs_that_others_validate(
    tmp_path: Path, photo_folder: Path
) -> None:
    settings = Settings(work=str(tmp_path), images=str(photo_folder), count=10, size=32)
    folder = divided(settings)
    assert {path.name for path in folder.iterdir()} == {"train", "val"}
    assert classes_of(settings) == 2
    assert len(files_in(folder / "train")) > len(files_in(folder / "val")) > 0
