"""A bundle gives back the very same network, or says what is wrong with it."""

import json
from dataclasses import replace

import pytest
import torch

from resnetlab.deploy.bundle import BundleFacts, facts_for, load_bundle, save_bundle
from resnetlab.errors import CheckpointError
from resnetlab.models import build
from resnetlab.recipe import Recipe


def images(count: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, 16, 16), dtype=torch.uint8, generator=generator)


def refusal(folder) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_bundle(folder)
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)
    return str(caught.value)


def change_facts(bundle, **values) -> None:
    path = bundle / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_loaded_bundle_gives_the_same_logits_to_the_bit(bundle, classifier, facts):
    with torch.inference_mode():
        expected = classifier.eval()(images())

        loaded, loaded_facts = load_bundle(bundle)

        found = loaded.to(memory_format=torch.channels_last)(images())
    assert torch.equal(found, expected)
    assert loaded_facts == facts


def test_the_moments_of_norms_travel_with_the_weights(tmp_path, facts):
    facts = replace(facts, network="resnet18")
    network = build("resnet18", 3, facts.image_size)
    network.train()(images())  # moves the running means

    save_bundle(tmp_path, network, facts, "")

    loaded, _ = load_bundle(tmp_path)
    with torch.inference_mode():
        assert torch.equal(loaded(images()), network.eval()(images()))


def test_a_loaded_bundle_is_ready_for_use(bundle):
    loaded, _ = load_bundle(bundle)

    assert not any(module.training for module in loaded.modules())


def test_mean_and_deviation_travel_with_the_weights(bundle):
    loaded, _ = load_bundle(bundle)

    assert loaded.mean.tolist() == pytest.approx([0.4, 0.5, 0.6])
    assert loaded.std.tolist() == pytest.approx([0.2, 0.25, 0.3])


def test_a_bundle_is_weights_facts_and_card_and_nothing_is_a_pickle(bundle):
    assert sorted(path.name for path in bundle.iterdir()) == [
        "README.md",
        "model.json",
        "model.safetensors",
    ]
    assert (bundle / "README.md").read_text() == "# A card\n"
    for path in bundle.iterdir():
        assert not path.read_bytes().startswith((b"PK", b"\x80"))  # zip, as torch.save; pickle


def test_the_facts_are_plain_to_read(bundle):
    facts = json.loads((bundle / "model.json").read_text())

    assert facts.pop("weights_sha256")
    assert facts == {
        "format": 1,
        "network": "cnn",
        "stem": "auto",
        "dropout": 0.5,
        "classes": ["cat", "dog", '猫, "quoted"'],
        "image_size": 16,
        "short_side": 19,
        "fit": "crop",
        "max_pixels": 50_000_000,
        "horizontal_flip": False,
        "hidden": [],
        "value_range": None,
        "upsample": 0,
        "pool": "average",
        "temperature": 1.0,
        "parts": None,
        "reference": None,
        "thresholds": {},
    }


def test_a_bundle_from_before_there_was_a_temperature_is_read(bundle):
    facts = json.loads((bundle / "model.json").read_text())
    del facts["temperature"]
    (bundle / "model.json").write_text(json.dumps(facts))

    assert load_bundle(bundle)[1].temperature == 1.0


@pytest.mark.parametrize("temperature", [0, -1.0, "hot", None])
def test_a_temperature_that_none_can_be_is_refused(bundle, temperature):
    facts = json.loads((bundle / "model.json").read_text()) | {"temperature": temperature}
    (bundle / "model.json").write_text(json.dumps(facts))

    with pytest.raises(CheckpointError, match="temperature must be a number above 0"):
        load_bundle(bundle)


def test_the_facts_are_those_of_the_recipe():
    recipe = Recipe().override(
        {"data.image_size": 224, "data.fit": "stretch", "model.name": "cnn", "data.max_pixels": 99}
    )

    assert facts_for(recipe, ("a", "b")) == BundleFacts(
        network="cnn",
        stem="auto",
        dropout=0.0,
        classes=("a", "b"),
        image_size=224,
        short_side=256,
        fit="stretch",
        max_pixels=99,
    )


def test_a_bundle_takes_the_place_of_an_older_one(bundle, facts):
    torch.manual_seed(5)
    other = build(facts.network, 3, facts.image_size).eval()

    save_bundle(bundle, other, facts, "# Another card\n")

    with torch.inference_mode():
        assert torch.equal(load_bundle(bundle)[0](images()), other(images()))
    assert (bundle / "README.md").read_text() == "# Another card\n"


def test_a_bundle_that_was_not_finished_is_none(tmp_path, classifier, facts, monkeypatch):
    cut_before_the_facts(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        save_bundle(tmp_path, classifier, facts, "")

    assert refusal(tmp_path).startswith(
        f"{tmp_path / 'model.json'}: not the description of a bundle"
    )


def test_a_bundle_half_replaced_never_mixes_two_models(bundle, facts, monkeypatch):
    cut_before_the_facts(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        save_bundle(bundle, build(facts.network, 3, facts.image_size, facts.stem), facts, "")

    assert "its checksum differs" in refusal(bundle)


def cut_before_the_facts(monkeypatch) -> None:
    def cut(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("resnetlab.deploy.bundle.write_text", cut)


@pytest.mark.parametrize("place", ["header", "first weight", "middle", "end"])
def test_one_flipped_bit_of_the_weights_is_noticed(bundle, place):
    path = bundle / "model.safetensors"
    content = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    positions = {
        "header": 20,
        "first weight": start,
        "middle": len(content) // 2,
        "end": len(content) - 1,
    }
    content[positions[place]] ^= 1
    path.write_bytes(content)

    assert refusal(bundle) == f"{path}: is damaged (its checksum differs)"


@pytest.mark.parametrize("size", [0, 5, 10_000])
def test_cut_weights_are_noticed(bundle, size):
    path = bundle / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])

    assert refusal(bundle) == f"{path}: is damaged (its checksum differs)"


def test_missing_weights_are_named(bundle):
    (bundle / "model.safetensors").unlink()

    assert refusal(bundle) == (
        f"{bundle / 'model.safetensors'}: can't be read (No such file or directory)"
    )


def test_a_bundle_of_a_newer_format_asks_for_an_update(bundle):
    change_facts(bundle, format=2)

    assert refusal(bundle) == (
        f"{bundle / 'model.json'}: is of format 2, this version of resnetlab reads format 1; "
        "update resnetlab"
    )


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"format": 1}', "\x00", "3"])
def test_facts_that_are_no_facts_are_named(bundle, content):
    (bundle / "model.json").write_text(content)

    assert refusal(bundle).startswith(f"{bundle / 'model.json'}: not the description of a bundle")


@pytest.mark.parametrize("key", ["classes", "image_size", "weights_sha256", "fit"])
def test_a_missing_fact_is_named(bundle, key):
    path = bundle / "model.json"
    values = json.loads(path.read_text())
    del values[key]
    path.write_text(json.dumps(values))

    assert key in refusal(bundle)


def test_classes_that_the_weights_do_not_fit_are_told(bundle):
    change_facts(bundle, classes=["cat", "dog"])

    complaint = refusal(bundle)

    assert complaint.startswith(f"{bundle}: the weights don't fit cnn with 2 classes (")
    assert "size mismatch for head.bias" in complaint


@pytest.mark.parametrize(
    "values", [{"network": "resnet19"}, {"image_size": "16"}, {"stem": "small"}]
)
def test_facts_from_which_no_network_can_be_built_are_told(bundle, values):
    change_facts(bundle, **values)

    assert refusal(bundle).startswith(f"{bundle / 'model.json'}: no network can be built by it (")
