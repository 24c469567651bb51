"""What frozen stages give is computed once, is what training would have seen, and never lies."""

import itertools
import os
import shutil
import threading
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from resnetlab.data.batches import Samples, View, batches, plan_epoch
from resnetlab.errors import MachineError
from resnetlab.models import Classifier, build
from resnetlab.models.classifier import freeze
from resnetlab.models.networks.resnet import BasicBlock, ResNet
from resnetlab.recipe import Augment
from resnetlab.training import stored_features as module
from resnetlab.training.hardware.device import make_fabric
from resnetlab.training.predict import as_images, predict
from resnetlab.training.stored_features import Rest, image_bytes, store_features, suggest_views

CLASSES = ("high", "middle", "low")
VARIED = Augment(crop_scale=(0.3, 1.0), flip=0.5, rotation_deg=20, brightness=0.3, hue=0.1)
TRAIN = View(16, "crop", VARIED, seed=3)
PLAIN = View(16, "crop")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("RESNETLAB_CACHE", str(folder))
    return folder


@pytest.fixture
def computed(monkeypatch) -> list[int]:
    """The size of every batch that runs through frozen stages, the single black image apart."""
    sizes: list[int] = []
    compute = module.compute

    def counting(classifier, images, precision):
        if images.any():
            sizes.append(len(images))
        return compute(classifier, images, precision)

    monkeypatch.setattr(module, "compute", counting)
    return sizes


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 4)


def network(last: str = "layer3", seed: int = 0, dropout: float = 0.0) -> Classifier:
    """Return a small ResNet that looks trained: no statistics of 0 and 1, no silent blocks."""
    torch.manual_seed(seed)
    classifier = Classifier(ResNet(BasicBlock, (1, 1, 1, 1), "small"), len(CLASSES), dropout)
    for each in classifier.modules():
        if isinstance(each, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(each.weight, 0.5, 1.0)
            torch.nn.init.normal_(each.running_mean, std=0.1)
            torch.nn.init.uniform_(each.running_var, 0.5, 1.5)
    freeze(classifier, last)
    return classifier


def store(samples: Samples, classifier: Classifier | None = None, view: View = TRAIN, views=2):
    return store_features(classifier or network(), samples, view, views, "fp32", 0)


def files(cache: Path) -> dict[str, bytes]:
    return {path.suffix: path.read_bytes() for path in cache.iterdir() if path.suffix != ".lock"}


# What it holds


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("last", ["conv1", "layer3", "all"])
def test_the_store_holds_what_the_frozen_stages_make_of_each_view(make_samples, last, precision):
    samples, classifier = make_samples(7), network(last)
    stored = store_features(classifier, samples, TRAIN, 3, precision, 0)

    assert len(stored) == 7
    for epoch in range(3):
        view, rows = replace(TRAIN, epoch=epoch), np.array([5, 0, 2])
        shown, found = samples.batch(rows, view), stored.batch(rows, view)
        expected = module.compute(classifier, shown.images, precision)
        np.testing.assert_allclose(values(found.images), values(expected), rtol=0.02, atol=1e-3)
        assert found.labels.tolist() == shown.labels.tolist()
        assert found.rows.tolist() == rows.tolist()


def values(maps: np.ndarray) -> np.ndarray:
    """Return maps as numbers, whether float32 or bf16's bits."""
    return maps if maps.dtype == np.float32 else (maps.astype(np.uint32) << 16).view(np.float32)


def test_maps_are_stored_as_images_are_and_bf16_as_its_bits(make_samples):
    maps = store(make_samples(3), network("layer3")).maps
    features = store_features(network("all"), make_samples(3), TRAIN, 2, "bf16", 0).maps

    assert (maps.shape, maps.dtype) == ((2, 3, 4, 4, 256), np.float32)
    assert (features.shape, features.dtype) == ((2, 3, 512), np.uint16)


@pytest.mark.parametrize("last", ["layer3", "all"])
def test_bits_of_bf16_are_read_as_bf16(make_samples, last):
    classifier = network(last).eval()
    exact = store_features(classifier, make_samples(4), TRAIN, 1, "fp32", 0).maps[0]
    bits = store_features(classifier, make_samples(4), TRAIN, 1, "bf16", 0).maps[0]

    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        logits, expected = (Rest(classifier)(as_images(maps.copy())) for maps in (bits, exact))

    assert expected.float().std() > 0.05
    torch.testing.assert_close(logits.float(), expected.float(), atol=0.05, rtol=0.05)


def test_an_epoch_past_the_last_view_shows_the_first_again(make_samples):
    stored, rows = store(make_samples(5), views=3), np.arange(5)

    seen = [stored.batch(rows, replace(TRAIN, epoch=epoch)).images.tobytes() for epoch in range(7)]

    assert seen[:3] == seen[3:6]
    assert seen[6] == seen[0]
    assert len(set(seen)) == 3


def test_where_nothing_is_varied_one_view_is_all_there_is(make_samples):
    for view in (PLAIN, View(16, "crop", Augment(), seed=3)):
        stored = store(make_samples(5), view=view, views=4)
        assert len(stored.maps) == 1
        assert stored.batch(np.arange(5), replace(view, epoch=3)).images.shape[0] == 5


def test_what_was_stored_is_not_given_out_for_another_view(make_samples):
    stored = store(make_samples(5))

    for view in (PLAIN, replace(TRAIN, seed=4), replace(TRAIN, fit="stretch")):
        with pytest.raises(AssertionError, match="stored for another view"):
            stored.batch(np.arange(2), view)


def test_features_that_are_cut_while_in_use_are_an_error(make_samples, cache):
    stored = store(make_samples(4))
    (path,) = cache.glob("*.bin")
    os.truncate(path, 1)

    with pytest.raises(MachineError, match=r"\.bin: another program cut it while it was in use"):
        stored.batch(np.arange(4), TRAIN)


def test_no_samples_are_a_store_too(make_samples):
    assert len(store(make_samples(0))) == 0


@pytest.mark.parametrize("workers", [1, 3])
def test_the_number_of_workers_changes_no_byte(
    make_samples, tmp_path, monkeypatch, small_chunks, workers
):
    kept = []
    for count in (0, workers):
        monkeypatch.setenv("RESNETLAB_CACHE", str(tmp_path / str(count)))
        store_features(network(), make_samples(11), TRAIN, 2, "bf16", count)
        kept.append(files(tmp_path / str(count)))

    assert kept[0] == kept[1]


# Training on it


def learn(classifier, source, epochs, precision="fp32", stored=False):
    """Train as the loop does, without its records; return the losses of all steps."""
    fabric = make_fabric("cpu", precision)
    classifier.to(memory_format=torch.channels_last)
    learning = [each for each in classifier.parameters() if each.requires_grad]
    optimizer = torch.optim.SGD(learning, lr=0.05, momentum=0.9)
    model, optimizer = fabric.setup(Rest(classifier) if stored else classifier, optimizer)
    model.train()
    losses = []
    for epoch in range(epochs):
        plan = plan_epoch(len(source), 8, 0, epoch)
        stream = batches(source, plan, replace(TRAIN, epoch=epoch), 0)
        for step, batch in enumerate(stream):
            torch.manual_seed(100 * epoch + step)  # of dropout
            logits = model(as_images(batch.images))
            loss = cross_entropy(logits, torch.from_numpy(batch.labels))
            fabric.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
    return losses


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("bf16", 0.02)])
@pytest.mark.parametrize("last", ["layer3", "all"])
def test_with_as_many_views_as_epochs_training_is_the_same_as_without_the_store(
    make_samples, last, precision, tolerance
):
    """To the bit where kernels sum alike in batches of any size; a processor may have others."""
    samples = make_samples(20)
    plain, quick = network(last, dropout=0.3), network(last, dropout=0.3)
    stored = store_features(quick, samples, TRAIN, 3, precision, 0)

    expected = learn(plain, samples, 3, precision)
    found = learn(quick, stored, 3, precision, stored=True)

    np.testing.assert_allclose(found, expected, rtol=tolerance)
    for one, other in zip(quick.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance / 10)


def test_with_fewer_views_than_epochs_training_differs(make_samples):
    samples = make_samples(20)
    plain, quick = network(), network()

    expected = learn(plain, samples, 3)
    found = learn(quick, store(samples, quick, views=2), 3, stored=True)

    np.testing.assert_allclose(found[:6], expected[:6], rtol=1e-4)  # two epochs of three batches
    assert not np.isclose(found[6:], expected[6:], rtol=0.02).any()


def test_training_on_the_store_leaves_the_frozen_stages_alone(make_samples):
    classifier = network("layer3")
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}

    learn(classifier, store(make_samples(9), classifier), 2, stored=True)

    after = classifier.state_dict()
    changed = {name.split(".")[1] for name in after if not torch.equal(after[name], before[name])}
    assert changed == {"layer4", "weight", "bias"}, "the last two are the head's"


@pytest.mark.parametrize("last", ["layer3", "all"])
def test_predictions_through_the_store_are_those_without_it(make_samples, last):
    samples, classifier = make_samples(9), network(last)
    stored = store(samples, classifier, PLAIN, 1)

    expected = predict(classifier, samples, PLAIN, CLASSES, 0, 0)
    found = predict(Rest(classifier), stored, PLAIN, CLASSES, 0, 0)

    np.testing.assert_allclose(found.logits, expected.logits, rtol=1e-5, atol=1e-6)
    assert list(found.ids) == list(expected.ids)


# Computed once, and only where it fits


def test_a_store_that_is_there_is_opened_without_computing(make_samples, computed, small_chunks):
    first = store(make_samples(10)).maps.tobytes()
    assert computed == [4, 4, 2] * 2
    again = store(make_samples(10)).maps.tobytes()

    assert computed == [4, 4, 2] * 2
    assert again == first


def test_what_learns_does_not_decide_the_store(make_samples, computed):
    classifier = network("layer3")
    store(make_samples(5), classifier)
    with torch.no_grad():
        classifier.head.weight.zero_()
        classifier.backbone.layer4[0].conv1.weight.zero_()
    store(make_samples(5), classifier)

    assert len(computed) == 2


OTHER = {
    "another stage": {"classifier": lambda: network("layer2")},
    "another pool": {"classifier": lambda: network("avgpool")},
    "one other weight": {"classifier": lambda: nudged("backbone.layer3.0.conv2.weight")},
    "another statistic": {"classifier": lambda: nudged("backbone.bn1.running_var")},
    "another mean": {"classifier": lambda: nudged("mean")},
    "enlarged": {"classifier": lambda: enlarged("avgpool"), "like": lambda: network("avgpool")},
    "more views": {"views": 3},
    "another seed": {"view": replace(TRAIN, seed=4)},
    "another size": {"view": replace(TRAIN, image_size=12)},
    "another fit": {"view": replace(TRAIN, fit="stretch")},
    "a little more hue": {"view": replace(TRAIN, augment=VARIED.model_copy(update={"hue": 0.11}))},
    "bf16": {"precision": "bf16"},
    "other images": {"samples": lambda make: make(5, seed=1)},
    "more images": {"samples": lambda make: make(6)},
    "another order": {"samples": lambda make: reordered(make(5))},
    "other keys": {"samples": lambda make: replace(make(5), keys=np.arange(5, dtype=np.uint64))},
}


def nudged(name: str) -> Classifier:
    classifier = network()
    with torch.no_grad():
        classifier.state_dict()[name].reshape(-1)[0] += 1e-6
    return classifier


def enlarged(last: str) -> Classifier:
    classifier = network(last)
    classifier.upsample = 1
    return classifier


def reordered(samples: Samples) -> Samples:
    names = ("ids", "labels", "records", "keys")
    return replace(samples, **{name: getattr(samples, name)[::-1] for name in names})


@pytest.mark.parametrize("what", OTHER)
def test_whatever_decides_the_maps_makes_another_store(make_samples, computed, what):
    values = {"view": TRAIN, "views": 2, "precision": "fp32"} | OTHER[what]
    classifier = values.pop("classifier", network)()
    samples = values.pop("samples", lambda make: make(5))(make_samples)
    store(make_samples(5), values.pop("like", network)())
    computed.clear()
    store_features(classifier, samples, **values, workers=0)

    assert sum(computed) == values["views"] * len(samples)


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "vit_tiny_patch16_224"])
def test_other_weights_of_a_network_of_timm_make_another_store(make_samples, name):
    view = View(32, "crop")
    maps = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        classifier = build(name, 3, 32)
        freeze(classifier, "all")
        maps.append(store(make_samples(5), classifier, view).maps)

    assert not np.allclose(*maps)


# Cut off, damaged, full


def uncut(samples, tmp_path, monkeypatch) -> dict[str, bytes]:
    """Return the files of a store that was built in peace."""
    with monkeypatch.context() as patch:
        patch.setenv("RESNETLAB_CACHE", str(tmp_path / "peace"))
        store(samples)
    return files(tmp_path / "peace")


@pytest.mark.parametrize("survivors", [0, 1, 2, 4, 5])
def test_a_build_that_breaks_off_is_completed_to_the_same_bytes(
    make_samples, cache, tmp_path, monkeypatch, computed, small_chunks, survivors
):
    samples, compute, calls = make_samples(10), module.compute, itertools.count()

    def breaking(*arguments):
        if next(calls) == survivors + 1:  # the first is the black image
            raise KeyboardInterrupt
        return compute(*arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "compute", breaking)
        store(samples)
    store(samples)

    assert computed == [4, 4, 2] * 2, "no chunk twice"
    assert files(cache) == uncut(samples, tmp_path, monkeypatch)


@pytest.mark.parametrize("ending", [".bin", ".sums"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.99])
def test_a_cut_file_is_mended(
    make_samples, cache, tmp_path, monkeypatch, small_chunks, ending, share
):
    samples = make_samples(10)
    store(samples)
    path = next(cache.glob(f"*{ending}"))
    os.truncate(path, int(path.stat().st_size * share))
    store(samples)

    assert files(cache) == uncut(samples, tmp_path, monkeypatch)


@pytest.mark.parametrize("ending", [".bin", ".sums"])
def test_a_wrong_bit_is_noticed_and_made_right(
    make_samples, cache, tmp_path, monkeypatch, small_chunks, capsys, ending
):
    samples = make_samples(10)
    store(samples)
    path = next(cache.glob(f"*{ending}"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    store(samples)

    assert capsys.readouterr().err == (
        f"note: {next(cache.glob('*.bin'))}: is damaged (a checksum differs); "
        "what follows is computed anew\n"
    )
    assert files(cache) == uncut(samples, tmp_path, monkeypatch)


@pytest.mark.parametrize("ending", [".bin", ".sums"])
def test_a_file_that_went_or_grew_gives_the_same_maps(make_samples, cache, ending):
    expected = store(make_samples(10)).maps.tobytes()
    path = next(cache.glob(f"*{ending}"))
    path.unlink()
    assert store(make_samples(10)).maps.tobytes() == expected
    with path.open("ab") as file:
        file.write(b"x" * 7)

    assert store(make_samples(10)).maps.tobytes() == expected


def test_two_builders_at_once_compute_every_view_once(make_samples, computed):
    start = threading.Barrier(2)

    def build(classifier):
        start.wait(timeout=10)
        return store(make_samples(10), classifier).maps.tobytes()

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(build, (network(), network()))

    assert first == second
    assert computed == [10, 10]


def test_a_disk_without_room_is_told_before_the_work(make_samples, monkeypatch, computed):
    disk(monkeypatch, free=1000)

    with pytest.raises(MachineError, match=r"the stored features need .* are free"):
        store(make_samples(10))
    assert computed == []


def test_a_cache_that_cannot_be_written_is_told(make_samples, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("RESNETLAB_CACHE", str(tmp_path / "file" / "cache"))

    with pytest.raises(MachineError, match=r"can't be stored .*training\.frozen_views=0"):
        store(make_samples(2))


# How many views


def disk(monkeypatch, free: int) -> None:
    usage = namedtuple("usage", "total used free")(10**15, 0, free)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)


@pytest.mark.parametrize(
    ("epochs", "free", "expected"),
    [
        (30, 10**12, 5),
        (3, 10**12, 3),
        (30, 5 * 4 * 100 * 1000, 4),  # a fifth of it is four views of 100 images of 1000 bytes
        (30, 5 * 2 * 100 * 1000, 2),
        (30, 5 * 2 * 100 * 1000 - 5, 0),
        (30, 0, 0),
        (1, 10**12, 0),
    ],
)
def test_five_views_are_suggested_or_what_a_fifth_of_the_free_disk_holds(
    monkeypatch, epochs, free, expected
):
    disk(monkeypatch, free)

    assert suggest_views(epochs, 1000, 100) == expected


def test_no_room_for_views_is_said_and_a_single_epoch_needs_no_word(monkeypatch, capsys, cache):
    disk(monkeypatch, free=4_000_000)

    suggest_views(1, 1000, 10_000)
    assert capsys.readouterr().err == ""
    suggest_views(2, 1000, 10_000)
    assert capsys.readouterr().err == (
        "note: the frozen stages run in every epoch: two views of what they give need 20.0 MB, "
        f"more than a fifth of the 4.0 MB free in {cache}\n"
    )


def test_an_image_takes_its_map_in_the_precision_of_the_run():
    assert image_bytes(network("layer3"), 16, "fp32") == 4 * 4 * 256 * 4
    assert image_bytes(network("layer3"), 16, "bf16") == 4 * 4 * 256 * 2
    assert image_bytes(network("all"), 16, "bf16") == 512 * 2
