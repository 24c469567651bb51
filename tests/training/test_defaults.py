"""What 'auto' becomes, from the images and the machine."""

import numpy as np
import pytest
from PIL import Image

from resnetlab.data.defaults import resolve_data, suggest_image_size
from resnetlab.data.sources.folder import class_folders
from resnetlab.data.sources.listing import list_folder
from resnetlab.errors import DataError, MachineError, RecipeError
from resnetlab.recipe import AUGMENT_PRESETS, Augment, Recipe
from resnetlab.runs.run import bundle_of
from resnetlab.training import initial
from resnetlab.training.defaults import (
    fill_in,
    refuse_class_weights,
    resolve_training,
    settle_machine,
    settle_monitor,
    spare,
    suggest_lr,
    wants_published_weights,
)
from resnetlab.training.hardware import device

COUNTS = np.array([40, 30, 30])  # training images of each class


@pytest.fixture
def folder_of(tmp_path):
    """Make two class folders of three images with this width and height."""

    def make(width: int, height: int):
        for name in ("cat", "dog"):
            (tmp_path / name).mkdir()
            for count in range(3):
                pixels = np.zeros((height, width, 3), np.uint8)
                Image.fromarray(pixels).save(tmp_path / name / f"{count}.png")
        return tmp_path

    return make


def settled(**values) -> Recipe:
    return Recipe().override({key.replace("__", "."): value for key, value in values.items()})


def resnet(**values) -> Recipe:
    return settled(**{"model__name": "resnet50"} | values)


@pytest.mark.parametrize(
    ("short_side", "size"),
    [
        (8, 32),
        (28, 32),
        (32, 32),
        (48, 48),
        (64, 64),
        (100, 96),
        (128, 128),
        (224, 224),
        (900, 224),
    ],
)
def test_small_images_keep_their_size_and_large_ones_get_the_customary_one(short_side, size):
    assert suggest_image_size(short_side) == size


def test_the_shorter_side_decides_the_size(folder_of):
    recipe = resolve_data(resnet(), class_folders(list_folder(folder_of(width=300, height=96))))

    assert recipe.data.image_size == 96


def test_a_file_that_is_no_image_does_not_stop_the_look_at_sizes(folder_of):
    folder = folder_of(width=96, height=96)
    (folder / "cat" / "0.png").write_bytes(b"no image")

    assert resolve_data(resnet(), class_folders(list_folder(folder))).data.image_size == 96


def test_what_the_user_has_said_stands(folder_of):
    said = settled(
        data__image_size=40,
        data__workers=5,
        data__augment="none",
        data__normalize="half",
        data__store="jpeg",
        training__lr=0.5,
        training__epochs=7,
        training__optimizer="sgd",
        training__weight_decay=0.3,
        training__warmup_epochs=2.0,
        training__label_smoothing=0.4,
        training__clip_norm=None,
        training__layer_decay=0.9,
        training__head_first=False,
        training__freeze_norms=False,
        model__name="resnet18",
        evaluation__horizontal_flip=True,
    )

    recipe = resolve_data(said, class_folders(list_folder(folder_of(width=300, height=300))))
    recipe = fill_in(recipe, pretrained=True, count=100)

    assert recipe.data.workers == 5
    assert recipe == said


@pytest.mark.parametrize(("size", "preset"), [(32, "small"), (64, "small"), (96, "photo")])
def test_small_images_are_not_cropped_at_random(size, preset):
    recipe = fill_in(settled(data__image_size=size), False, 100)

    assert recipe.data.augment == Augment(**AUGMENT_PRESETS[preset])


@pytest.mark.parametrize(("weights", "whose"), [("imagenet", "network"), ("none", "train")])
def test_published_weights_get_the_moments_they_were_trained_with(weights, whose):
    recipe = settled(data__image_size=96, model__weights=weights)

    assert fill_in(recipe, weights != "none", 100).data.normalize == whose


def test_device_precision_and_threads_are_written_down(monkeypatch):
    monkeypatch.setattr(device, "choose_device", lambda asked: "cpu")
    monkeypatch.setattr(device, "choose_precision", lambda asked, device, network=None: "bf16")
    monkeypatch.setattr(device, "choose_threads", lambda asked, device, precision: 3)

    training = settle_machine(settled(data__image_size=96)).training

    assert (training.device, training.precision, training.threads) == ("cpu", "bf16", 3)


@pytest.mark.parametrize(
    ("optimizer", "pretrained", "batch_size", "accumulate", "rate"),
    [
        ("sgd", False, 256, 1, 0.2),
        ("sgd", False, 64, 1, 0.05),
        ("sgd", False, 64, 4, 0.2),
        ("sgd", True, 256, 1, 0.02),
        ("adamw", False, 64, 4, 0.001),
        ("adam", True, 64, 1, 0.0001),
    ],
)
def test_the_rate_follows_the_images_of_a_step_for_sgd_alone(
    optimizer, pretrained, batch_size, accumulate, rate
):
    recipe = settled(
        training__optimizer=optimizer,
        training__batch_size=batch_size,
        training__accumulate=accumulate,
    )

    assert suggest_lr(recipe, pretrained) == pytest.approx(rate)


@pytest.mark.parametrize(
    ("count", "epochs", "rate"),
    [
        (1500, 13, 2e-3),
        (1500, 6, 2e-3),
        (1500, 3, 1e-3),
        (1500, 1, 3.3e-4),
        (125, 30, 2.5e-4),
        (125, 3, 1.3e-4),
    ],
)
def test_few_images_and_few_epochs_bear_a_lower_rate_when_fine_tuned(count, epochs, rate):
    recipe = settled(training__optimizer="adamw", training__epochs=epochs)

    assert suggest_lr(recipe, True, count) == pytest.approx(rate)


@pytest.mark.parametrize(
    ("count", "pretrained", "frozen"), [(499, True, True), (500, True, False), (499, False, False)]
)
def test_norms_keep_their_statistics_where_few_images_fine_tune(count, pretrained, frozen):
    assert fill_in(settled(data__image_size=224), pretrained, count).training.freeze_norms is frozen
    asked = settled(data__image_size=224, training__freeze_norms=not frozen)
    assert fill_in(asked, pretrained, count).training.freeze_norms is not frozen


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ({}, True),
        ({"data__image_size": 64}, False),
        ({"model__stem": "small"}, False),
        ({"model__name": "mlp"}, False),
        ({"model__name": "convnext_tiny", "data__image_size": 64}, True),
        ({"model__weights": "none"}, False),
        ({"model__weights": "imagenet"}, False),  # not 'auto': asked for anyway
    ],
)
def test_published_weights_are_looked_for_where_they_fit(values, wanted):
    assert wants_published_weights(resnet(**{"data__image_size": 224} | values)) == wanted


def test_the_number_of_threads_follows_the_cores(folder_of, monkeypatch):
    catalog = class_folders(list_folder(folder_of(width=32, height=32)))
    monkeypatch.setattr("os.cpu_count", lambda: 1)

    assert resolve_data(Recipe(), catalog).data.workers == 1


def no_network(*arguments):
    raise MachineError("the weights can't be fetched")


@pytest.mark.parametrize("name", ["resnet18", "convnext_atto"])
def test_weights_that_cannot_be_had_never_become_a_training_from_scratch(monkeypatch, name):
    monkeypatch.setattr(initial, "load_weights", no_network)

    with pytest.raises(MachineError, match="can't be fetched"):
        resolve_training(settled(model__name=name, data__image_size=96), COUNTS)


@pytest.mark.parametrize(
    ("side", "sizes"), [(28, (128, None)), (150, (160, None)), (224, (192, 224)), (900, (192, 224))]
)
def test_with_nothing_said_the_packaged_network_is_taken(folder_of, side, sizes):
    recipe = resolve_data(Recipe(), class_folders(list_folder(folder_of(width=side, height=side))))

    assert recipe.model.name == "tf_efficientnet_lite0"
    assert (recipe.data.image_size, recipe.evaluation.image_size) == sizes


def test_with_nothing_said_and_no_weights_it_is_a_resnet50(folder_of):
    recipe = settled(model__weights="none")

    assert (
        resolve_data(recipe, class_folders(list_folder(folder_of(300, 300)))).model.name
        == "resnet50"
    )


def test_fine_tuning_begins_with_the_head_and_learns_slower_towards_the_image():
    training = fill_in(settled(data__image_size=192), True, 1500).training

    assert (training.optimizer, training.layer_decay, training.head_first) == ("adamw", 0.8, True)
    assert training.warmup_epochs == pytest.approx(0.1 * training.epochs)


PACKAGED = {"model__name": "tf_efficientnet_lite0", "model__weights": "imagenet"}
ON_CPU = {"data__image_size": 192, "training__device": "cpu"}


def spared(count: int = 600, **values) -> tuple[str, int | None]:
    recipe = spare(settled(**PACKAGED | ON_CPU | values), count)
    return recipe.model.freeze, recipe.training.start_size


def test_on_a_processor_the_packaged_network_begins_with_small_images_behind_frozen_stages():
    assert spared() == ("blocks.1", 128)
    assert spared(data__image_size=224) == ("blocks.1", 160)


@pytest.mark.parametrize(
    "values",
    [
        {"model__weights": "none"},
        {"model__name": "resnet50"},
        {"data__image_size": 128},
        {"training__device": "cuda"},
    ],
)
def test_nothing_is_spared_elsewhere(values, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert spared(**values) == ("none", None)


@pytest.mark.parametrize(
    "values",
    [
        {"training__stage_lr": {"blocks.0": 0.001}},
        {"training__unfreeze_epochs": 1},
        {"model__lora__rank": 4},
    ],
)
def test_where_it_was_said_which_stages_learn_none_is_frozen(values):
    assert spared(**values) == ("none", 128)


def test_few_images_are_learned_in_full_as_there_is_time_for_it():
    assert spared(count=599) == ("none", None)


@pytest.mark.parametrize("values", [{"model__freeze": "all"}, {"training__frozen_views": 4}])
def test_what_frozen_stages_give_is_stored_at_one_size(values):
    assert spared(**values)[1] is None


def test_what_was_said_of_stages_and_sizes_stands():
    assert spared(model__freeze="blocks.3", training__start_size=None) == ("blocks.3", None)
    assert spared(model__freeze="none", training__start_size=160) == ("none", 160)


def test_training_from_scratch_does_not():
    training = fill_in(settled(data__image_size=192), False, 1500).training

    assert (training.optimizer, training.layer_decay, training.head_first) == ("sgd", 1.0, False)


def test_very_few_images_are_fine_tuned_with_care():
    few, many = (
        fill_in(settled(data__image_size=192), True, count).training for count in (60, 600)
    )

    assert few.lr < many.lr / 2
    assert few.epochs > many.epochs or few.epochs == 30


def test_the_more_images_the_fewer_epochs_on_a_processor():
    counts = (100, 1500, 5000, 10**6)

    epochs = [
        fill_in(settled(data__image_size=192, training__device="cpu"), True, n).training.epochs
        for n in counts
    ]

    assert epochs == sorted(epochs, reverse=True)
    assert epochs[0] == 30 and epochs[-1] == 3


def test_weights_that_were_asked_for_are_not_done_without(monkeypatch):
    monkeypatch.setattr(initial, "load_weights", no_network)
    recipe = settled(model__name="resnet18", model__weights="imagenet", data__image_size=96)

    with pytest.raises(MachineError, match="can't be fetched"):
        resolve_training(recipe, COUNTS)


@pytest.mark.parametrize(("size", "stem"), [(32, "small"), (96, "imagenet")])
def test_the_size_decides_the_stem_of_a_resnet(size, stem):
    recipe = settled(model__name="resnet18", model__weights="none", data__image_size=size)

    assert resolve_training(recipe, COUNTS).model.stem == stem


def test_a_bundle_is_found_by_its_folder_or_that_of_its_run(tmp_path):
    bundle = tmp_path / "run" / "bundle"
    bundle.mkdir(parents=True)
    (bundle / "model.json").write_text("{}")

    assert bundle_of(bundle) == bundle_of(tmp_path / "run") == bundle
    with pytest.raises(DataError, match=r"neither a bundle .* nor a finished run"):
        bundle_of(tmp_path)


@pytest.mark.parametrize(
    ("counts", "monitor"),
    [([50, 50], "accuracy"), ([100, 50], "accuracy"), ([101, 50], "balanced_accuracy")],
)
def test_uneven_classes_are_monitored_by_balanced_accuracy(counts, monitor):
    recipe = settle_monitor(Recipe(), np.array(counts))

    assert recipe.training.monitor == monitor


def test_a_named_monitor_stays():
    recipe = settled(training__monitor="macro_f1")

    assert settle_monitor(recipe, np.array([9, 1])).training.monitor == "macro_f1"


def test_a_weight_for_a_class_that_there_is_not_is_refused():
    recipe = settled(training__class_weights={"cats": 2.0})

    with pytest.raises(RecipeError, match=r"there is no class 'cats', did you mean 'cat'"):
        refuse_class_weights(recipe, ("cat", "dog"))
