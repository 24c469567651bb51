"""Which learning rates a network bears."""

from pathlib import Path
from typing import Any

from resnetlab.data.dataset import divide, list_data, name_of
from resnetlab.recipe import Recipe
from resnetlab.runs.run import create_run
from resnetlab.system.files import write_csv
from resnetlab.system.requirements import require_writable
from resnetlab.training.defaults import resolve_listed
from resnetlab.workflows.steps import read_and_say


def find_lr(
    data: Path, recipe: Recipe | None = None, out: Path = Path("runs"), name: str | None = None
) -> dict[str, Any]:
    """Try which learning rates a network bears; return the suggestion and the folder of its curve.

    Writes rates.csv and rates.png there. Raises DataError, RecipeError, MachineError.
    """
    from resnetlab.report.drawing.curves import lr_curve
    from resnetlab.tuning.lr_range_test import try_learning_rates

    recipe = recipe or Recipe()
    require_writable(out)
    catalog, recipe = list_data(data, recipe)
    recipe, _ = resolve_listed(recipe, catalog)
    dataset = read_and_say(name_of(data), catalog, recipe)
    recipe = dataset.recipe
    rates = try_learning_rates(divide(dataset.catalog, recipe), dataset.store, recipe)
    folder = create_run(out, name or f"{name_of(data)}-rates").folder
    table = zip(rates.rates.tolist(), rates.losses.tolist(), rates.smoothed.tolist(), strict=True)
    write_csv(folder / "rates.csv", ("lr", "loss", "smoothed_loss"), list(table))
    lr_curve(rates.rates, rates.losses, rates.smoothed, rates.suggested, folder / "rates.png")
    return {
        "folder": folder,
        "suggested": rates.suggested,
        "lowest_at": rates.lowest_at,
        "network": recipe.model.name,
        "optimizer": recipe.training.optimizer,
    }
