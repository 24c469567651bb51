"""Images of more than 8 bits keep what they show: one scale for a set, the same in prediction."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin

from resnetlab import workflows
from resnetlab.cli.main import main
from resnetlab.data.dataset import list_data
from resnetlab.data.description import describe_dataset
from resnetlab.data.store.decode import ImageProblem, decode
from resnetlab.data.store.depth import Extremes, extremes_of, range_of
from resnetlab.deploy.bundle import load_bundle
from resnetlab.recipe import Recipe
from resnetlab.system.files import read_csv
from resnetlab.workflows.steps import read_and_say

SIDE = 24


def ramp(low: float, high: float) -> np.ndarray:
    """Values from one end to the other, along the rows."""
    return np.linspace(low, high, SIDE * SIDE).reshape(SIDE, SIDE)


def tiff(values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "TIFF")
    return stream.getvalue()


def by_opencv(values: np.ndarray, ending: str) -> bytes:
    return cv2.imencode(ending, values)[1].tobytes()


@pytest.fixture
def a_set(tmp_path: Path):
    """Write classes 'dark' and 'light', whose images differ by their brightness alone."""

    def make(encode, low: float, high: float, ending: str = ".tif", count: int = 12) -> Path:
        generator = np.random.default_rng(0)
        middle = (low + high) / 2
        for name, ends in (("dark", (low, middle)), ("light", (middle, high))):
            (tmp_path / "set" / name).mkdir(parents=True)
            for number in range(count):
                values = ramp(*ends) + generator.uniform(0, (high - low) / 50)
                values = np.clip(values, low, high)
                if number == 0:
                    values[0, 0] = ends[0]
                    values[-1, -1] = ends[1]
                (tmp_path / "set" / name / f"{number}{ending}").write_bytes(encode(values))
        return tmp_path / "set"

    return make


def read(folder: Path, **values: object):
    recipe = Recipe().override(
        {"data.image_size": 32, "data.workers": 0, "data.near_duplicates": "ignore"}
        | {key.replace("__", "."): value for key, value in values.items()}
    )
    return read_and_say("set", *list_data(folder, recipe))


def greys(dataset) -> tuple[float, float]:
    store, catalog = dataset.store, dataset.catalog
    every = [store.image(row) for row in store.rows_of(catalog)]
    return min(image.min() for image in every), max(image.max() for image in every)


KINDS = {
    "12 bits in a 16-bit PNG": (
        lambda v: by_opencv(v.astype(np.uint16), ".png"),
        0,
        4095,
        [0, 4095],
    ),
    "12 bits in a 16-bit TIFF": (lambda v: tiff(v.astype(np.uint16)), 0, 4000, [0, 4095]),
    "16 bits in full": (lambda v: tiff(v.astype(np.uint16)), 0, 65535, [0, 65535]),
    "10 bits": (lambda v: tiff(v.astype(np.uint16)), 0, 1000, [0, 1023]),
    "floats from 0 to 1": (lambda v: tiff(v.astype(np.float32)), 0, 1, [0, 1]),
    "floats from 0 to 255": (lambda v: tiff(v.astype(np.float32)), 0, 255, [0, 255]),
    "floats of any range": (lambda v: tiff(v.astype(np.float32)), -5, 7, [-5, 7]),
    "numbers below zero": (lambda v: tiff(v.astype(np.int32)), -1000, 3000, [-1000, 3000]),
    "RGB of 16 bits": (
        lambda v: by_opencv(np.repeat(v.astype(np.uint16)[..., None], 3, 2), ".png"),
        0,
        4095,
        [0, 4095],
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_set_of_more_than_8_bits_is_shown_from_black_to_white(a_set, kind, capsys):
    encode, low, high, expected = KINDS[kind]
    dataset = read(a_set(encode, low, high))

    assert list(dataset.recipe.data.value_range) == pytest.approx(expected, abs=1e-6)
    darkest, lightest = greys(dataset)
    assert darkest <= 8
    assert lightest >= 240
    assert f"{expected[0]:g} becomes black and {expected[1]:g} white" in capsys.readouterr().err
    assert len(set(dataset.catalog.sha256)) == 24, "no two are copies"
    means = [dataset.store.image(row).mean() for row in dataset.store.rows_of(dataset.catalog)]
    dark = np.array(means)[dataset.catalog.labels == 0]
    assert dark.max() < np.array(means)[dataset.catalog.labels == 1].min(), "brightness is kept"


def test_the_user_can_give_the_scale(a_set):
    dataset = read(
        a_set(lambda v: tiff(v.astype(np.uint16)), 0, 4095), data__value_range=[1000, 3000]
    )

    assert list(dataset.recipe.data.value_range) == [1000, 3000]
    assert greys(dataset) == (0, 255)


def test_values_that_use_little_of_the_scale_are_a_thing_to_look_at(a_set):
    folder = a_set(lambda v: tiff(v.astype(np.uint16)), 100, 900)

    dull = read(folder, data__value_range=[0, 65535])

    found = describe_dataset(dull, "all")["warnings"]
    assert any("of black to white" in text and "data.value_range" in text for text in found)
    assert not any(
        "black to white" in text for text in describe_dataset(read(folder), "all")["warnings"]
    )


def test_8_bits_need_no_scale(digit_folder):
    dataset = read(digit_folder)

    assert dataset.recipe.data.value_range is None
    assert dataset.store.value_range is None


def test_images_that_differ_in_the_lowest_bits_alone_are_no_copies():
    one, other = ramp(0, 4095).astype(np.uint16), ramp(0, 4095).astype(np.uint16)
    other[0, 0] += 1

    first, second = (decode(tiff(v), 64, 10**6, value_range=(0, 65535)) for v in (one, other))

    assert np.array_equal(first.pixels, second.pixels)
    assert first.identity != second.identity


def test_what_is_no_number_becomes_black_and_decides_no_scale(a_set):
    def with_gaps(values: np.ndarray) -> bytes:
        values = values.astype(np.float32)
        values[3, 3:6] = np.nan, np.inf, -np.inf
        return tiff(values)

    dataset = read(a_set(with_gaps, 0, 1))

    assert list(dataset.recipe.data.value_range) == [0, 1]


def test_too_many_channels_are_refused_and_counted():
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[256], tags[257], tags[258], tags[262], tags[277] = SIDE, SIDE, (8,) * 6, 1, 6
    tags[273], tags[278], tags[279] = 200, SIDE, SIDE * SIDE * 6
    stream = io.BytesIO()
    stream.write(tags._prefix + b"\x2a\0\x08\0\0\0")
    stream.seek(8)
    tags.save(stream)
    stream.write(b"\0" * SIDE * SIDE * 6)

    with pytest.raises(ImageProblem, match="has 6 channels, at most 4 can be used"):
        decode(stream.getvalue(), 64, 10**6)


def test_a_model_predicts_by_the_scale_it_was_trained_with(a_set, tmp_path, capsys):
    folder = a_set(lambda v: by_opencv(v.astype(np.uint16), ".png"), 0, 4095, ".png", count=20)
    recipe = Recipe().override(
        {
            "model.name": "cnn",
            "model.weights": "none",
            "data.image_size": 16,
            "data.workers": 0,
            "data.augment": "none",
            "data.near_duplicates": "ignore",
            "training.epochs": 6,
            "training.monitor": "loss",
            "training.threads": 1,
        }
    )

    run = workflows.train(folder, recipe, tmp_path / "runs")

    assert run.recipe.data.value_range == (0, 4095)
    assert load_bundle(run.bundle)[1].value_range == (0, 4095)
    assert run.metrics["val"]["accuracy"]["value"] == 1.0
    assert (
        main(["predict", str(run.folder), str(folder / "light"), "--out", str(tmp_path / "p.csv")])
        == 0
    )
    rows = read_csv(tmp_path / "p.csv")
    assert len(rows) == 20
    assert {row["class"] for row in rows} == {"light"}, "as 65,535 for white all would be dark"


@given(st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 65535)), min_size=1, max_size=5))
def test_whole_numbers_from_zero_on_always_fit_into_their_scale(pairs):
    found = range_of([Extremes(min(p), max(p), False, 65535.0) for p in pairs])

    assert found is not None
    assert found[0] == 0
    assert found[1] >= max(max(p) for p in pairs)
    assert found[1] in {float(2**bits - 1) for bits in range(1, 17)}


def tagged(values: np.ndarray, **tags: int) -> bytes:
    """Return values as a TIFF with further tags, named as the standard names them."""
    numbers = {"PhotometricInterpretation": 262, "MaxSampleValue": 281}
    file = io.BytesIO()
    Image.fromarray(values).save(
        file, "TIFF", tiffinfo={numbers[name]: value for name, value in tags.items()}
    )
    return file.getvalue()


def test_where_white_is_zero_the_values_are_turned_round():
    values = (np.arange(SIDE * SIDE, dtype=np.uint16) * 7).reshape(SIDE, SIDE)
    plain = decode(tagged(65535 - values), SIDE, 10**6, value_range=(0.0, 65535.0))
    turned = decode(
        tagged(values, PhotometricInterpretation=0), SIDE, 10**6, value_range=(0.0, 65535.0)
    )

    np.testing.assert_array_equal(turned.pixels, plain.pixels)


def test_the_highest_value_that_all_files_state_is_white():
    values = np.full((SIDE, SIDE), 900, dtype=np.uint16)
    stated = extremes_of(tagged(values, MaxSampleValue=3000))
    silent = extremes_of(tagged(values))
    useless = extremes_of(tagged(values, MaxSampleValue=65535))

    assert range_of([stated, stated]) == (0.0, 3000.0)
    assert range_of([stated, silent]) == range_of([useless]) == (0.0, 1023.0)
