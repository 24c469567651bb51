"""From what the user names to splits: fetched once, classes in the recipe's order, splits kept."""

import shutil

import pytest

from resnetlab.data.dataset import divide, list_data, read_listed
from resnetlab.data.sources import source
from resnetlab.data.sources.source import read_source
from resnetlab.data.store.pixels import read_images
from resnetlab.errors import DataError
from resnetlab.recipe import Data, Recipe


def test_a_set_with_a_name_is_fetched_once(photo_folder, tmp_path, monkeypatch):
    fetched = []

    def fetch(name, folder):
        fetched.append(name)
        folder.symlink_to(photo_folder)

    monkeypatch.setenv("RESNETLAB_CACHE", str(tmp_path))
    monkeypatch.setitem(source.FETCH, "hf", fetch)

    first, second = (read_source("hf:owner/photos", Data()) for _ in range(2))

    assert fetched == ["owner/photos"]
    assert len(first) == len(second) == 24


def test_classes_are_numbered_in_the_recipes_order(photo_folder):
    usual = read_source(photo_folder, Data())
    turned = read_source(photo_folder, Data(classes=("flower", "temple", "china")))

    assert usual.classes == ("china", "flower")
    assert turned.classes == ("flower", "temple", "china")
    names = [[each.classes[label] for label in each.labels] for each in (usual, turned)]
    assert names[0] == names[1]


def test_a_class_that_the_recipe_does_not_list_is_refused(photo_folder):
    with pytest.raises(
        DataError,
        match=r"class 'flower' is none of the 2 in data\.classes, did you mean 'flowers'\?",
    ):
        read_source(photo_folder, Data(classes=("china", "flowers")))


def test_images_stay_in_the_splits_of_an_earlier_run(photo_folder, tmp_path):
    """Even where another seed would divide them otherwise; what is new is divided anew."""
    catalog, _ = read_images(read_source(photo_folder, Data()), 16, 10**7, 1)
    before = divide(catalog, Recipe().override({"seed": 1}))
    before.save(tmp_path / "catalog.parquet")
    recipe = Recipe().override({"seed": 2})

    after = divide(catalog, recipe.override({"data.keep_split_of": str(tmp_path)}))

    assert (after.split == before.split).all()
    assert (divide(catalog, recipe).split != before.split).any()


def test_an_earlier_run_that_is_not_there_is_told(photo_folder):
    catalog, _ = read_images(read_source(photo_folder, Data()), 16, 10**7, 1)

    with pytest.raises(DataError, match=r"nowhere: no run here \(a run has a catalog\.parquet\)"):
        divide(catalog, Recipe().override({"data.keep_split_of": "nowhere"}))


def test_one_split_alone_is_read_whatever_comes_before_it(photo_folder, tmp_path):
    for split in ("train", "val"):
        shutil.copytree(photo_folder, tmp_path / split)
    listed = list_data(tmp_path, Recipe().override({"data.workers": 0}), True, "val")

    dataset = read_listed("photos", *listed, as_one=True)

    assert len(dataset.catalog) == 24
    assert all(id_.startswith("val/") for id_ in dataset.catalog.ids)


def test_paths_hold_wherever_a_recipe_is_read_again(photo_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("weights.pth", "adapters.safetensors"):
        (tmp_path / name).touch()
    given = {"model.weights": "weights.pth", "model.lora.adapters": "adapters.safetensors"}

    _, recipe = list_data(photo_folder, Recipe().override(given))

    assert recipe.model.weights == str(tmp_path / "weights.pth")
    assert recipe.model.lora.adapters == str(tmp_path / "adapters.safetensors")


def test_a_folder_called_imagenet_is_not_taken_for_weights(photo_folder, tmp_path, monkeypatch):
    (tmp_path / "imagenet").mkdir()
    monkeypatch.chdir(tmp_path)

    _, recipe = list_data(photo_folder, Recipe().override({"model.weights": "imagenet"}))

    assert recipe.model.weights == "imagenet"
