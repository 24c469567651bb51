"""Recipes by name or file: those that are shipped, and the user's own."""

import os
from pathlib import Path
from typing import Any

from resnetlab.errors import RecipeError
from resnetlab.recipe.faults import did_you_mean
from resnetlab.recipe.plain_yaml import read_yaml
from resnetlab.recipe.schema import Recipe, validate

WEIGHT_ENDINGS = {".safetensors", ".pt", ".pth", ".bin"}


def load_recipe(name_or_file: str | Path) -> Recipe:
    """Read a shipped recipe by name, or a YAML file, whose relative paths begin at its folder.

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
    recipe = validate({} if tree is None else tree, str(path))  # None: nothing but comments
    paths = own_paths(recipe, path.absolute().parent)
    # Only where there are some: an override makes every section look as if the file had it.
    return recipe.override(paths) if paths else recipe


def own_paths(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """Return the paths in a recipe that are relative, by key, as they are seen from its file's folder.

    A network or weights may also be a name: they are paths where they look like one that is there.
    """
    data, model = recipe.data, recipe.model
    paths = {
        "data.images": data.images,
        "data.keep_split_of": data.keep_split_of,
        "model.lora.adapters": model.lora.adapters,
    }
    for key, value in (("model.name", model.name), ("model.weights", model.weights)):
        looks = "/" in value or Path(value).suffix in WEIGHT_ENDINGS
        if value.startswith(("./", "../")) or (looks and (folder / value).exists()):
            paths[key] = value
    found: dict[str, Any] = {
        key: os.path.normpath(folder / value)
        for key, value in paths.items()
        if value is not None and not Path(value).is_absolute()
    }
    # A further source may also be a name, such as hf:NAME.
    more = [str(folder / each) if (folder / each).exists() else each for each in data.more]
    return found | ({"data.more": more} if more else {})


def recipe_folder() -> Path:
    """Return the folder of the shipped recipes: inside an installed package, beside a checkout."""
    package = Path(__file__).parent.parent
    installed = package / "recipes"
    return installed if installed.is_dir() else package.parent / "recipes"


def recipe_names() -> list[str]:
    """Return the names of the shipped recipes."""
    return sorted(path.stem for path in recipe_folder().glob("*.yaml"))
