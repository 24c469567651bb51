"""Learning to restore images beside their classes."""

import pytest

from resnetlab.data.dataset import divide, read_data
from resnetlab.errors import RecipeError
from resnetlab.models.networks.autoencoder import reconstruction_errors
from resnetlab.recipe import Recipe
from resnetlab.training.defaults import resolve_listed, settle_reconstruction
from resnetlab.training.initial import initial_learner
from resnetlab.training.predict import as_images
from resnetlab.training.reconstruction import Reconstructing, restored_images


def error(classifier, samples, recipe) -> float:
    images, restored = restored_images(classifier, samples, 30, recipe)
    assert images.shape == restored.shape
    return float(reconstruction_errors(as_images(restored).float() / 255, as_images(images)).mean())


def test_a_network_learns_to_restore_and_to_classify(train, make_recipe, make_samples, tmp_path):
    settings = {"model__name": "autoencoder", "training__epochs": 8}
    recipe = make_recipe(**settings, training__reconstruction=10.0)
    both, history = train(recipe, tmp_path / "both")
    labels_alone, _ = train(make_recipe(**settings), tmp_path / "labels")

    val = make_samples(30, seed=9)
    assert history[-1]["val_accuracy"] > 0.9
    assert error(both, val, recipe) < 0.5 * error(labels_alone, val, recipe)


def test_what_is_restored_is_an_image(make_classifier, make_recipe, make_samples):
    recipe = make_recipe(model__name="autoencoder")

    images, restored = restored_images(make_classifier(recipe), make_samples(3), 8, recipe)

    assert len(images) == len(restored) == 3
    assert restored.dtype == images.dtype


def test_a_plan_by_time_and_a_search_for_the_rate_restore_as_the_training_does(
    digit_folder, make_recipe
):
    dataset = read_data(digit_folder, make_recipe(model__name="autoencoder"))
    catalog = divide(dataset.catalog, dataset.recipe)
    recipe, _ = resolve_listed(
        dataset.recipe.override({"training.reconstruction": "auto"}), catalog
    )
    _, learner = initial_learner(recipe, catalog, dataset.store)

    assert isinstance(learner.model.module, Reconstructing)


def test_networks_without_a_decoder_restore_nothing():
    recipe = Recipe().override({"model.name": "cnn"})

    assert settle_reconstruction(recipe, has_decoder=False).training.reconstruction == 0
    with pytest.raises(RecipeError, match=r"training.reconstruction must be 0 for cnn"):
        settle_reconstruction(recipe.override({"training.reconstruction": 1.0}), has_decoder=False)


@pytest.mark.parametrize("values", [{"training.mixup": 0.2}, {"model.freeze": "down1"}], ids=str)
def test_what_would_change_the_image_underway_is_refused(values):
    recipe = Recipe().override({"model.name": "autoencoder", "model.freeze": "none"} | values)

    with pytest.raises(RecipeError, match=rf"{next(iter(values))} can't be used"):
        settle_reconstruction(recipe, has_decoder=True)
