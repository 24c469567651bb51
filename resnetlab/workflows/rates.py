"""Which learning rates a network bears."""

from pathlib import Path
from typing import Any

from resnetlab import evidence
from resnetlab.checks import require_writable
from resnetlab.files import write_csv
from resnetlab.pictures import divide, list_data, name_of, read_listed
from resnetlab.recipe import Recipe
from resnetlab.resolve import resolve_listed
from resnetlab.run import create_run


def find_rate(
    data: Path, recipe: Recipe | None = None, out: Path = Path("runs"), name: str | None = None
) -> dict[str, Any]:
    """Try which learning rates a network bears; return the suggestion and the folder of its curve.

    Writes rates.csv and rates.png there. Raises DataError, RecipeError, MachineError.
    """
    from resnetlab.tuning.range_test import try_rates

    recipe = recipe or Recipe()
    require_writable(out)
    catalog, recipe = list_data(data, recipe)
    recipe = resolve_listed(recipe, catalog)
    pictures = read_listed(name_of(data), catalog, recipe)
    rates = try_rates(divide(pictures.catalog, recipe), pictures.store, recipe)
    folder = create_run(out, name or f"{name_of(data)}-rates").folder
    table = zip(rates.rates.tolist(), rates.losses.tolist(), rates.smoothed.tolist(), strict=True)
    write_csv(folder / "rates.csv", ("lr", "loss", "smoothed_loss"), list(table))
    evidence.draw_rates(folder / "rates.png", rates)
    return {
        "folder": folder,
        "suggested": rates.suggested,
        "lowest_at": rates.lowest_at,
        "network": recipe.model.name,
        "optimizer": recipe.training.optimizer,
    }
