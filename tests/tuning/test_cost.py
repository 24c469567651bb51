import pytest

from resnetlab.data.dataset import divide, read_data
from resnetlab.recipe import Recipe
from resnetlab.training.defaults import resolve_training
from resnetlab.tuning.cost import Cost, cost_of


@pytest.mark.parametrize(("epochs", "seconds"), [(1, 120.0), (3, 320.0), (5, 520.0), (30, 520.0)])
def test_no_more_views_are_stored_than_there_are_epochs(epochs, seconds):
    assert Cost(2.0, view_s=100.0, views=5, held_out_s=20.0).once_s(epochs) == seconds


def test_what_frozen_stages_take_is_measured_apart_where_it_is_stored(digit_folder):
    recipe = Recipe().override(
        {
            "data.split": [0.8, 0.2, 0.0],
            "data.image_size": 16,
            "data.near_duplicates": "ignore",
            "model.name": "resnet18",
            "model.weights": "none",
            "model.freeze": "layer3",
            "training.epochs": 3,
            "training.precision": "fp32",
            "training.threads": 1,
        }
    )
    dataset = read_data(digit_folder, recipe)
    catalog = divide(dataset.catalog, dataset.recipe)
    settled = resolve_training(dataset.recipe, catalog.counts("train"))
    stored = cost_of(catalog, dataset.store, settled)
    computed = cost_of(catalog, dataset.store, settled.override({"training.frozen_views": 0}))

    assert (stored.views, computed.views) == (3, 0)
    assert stored.once_s(3) > 3 * stored.view_s > 0
    assert computed.once_s(3) == 0 < min(stored.epoch_s, computed.epoch_s)
