"""A search in which nothing is named lies around what training would take by itself."""

import pytest

from resnetlab.data.dataset import list_data
from resnetlab.errors import RecipeError
from resnetlab.recipe import Recipe
from resnetlab.training.defaults import resolve_listed
from resnetlab.tuning.planning import complete, settle_search

PLAIN = {"data.image_size": 32, "training.precision": "fp32", "training.feature_precision": "fp32"}


@pytest.mark.parametrize("network", ["auto", "tf_efficientnet_lite0", "cnn"])
def test_the_usual_space_lies_around_what_this_network_would_take(digit_folder, network):
    asked = complete(Recipe().override(PLAIN | {"model.name": network}))
    catalog, recipe = list_data(digit_folder, asked)
    usual = resolve_listed(recipe, catalog)[0].training
    space = settle_search(recipe, catalog, 1)[0].tuning.space

    assert list(space) == ["training.lr", "training.weight_decay"]
    assert space["training.lr"].high == pytest.approx(3 * usual.lr)
    decay = space["training.weight_decay"]
    assert decay.low < usual.weight_decay == pytest.approx((decay.low * decay.high) ** 0.5)


def test_no_weight_decay_stays_none(digit_folder):
    asked = Recipe().override(PLAIN | {"model.name": "mlp", "training.weight_decay": 0})
    catalog, recipe = list_data(digit_folder, complete(asked))

    assert list(settle_search(recipe, catalog, 1)[0].tuning.space) == ["training.lr"]


def test_of_the_usual_space_no_grid_can_be_made(digit_folder):
    asked = Recipe().override(PLAIN | {"model.name": "mlp", "tuning.sampler": "grid"})
    catalog, recipe = list_data(digit_folder, complete(asked))

    with pytest.raises(RecipeError, match=r"'training\.lr' is a range without a step"):
        settle_search(recipe, catalog, 1)
