"""A recipe is checked as a whole before anything runs, and says clearly what is wrong with it."""

import math

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from resnetlab.errors import RecipeError
from resnetlab.recipe import (
    AUGMENT_PRESETS,
    RECIPE_KEYS,
    Augment,
    Recipe,
    load_recipe,
    parse_assignments,
    recipe_folder,
    recipe_names,
    validate,
)


def complaint(tree) -> str:
    with pytest.raises(RecipeError) as caught:
        validate(tree, "my.yaml")
    return str(caught.value)


def test_an_unknown_key_gets_a_suggestion():
    assert complaint({"training": {"epoch": 3}}) == (
        "my.yaml: 'training.epoch' is no key of a recipe, did you mean 'training.epochs'?"
    )


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("lr", "training.lr"),
        ("learning_rate", "training.lr"),
        ("training.lerning_rate", "training.lr"),
        ("epoch", "training.epochs"),
        ("image_size", "data.image_size"),
        ("workrs", "data.workers"),
        ("model.pretrained_weights", "model.weights"),
    ],
)
def test_a_key_without_its_section_or_by_its_customary_name_is_known(key, meant):
    assert complaint({key: 1}) == f"my.yaml: '{key}' is no key of a recipe, did you mean '{meant}'?"


def test_a_key_like_no_other_gets_no_suggestion():
    assert complaint({"qqq": 1}) == "my.yaml: 'qqq' is no key of a recipe"


def test_of_a_long_value_only_the_beginning_is_shown():
    message = complaint({"training": {"epochs": "x" * 10_000}})

    assert message.endswith("Got '" + "x" * 199)


@pytest.mark.parametrize("preset", [{}, {"preset": "photo"}])
def test_an_unknown_key_inside_a_choice_of_shapes_is_named_as_the_user_wrote_it(preset):
    assert complaint({"data": {"augment": preset | {"flp": 0.5}}}) == (
        "my.yaml: 'data.augment.flp' is no key of a recipe, did you mean 'data.augment.flip'?"
    )


@pytest.mark.parametrize(
    ("tree", "sentence"),
    [
        (
            {"training": {"batch_size": 0}},
            "training.batch_size must be greater than or equal to 1. Got 0",
        ),
        ({"training": {"lr": -0.1}}, "training.lr must be greater than 0. Got -0.1"),
        ({"training": {"lr": math.nan}}, "training.lr must be a finite number. Got nan"),
        (
            {"training": {"optimizer": "sdg"}},
            "training.optimizer must be 'sgd', 'adam', 'adamw' or 'muon'. Got 'sdg'",
        ),
        (
            {"data": {"image_size": "big"}},
            "data.image_size must be a valid integer, unable to parse string as an integer. Got 'big'",
        ),
        (
            {"data": {"augment": {"flip": 3}}},
            "data.augment.flip must be less than or equal to 1. Got 3",
        ),
        ({"model": {"name": 50}}, "model.name must be a valid string. Got 50"),
        ({"seed": 2**32}, "seed must be less than 4294967296. Got 4294967296"),
        ({"data": None}, "data must be a mapping of keys to values. Got None"),
        ({"data": {"split": [0.8, 0.2]}}, "data.split must have more values. Got [0.8, 0.2]"),
        (
            {"data": {"split": [0.7, 0.2, 0.1, 0.0]}},
            "data.split must have at most 3 items, not 4. Got [0.7, 0.2, 0.1, 0.0]",
        ),
        ({3: "x"}, "keys must be strings. Got 3"),
    ],
)
def test_a_wrong_value_is_told_with_its_key_the_rule_and_itself(tree, sentence):
    assert complaint(tree) == f"my.yaml: {sentence}"


@pytest.mark.parametrize("split", [[0.8, 0.3, 0.1], [0.0, 0.5, 0.5]])
def test_the_splits_of_a_split_sum_to_one_and_leave_something_to_train_on(split):
    assert complaint({"data": {"split": split}}) == (
        "my.yaml: data.split must be three fractions (train, validation, test) that sum to 1, "
        f"train above 0. Got {split}"
    )


@pytest.mark.parametrize("key", ["crop_scale", "crop_ratio"])
@pytest.mark.parametrize("bounds", [[0.0, 1.0], [0.9, 0.1]])
def test_a_crop_is_drawn_from_a_range_above_zero(key, bounds):
    assert complaint({"data": {"augment": {key: bounds}}}) == (
        f"my.yaml: data.augment.{key} must be two numbers above 0, the smaller one first. Got {bounds}"
    )


def test_all_faults_are_told_at_once():
    tree = {"sed": 1, "data": {"fit": "zoom"}, "training": {"batch_size": 0, "momentum": 1}}

    assert complaint(tree) == (
        "my.yaml: data.fit must be 'crop' or 'stretch'. Got 'zoom'; "
        "training.batch_size must be greater than or equal to 1. Got 0; "
        "training.momentum must be less than 1. Got 1; "
        "'sed' is no key of a recipe, did you mean 'seed'?"
    )


@pytest.mark.parametrize("tree", [[], "epochs: 3", 3])
def test_a_recipe_is_a_mapping(tree):
    assert complaint(tree) == (
        f"my.yaml: must be a mapping of keys to values. Got {type(tree).__name__}"
    )


@pytest.mark.parametrize("word", ["no", "off", "yes", "on"])
@pytest.mark.parametrize("key", ["model.weights", "data.augment", "training.epochs", "seed"])
def test_a_word_that_yaml_reads_as_true_or_false_is_refused_clearly(key, word):
    with pytest.raises(RecipeError) as caught:
        Recipe().override(parse_assignments([f"{key}={word}"]))

    assert str(caught.value) == (
        f"recipe: {key} must not be true or false, which is also how YAML reads yes, no, on and "
        f"off; put such a word in quotes. Got {word in ('yes', 'on')}"
    )


def test_a_recipe_does_not_change_once_it_is_made():
    with pytest.raises(ValueError, match="frozen"):
        Recipe().training.epochs = 5


# Augmentation: a preset, a preset with differences, or single values.


@pytest.mark.parametrize("name", AUGMENT_PRESETS)
def test_a_preset_is_shorthand_for_its_values(name):
    recipe = validate({"data": {"augment": name}}, "")

    assert recipe.data.augment == Augment(**AUGMENT_PRESETS[name])


def test_a_preset_may_be_changed_in_split():
    recipe = validate({"data": {"augment": {"preset": "small", "flip": 0.0}}}, "")

    assert recipe.data.augment == Augment(translate_frac=0.125, flip=0.0)


@pytest.mark.parametrize("value", ["phot", {"preset": "phot"}])
def test_an_unknown_preset_gets_a_suggestion(value):
    assert complaint({"data": {"augment": value}}) == (
        "my.yaml: data.augment must be one of none, shift, small, photo, s0, s2, s3, "
        f"did you mean 'photo'? Got {value!r}"
    )


def test_a_preset_that_is_no_word_is_refused():
    assert "data.augment must be one of none, shift" in complaint(
        {"data": {"augment": {"preset": ["photo"]}}}
    )


# Changing single values.


def test_override_reaches_below_auto():
    recipe = Recipe().override({"data.augment.flip": 0.5})

    assert recipe.data.augment == Augment(flip=0.5)


def test_override_reaches_below_a_preset_given_at_the_same_time_in_any_order():
    expected = Augment(**AUGMENT_PRESETS["small"] | {"flip": 0.0})
    changes = [("data.augment", "small"), ("data.augment.flip", 0.0)]

    assert Recipe().override(dict(changes)).data.augment == expected
    assert Recipe().override(dict(changes[::-1])).data.augment == expected


def test_override_of_the_preset_replaces_what_the_recipe_had():
    before = validate({"data": {"augment": "s0"}}, "")

    after = before.override({"data.augment.flip": 0.1, "data.augment.preset": "shift"})

    assert after.data.augment == Augment(**AUGMENT_PRESETS["shift"] | {"flip": 0.1})


def test_override_leaves_the_rest_and_the_original_as_they_were():
    before = Recipe()

    after = before.override({"training.epochs": 7})

    assert after.training.epochs == 7
    assert after.override({"training.epochs": "auto"}) == before == Recipe()


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("training.epoch", "training.epochs"),
        ("trainig.epochs", "training.epochs"),
        ("training.epochs.first", "training.epochs"),
        ("training.log.level", "training.log"),
        ("data.split.first", "data.split"),
    ],
)
def test_override_of_an_unknown_key_gets_a_suggestion(key, hint):
    with pytest.raises(RecipeError) as caught:
        Recipe().override({key: 1})

    assert str(caught.value) == f"'{key}' is no key of a recipe, did you mean '{hint}'?"


def test_override_tells_all_unknown_keys_at_once():
    with pytest.raises(RecipeError, match=r"'sed' is no key .*; 'model.nam' is no key "):
        Recipe().override({"sed": 1, "model.nam": "mlp"})


def test_override_checks_the_values():
    with pytest.raises(RecipeError) as caught:
        Recipe().override({"training.batch_size": 0})

    assert str(caught.value) == (
        "recipe: training.batch_size must be greater than or equal to 1. Got 0"
    )


# The values of --set.


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("0.01", 0.01),
        ("12", 12),
        ("cosine", "cosine"),
        ("[0.8, 0.1, 0.1]", [0.8, 0.1, 0.1]),
        ("null", None),
        ("{preset: photo, flip: 0}", {"preset": "photo", "flip": 0}),
        ("a=b", "a=b"),
    ],
)
def test_a_value_on_the_command_line_is_read_as_yaml_and_1e_3_as_a_number(text, value):
    assert parse_assignments([f"training.lr={text}"]) == {"training.lr": value}


def test_an_assignment_needs_an_equals_sign():
    with pytest.raises(RecipeError) as caught:
        parse_assignments(["training.lr"])

    assert str(caught.value) == "--set takes KEY=VALUE. Got 'training.lr'"


@pytest.mark.parametrize(
    "text", ["[1, 2", "2026-99-99", "{flip: 0, flip: 1}", "!!python/object/apply:os.getcwd []"]
)
def test_a_value_on_the_command_line_must_be_plain_yaml(text):
    with pytest.raises(RecipeError) as caught:
        parse_assignments([f"seed={text}"])

    assert str(caught.value) == f"--set seed: '{text}' is not valid YAML"


# Files.


def test_a_file_that_would_run_code_is_refused(tmp_path):
    file = tmp_path / "evil.yaml"
    trace = tmp_path / "was-here"
    file.write_text(f"seed: !!python/object/apply:os.mkdir ['{trace}']\n")

    with pytest.raises(RecipeError, match=r"not valid YAML .*could not determine a constructor"):
        load_recipe(file)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "training:\n  lr: 1\n  lr: 2\n",
            "key 'lr' stands twice, keep one of them in line 3, column 3: lr: 2 ^",
        ),
        ("seed: 1\n'seed': 1\n", "key 'seed' stands twice, keep one of them in line 2"),
        ("data: &a {}\nmodel: *a\n", "references (*) are not allowed, write the values out"),
        ("seed: !!int x\n", "invalid literal for int() with base 10: 'x'"),
        ("seed: " + "[" * 5000, "maximum recursion depth exceeded"),
    ],
)
def test_yaml_that_is_no_plain_tree_is_refused(tmp_path, text, why):
    file = tmp_path / "my.yaml"
    file.write_text(text)

    with pytest.raises(RecipeError) as caught:
        load_recipe(file)

    assert str(caught.value).startswith(f"{file}: not valid YAML ({why}")


def test_the_same_key_in_two_sections_is_no_repetition(tmp_path):
    file = tmp_path / "my.yaml"
    file.write_text("data: {image_size: 64}\nevaluation: {image_size: 64}\n")

    assert load_recipe(file).evaluation.image_size == 64


def test_a_file_says_only_what_differs_from_the_defaults(tmp_path):
    file = tmp_path / "my.yaml"
    file.write_text("# mine\ntraining:\n  lr: 1e-2\n")

    assert load_recipe(file) == Recipe().override({"training.lr": 0.01})


def test_a_file_of_comments_is_the_default_recipe(tmp_path):
    file = tmp_path / "my.yaml"
    file.write_text("# nothing yet\n")

    assert load_recipe(file) == Recipe()


@pytest.mark.parametrize("content", [b"seed: [1", b"\xff\xfe\x00", b"[]", b"no"])
def test_a_file_that_is_no_recipe_is_named(tmp_path, content):
    file = tmp_path / "my.yaml"
    file.write_bytes(content)

    with pytest.raises(RecipeError, match=r"my\.yaml: "):
        load_recipe(file)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RecipeError, match=r"none\.yaml: can't be read"):
        load_recipe(tmp_path / "none.yaml")


def test_an_unknown_name_of_a_shipped_recipe_gets_a_suggestion():
    with pytest.raises(RecipeError) as caught:
        load_recipe("dmo")

    assert str(caught.value) == (
        f"there is no recipe 'dmo' (shipped: {', '.join(recipe_names())}; or give a .yaml file), "
        "did you mean 'demo'?"
    )


@pytest.mark.parametrize("name", recipe_names())
def test_a_shipped_recipe_is_valid_and_begins_with_a_line_that_describes_it(name):
    assert isinstance(load_recipe(name), Recipe)

    first = (recipe_folder() / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# ")
    assert len(first) > 20


fractions = st.floats(0, 1)
overrides = st.fixed_dictionaries(
    {},
    optional={
        "seed": st.integers(0, 2**32 - 1),
        "data.image_size": st.integers(8, 2048) | st.just("auto"),
        "data.augment": st.sampled_from(["auto", *AUGMENT_PRESETS]),
        "data.augment.flip": fractions,
        "data.augment.crop_scale": st.none() | st.just([0.25, 1.0]),
        "model.weights": st.text(st.characters(exclude_categories=["Cs"])),
        "training.lr": st.floats(min_value=0, exclude_min=True, allow_infinity=False),
        "training.clip_norm": st.none() | st.floats(1e-9, 1e9),
        "training.log": st.sampled_from([None, "tensorboard", "mlflow"]),
    },
)


@settings(deadline=None)
@given(overrides)
def test_a_recipe_written_as_yaml_reads_back_the_same(tmp_path_factory, values):
    recipe = Recipe().override(values)
    file = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
    file.write_text(recipe.to_yaml(), encoding="utf-8")

    assert load_recipe(file) == recipe


def test_yaml_holds_every_key_defaults_included():
    tree = yaml.safe_load(Recipe().to_yaml())

    for key in RECIPE_KEYS:
        if not key.startswith("data.augment."):  # below 'auto'
            here = tree
            for word in key.split("."):
                assert word in here, key
                here = here[word]


# Paths


def test_relative_paths_in_a_recipe_begin_at_its_file(tmp_path, monkeypatch):
    folder = tmp_path / "recipes"
    (folder / "runs" / "first").mkdir(parents=True)
    (folder / "my.yaml").write_text(
        "data: {images: ../images, keep_split_of: runs/first}\n"
        "model: {weights: runs/first, lora: {adapters: a.safetensors}}\n"
    )
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe("recipes/my.yaml")

    assert recipe.data.images == str(tmp_path / "images")
    assert recipe.data.keep_split_of == str(folder / "runs" / "first")
    assert recipe.model.weights == str(folder / "runs" / "first")
    assert recipe.model.lora.adapters == str(folder / "a.safetensors")


def test_names_of_networks_weights_and_absolute_paths_stay_as_they_are(tmp_path):
    (tmp_path / "resnet50").mkdir()
    (tmp_path / "my.yaml").write_text(
        "data: {images: /photos}\nmodel: {name: resnet50, weights: 'hf:user/name'}\n"
    )
    recipe = load_recipe(tmp_path / "my.yaml")

    assert recipe.data.images == "/photos"
    assert (recipe.model.name, recipe.model.weights) == ("resnet50", "hf:user/name")
