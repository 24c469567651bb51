"""A document run again: its steps, then ours, all on one test, and a page that compares them."""

import csv
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resnetlab.data.dataset import divide, list_data, name_of
from resnetlab.data.export import export_split
from resnetlab.errors import MachineError, RecipeError
from resnetlab.recipe import Recipe, load_recipe
from resnetlab.report.document import write_document
from resnetlab.report.formats import plural
from resnetlab.runs.run import Run, create_run
from resnetlab.runs.unfinished import lasting, unfinished
from resnetlab.system.files import read_json, write_csv, write_json
from resnetlab.system.progress import duration, log
from resnetlab.system.requirements import require_writable
from resnetlab.tuning.planning import SEARCH_RECIPE
from resnetlab.workflows.data import augment, make
from resnetlab.workflows.deployment.combining import combine
from resnetlab.workflows.deployment.predicting import classify
from resnetlab.workflows.documents.stories import STORIES, Step, Story
from resnetlab.workflows.evidence.comparing import compare
from resnetlab.workflows.results import evaluate, evaluate_bundle
from resnetlab.workflows.resuming.going_on import go_on
from resnetlab.workflows.steps import read_and_say
from resnetlab.workflows.training import train
from resnetlab.workflows.tuning import BEST, tune

SETTLED = "document.json"  # what holds for all steps
SUMS, DIGITS = 10_000, 6_000  # images that are made for S2
SHORTEST_S = 60.0
PLANNED = (
    "recipe.yaml",
    SEARCH_RECIPE,
)  # one of them is there once it is settled what fits into a step's time


@dataclass(frozen=True)
class Telling:
    """A document at work: its folder, its story, its data, and what is settled for all steps."""

    folder: Path
    story: Story
    data: Path
    budget_s: float | None
    weights: bool  # whether those that the document begins with can be had
    divided: bool  # whether the data has a test split of its own
    anyway: bool = False  # whether a step that was cut off goes on although something has changed

    def recipe(self, step: Step) -> Recipe:
        """Return the recipe of a step, with the test split that all steps share."""
        recipe = load_recipe(step.recipe) if step.recipe else Recipe()
        recipe = recipe.override(dict(step.settings) | self.instead(step))
        test = self.story.test
        if self.story.copies:  # they lie beside the images that they were made of
            recipe = recipe.override({"data.unmatched": "drop"})
        train, val, _ = recipe.data.split
        rest = (1 - test) / (train + val)
        split = [round(train * rest, 6), round(val * rest, 6)]
        return recipe.override({"data.split": [*split, round(1 - sum(split), 6)]})

    def instead(self, step: Step) -> dict[str, Any]:
        """Return what is set otherwise than the document has it: for want of weights, or of time."""
        values = {} if self.weights else dict(step.without_weights)
        return values | (dict(step.reduced) if self.budget_s else {})

    def seconds(self, step: Step) -> float | None:
        """Return how long a step may take; None where it takes what it needs.

        Where ours is to take as long as another, it has what that one took, or was given: the epochs of a
        document may be done sooner, behind frozen stages above all.
        """
        if step.as_long_as is None:
            return step.share * self.budget_s if self.budget_s else None
        taken = float(Run(self.folder / step.as_long_as).metrics["training"]["seconds"])
        (other,) = (each for each in self.story.steps if each.name == step.as_long_as)
        return max(taken, self.seconds(other) or 0.0, SHORTEST_S)


def reproduce_document(
    document: str, data: Path | None, out: Path = Path("runs"), budget_s: float | None = None
) -> Run:
    """Run a document's procedure on `data`, then ours, and compare them on one test; return the folder.

    Each step is a run in the folder, report.html compares them. With `budget_s` epochs, image sizes and
    searches are reduced to about that time, which the page says. Without data the sums of S2 are
    made. Raises RecipeError for a document that is none or lacks data; else see `train` and `tune`.
    """
    if data is None and document != "s2":
        raise RecipeError(f"reproduce {document} needs --data: the images to run the document on")
    require_writable(out)
    run = create_run(out, document)
    log(f"document {document} in {run.folder}")
    arguments: dict[str, Any] = {
        "document": document,
        "data": None if data is None else lasting(data),
        "budget_s": budget_s,
    }
    with run.held(), unfinished(run.folder, "reproduce_document", **arguments):
        tell(run.folder, **arguments)
    return run


def go_on_telling(folder: Path, arguments: dict[str, Any], anyway: bool) -> None:
    """Go on with a document: the step that was cut off, then those that are missing."""
    with Run(folder).held(), unfinished(folder, "reproduce_document", **arguments):
        tell(folder, **arguments, anyway=anyway)


def tell(
    folder: Path, document: str, data: str | None, budget_s: float | None, anyway: bool = False
) -> None:
    """Do what is missing of a document's steps, compare them, and write the page."""
    telling = settle(folder, STORIES[document], data, budget_s, anyway)
    tested = [step for step in telling.story.steps if step.kind != "search"]
    for step in telling.story.steps:
        log(f"\n{step.name}: {step.title}")
        do(telling, step)
        if step in tested and not Run(folder / step.name).ledger:
            evaluate(folder / step.name, "test")
    comparison = compare([folder / step.name for step in tested], folder / "comparison")
    submitted = submit(telling)
    rows = [row_of(telling, step) for step in telling.story.steps]
    write_document(folder, document, telling.story.about, rows, comparison, submitted)
    log(f"page     {folder / 'report.html'}")


def settle(
    folder: Path, story: Story, data: str | None, budget_s: float | None, anyway: bool
) -> Telling:
    """Return what holds for all steps of a document; made and divided images are left in its folder."""
    images = Path(data) if data is not None else made(folder / "sums", "digit-sum", SUMS)
    if not (folder / SETTLED).is_file():
        listed, _ = list_data(images, Recipe())
        divided = bool((listed.split == "test").any())
        write_json(folder / SETTLED, {"weights": at_hand(story), "divided": divided})
    facts = read_json(folder / SETTLED, dict)
    if story.copies:
        images = divided_images(folder, images, story.test)
    return Telling(folder, story, images, budget_s, facts["weights"], facts["divided"], anyway)


def at_hand(story: Story) -> bool:
    """Return whether the weights that a document begins with can be had, where it needs some."""
    from resnetlab.models.published import find_weights

    if story.network is None:
        return True
    try:
        find_weights("imagenet", story.network)
    except MachineError as error:
        log(f"note: {error}\nnote: tf_efficientnet_lite0 takes the place of {story.network}")
        return False
    return True


def made(folder: Path, name: str, count: int) -> Path:
    """Return the folder of a made set, whole."""
    if not folder.is_dir():
        begun = folder.with_name(f"{folder.name}.part")
        for left in begun.glob("*"):
            left.unlink()
        make(name, begun, count, apart=True)
        begun.rename(folder)
    return folder


def divided_images(folder: Path, data: Path, test: float) -> Path:
    """Return a table of the images, divided into training and test and copied into folders of both."""
    table, images = folder / "images.csv", folder / "images"
    if not table.is_file():
        recipe = Recipe().override({"data.split": [1 - test, 0.0, test]})
        dataset = read_and_say(name_of(data), *list_data(data, recipe))
        catalog = divide(dataset.catalog, dataset.recipe)
        if not images.is_dir():
            begun = folder / "images.part"
            shutil.rmtree(begun, ignore_errors=True)
            export_split(catalog, begun)
            begun.rename(images)
        rows = [
            [str(path.relative_to(folder)), path.parent.name, path.parent.parent.name]
            for path in sorted(images.glob("*/*/*"))
        ]
        write_csv(table, ["path", "label", "split"], rows)
    return table


# The kinds of steps


def do(telling: Telling, step: Step) -> None:
    """Do a step, or go on with it; one that is finished stays, one that was cut before it was planned begins anew."""
    folder = telling.folder / step.name
    if folder.is_dir() and not any((folder / name).is_file() for name in PLANNED):
        shutil.rmtree(folder)
    go_on(folder, telling.anyway)
    if not folder.is_dir():
        KINDS[step.kind](telling, step)


def do_training(telling: Telling, step: Step) -> None:
    """Train a step by its recipe."""
    train_for(telling, step, telling.recipe(step), telling.data)


def train_for(telling: Telling, step: Step, recipe: Recipe, data: Path, name: str = "") -> Run:
    """Train within the time of a step: no more epochs than its recipe has, where it names them."""
    seconds, most = telling.seconds(step), None
    if seconds is not None and isinstance(recipe.training.epochs, int):
        most = recipe.training.epochs
        recipe = recipe.override({"training.epochs": "auto"})
    return train(data, recipe, telling.folder, name or step.name, None, seconds, most)


def do_search(telling: Telling, step: Step) -> None:
    """Search by a step's recipe; what it finds is for the next step."""
    recipe, seconds = telling.recipe(step), telling.seconds(step)
    try:
        tune(telling.data, recipe, telling.folder, step.name, budget_s=seconds, retrain=False)
    except RecipeError as error:
        if seconds is None:
            raise
        part = f"step '{step.name}' has {duration(seconds)} of it"
        raise RecipeError(f"{error} ({part}; give --budget as much more)") from error


def do_copies(telling: Telling, step: Step) -> None:
    """Train by the best settings of the search, on the training images and one saved copy of each."""
    asked, best = telling.recipe(step), load_recipe(telling.folder / "search" / BEST).training
    values = {
        "data.augment": "none",  # the copies are varied already
        "training.lr": best.lr,
        "training.batch_size": best.batch_size,
        "training.optimizer": best.optimizer,
    }
    if not telling.budget_s:
        values["training.epochs"] = best.epochs
    augment(telling.folder / "images", telling.folder / "copies", 1, asked)
    rows = [
        [f"copies/{row['path']}", row["label"], "train", row["group"]]
        for row in table_of(telling.folder / "copies" / "labels.csv")
    ]
    rows += [
        [row["path"], row["label"], "test", ""]
        for row in table_of(telling.data)
        if row["split"] == "test"
    ]
    table = telling.folder / "copies.csv"
    write_csv(table, ["path", "label", "split", "group"], rows)
    train_for(telling, step, asked.override(values), table)


def table_of(file: Path) -> list[dict[str, str]]:
    """Return the rows of a label table."""
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def do_parts(telling: Telling, step: Step) -> None:
    """Train a network for single digits, then classify sums by their parts."""
    digits = made(telling.folder / "digits", "digits", DIGITS)
    single, bundle = single_of(telling.folder, step), telling.folder / f"{step.name}-bundle"
    go_on(single.folder, telling.anyway)
    if not single.folder.is_dir():
        train_for(telling, step, load_recipe(step.recipe or ""), digits, single.name)
    shutil.rmtree(bundle, ignore_errors=True)
    combine(single.folder, bundle, 4, rule="sum")
    split = "test" if telling.divided else None
    evaluate_bundle(bundle, telling.data, telling.folder, split, step.name)


def single_of(folder: Path, step: Step) -> Run:
    """Return the run of single parts that a step of parts rests on."""
    return Run(folder / f"{step.name}-single")


KINDS: dict[str, Callable[[Telling, Step], None]] = {
    "train": do_training,
    "search": do_search,
    "copies": do_copies,
    "parts": do_parts,
}


# What came of it


def submit(telling: Telling) -> Path | None:
    """Answer a competition's images in its form by our last step, where DATA holds a sample and they are there."""
    if not telling.data.is_dir():
        return None
    sample = next(iter(sorted(telling.data.glob("sample*.csv"))), None)
    images = telling.data / "test"
    if sample is None or not images.is_dir():
        return None
    ours = [step for step in telling.story.steps if step.ours][-1]
    submission = telling.folder / "submission.csv"
    classify(telling.folder / ours.name, [images], None, submission, submission=sample)
    return submission


def row_of(telling: Telling, step: Step) -> dict[str, Any]:
    """Return a step as the page shows it."""
    run = Run(telling.folder / step.name)
    single = single_of(telling.folder, step)
    trained = single if single.folder.is_dir() else run
    training = trained.metrics.get("training", {})
    row: dict[str, Any] = {
        "name": step.name,
        "title": step.title,
        "ours": step.ours,
        "reports": step.reports,
        "network": run.metrics.get("model", {}),
        "training": training,
        "test": run.metrics.get("test"),
        "openings": len(run.ledger),
        "reduced": [*describe_changes(telling, step), *shorter(step, training)],
    }
    if step.kind == "search":
        row["found"] = read_json(run.folder / "search.json", dict)["summary"]
    return row


def describe_changes(telling: Telling, step: Step) -> list[str]:
    """Return what was done otherwise than the document has it, one line each."""
    lines = []
    for key, value in telling.instead(step).items():
        if isinstance(value, dict):
            text = "fewer values" if value else "none"
        else:
            text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
        lines.append(f"{key}: {text}")
    return lines


def shorter(step: Step, training: dict[str, Any]) -> list[str]:
    """Return that a step had fewer epochs than its recipe asks for, where it had."""
    asked = load_recipe(step.recipe).training.epochs if step.recipe else "auto"
    done = training.get("epochs")
    if step.kind == "search" or not isinstance(asked, int) or not done or done >= asked:
        return []
    return [f"{plural(done, 'epoch')} instead of {asked}"]
