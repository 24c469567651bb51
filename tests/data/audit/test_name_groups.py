"""Groups that names tell of are taken where the images bear them out, and only there."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_sample_images

from resnetlab.data.audit.name_groups import original, up_to_first_number, without_last_number
from resnetlab.data.dataset import divide, list_data
from resnetlab.data.description import describe_dataset
from resnetlab.recipe import Recipe
from resnetlab.workflows.steps import read_and_say

PX = 40
CLASSES = ("stop", "yield")


def view(photo: np.ndarray, place: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Cut a square near a place (x, y), shifted, scaled and brightened a little: a frame of a track."""
    side = int(generator.integers(110, 130))
    x, y = (place + generator.integers(-6, 7, 2)).clip(0, np.array(photo.shape[1::-1]) - side)
    cut = cv2.resize(photo[y : y + side, x : x + side], (PX, PX), interpolation=cv2.INTER_AREA)
    return np.clip(cut * generator.uniform(0.85, 1.15), 0, 255).astype(np.uint8)


@pytest.fixture
def tracks(tmp_path: Path) -> Callable[..., Path]:
    """Make two classes of tracks, each of some frames of one place in a photograph."""

    def make(name: Callable[[int, int], str], count: int = 8, frames: int = 6) -> Path:
        generator = np.random.default_rng(0)
        for label, photo in zip(CLASSES, load_sample_images().images, strict=True):
            (tmp_path / label).mkdir()
            grid = [(x, y) for x in range(10, 500, 125) for y in range(10, 290, 125)]
            for track in range(count):
                place = np.array(grid[track % len(grid)])
                for frame in range(frames):
                    path = tmp_path / label / name(track, frame)
                    cv2.imwrite(str(path), view(photo, place, generator))
        return tmp_path

    return make


def read(folder: Path, **values: object):
    settings = {
        "data.image_size": 32,
        "data.workers": 0,
        "data.near_duplicates": "ignore",
        "data.split": [0.6, 0.2, 0.2],
    }
    recipe = Recipe().override(settings | {k.replace("__", "."): v for k, v in values.items()})
    return read_and_say("set", *list_data(folder, recipe))


def test_frames_of_a_track_stay_together_with_nothing_said(tracks, capsys):
    dataset = read(tracks(lambda track, frame: f"{track:05}_{frame:05}.png"))

    catalog = divide(dataset.catalog, dataset.recipe)

    for row, name in enumerate(catalog.ids):
        track = name.rpartition("_")[0]
        same = [other.startswith(f"{track}_") for other in catalog.ids]
        assert len(set(catalog.split[same])) == 1, f"{catalog.ids[row]} is on both sides"
    assert all(catalog.counts(split).all() for split in ("train", "val", "test"))
    said = capsys.readouterr().err
    assert "names such as stop/00000_00000.png tell of" in said
    assert "16 groups" in said
    assert "--set data.name_groups=ignore" in said


def test_tracks_that_the_given_splits_divide_are_told_and_stay(tracks, capsys):
    folder = tracks(lambda track, frame: f"{track:05}_{frame:05}.png")
    rows = ["path,label,split"]
    for path in sorted(folder.rglob("*.png")):
        track, frame = map(int, path.stem.split("_"))
        split = "test" if track < 6 and frame >= 4 else "train"
        rows.append(f"{path.relative_to(folder)},{path.parent.name},{split}")
    (folder / "labels.csv").write_text("\n".join(rows))

    catalog = read(folder / "labels.csv").catalog

    said = capsys.readouterr().err
    assert "24 of 24 test images are of a group that training has images of too" in said
    assert "the first is stop/00000_00004.png" in said
    assert (catalog.split == "test").sum() == 24


@pytest.mark.parametrize("begins_anew", [False, True])
def test_names_join_the_folders_of_splits_only_where_their_images_are_alike(
    tracks, capsys, begins_anew
):
    folder = tracks(lambda track, frame: f"{track:05}_{frame:05}.png")
    for path in sorted(folder.rglob("*.png")):
        track, frame = map(int, path.stem.split("_"))
        is_test = track >= 4 if begins_anew else frame >= 4
        name = f"{track % 4:05}_{frame:05}.png" if begins_anew else path.name
        target = folder / ("test" if is_test else "train") / path.parent.name / name
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    for name in CLASSES:
        (folder / name).rmdir()

    catalog = read(folder).catalog

    assert len(set(catalog.group)) == 16
    told = "32 of 32 test images are of a group that training has images of too"
    assert (told in capsys.readouterr().err) is not begins_anew


@pytest.mark.parametrize(
    "name",
    [
        lambda track, frame: f"patient{track}_slice{frame}.png",
        lambda track, frame: f"IMG_{track}_jpg.rf.{track:04x}{frame:04x}9a.png",
        lambda track, frame: f"IMG_{track}{f' ({frame})' if frame else ''}.png",
        lambda track, frame: (
            f"{'x' * (track + 1)}{['', '_flip', '_rot90', '-copy', '_aug3', '_noise2'][frame]}.png"
        ),
        lambda track, frame: f"{chr(97 + track)}_0_{1000 + frame}.png",
    ],
)
def test_names_of_patients_and_of_copies_that_tools_made_are_read(tracks, name):
    catalog = read(tracks(name)).catalog

    assert len(set(catalog.group)) == 16


def test_names_alone_prove_nothing(tracks):
    generator = np.random.default_rng(1)
    drawn = iter(generator.permutation(200))
    shuffled = read(tracks(lambda track, frame: f"{(n := next(drawn)) % 20:02}_{n:05}.png")).catalog

    assert len(set(shuffled.group)) == len(shuffled)


@pytest.mark.parametrize(
    "name", ["{n}.png", "IMG_{n:04}.png", "cat.{n}.png", "{n:04}_airplane.png"]
)
def test_names_that_only_count_make_no_groups(tracks, name):
    order = iter(np.random.default_rng(2).permutation(200))

    catalog = read(tracks(lambda track, frame: name.format(n=next(order)))).catalog

    assert len(set(catalog.group)) == len(catalog)


def test_frames_that_only_count_are_kept_in_blocks(tracks, capsys):
    dataset = read(tracks(lambda track, frame: f"frame{10 * track + frame:05}.png", frames=8))

    catalog = divide(dataset.catalog, dataset.recipe)
    apart = [
        first != second
        for label in range(2)
        for first, second in zip(
            catalog.split[catalog.labels == label][:-1],
            catalog.split[catalog.labels == label][1:],
            strict=True,
        )
    ]

    assert "as frames of a video are" in capsys.readouterr().err
    assert sum(apart) < len(apart) / 4, "neighbours mostly share a split"


def test_a_class_that_is_one_track_is_told_and_divided_in_blocks(tracks, capsys):
    folder = tracks(lambda track, frame: f"{track:05}_{frame:05}.png")
    for path in (folder / "yield").iterdir():
        if not path.name.startswith("00003"):
            path.unlink()

    dataset = read(folder)

    note = "1 class has all images in fewer than 5 such groups ('yield')"
    assert note in capsys.readouterr().err
    assert any(note in text for text in describe_dataset(dataset, "all")["notes"])
    assert all(divide(dataset.catalog, dataset.recipe).counts("test"))


def test_what_the_user_says_of_groups_stands(tracks):
    folder = tracks(lambda track, frame: f"{track:05}_{frame:05}.png")

    off = read(folder, data__name_groups="ignore").catalog
    by_hand = read(folder, data__group_pattern=r"/(\d)").catalog

    assert len(set(off.group)) == len(off)
    assert len(set(by_hand.group)) == 1


TOOLS = """x_jpg.rf.0a1b2c3d4e|aug_3_x|x (2)|x_flip|copy of x|x - Copy|x - Copy (3)|x_rot90|x_rotated_15
x_0_1234|x_hflip|x-aug|x_cropped_2|x_blur"""


@pytest.mark.parametrize("name", TOOLS.replace("\n", "|").split("|"))
def test_what_tools_add_to_a_name_is_known(name):
    assert original(name) == "x"


@given(st.text(alphabet="ab_-. ()0123456789", min_size=1, max_size=20))
def test_reading_a_name_gives_a_part_of_it_and_never_nothing(name):
    for read_name in (up_to_first_number, without_last_number, original):
        assert read_name(name)
        assert read_name(name) in name
