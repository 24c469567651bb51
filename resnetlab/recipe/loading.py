"""Recipes by name or file: those that are shipped, and the user's own."""

from pathlib import Path

from resnetlab.errors import RecipeError
from resnetlab.recipe.faults import did_you_mean
from resnetlab.recipe.plain_yaml import read_yaml
from resnetlab.recipe.schema import Recipe, validate


def load_recipe(name_or_file: str | Path) -> Recipe:
    """Read a shipped recipe by name, or a YAML file.

    Raises RecipeError where there is none, or it isn't valid.
    """
    path = Path(name_or_file)
    if path.suffix not in {".yaml", ".yml"}:
        path = recipe_folder() / f"{name_or_file}.yaml"
        if not path.is_file():
            names = recipe_names()
            raise RecipeError(
                f"there is no recipe '{name_or_file}' (shipped: {', '.join(names)}; "
                f"or give a .yaml file){did_you_mean(name_or_file, names)}"
            )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: can't be read ({error})") from error
    try:
        tree = read_yaml(text)
    except ValueError as error:
        raise RecipeError(f"{path}: not valid YAML ({error})") from error
    return validate({} if tree is None else tree, str(path))  # None: nothing but comments


def recipe_folder() -> Path:
    """Return the folder of the shipped recipes: inside an installed package, beside a checkout."""
    package = Path(__file__).parent.parent
    installed = package / "recipes"
    return installed if installed.is_dir() else package.parent / "recipes"


def recipe_names() -> list[str]:
    """Return the names of the shipped recipes."""
    return sorted(path.stem for path in recipe_folder().glob("*.yaml"))
