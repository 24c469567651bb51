"""Verbs that list what there is: models, recipes, the cache."""

import re
import time
from typing import Annotated

import typer

from resnetlab.cli.tables import (
    console,
    print_stages,
)
from resnetlab.errors import RecipeError
from resnetlab.recipe import load_recipe, recipe_folder, recipe_names


def models(
    name: Annotated[str | None, typer.Argument(help="A network; none lists them.")] = None,
    image_size: Annotated[int, typer.Option(help="Side of the input, px.")] = 224,
    classes: Annotated[int, typer.Option(help="Outputs of the last layer.")] = 1000,
    stem: Annotated[str, typer.Option(help="auto, imagenet, small.")] = "auto",
) -> None:
    """Show the stages of a network: shapes, parameters, multiply-adds."""
    from resnetlab.models import MODELS, build
    from resnetlab.models.stages import stage_table

    if name is None:
        console.print("\n".join(MODELS))
        return
    print_stages(stage_table(build(name, classes, image_size, stem), image_size))


def recipes(
    name: Annotated[str | None, typer.Argument(help="A recipe to print; none lists them.")] = None,
) -> None:
    """List the shipped recipes, or print one."""
    if name is None:
        names = recipe_names()
        width = max(map(len, names)) + 2
        for each in names:
            first = (recipe_folder() / f"{each}.yaml").read_text(encoding="utf-8").splitlines()[0]
            console.print(f"{each:<{width}}{first.removeprefix('# ')}", markup=False)
        return
    load_recipe(name)  # says so where there is none
    text = (recipe_folder() / f"{name}.yaml").read_text(encoding="utf-8")
    console.print(text, end="", markup=False)


SECONDS = {"m": 60.0, "h": 3600.0, "d": 86400.0}
BYTES = {"MB": 1e6, "GB": 1e9, "TB": 1e12}


def cache(
    remove_older_than: Annotated[
        str | None, typer.Option(help="Remove what was last used longer ago: 30d, 12h.")
    ] = None,
    max: Annotated[
        str | None, typer.Option(help="Remove the least recently used above this size: 50GB.")
    ] = None,
) -> None:
    """List decoded images and stored features, or remove some; never what is in use.

    What is removed is made again where it is needed.
    """
    from resnetlab import workflows
    from resnetlab.system.files import cache_folder
    from resnetlab.system.requirements import size

    kept, removed = workflows.cache(
        measured("--remove-older-than", remove_older_than, SECONDS), measured("--max", max, BYTES)
    )
    for each in kept:
        days = (time.time() - each.used) / SECONDS["d"]
        when = "today" if days < 1 else f"{days:.0f} days ago" if days >= 2 else "yesterday"
        what = each.kind + (" (in use)" if each.in_use else "")
        users = ", ".join(each.users)
        console.print(
            f"{size(each.size):>9}  {when:<12}  {what:<24}  {users}", markup=False, soft_wrap=True
        )
    if removed:
        console.print(f"removed {len(removed)}, {size(sum(each.size for each in removed))}")
    total = size(sum(each.size for each in kept))
    console.print(f"{len(kept)} in {cache_folder()}, {total}", markup=False, soft_wrap=True)


def measured(flag: str, text: str | None, units: dict[str, float]) -> float | None:
    """Return a number with its unit as seconds or bytes, None for none. Raises RecipeError."""
    if text is None:
        return None
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]+)", text.strip())
    if not found or found[2] not in units:
        raise RecipeError(f"{flag} {text}: must be a number and one of {', '.join(units)}")
    return float(found[1]) * units[found[2]]
