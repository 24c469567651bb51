"""Which images come together: every one once, in an order and with pixels that no thread can change."""

import gc
import hashlib
import threading
import time
import weakref

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from resnetlab.data.audit.quarantine import audit
from resnetlab.data.augment.draw import PLAIN, Variations, draw
from resnetlab.data.augment.render import render
from resnetlab.data.batches import (
    SHOWING_BITS,
    Batch,
    Samples,
    View,
    batches,
    plan_epoch,
    plan_evaluation,
    resampled,
    samples_of,
    showings,
)
from resnetlab.data.catalog import Catalog
from resnetlab.data.sources.folder import class_folders
from resnetlab.data.sources.listing import list_folder
from resnetlab.data.splits import split
from resnetlab.data.store.pixels import PixelStore, read_images
from resnetlab.recipe import Augment, Data

EVERYTHING = Augment(
    crop_scale=(0.3, 1.0), flip=0.5, rotation_deg=20, translate_frac=0.1,
    brightness=0.3, contrast=0.3, saturation=0.3, hue=0.1, erase=0.5,
)  # fmt: skip
counts = st.integers(1, 300)
sizes = st.integers(1, 70)
seeds = st.integers(0, 2**32 - 1)
quick = settings(max_examples=60)


@pytest.fixture(scope="module")
def data(photo_folder) -> tuple[Catalog, PixelStore]:
    catalog, store = read_images(class_folders(list_folder(photo_folder)), 18, 10**6, 2)
    return split(audit(catalog, Data(max_problem_frac=0.0)), (0.7, 0.1, 0.2), 0), store


@pytest.fixture(scope="module")
def samples(data) -> Samples:
    return samples_of(*data, "train")


# Samples


def test_samples_are_the_split_in_the_order_of_content(data):
    catalog, store = data
    rows = catalog.rows("train")
    samples = samples_of(catalog, store, "train")

    assert len(samples) == len(rows) > 0
    assert set(samples.ids) == set(catalog.ids[rows])
    digest_of = dict(zip(catalog.ids, catalog.sha256, strict=True))
    assert [digest_of[name] for name in samples.ids] == sorted(catalog.sha256[rows])
    for name, label, record, key in zip(
        samples.ids, samples.labels, samples.records, samples.keys, strict=True
    ):
        assert catalog.classes[label] == name.split("/")[0]
        assert store.index[record]["sha256"].decode() == digest_of[name]
        assert int(key) == int(digest_of[name][:16], 16)


def test_file_names_decide_nothing(photo_folder, tmp_path):
    for path in photo_folder.rglob("*.jpg"):
        new = tmp_path / path.parent.name / f"{hashlib.md5(path.name.encode()).hexdigest()}.jpg"
        new.parent.mkdir(exist_ok=True)
        new.write_bytes(path.read_bytes())
    seen = []
    for folder in (photo_folder, tmp_path):
        catalog, store = read_images(class_folders(list_folder(folder)), 18, 10**6, 2)
        samples = samples_of(split(catalog, (0.7, 0.1, 0.2), 0), store, "train")
        plan = plan_epoch(len(samples), 5, 0, 1)
        seen.append(
            [b.images.tobytes() for b in batches(samples, plan, View(16, "crop", EVERYTHING), 0)]
        )

    assert seen[0] == seen[1]


# Plans


@quick
@given(counts, sizes, seeds, st.integers(0, 1000))
@example(3, 2, 0, 0)
@example(5, 2, 0, 0)
@example(1, 2, 0, 0)
@example(1, 1, 0, 0)
def test_a_training_epoch_shows_every_sample_once(count, batch_size, seed, epoch):
    plan = plan_epoch(count, batch_size, seed, epoch)

    assert sorted(np.concatenate(plan)) == list(range(count))


@quick
@given(counts, sizes)
@example(3, 2)
@example(257, 2)
@example(65, 64)
def test_batches_are_as_equal_as_can_be_and_none_has_a_single_image(count, batch_size):
    lengths = [len(rows) for rows in plan_epoch(count, batch_size, 0, 0)]

    assert max(lengths) - min(lengths) <= 1
    if count > 1 and batch_size > 1:
        assert min(lengths) > 1
    # Of two, a single one that is left over makes one batch of three.
    assert max(lengths) <= batch_size + (batch_size == 2 and count % 2)


def test_the_order_is_a_function_of_seed_and_epoch():
    def order(seed, epoch):
        return np.concatenate(plan_epoch(100, 8, seed, epoch)).tolist()

    assert order(1, 2) == order(1, 2)
    different = {tuple(order(seed, epoch)) for seed in range(5) for epoch in range(5)}
    assert len(different) == 25


def test_the_batch_size_does_not_change_the_order():
    orders = [np.concatenate(plan_epoch(50, size, 0, 3)).tolist() for size in (1, 7, 50)]

    assert orders[0] == orders[1] == orders[2]


@quick
@given(st.integers(0, 300), sizes)
def test_evaluation_keeps_the_order_and_every_sample(count, batch_size):
    plan = plan_evaluation(count, batch_size)

    assert [row for rows in plan for row in rows] == list(range(count))
    assert all(1 <= len(rows) <= batch_size for rows in plan)


# Batches


def only(variations: Variations) -> Variations:
    """Return what happens to the only image that was drawn for."""
    drawn = {
        name: value if isinstance(value, bool) else value[0]
        for name, value in vars(variations).items()
    }
    return Variations(**drawn)


def test_a_batch_holds_what_rendering_gives(samples):
    view = View(16, "crop", EVERYTHING, seed=3, epoch=5)
    plan = plan_epoch(len(samples), 4, 3, 5)

    for rows, batch in zip(plan, batches(samples, plan, view, 2), strict=True):
        assert batch.images.shape == (len(rows), 16, 16, 3)
        assert batch.images.dtype == np.uint8
        assert batch.rows.tolist() == rows.tolist()
        assert batch.labels.tolist() == samples.labels[rows].tolist()
        for row, shown in zip(rows, batch.images, strict=True):
            image = samples.store.image(samples.records[row])
            height, width = image.shape[:2]
            mean = image.reshape(-1, 3).mean(axis=0)
            key, aspect = samples.keys[[row]], np.array([width / height])
            expected = np.empty_like(shown)
            render(image, only(draw(EVERYTHING, 3, 5, key, aspect)), mean, "crop", expected)
            np.testing.assert_array_equal(shown, expected)
            samples.render(int(row), view, expected)
            np.testing.assert_array_equal(shown, expected)


def test_without_augmentation_the_view_is_the_plain_one(samples):
    assert View(16, "crop").draw(np.array([123]), np.array([1.5])) is PLAIN


@pytest.mark.parametrize("view", [View(16, "crop"), View(16, "stretch", EVERYTHING, 1, 2)])
def test_the_number_of_workers_changes_no_byte(samples, view):
    plan = plan_epoch(len(samples), 3, 0, 0)
    made = [
        b"".join(batch.images.tobytes() for batch in batches(samples, plan, view, workers))
        for workers in (0, 1, 2, 4)
    ]

    assert made[0] == made[1] == made[2] == made[3]


def test_an_image_looks_the_same_in_whatever_batch_it_comes(samples):
    view = View(16, "crop", EVERYTHING, 1, 2)
    alone = {}
    for batch in batches(samples, plan_evaluation(len(samples), 1), view, 0):
        alone[int(batch.rows[0])] = batch.images[0].tobytes()
    for batch in batches(samples, plan_epoch(len(samples), 7, 1, 2), view, 2):
        for row, image in zip(batch.rows, batch.images, strict=True):
            assert image.tobytes() == alone[int(row)]


def test_epochs_and_seeds_show_other_variations(samples):
    plan = plan_evaluation(len(samples), 32)
    views = [View(16, "crop", EVERYTHING, seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    seen = {b"".join(b.images.tobytes() for b in batches(samples, plan, view, 0)) for view in views}

    assert len(seen) == 4


@pytest.fixture(scope="module")
def small_samples(digit_folder) -> Samples:
    """Images that have the network's size: 8×8 px."""
    catalog, store = read_images(class_folders(list_folder(digit_folder)), 10, 10**6, 2)
    return samples_of(catalog, store, "all")


def test_small_images_are_flipped_and_shifted_without_loss(small_samples):
    augment = Augment(flip="alternate", translate_frac=0.25)
    for batch in batches(
        small_samples, plan_evaluation(100, 32), View(8, "crop", augment, 1, 2), 0
    ):
        for row, shown in zip(batch.rows, batch.images, strict=True):
            image = small_samples.store.image(int(small_samples.records[row]))
            assert set(np.unique(shown)) <= set(np.unique(image)), "no new values: no blur"


def test_small_images_in_the_plain_view_are_the_images(small_samples):
    batch = small_samples.batch(np.array([5, 3, 3]), View(8, "crop"))

    for row, shown in zip((5, 3, 3), batch.images, strict=True):
        image = small_samples.store.image(int(small_samples.records[row]))
        np.testing.assert_array_equal(shown, image)


# Threads


class Counted:
    """A source that knows which of its batches are in memory."""

    def __init__(self) -> None:
        self.alive: set[int] = set()
        self.most = 0

    def __len__(self) -> int:
        return 30

    def batch(self, rows: np.ndarray, view: View) -> Batch:
        batch = Batch(np.zeros(1), rows, rows)
        self.alive.add(int(rows[0]))
        weakref.finalize(batch, self.alive.discard, int(rows[0]))
        self.most = max(self.most, len(self.alive))
        return batch


def makers() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name.startswith("batches")]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_two_batches_a_worker_and_the_one_in_use_are_in_memory(workers):
    source = Counted()
    for batch in batches(source, plan_evaluation(30, 1), View(8, "crop"), workers):
        time.sleep(0.002)  # as slow as a network: all that may be made ahead is made
        assert int(batch.rows[0]) in source.alive

    assert source.most <= 2 * workers + 1


@pytest.mark.parametrize("workers", [0, 3])
def test_who_stops_early_leaves_nothing_behind(samples, workers):
    stream = batches(samples, plan_evaluation(len(samples), 1), View(16, "crop"), workers)
    first = next(stream)
    assert len(makers()) == min(workers, 3)
    stream.close()

    assert first.rows.tolist() == [0]
    assert not makers()


def test_who_stops_early_waits_for_nothing_that_was_not_begun():
    begun, go_on = [], threading.Event()

    class Slow(Counted):
        def batch(self, rows: np.ndarray, view: View) -> Batch:
            begun.append(int(rows[0]))
            if rows[0] > 0:
                go_on.wait(10)
            return super().batch(rows, view)

    stream = batches(Slow(), plan_evaluation(30, 1), View(8, "crop"), 1)
    next(stream)
    threading.Timer(0.05, go_on.set).start()
    stream.close()

    assert begun in ([0], [0, 1])


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_of_the_caller_ends_the_threads(samples, error):
    def use():
        for _ in batches(samples, plan_evaluation(len(samples), 1), View(16, "crop"), 2):
            raise error

    with pytest.raises(error):
        use()
    gc.collect()  # the stream ends when nobody holds it: the traceback did
    assert not makers()


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_in_a_worker_reaches_the_caller(samples, workers):
    plan = [np.array([0]), np.array([10**6])]
    with pytest.raises(IndexError):
        list(batches(samples, plan, View(16, "crop"), workers))


@given(
    numbers=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    sampler=st.sampled_from(["balanced", "square_root"]),
    seed=st.integers(0, 99),
)
def test_a_sampler_shows_classes_as_often_as_it_promises(numbers, sampler, seed):
    labels = np.repeat(np.arange(len(numbers)), numbers)

    rows, showing = showings(resampled(labels, sampler, seed, epoch=1))

    assert len(rows) == len(labels)
    shares = np.array(numbers) ** (0.5 if sampler == "square_root" else 0)
    shown = np.bincount(labels[rows], minlength=len(numbers))
    assert np.abs(shown - shares / shares.sum() * len(labels)).max() <= 1
    for label in range(len(numbers)):  # none again before all were shown
        times = np.bincount(rows[labels[rows] == label], minlength=len(labels))[labels == label]
        assert times.max() - times.min() <= 1
    assert len(set(zip(rows.tolist(), showing.tolist(), strict=True))) == len(rows)


def test_a_sample_shown_again_in_an_epoch_is_varied_anew(samples):
    view = View(8, "crop", Augment(rotation_deg=90.0), seed=0, epoch=0)

    first, again = samples.batch(np.array([3, 3 + (1 << SHOWING_BITS)]), view).images

    assert not np.array_equal(first, again)
