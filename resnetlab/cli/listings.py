"""Verbs that list what there is: models, recipes."""

from typing import Annotated

import typer

from resnetlab.cli.tables import (
    console,
    print_stages,
)
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
        for each in recipe_names():
            first = (recipe_folder() / f"{each}.yaml").read_text(encoding="utf-8").splitlines()[0]
            console.print(f"{each:<16}{first.removeprefix('# ')}", markup=False)
        return
    load_recipe(name)  # says so where there is none
    text = (recipe_folder() / f"{name}.yaml").read_text(encoding="utf-8")
    console.print(text, end="", markup=False)
