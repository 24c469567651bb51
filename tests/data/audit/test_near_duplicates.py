"""Near-duplicates are found whatever was done to them; different images are not taken for copies."""

import io
import time
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from sklearn.datasets import load_digits, load_sample_images

from resnetlab.data.audit import near_duplicates as near_duplicates_module
from resnetlab.data.audit.near_duplicates import comparable, compare, near_duplicates, search
from resnetlab.data.catalog import Catalog, objects
from resnetlab.data.sources.folder import class_folders
from resnetlab.data.sources.listing import list_folder
from resnetlab.data.store.decode import decode
from resnetlab.data.store.pixels import PixelStore, read_images
from resnetlab.data.store.record import RECORD, fill_record
from resnetlab.errors import StoppedError
from resnetlab.system import interruption


def store_of(images: Sequence[np.ndarray]) -> PixelStore:
    """A store of these images, uint8 (H, W, 3), without their pixels: the records are enough."""
    index = np.zeros(len(images), dtype=RECORD)
    for record, image in zip(index, images, strict=True):
        decoded = decode(encoded(image), 37, 10**7)
        fill_record(record, decoded.identity, 0, decoded)
    return PixelStore(np.empty(0, np.uint8), index, index["small"])


def encoded(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "BMP")
    return file.getvalue()


def found(images: Sequence[np.ndarray]) -> set[tuple[int, int]]:
    return {(int(pair["first"]), int(pair["second"])) for pair in search(store_of(images), 2)}


@pytest.fixture(scope="module")
def crops() -> list[np.ndarray]:
    """22 crops of 100×100 px from two photographs, no two of which overlap; not of sky or haze."""
    cut = [
        photo[100 * row : 100 * row + 100, 100 * column : 100 * column + 100]
        for photo in load_sample_images().images
        for row in range(4)
        for column in range(6)
    ]
    return sorted(cut, key=lambda crop: -np.abs(np.diff(crop.astype(float), axis=1)).mean())[:22]


def compressed(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file)


ALTERED: dict[str, Callable[[Image.Image], Image.Image]] = {
    "compressed": lambda image: compressed(image, 30),
    "scaled down": lambda image: image.resize((60, 60)),
    "squeezed": lambda image: image.resize((100, 85)),
    "cropped": lambda image: image.crop((3, 2, 98, 96)),
    "shifted": lambda image: image.crop((4, 0, 100, 97)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "less contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.6),
    "without colour": lambda image: image.convert("L").convert("RGB"),
    "flipped": ImageOps.mirror,
    "flipped and compressed": lambda image: compressed(ImageOps.mirror(image), 50),
}


@pytest.mark.parametrize("change", ALTERED.values(), ids=ALTERED)
def test_near_duplicates_are_found_and_nothing_else(crops, change):
    copies = [np.asarray(change(Image.fromarray(crop)).convert("RGB")) for crop in crops[::2]]
    planted = {(2 * number, len(crops) + number) for number in range(len(copies))}
    pairs = found([*crops, *copies])

    assert pairs <= planted
    assert len(pairs) >= 0.8 * len(planted)  # where little is to be seen, nobody can tell


def test_different_images_are_no_copies(crops):
    assert found(crops) == set()


def test_look_alikes_are_no_copies():
    digits = [
        np.asarray(Image.fromarray((digit * 15.9).astype(np.uint8)).resize((32, 32)).convert("RGB"))
        for digit in load_digits(n_class=2).images[::2]
    ]
    # Zeros resemble zeros: by the usual measure nearly all of them would be copies.
    assert len(found(digits)) <= 2


def test_images_too_small_to_tell_are_left_alone(crops):
    small = [np.asarray(Image.fromarray(crop).resize((16, 16))) for crop in crops[:5]]

    assert found([*small, *small]) == set()


@pytest.mark.parametrize("count", [0, 1, 2])
def test_sets_of_hardly_any_image_are_no_trouble(crops, count):
    assert found([*crops[:count], np.zeros((40, 40, 3), np.uint8)]) == set()


def test_the_same_is_found_by_any_number_of_workers(crops, monkeypatch):
    monkeypatch.setattr(near_duplicates_module, "CHUNK", 5)
    store = store_of([*crops, *(crop[3:97, 2:98] for crop in crops)])

    assert len(search(store, 1)) >= 15
    np.testing.assert_array_equal(search(store, 1), search(store, 3))


def test_where_an_end_is_asked_for_nothing_more_is_compared(crops, monkeypatch):
    def compare_slowly(store, pairs, flipped):
        compared.append(pairs)
        time.sleep(0.01)
        return compare(store, pairs, flipped)

    compared: list = []
    monkeypatch.setattr(near_duplicates_module, "CHUNK", 1)
    monkeypatch.setattr(near_duplicates_module, "compare", compare_slowly)
    store = store_of([*crops, *crops])
    interruption.set_deadline(0.0)
    try:
        with pytest.raises(StoppedError):
            search(store, 1)
    finally:
        interruption.reset()

    assert len(compared) < len(crops) / 2  # of as many pairs at least


def test_images_that_show_nothing_are_not_compared(crops):
    sky = np.full((100, 100, 3), 200, np.uint8)

    assert comparable(store_of([crops[0], sky, crops[1]])).tolist() == [0, 2]


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_what_is_found_does_not_depend_on_how_far_images_are_reduced(form):
    file = io.BytesIO()
    Image.fromarray(load_sample_images().images[0]).resize((1280, 854)).save(file, form)
    small = [decode(file.getvalue(), side, 10**7).small.astype(int) for side in (16, 60, 256, 2000)]

    assert all(np.abs(one - small[0]).mean() < 2 for one in small[1:])


def test_pairs_are_told_by_the_rows_of_the_catalog_and_kept_for_the_next_time(
    crops, tmp_path, monkeypatch
):
    for name, number in (("a/1", 7), ("a/2", 8), ("b/3", 9), ("b/also 3", 9)):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(crops[number]).save(path)
    compressed(Image.fromarray(crops[9]), 60).save(tmp_path / "a" / "3 again.jpg")
    catalog, store = read_images(class_folders(list_folder(tmp_path)), 114, 10**6, 2)

    def pairs(catalog: Catalog) -> list[tuple[str, str]]:
        near = near_duplicates(catalog, store, 2)
        return [(catalog.ids[pair["first"]], catalog.ids[pair["second"]]) for pair in near]

    expected = [("a/3 again.jpg", "b/3.png"), ("a/3 again.jpg", "b/also 3.png")]
    assert pairs(catalog) == expected
    kept = store.beside.with_suffix(f".pairs-{near_duplicates_module.VERSION}")
    kept.write_bytes(kept.read_bytes()[:-7])
    assert pairs(catalog) == expected, "a damaged file is searched anew"
    monkeypatch.setattr(
        near_duplicates_module, "search", lambda *args: pytest.fail("searched again")
    )
    assert pairs(catalog) == expected
    left_out = [""] * 4 + ["same image labelled a and b"]
    assert pairs(catalog.with_columns(problem=objects(left_out))) == expected[:1]


def test_among_look_alikes_the_closest_alone_are_compared_and_copies_are_found(monkeypatch):
    digits = [
        np.repeat(np.rint(np.kron(image, np.ones((5, 5))) * 15)[..., None], 3, 2).astype(np.uint8)
        for image in load_digits().images[:300]
    ]
    copies = [
        np.asarray(ImageEnhance.Brightness(Image.fromarray(each)).enhance(0.9))
        for each in digits[:3]
    ]
    monkeypatch.setattr(near_duplicates_module, "TRIED", 256)
    monkeypatch.setattr(near_duplicates_module, "RARE", 0.05)
    compared = []
    compare = near_duplicates_module.compare
    monkeypatch.setattr(
        near_duplicates_module,
        "compare",
        lambda store, pairs, flipped: compared.append(len(pairs)) or compare(store, pairs, flipped),
    )
    pairs = found([*digits, *copies])
    fewer = sum(compared)
    compared.clear()
    monkeypatch.setattr(near_duplicates_module, "CROWDED", float("inf"))
    assert pairs <= found([*digits, *copies])
    assert {(row, 300 + row) for row in range(3)} <= pairs
    assert fewer < sum(compared) / 2
