"""The tutorial, the main commands of the how-tos and the notebook are gone through, on small real images."""

import csv
import json
import shlex
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from resnetlab.cli.main import main
from tests.docs.shown import ROOT, commands_of

DOCS = ROOT / "docs"
# As the commands, but quick: nothing is tried out, and images are small.
SETTLED = {"training.precision": "fp32", "training.threads": 1}
SMALL = {"data.image_size": 32, "evaluation.image_size": 32}
# In this order, after the tutorial, in its folder; with the code that they end with.
HOW_TOS = [
    ("few-images", "evaluate runs/photos --data others/", 0),
    ("few-images", "predict runs/photos new/ --uncertain-below 0.6", 0),
    ("few-images", "train more/ --from runs/photos", 0),
    ("uneven-classes", "train photos/ --set evaluation.logit_adjustment=fit", 0),
    ("uneven-classes", "evaluate runs/photos-2", 0),
    ("uneven-classes", "compare runs/photos runs/photos-2", 0),
    ("cut-off", "resume runs/photos", 0),
    ("cut-off", "resume runs/photos --patience 20", 2),  # its schedule ended with it: that is said
    ("deploy", "predict runs/photos new/ --out answers.csv", 0),
    ("deploy", "evaluate runs/photos --require 'accuracy.low>=0.9'", 7),  # so few images
]


def quickly(words: list[str]) -> list[str]:
    """Return a command with small images, few epochs and few folds."""
    if words[0] not in ("train", "tune"):
        return words
    fewer = {"--epochs": "1", "--folds": "2"}
    words = [fewer.get(before, word) for before, word in zip(["", *words[:-1]], words, strict=True)]
    if not {"--epochs", "--quick"} & set(words):
        words += ["--epochs", "1"]
    settings = SETTLED if "--from" in words else SETTLED | SMALL  # else its run's
    return words + [word for key, each in settings.items() for word in ("--set", f"{key}={each}")]


def correct(table: Path) -> None:
    """Do what a person does: give the first suspect its true class."""
    with table.open(newline="") as file:
        rows = list(csv.reader(file))
    if len(rows) > 1:
        rows[1][rows[0].index("correct")] = rows[1][rows[0].index("suggested")]
    with table.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def test_the_tutorial_and_the_how_tos_can_be_gone_through(
    photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("photos", "others", "more"):
        shutil.copytree(photo_folder, name)
    shutil.move("photos/flower/05.jpg", "photos/china/wrong.jpg")  # for label-errors to find
    shutil.copytree(photo_folder / "china", "new")

    for _, words in commands_of(DOCS / "tutorial.md"):
        if words[0] in ("serve", "demo") or "--help" in words or "--from" in words:
            continue  # tests/deploy/server and tests/cli run these, and the how-tos
        assert main(quickly(words)) == 0, (words, capsys.readouterr().err)
        if words[0] == "label-errors":
            assert "wrong.jpg" in Path("suspects.csv").read_text()
            correct(Path("suspects.csv"))
    assert Path("runs/photos/bundle/onnx/predict.py").is_file()
    assert len(Path("predictions.csv").read_text().splitlines()) == 1 + 12

    for page, command, code in HOW_TOS:
        shown = [words for _, words in commands_of(DOCS / "how-to" / f"{page}.md")]
        assert shlex.split(command) in shown, f"{page}.md does not show: {command}"
        assert main(quickly(shlex.split(command))) == code, (command, capsys.readouterr().err)


def test_the_notebook_can_be_gone_through(
    photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(photo_folder, "photos")
    shown: list[str] = []
    display = ModuleType("IPython.display")
    display.HTML = lambda text: shown.append(text)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(display=display))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    notebook = json.loads((DOCS / "notebook.ipynb").read_text(encoding="utf-8"))

    names: dict[str, object] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code" and not cell["source"][0].startswith("%pip"):
            source = "".join(cell["source"])
            small = source.replace(
                '"training.epochs": 4', f'"training.epochs": 1, **{SETTLED | SMALL}'
            )
            exec(compile(small, "notebook.ipynb", "exec"), names)
        assert not cell.get("outputs")

    assert len(shown) == 2
    assert all(page.lower().startswith('<iframe srcdoc="&lt;!doctype html') for page in shown)
    assert "95% interval" in capsys.readouterr().out
