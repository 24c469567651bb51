"""A finished training made longer: when its schedule allows that, and what of its results goes."""

import shlex
from typing import Any

from resnetlab.errors import RecipeError
from resnetlab.recipe import Recipe
from resnetlab.runs.run import Run
from resnetlab.system.files import write_json
from resnetlab.system.progress import log
from resnetlab.training.history import out_of_patience, read_history
from resnetlab.workflows.steps import recipe_facts

ENDLESS = (
    "constant",
    "step",
    "plateau",
)  # schedules by which no epoch depends on how many there are


def refuse_longer(run: Run, longer: Recipe) -> None:
    """Raise RecipeError where a finished run can't go on by a recipe that differs in its length."""
    history = read_history(run.folder / "history.csv")
    before, after, done = run.recipe.training, longer.training, len(history)
    total, folder = int(after.epochs), shlex.quote(str(run.folder))
    if total <= done:
        raise RecipeError(
            f"{run.folder}: {done} epochs are done; --epochs is their number in all, and must be "
            f"above that. Got {total}"
        )
    if out_of_patience(history, after.monitor, after.patience):
        raise RecipeError(
            f"{run.folder}: was stopped after {done} epochs, {after.patience} of them without a "
            f"better one; more patience goes on: resnetlab resume {folder} --epochs {total} "
            f"--patience {2 * int(after.patience or 1)}"
        )
    if total == before.epochs:
        return
    why = f"schedule={after.schedule} ends the learning rate with epoch {before.epochs}"
    if after.schedule in ENDLESS:
        why = "start_size lets the images grow until the last epoch"
    if after.schedule not in ENDLESS or after.start_size is not None:
        raise RecipeError(
            f"{run.folder}: training.{why}, so it can't be made longer; begin anew with what it "
            f"knows: resnetlab train DATA --from {folder} --epochs {max(total - done, 1)}"
        )


def lengthen(run: Run, more: dict[str, Any]) -> None:
    """Write into a finished run that it goes on, by these settings; what it measured before goes.

    Once more changes nothing: a process may be killed at any step of it.
    """
    recipe = run.recipe.override(more)
    log(f"going on from epoch {len(read_history(run.folder / 'history.csv')) + 1}")
    metrics = run.metrics
    gone = [name for name in ("test", "foreign") if metrics.pop(name, None) is not None]
    if "test" in gone:
        log(
            "note: the test split was scored with the network as it was; that goes. Score it again: "
            f"resnetlab evaluate {shlex.quote(str(run.folder))}"
        )
    if gone:
        write_json(run.folder / "metrics.json", metrics)
    run.predictions("test").unlink(missing_ok=True)
    run.reproduction_file.unlink(missing_ok=True)
    for folder in (run.figures, run.folder / "tables"):
        for file in folder.glob("*-test*"):
            file.unlink()
    run.add_to_environment(recipe=recipe_facts(recipe))
    run.write_recipe(recipe)
