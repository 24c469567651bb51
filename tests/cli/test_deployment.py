"""Using a model from the command line: what is typed, and what comes of it."""

import csv
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from resnetlab.cli.main import main
from resnetlab.errors import CheckpointError, StoppedError
from resnetlab.system import interruption
from resnetlab.workflows.deployment.watching import watch

QUICK = ["--set", "training.epochs=2", "--set", "data.image_size=16", "--set", "data.augment=shift"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, digit_folder: Path) -> list[Path]:
    """Two finished runs on the same images."""
    out = tmp_path_factory.mktemp("runs")
    for name in ("mlp", "cnn"):
        args = ["train", str(digit_folder), "--model", name, "--out", str(out), "--name", name]
        assert main([*args, *QUICK]) == 0
    return [out / "mlp", out / "cnn"]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def probabilities(path: Path) -> np.ndarray:
    names = [name for name in table(path)[0] if name.startswith("p_")]
    return np.array([[float(row[name]) for name in names] for row in table(path)])


def test_several_runs_answer_with_the_mean_of_their_probabilities(runs, digit_folder, tmp_path):
    for name, model in (("a", runs[0]), ("b", runs[1]), ("both", f"{runs[0]},{runs[1]}")):
        assert (
            main(["predict", str(model), str(digit_folder), "--out", f"{tmp_path / name}.csv"]) == 0
        )
    a, b, both = (probabilities(tmp_path / f"{name}.csv") for name in ("a", "b", "both"))
    np.testing.assert_allclose(both, (a + b) / 2, atol=1e-4)
    assert np.abs(a - b).max() > 0.05


def test_names_come_from_standard_input(runs, digit_folder, capsys, monkeypatch, tmp_path):
    names = tmp_path / "names"
    files = sorted((digit_folder / "1").iterdir())[:3]
    names.write_text("".join(f"{file}\n" for file in [digit_folder, *files, tmp_path / "gone.png"]))
    with names.open() as stream:
        monkeypatch.setattr("sys.stdin", stream)
        assert main(["predict", str(runs[0]), "-"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == [*map(str, files), str(tmp_path / "gone.png")]
    assert lines[-1].endswith("can't be read (No such file or directory)")


def test_top_and_uncertain_are_shown_and_counted(runs, digit_folder, capsys, tmp_path):
    image = str(digit_folder / "0" / "000.png")
    assert main(["predict", str(runs[0]), image, "--top", "2", "--uncertain-below", "1"]) == 0
    line = capsys.readouterr().out.strip()
    assert line.count("%") == 2
    assert line.endswith("uncertain")
    out = tmp_path / "a.csv"
    args = ["predict", str(runs[0]), image, "--top", "9", "--uncertain-below", "0.99", "--out"]
    assert main([*args, str(out)]) == 0
    assert "1 files, 1 uncertain, 0 of them no usable image" in capsys.readouterr().out
    assert {"uncertain", "class_4", "probability_4"} < set(table(out)[0])


def test_images_are_sorted_into_folders_and_unusable_ones_are_named(
    runs, digit_folder, tmp_path, capsys
):
    data = shutil.copytree(digit_folder, tmp_path / "data")
    (data / "bad.png").write_text("no image")
    target = tmp_path / "sorted"
    assert main(["predict", str(runs[1]), str(data), "--sort-into", str(target)]) == 0
    assert f"- {data / 'bad.png'}: not an image" in capsys.readouterr().out
    assert sum(path.is_symlink() for path in target.rglob("*.png")) == 121
    assert (target / "_unusable" / "bad.png").read_text() == "no image"


def test_a_submission_has_the_samples_ids_in_its_order(runs, digit_folder, tmp_path, capsys):
    sample, out = tmp_path / "sample.csv", tmp_path / "submission.csv"
    ids = [f"{folder}/{number:03}" for number in (7, 3) for folder in (2, 0)]
    sample.write_text("id,label\n" + "".join(f"{each},0\n" for each in ids))
    args = ["predict", str(runs[1]), str(digit_folder), "--submission", str(sample)]
    assert main([*args, "--out", str(out)]) == 0
    assert [row["id"] for row in table(out)] == ids
    assert "116 images have no id" in capsys.readouterr().err
    sample.write_text("id,label\nno such,0\n")
    assert main([*args, "--out", str(out)]) == 3
    assert "1 ids have no image ('no such')" in capsys.readouterr().err
    assert [row["id"] for row in table(out)] == ids, "what was there stands"


def test_a_watched_folder_is_answered_as_images_arrive_and_again_only_for_new_ones(
    runs, digit_folder, tmp_path
):
    folder, out = tmp_path / "in", tmp_path / "answers.csv"
    folder.mkdir()
    shown: list[str] = []

    def arrive(number: int) -> None:
        shutil.copy(digit_folder / "1" / f"{number:03}.png", folder / f"{number}.png")

    def watch_until(count: int) -> None:
        def show(row: dict) -> None:
            shown.append(Path(row["file"]).name)
            if len(shown) == count:
                interruption.set_deadline(0)

        with pytest.raises(StoppedError):
            watch(runs[0], folder, show, out)
        interruption.reset()

    arrive(1)
    late = threading.Thread(target=lambda: (time.sleep(1.5), arrive(2)))
    late.start()
    watch_until(2)
    late.join()
    assert shown == ["1.png", "2.png"]
    arrive(3)
    watch_until(3)
    assert shown == ["1.png", "2.png", "3.png"]
    assert [Path(row["file"]).name for row in table(out)] == shown


@pytest.mark.parametrize("rows", ["", "a.png,cat\n"])
def test_rows_are_added_to_no_table_of_other_columns(tmp_path, rows):
    from resnetlab.deploy.answers.writers import Form
    from resnetlab.workflows.deployment.watching import added_to

    (tmp_path / "other.csv").write_text(f"file,class\n{rows}")
    wanted = "its columns must be file, class, probability, problem, p_cat. Got file, class;"
    with (
        pytest.raises(CheckpointError, match=wanted),
        added_to(tmp_path / "other.csv", Form(("cat",))),
    ):
        pass
    assert (tmp_path / "other.csv").read_text() == f"file,class\n{rows}"


def test_a_file_that_is_still_written_waits(tmp_path, digit_folder):
    from resnetlab.workflows.deployment.watching import arrivals

    image = (digit_folder / "1" / "001.png").read_bytes()
    growing = tmp_path / "growing.png"
    growing.write_bytes(image[:20])
    found = arrivals(tmp_path, set())

    def finish() -> None:
        for end in (40, 60, len(image)):
            time.sleep(0.4)
            growing.write_bytes(image[:end])

    writer = threading.Thread(target=finish)
    writer.start()
    ((path, read),) = next(found)
    writer.join()
    assert (path, read()) == (growing, image)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["x", "--out", "a.xlsx"], 2, "--out must end in .csv, .parquet, .jsonl"),
        (["x", "--uncertain-below", "60"], 2, "must be a probability above 0, up to 1. Got 60"),
        (["x", "--max-error", "2"], 2, "must be a probability above 0, up to 1. Got 2"),
        (["x", "--max-error", "0.1", "--uncertain-below", "0.5"], 2, "both set the threshold"),
        (["x", "--max-error", "0.001"], 2, "can't be promised by this model's validation images"),
        (["x", "--submission", "s.csv"], 2, "give --out"),
        (["x", "--sort-into", "x/sorted"], 5, "lies inside the data"),
        (["--watch", "gone"], 3, "gone: no such folder to watch"),
        (["--watch", "x", "--out", "a.parquet"], 2, "to a .csv"),
        ([], 2, "predict needs IMAGES"),
        (["x/*.tif"], 3, "no file matches this pattern"),
    ],
)
def test_a_mistake_gets_one_clear_line_and_its_exit_code(
    runs, digit_folder, capsys, arguments, code, message
):
    words = [str(digit_folder) + word[1:] if word[:1] == "x" else word for word in arguments]
    assert main(["predict", str(runs[0]), *words]) == code
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_models_with_other_classes_can_not_be_averaged(runs, photo_folder, tmp_path, capsys):
    args = [
        "train",
        str(photo_folder),
        "--model",
        "mlp",
        "--out",
        str(tmp_path),
        "--name",
        "photos",
    ]
    assert main([*args, *QUICK]) == 0
    model = f"{runs[0]},{tmp_path / 'photos'}"
    assert main(["predict", model, str(photo_folder)]) == 4
    assert "can't be averaged: only one of them knows '0'" in capsys.readouterr().err


def test_a_page_is_opened_in_the_browser_where_there_is_one(
    digit_folder, tmp_path, monkeypatch, capsys
):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    assert main(["inspect", str(digit_folder), "--open", "--out", str(tmp_path)]) == 0
    assert opened == [(tmp_path / "inspect.html").as_uri()]
    monkeypatch.setattr("webbrowser.open", lambda address: False)
    assert main(["inspect", str(digit_folder), "--open", "--out", str(tmp_path)]) == 5
    assert "no browser was found to show it" in capsys.readouterr().err
