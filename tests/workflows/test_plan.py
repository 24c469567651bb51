"""What is said of a training before it begins."""

from pathlib import Path

import pytest

from resnetlab.data.dataset import list_data
from resnetlab.recipe import Recipe
from resnetlab.workflows import plan
from resnetlab.workflows.plan import describe_alternative


def said_of(folder: Path, **more: object) -> str | None:
    catalog, recipe = list_data(folder, Recipe())
    settled = {"model.weights": "imagenet", "training.device": "cpu"} | more
    return describe_alternative(recipe.override(settled), catalog)


def test_very_many_tiny_images_are_told_of_the_recipe_for_them(
    digit_folder: Path, photo_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert said_of(digit_folder) is None  # tiny, but few

    monkeypatch.setattr(plan, "MANY_TINY", 20)
    said = said_of(digit_folder)

    assert said is not None
    assert "so many images of 8 px" in said
    assert "--recipe cifar10-fast" in said
    assert said_of(photo_folder) is None  # not tiny
    assert said_of(digit_folder, **{"training.device": "cuda"}) is None
    assert said_of(digit_folder, **{"model.weights": "none"}) is None
