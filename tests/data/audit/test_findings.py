"""What looks odd is told in a sentence, and a clean set raises no alarm."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from resnetlab.data.audit import shortcuts as module
from resnetlab.data.audit.findings import describe
from resnetlab.data.audit.near_duplicates import PAIR
from resnetlab.data.audit.quarantine import audit
from resnetlab.data.audit.shortcuts import shortcuts
from resnetlab.data.sources.folder import class_folders
from resnetlab.data.sources.listing import list_folder
from resnetlab.data.store.pixels import read_images
from resnetlab.recipe import Data

NAMES = ("alder", "birch", "cedar")


def warnings_of(folder: Path) -> list[str]:
    catalog, store = read_images(class_folders(list_folder(folder)), 40, 10**7, 2)
    catalog = audit(catalog, Data(max_problem_frac=0.5))
    return describe(catalog, store, np.empty(0, dtype=PAIR), "images")["warnings"]


def patches(count: int, seed: int = 0) -> list[Image.Image]:
    """Coloured noise of 40×30 px, smooth enough to look like something."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (count, 5, 6, 3), dtype=np.uint8)
    return [Image.fromarray(patch).resize((40, 30), Image.Resampling.BICUBIC) for patch in small]


@pytest.fixture
def clean(tmp_path) -> Path:
    """90 JPEG images of 40×30 px in three classes that nothing but their content tells apart."""
    for number, image in enumerate(patches(90)):
        path = tmp_path / NAMES[number % 3] / f"{number:02}.jpg"
        path.parent.mkdir(exist_ok=True)
        image.save(path, quality=85)
    return tmp_path


def of_class(folder: Path, name: str) -> list[Path]:
    return sorted((folder / name).iterdir())


def test_a_clean_set_raises_no_alarm(clean):
    assert warnings_of(clean) == []


def test_real_photographs_and_real_digits_raise_no_alarm(photo_folder, digit_folder):
    assert warnings_of(photo_folder) == []
    assert warnings_of(digit_folder) == []


# Shortcuts


def test_a_border_on_one_class_gives_it_away(clean):
    for path in of_class(clean, "birch"):
        ImageOps.expand(Image.open(path).crop((2, 2, 38, 28)), 2, "navy").save(path, quality=85)
    for path in of_class(clean, "cedar"):
        ImageOps.expand(Image.open(path).crop((2, 2, 38, 28)), 2, "white").save(path, quality=85)
    (sentence,) = (text for text in warnings_of(clean) if text.startswith("a border alone tells "))

    assert sentence.endswith(
        "(by chance 33%): a network may learn that instead of what is to be seen"
    )


def test_what_gives_the_class_away_is_searched_once_for_a_store_and_its_labels(clean, monkeypatch):
    for path in of_class(clean, "birch"):
        ImageOps.expand(Image.open(path), 3, "red").save(path)
    catalog, store = read_images(class_folders(list_folder(clean)), 40, 10**7, 2)
    found = shortcuts(catalog, store)
    assert any(sentence.startswith("a border alone tells ") for sentence in found)
    shuffled = catalog.with_columns(labels=np.arange(90) % 3)
    assert shortcuts(shuffled, store) == [], "other labels are not answered from the file"
    assert shortcuts(catalog, store) == found
    kept = store.beside.with_suffix(".shortcuts")
    kept.write_bytes(kept.read_bytes()[:-7])
    assert shortcuts(catalog, store) == found, "a damaged file is searched anew"
    monkeypatch.setattr(module, "search", lambda *args: pytest.fail("searched again"))
    assert shortcuts(catalog, store) == found


def test_a_camera_of_each_class_gives_it_away(clean):
    for name in NAMES:
        for path in of_class(clean, name):
            exif = Image.Exif()
            exif[0x010F], exif[0x0110] = "Maker", f"Model of {name}"
            Image.open(path).save(path, quality=85, exif=exif)
    (sentence,) = warnings_of(clean)

    assert sentence.startswith("the camera alone tells 100% of the images' classes")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda path, image: image.resize((50, 30)).save(path, quality=85), "the size of the images"),
        (lambda path, image: image.save(path, quality=40), "the file format"),
        (lambda path, image: image.convert("L").save(path, quality=85), "colour or grey"),
    ],
    ids=["size", "compression", "grey"],
)  # fmt: skip
def test_other_properties_give_classes_away_too(clean, change, told):
    for path in of_class(clean, "alder"):
        change(path, Image.open(path).copy())
    for path in of_class(clean, "cedar"):
        path.unlink()
    (clean / "cedar").rmdir()

    assert any(sentence.startswith(f"{told} alone tells") for sentence in warnings_of(clean))


def test_the_same_border_on_all_classes_gives_nothing_away(clean):
    for path in clean.rglob("*.jpg"):
        ImageOps.expand(Image.open(path).crop((2, 2, 38, 28)), 2, "navy").save(path, quality=85)

    assert warnings_of(clean) == []


# Classes, shapes, files


def test_class_names_that_differ_by_case_or_blanks_are_told_and_kept_apart(clean):
    (clean / "alder").rename(clean / "Birch ")

    assert warnings_of(clean) == [
        "classes 'birch' and 'Birch ' differ by case or blanks only; they are kept apart"
    ]


def test_few_and_uneven_images_are_told(clean):
    for path in of_class(clean, "cedar")[2:]:
        path.unlink()

    assert warnings_of(clean) == [
        "1 of 3 classes have fewer than 10 images, such as 'cedar' with 2: no figure on them will be sure",
        "'alder' has 15 times the images of 'cedar': look at balanced accuracy",
    ]


def test_tiny_and_very_long_images_are_told(clean):
    Image.new("RGB", (1, 1), "red").save(of_class(clean, "alder")[0])
    Image.new("RGB", (2000, 9), "red").save(of_class(clean, "birch")[0])

    assert warnings_of(clean) == [
        "1 images have a side below 8 px, the first is alder/00.jpg",
        "1 images are more than 8 times as long as wide, the first is birch/01.jpg",
    ]


def test_wrong_endings_and_further_frames_are_told(clean):
    first, second = patches(2, seed=1)
    first.save(clean / "alder" / "00.jpg", "PNG")
    first.save(clean / "birch" / "moving.gif", save_all=True, append_images=[second])

    assert warnings_of(clean) == [
        "1 images are of another format than their name says (read all the same), the first is alder/00.jpg",
        "1 images have several frames or pages (the first one counts), the first is birch/moving.gif",
    ]


def test_where_near_duplicates_were_not_searched_nothing_is_said_of_them(clean):
    catalog, store = read_images(class_folders(list_folder(clean)), 40, 10**7, 2)

    assert describe(catalog, store, None, "images")["near_duplicates"] is None
