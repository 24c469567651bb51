"""Images given as arrays: the same pixels and labels from every form, nothing executed, nothing guessed."""

import io
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import save_file
from sklearn.datasets import load_digits

from resnetlab.data.catalog import Catalog
from resnetlab.data.sources.arrays import files as array_files
from resnetlab.data.sources.arrays import scales
from resnetlab.data.sources.arrays.arrays import Arrays, has_arrays, read_arrays
from resnetlab.data.sources.listing import list_folder
from resnetlab.data.sources.reader import Reader
from resnetlab.data.sources.source import read_source
from resnetlab.data.sources.tables.labelled import split_of
from resnetlab.data.store.decode import decode
from resnetlab.data.store.pixels import PixelStore, read_images
from resnetlab.errors import DataError
from resnetlab.recipe import Data

SCANS = np.rint(load_digits().images[:24] * (255 / 16)).astype(np.uint8)  # (24, 8, 8)
COLOURS = np.stack([SCANS, 255 - SCANS, SCANS[:, ::-1]], axis=3)  # (24, 8, 8, 3)
LABELS = load_digits().target[:24]


def read(folder: Path, **settings: object) -> Catalog:
    return read_arrays(list_folder(folder), Data(**settings))


def image(file: Path, member: str) -> np.ndarray:
    """Return a member's pixels as the one decoder sees them, (H, W, 3)."""
    return decode(Arrays(file).read(member), 10_000, 10**6).pixels


def decoded(catalog: Catalog) -> list[tuple[bytes, str, str]]:
    """Return (pixels, class, split) of every image, in the order of their rows."""
    rows = []
    for row, path in enumerate(catalog.paths):
        file, _, member = path.partition("\0")
        pixels = image(catalog.root / file, member)
        key = (file, member.rpartition("/")[0], int(member.rpartition("/")[2].removesuffix(".tif")))
        rows.append(
            (key, pixels.tobytes(), catalog.classes[catalog.labels[row]], catalog.split[row])
        )
    return [tuple(row[1:]) for row in sorted(rows)]


def refused(folder: Path, message: str, **settings: object) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(folder, **settings)
    assert str(folder) in str(caught.value)


# The same from every form


def save_npy(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    np.save(folder / "images.npy", images)
    np.save(folder / "labels.npy", labels)


def save_npz(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    np.savez(folder / "set.npz", images=images, labels=labels)


def save_compressed(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    np.savez_compressed(folder / "set.npz", images=images, labels=labels)


def save_torch(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    tensors = {"data": torch.tensor(images), "targets": torch.tensor(labels), "epoch": 3}
    torch.save(tensors, folder / "set.pt")


def save_old_torch(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    pair = (torch.tensor(images), torch.tensor(labels))
    torch.save(pair, folder / "set.pth", _use_new_zipfile_serialization=False)


def save_safetensors(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    save_file({"x": np.ascontiguousarray(images), "y": labels}, folder / "set.safetensors")


FORMS = [save_npy, save_npz, save_compressed, save_torch, save_old_torch, save_safetensors]
VALUES = {
    "uint8": lambda x: x,
    "int64": lambda x: x.astype(np.int64),
    "0 to 1": lambda x: (x / 255).astype(np.float32),
    "0 to 1, half": lambda x: (x / 255).astype(np.float16),
    "0 to 255": lambda x: x.astype(np.float64),
    "-1 to 1": lambda x: (x / 127.5 - 1).astype(np.float32),
    "16 bit": lambda x: x.astype(np.uint16) * 257,
}


# PyTorch's old form has no unsigned 16 bits.
PAIRS = [
    (save, values)
    for save in FORMS
    for values in VALUES
    if (save, values) != (save_old_torch, "16 bit")
]


@pytest.mark.parametrize(("save", "values"), PAIRS)
def test_every_form_and_range_gives_the_same_pixels_and_labels(tmp_path, save, values):
    for name, images in (("grey", SCANS), ("colour", COLOURS)):
        (tmp_path / name).mkdir()
        save(tmp_path / name, VALUES[values](images), LABELS)
        shown = images if images.ndim == 4 else np.stack([images] * 3, axis=3)

        assert decoded(read(tmp_path / name)) == [
            (pixels.tobytes(), str(label), "") for pixels, label in zip(shown, LABELS, strict=True)
        ]


@pytest.mark.parametrize(
    ("shaped", "expected"),
    [
        (SCANS[..., None], SCANS),
        (SCANS[:, None], SCANS),
        (COLOURS.transpose(0, 3, 1, 2), COLOURS),
        (np.asfortranarray(COLOURS), COLOURS),
        (COLOURS.astype(">i2"), COLOURS),
        (SCANS[:, :5], SCANS[:, :5]),
        (SCANS > 100, (SCANS > 100) * np.uint8(255)),
    ],
    ids=["NHW1", "N1HW", "NCHW", "columns first", "big end", "not square", "bool"],
)
def test_layouts_of_arrays(tmp_path, shaped, expected):
    save_npy(tmp_path, shaped, LABELS)
    grey = expected if expected.ndim == 4 else np.stack([expected] * 3, axis=3)

    assert [row[0] for row in decoded(read(tmp_path))] == [pixels.tobytes() for pixels in grey]


def test_the_last_dimension_decides_first_which_one_is_colour(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2, 3, 8, 3), np.uint8))

    assert Arrays(tmp_path / "x.npy").read("0").startswith(b"P6 8 3 255\n")


def test_four_channels_lie_on_the_same_ground_as_other_transparent_images(tmp_path):
    clear = np.concatenate([COLOURS[:1], np.full((1, 8, 8, 1), 100, np.uint8)], axis=3)
    np.save(tmp_path / "x.npy", clear)
    file = io.BytesIO()
    Image.fromarray(clear[0]).save(file, "PNG")

    expected = decode(file.getvalue(), 100, 10**6).pixels
    assert np.array_equal(image(tmp_path / "x.npy", "0"), expected)


def test_small_16_bit_values_are_no_nearly_black_images(tmp_path):
    np.save(tmp_path / "x.npy", SCANS.astype(np.uint16))

    assert np.array_equal(image(tmp_path / "x.npy", "3")[..., 0], SCANS[3])


def test_a_row_that_is_not_there_is_a_key_error(tmp_path):
    np.save(tmp_path / "x.npy", SCANS)
    container = Arrays(tmp_path / "x.npy")

    for member in ("24", "-1", "x", "", "a/0", "²", "24.tif", ".tif", "3.png"):
        with pytest.raises(KeyError):
            container.read(member)


# More than 8 bits

DEPTHS = {
    "12 bits in uint16": (SCANS.astype(np.uint16) * 16, (0, 4095)),
    "12 bits in int32, colour": (COLOURS.astype(np.int32) * 16, (0, 4095)),
    "16 bits in full": (SCANS.astype(np.uint16) * 257, (0, 65535)),
    "digits from 0 to 16": (load_digits().images[:24], (0, 16)),
    "whole digits from 0 to 16": (load_digits().images[:24].astype(np.int64), (0, 31)),
}


def seen(folder: Path, **settings: object) -> tuple[Catalog, PixelStore]:
    settings = Data(**settings)
    return read_images(
        read(folder, **settings.model_dump()), 8, 10**6, 0, value_range=settings.value_range
    )


@pytest.mark.parametrize("kind", DEPTHS)
def test_arrays_of_more_than_8_bits_have_the_scale_that_such_files_have(tmp_path, kind):
    values, expected = DEPTHS[kind]
    save_npy(tmp_path, values, LABELS)
    catalog, store = seen(tmp_path)

    assert store.value_range == expected
    brightest = max(store.image(row).max() for row in store.rows_of(catalog))
    assert brightest == round(float(values.max()) / expected[1] * 255)
    assert not catalog.notes, "the scale is noted where it is found"


def test_a_dark_array_beside_others_of_12_bits_has_their_scale(tmp_path):
    np.savez(tmp_path / "a.npz", x=SCANS.astype(np.uint16) * 16, y=LABELS)
    np.savez(tmp_path / "b.npz", x=SCANS.astype(np.uint16), y=LABELS)
    catalog, store = seen(tmp_path)

    assert store.value_range == (0, 4095)
    dark = [store.image(store.rows_of(catalog)[row]).max() for row in range(24, 48)]
    assert max(dark) <= 255 // 16 + 1


@pytest.mark.parametrize(
    ("images", "given"),
    [
        (SCANS.astype(np.uint16), (0, 4095)),
        (SCANS / 5100, (0, 0.05)),
        (SCANS.astype(np.int16) - 100, (-100, 155)),
        (COLOURS.astype(np.uint16) * 16, (0, 2000)),
    ],
    ids=["uint16 that would be bytes", "floats", "below zero", "colour"],
)
def test_a_scale_that_the_user_gives_counts_for_arrays_too(tmp_path, images, given):
    save_npy(tmp_path, images, LABELS)
    catalog, store = seen(tmp_path, value_range=given)

    low, high = given
    expected = np.clip(np.rint((images.astype(np.float64) - low) / (high - low) * 255), 0, 255)
    for row, path in enumerate(catalog.paths):
        number = int(path.rpartition("\0")[2].removesuffix(".tif"))
        found = store.image(store.rows_of(catalog)[row])
        wanted = expected[number] if images.ndim == 4 else expected[number][..., None]
        assert np.abs(found - wanted).max() <= 1


def test_a_given_scale_leaves_bytes_as_they_are_and_refuses_what_cannot_be_scaled(tmp_path):
    save_npy(tmp_path, SCANS, LABELS)
    assert all(
        path.partition("\0")[2].isdigit() for path in read(tmp_path, value_range=(0, 9)).paths
    )

    save_npy(tmp_path, COLOURS / 255, LABELS)
    refused(tmp_path, "colours as float64 from 0 to 1 can't be given a scale", value_range=(0, 0.5))


@pytest.mark.parametrize(
    "images",
    [np.interp(COLOURS, (0, 255), (-2, 2.5)), COLOURS.astype(np.int32) - 100, COLOURS / 255],
    ids=["normalised", "below zero", "0 to 1"],
)
def test_colours_that_can_have_no_scale_are_not_advised_to_have_one(tmp_path, images):
    save_npy(tmp_path, images, LABELS)
    refused(tmp_path, r"can't be given a scale \(data.value_range\)", value_range=(-2, 3))

    try:
        said = "".join(read(tmp_path).notes)
    except DataError as error:
        said = str(error)
    assert "0 to 1" in said
    assert "value_range" not in said


def test_dark_colours_as_floats_are_bytes_for_no_file_holds_more_of_them(tmp_path):
    save_npy(tmp_path, (COLOURS // 5).astype(np.float32), LABELS)

    assert set(decoded(read(tmp_path))) == {
        ((pixels // 5).tobytes(), str(label), "")
        for pixels, label in zip(COLOURS, LABELS, strict=True)
    }


@pytest.mark.parametrize("values", [SCANS.astype(np.uint16) * 257, SCANS.astype(np.uint16) // 5])
def test_images_named_by_catalogs_of_earlier_versions_are_those_of_then(tmp_path, values):
    """These took 16 bits by 257ths, and dark values as bytes."""
    np.save(tmp_path / "x.npy", values)

    then = SCANS if values.max() > 255 else SCANS // 5
    assert np.array_equal(image(tmp_path / "x.npy", "3")[..., 0], then[3])


@pytest.mark.parametrize(
    ("ends", "name"), [((0, 1.0000001), "0 to 1"), ((-1.0000001, 1), "-1 to 1")]
)
def test_floats_that_pass_an_end_by_a_rounding_keep_their_scale_which_is_noted(
    tmp_path, ends, name
):
    values = np.interp(SCANS, (0, 255), ends)
    save_npy(tmp_path, values, LABELS)
    catalog = read(tmp_path)

    assert np.array_equal(image(tmp_path / "images.npy", "3")[..., 0], SCANS[3])
    assert (
        f"are read as {name}, from black to white; another scale by --set data.va"
        in catalog.notes[0]
    )


# Joining and pairing


def test_many_files_are_joined_in_natural_order(tmp_path):
    for number, rows in enumerate(np.array_split(np.arange(24), 12)):
        np.save(tmp_path / f"data{number}.npy", SCANS[rows])
        np.save(tmp_path / f"labels{number}.npy", LABELS[rows])
    catalog = read(tmp_path)

    assert catalog.ids[0] == "data0.npy/0"
    for row, path in enumerate(catalog.paths):
        file, _, member = path.partition("\0")
        number = int(file[4:-4]) * 2 + int(member)
        assert catalog.classes[catalog.labels[row]] == str(LABELS[number])


def test_one_array_of_labels_may_serve_all_files(tmp_path):
    np.save(tmp_path / "data2.npy", SCANS[:10])
    np.save(tmp_path / "data10.npy", SCANS[10:])
    np.save(tmp_path / "labels.npy", LABELS)

    assert [row[1] for row in decoded(read(tmp_path))[:14]] == [str(label) for label in LABELS[10:]]


@pytest.mark.parametrize(
    "names",
    [
        ("x_train", "y_train", "x_test", "y_test"),
        ("train_images", "train_labels", "test_images", "test_labels"),
        ("X_train", "Y_train", "X_test", "Y_test"),
        ("Xtrain", "ytrain", "Xtest", "ytest"),
        ("trainImages", "trainLabels", "testImages", "testLabels"),
    ],
)
def test_words_in_names_are_the_split(tmp_path, names):
    one, two, three, four = names
    np.savez(
        tmp_path / "mnist.npz",
        **{one: SCANS[:14], two: LABELS[:14], three: SCANS[14:], four: LABELS[14:]},
    )
    found = {
        split: labels for labels, split in ((row[1], row[2]) for row in decoded(read(tmp_path)))
    }

    assert set(found) == {"train", "test"}
    assert sum(read(tmp_path).split == "test") == 10


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("X_train.npy", "train"),
        ("val/images.npy", "val"),
        ("set.npz/x_valid", "val"),
        ("train-00000-of-00001.parquet", "train"),
        ("validation-0.arrow", "val"),
        ("latest.npz", ""),
        ("contest_training", "train"),
        ("train_test.npz", ""),
        ("mnist_train_test.npz/x_test", "test"),
        ("train/x.npz/images", "train"),
        ("x.npy", ""),
    ],
)
def test_the_split_is_a_whole_word(name, split):
    assert split_of(name) == split


def test_folders_and_levels_of_a_dictionary_name_splits_too(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "val").mkdir()
    save_npy(tmp_path / "train", SCANS, LABELS)
    save_npy(tmp_path / "val", SCANS, LABELS)
    assert set(read(tmp_path).split) == {"train", "val"}

    images, labels = torch.tensor(SCANS), torch.tensor(LABELS)
    (tmp_path / "torch").mkdir()
    torch.save({"train": (images, labels), "test": [images, labels]}, tmp_path / "torch" / "x.pt")
    assert set(read(tmp_path / "torch").split) == {"train", "test"}


# Labels


@pytest.mark.parametrize(
    "labels",
    [
        LABELS[:, None],
        LABELS.astype(np.float32),
        LABELS.astype(str),
        LABELS.astype(str).astype("S"),
        np.eye(10)[LABELS],
        np.eye(10, dtype=bool)[LABELS],
    ],
    ids=["column", "float", "text", "bytes", "one-hot", "one-hot bool"],
)
def test_labels_in_any_form_become_the_same_names(tmp_path, labels):
    save_npy(tmp_path, SCANS, labels)
    catalog = read(tmp_path)

    assert catalog.classes == tuple("0123456789")
    assert [row[1] for row in decoded(catalog)] == [str(label) for label in LABELS]


def test_classes_are_in_natural_order_unless_set(tmp_path):
    save_npy(tmp_path, SCANS, LABELS + 5)
    assert read(tmp_path).classes[:6] == ("5", "6", "7", "8", "9", "10")

    chosen = tuple(map(str, range(20, 3, -1)))
    assert read(tmp_path, classes=chosen).classes == chosen
    refused(
        tmp_path,
        r"images.npy/\d+' has the label '14', which is none of the 9",
        classes=chosen[7:16],
    )


def test_images_with_an_empty_label_are_left_out_and_counted(tmp_path):
    save_npy(tmp_path, SCANS, np.where(LABELS == 3, "", LABELS.astype(str)))
    catalog = read(tmp_path)

    assert len(catalog) == 24 - sum(LABELS == 3)
    assert "images have no label and were left out" in catalog.notes[0]


# What is refused, by name


def test_lengths_that_disagree_are_named_with_their_files(tmp_path):
    save_npy(tmp_path, SCANS, LABELS[:20])
    refused(tmp_path, r"images.npy holds 24 images, labels.npy 20 labels")

    np.save(tmp_path / "images2.npy", SCANS)
    refused(tmp_path, r"48 images and 20 labels don't go together: images.npy \(24\)")


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (SCANS * 2.0, r"images.npy: float64 values must lie in 0 to 255.*found 0 to 510"),
        (SCANS.astype(np.int32) - 1, r"images.npy: int32 values must lie.*found -1 to 254"),
        (SCANS / 100 - 1, r"found -1 to 1.55"),
        (np.where(SCANS == 0, np.nan, 1.0), "found values that are not finite"),
        (np.where(SCANS == 0, np.inf, 1.0), "found values that are not finite"),
        (SCANS.astype(complex), "images must be numbers, found complex128"),
        (SCANS.reshape(24, 2, 4, 8), r"shape \(24, 2, 4, 8\) is none of images"),
        (SCANS.reshape(24, 1, 8, 8, 1), r"shape \(24, 1, 8, 8, 1\) is none of images"),
        (SCANS[:0], r"shape \(0, 8, 8\) is none of images"),
        (SCANS.reshape(24, 64), r"images.npy \(24\), labels.npy \(24\)"),
    ],
)  # fmt: skip
def test_arrays_that_are_no_images_are_refused(tmp_path, images, message):
    save_npy(tmp_path, images, LABELS)
    refused(tmp_path, message)


def test_the_range_is_that_of_all_values_however_many(tmp_path, monkeypatch):
    monkeypatch.setattr(scales, "CHUNK_VALUES", 100)
    values = np.zeros((24, 8, 8))
    values[20, 3, 3] = 300
    save_npy(tmp_path, values, LABELS)

    refused(tmp_path, "found 0 to 300")


def test_files_with_different_ranges_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=SCANS, y=LABELS)
    np.savez(tmp_path / "b.npz", x=SCANS / 255, y=LABELS)

    refused(
        tmp_path, "values go from 0 to 255 in a.npz/x, but from 0 to 1 in b.npz/x; bring all to one"
    )


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS + 0.5, "labels must be whole numbers or words, found float64"),
        (np.where(LABELS == 1, np.nan, LABELS), "labels must be whole numbers or words"),
        (np.eye(10)[LABELS] * 2, r"labels.npy: shape \(24, 10\) is neither images"),
        (np.ones((24, 2)), "nor rows with a single 1"),
    ],
)
def test_labels_that_make_no_classes_are_refused(tmp_path, labels, message):
    save_npy(tmp_path, SCANS, labels)
    refused(tmp_path, message)


def test_images_without_labels_and_a_test_split_alone_are_refused(tmp_path):
    np.save(tmp_path / "x_test.npy", SCANS)
    refused(tmp_path, r"no array of labels \(one dimension\) belongs to x_test.npy \(24\)")

    np.save(tmp_path / "y_test.npy", LABELS)
    refused(tmp_path, "the split has test but no train")


def test_folders_of_images_are_no_set_of_arrays(tmp_path):
    save_npy(tmp_path, SCANS, LABELS)
    assert has_arrays(list_folder(tmp_path))

    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.png").touch()
    assert not has_arrays(list_folder(tmp_path))


def test_a_stray_array_beside_labelled_images_is_passed_over(tmp_path):
    for name in "abcd":
        Image.fromarray(SCANS["abcd".index(name)]).save(tmp_path / f"{name}.png")
    (tmp_path / "labels.csv").write_text("image,label\na.png,x\nb.png,y\nc.png,x\nd.png,y\n")
    np.save(tmp_path / "embeddings.npy", np.zeros((4, 512), np.float32))

    catalog = read_source(tmp_path, Data())
    assert list(catalog.ids) == ["a.png", "b.png", "c.png", "d.png"]
    assert "arrays embeddings.npy were passed over" in catalog.notes[0]


def test_arrays_that_a_table_of_one_image_puts_aside_are_named(tmp_path):
    save_npy(tmp_path, SCANS, LABELS)
    Image.fromarray(SCANS[0]).save(tmp_path / "sample.png")
    (tmp_path / "meta.csv").write_text("image,label\nsample.png,x\n")

    with pytest.raises(
        DataError, match=r"only 'x'; arrays images.npy, labels.npy were passed over.*of their own"
    ):
        read_source(tmp_path, Data())


# Damage and malice


class Canary:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def plant_npy(folder: Path, canary: Canary) -> None:
    np.save(folder / "x.npy", np.array([canary] * 3, dtype=object), allow_pickle=True)


def plant_npz(folder: Path, canary: Canary) -> None:
    np.savez(folder / "x.npz", x=np.array([canary] * 3, dtype=object))


def plant_torch(folder: Path, canary: Canary) -> None:
    torch.save({"images": canary}, folder / "x.pt")


def plant_old_torch(folder: Path, canary: Canary) -> None:
    torch.save({"images": canary}, folder / "x.pth", _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.pt", "x.pth", "x.safetensors"])
def test_a_bare_pickle_under_any_name_is_never_executed(tmp_path, name):
    canary = tmp_path / "canary"
    data = tmp_path / "data"
    data.mkdir()
    (data / name).write_bytes(pickle.dumps(Canary(canary)))

    refused(data, name)
    assert not canary.exists()


@pytest.mark.parametrize("plant", [plant_npy, plant_npz, plant_torch, plant_old_torch])
def test_a_pickle_inside_a_file_of_arrays_is_never_executed(tmp_path, plant):
    canary = tmp_path / "canary"
    data = tmp_path / "data"
    data.mkdir()
    plant(data, Canary(canary))

    refused(data, "would need a pickle, which is never executed")
    assert not canary.exists()


@pytest.mark.parametrize("save", FORMS)
def test_damaged_files_are_refused_by_name_wherever_they_are_cut(tmp_path, save):
    save(tmp_path, SCANS, LABELS)
    file = next(path for path in sorted(tmp_path.iterdir()) if path.name != "labels.npy")
    content = file.read_bytes()

    for length in (0, 1, 7, 60, len(content) // 2, len(content) - 1):
        file.write_bytes(content[:length])
        with pytest.raises(DataError, match=file.name):
            read(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xff\xff\xff\xff\xff\xff\x7f{}",
        (200).to_bytes(8, "little")
        + b'{"x":{"dtype":"U8","shape":[9,9,9],"data_offsets":[0,729]}}',
        (2).to_bytes(8, "little") + b"[]",
    ],
)
def test_a_safetensors_header_that_lies_is_refused(tmp_path, content):
    (tmp_path / "x.safetensors").write_bytes(content)
    refused(tmp_path, "x.safetensors: is damaged")


def test_an_npy_header_that_lies_about_the_size_is_refused(tmp_path):
    for shape in ((10**12, 28, 28), (2**62, 2**62, 16), (-1, 8, 8)):
        with (tmp_path / "x.npy").open("wb") as file:
            np.lib.format.write_array_header_1_0(
                file, {"descr": "|u1", "fortran_order": False, "shape": shape}
            )
        refused(tmp_path, "x.npy")


def test_a_tensor_that_repeats_few_bytes_without_end_is_refused(tmp_path):
    torch.save({"x": torch.zeros(1, 8, 8).expand(10**9, 8, 8)}, tmp_path / "x.pt")
    refused(tmp_path, "too short for a tensor of shape")


def test_lists_that_hold_each_other_come_to_an_end(tmp_path):
    nested: list[object] = [torch.tensor(SCANS)]
    for _ in range(40):
        nested = [nested, nested]
    torch.save(nested, tmp_path / "x.pt")

    refused(tmp_path, "is the same as another list")


def test_a_compressed_array_larger_than_memory_should_hold_is_refused(tmp_path, monkeypatch):
    save_compressed(tmp_path, SCANS, LABELS)
    monkeypatch.setattr(array_files, "MAX_UNPACKED_BYTES", 1000)

    refused(tmp_path, r"set.npz/images.npy: takes .* GiB of memory once unpacked")


def test_other_members_of_an_npz_are_nothing(tmp_path):
    save_npz(tmp_path, SCANS, LABELS)
    with zipfile.ZipFile(tmp_path / "set.npz", "a") as archive:
        archive.writestr("readme.txt", "digits")

    assert len(read(tmp_path)) == 24


# Rows of values, and arrays in archives


def smooth(count: int, *shape: int) -> np.ndarray:
    """Return images whose neighbours resemble each other, as those of photographs do, (N, *shape) uint8."""
    side = np.linspace(0, 200, 32 if len(shape) == 3 else shape[0])
    plane = (side[:, None] + side[None, :]) / 2
    image = np.stack([plane, plane[::-1], 255 - plane], axis=-1) if len(shape) == 3 else plane
    return np.stack([np.roll(image, number, axis=0) for number in range(count)]).astype(np.uint8)


@pytest.mark.parametrize("form", ["28x28", "32x32x3", "3x32x32"])
def test_rows_of_784_and_3072_values_are_images(tmp_path, form):
    images = smooth(6, 28, 28) if form == "28x28" else smooth(6, 32, 32, 3)
    rows = images.transpose(0, 3, 1, 2) if form == "3x32x32" else images
    np.save(tmp_path / "x.npy", np.ascontiguousarray(rows).reshape(6, -1))
    np.save(tmp_path / "y.npy", np.arange(6) % 2)

    catalog = read_source(tmp_path, Data())
    read = Reader(catalog.root)

    assert len(catalog) == 6
    assert any(form.replace("x", "×") in each for each in catalog.notes)
    for row, path in enumerate(catalog.paths):
        with Image.open(io.BytesIO(read(path))) as image:
            np.testing.assert_array_equal(np.asarray(image), images[row])


@pytest.mark.parametrize("ending", ["zip", "tar", "tar.gz"])
def test_arrays_in_an_archive_are_those_of_the_folder(tmp_path, ending):
    folder = tmp_path / "set"
    folder.mkdir()
    np.savez(folder / "set.npz", x_train=smooth(6, 28, 28), y_train=np.arange(6) % 2)
    shutil.make_archive(str(tmp_path / "packed"), {"tar.gz": "gztar"}.get(ending, ending), folder)

    plain = read_source(folder, Data())
    packed = read_source(tmp_path / f"packed.{ending}", Data())

    assert list(packed.labels) == list(plain.labels)
    assert list(packed.split) == list(plain.split)
    one, other = Reader(plain.root), Reader(packed.root)
    assert [one(path) for path in plain.paths] == [other(path) for path in packed.paths]
