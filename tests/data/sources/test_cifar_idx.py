"""CIFAR's batches and MNIST's idx files: read as they come, and no pickle executed."""

import gzip
import io
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from resnetlab.data.sources.arrays import cifar, idx
from resnetlab.data.sources.arrays.arrays import Arrays, read_arrays
from resnetlab.data.sources.arrays.cifar import Batch, has_batches, is_batch, read_batch, read_cifar
from resnetlab.data.sources.arrays.idx import Idx, has_idx, is_idx, read_mnist
from resnetlab.data.sources.listing import list_folder
from resnetlab.data.store.decode import decode
from resnetlab.errors import DataError
from resnetlab.recipe import Data

GREY = np.kron(np.rint(load_digits().images[:12] * (255 / 16)), np.ones((4, 4))).astype(np.uint8)
COLOURS = np.stack([GREY, 255 - GREY, GREY[:, ::-1]], axis=1)  # (12, 3, 32, 32)
LABELS = load_digits().target[:12].tolist()
NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def pixels(content: bytes) -> np.ndarray:
    return decode(content, 1000, 10**6).pixels


# CIFAR


def as_python_2(value) -> bytes:
    """Return what Python 2 wrote, protocol 2: texts as bytes, arrays of NumPy's old module."""

    def text(raw: bytes) -> bytes:
        return b"T" + struct.pack("<i", len(raw)) + raw  # BINSTRING

    if isinstance(value, dict):
        items = b"".join(text(key.encode()) + as_python_2(item) for key, item in value.items())
        return b"}(" + items + b"u"
    if isinstance(value, list):
        return b"](" + b"".join(map(as_python_2, value)) + b"e"
    if isinstance(value, int):
        return b"K" + bytes([value])
    if isinstance(value, str):
        return text(value.encode())
    rows, columns = value.shape
    dtype = (
        b"cnumpy\ndtype\n"
        + text(b"u1")
        + b"K\x00K\x01\x87R(K\x03"
        + text(b"|")
        + b"NNNJ\xff\xff\xff\xff"
    )
    dtype += b"J\xff\xff\xff\xffK\x00tb"
    shape = b"M" + struct.pack("<H", rows) + b"M" + struct.pack("<H", columns) + b"\x86"
    start = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R"
    )
    return start + b"(K\x01" + shape + dtype + b"\x89" + text(value.tobytes()) + b"tb"


def python_2(value) -> bytes:
    return b"\x80\x02" + as_python_2(value) + b"."


def old_module(value) -> bytes:
    """Protocol 2 with the name that NumPy's module had before version 2."""
    return pickle.dumps(value, 2).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def keys_as_bytes(value) -> bytes:
    return pickle.dumps({key.encode(): item for key, item in value.items()}, 2)


WRITERS = {
    "python 2": python_2,
    "protocol 2": old_module,
    "protocol 4": lambda value: pickle.dumps(value, 4),
    "protocol 5": lambda value: pickle.dumps(value, 5),
    "bytes": keys_as_bytes,
}


def write_ten(folder: Path, dumps=python_2, count: int = 5) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    data = COLOURS.reshape(12, 3072)
    for number in range(1, count + 1):
        rows = slice(2 * (number - 1), 2 * number)
        batch = {"data": data[rows], "labels": LABELS[rows], "batch_label": "one of some"}
        (folder / f"data_batch_{number}").write_bytes(dumps(batch))
    (folder / "test_batch").write_bytes(dumps({"data": data[10:], "labels": LABELS[10:]}))
    (folder / "batches.meta").write_bytes(dumps({"label_names": NAMES}))
    (folder / "readme.html").touch()
    return folder


def shown(catalog) -> list[tuple[bytes, str, str]]:
    """Return (pixels, class, split) of every image, in natural order of batches."""
    rows = []
    for row, path in enumerate(catalog.paths):
        file, _, member = path.partition("\0")
        label = catalog.classes[catalog.labels[row]]
        content = pixels(Batch(catalog.root / file).read(member)).tobytes()
        rows.append((file, int(member), content, label, catalog.split[row]))
    return [row[2:] for row in sorted(rows)]


@pytest.mark.parametrize("writer", WRITERS)
def test_batches_give_images_names_and_splits_whoever_wrote_the_pickle(tmp_path, writer):
    catalog = read_cifar(list_folder(write_ten(tmp_path, WRITERS[writer])), Data())

    assert catalog.classes == tuple(NAMES)
    assert shown(catalog) == [
        (image.transpose(1, 2, 0).tobytes(), NAMES[label], "train" if row < 10 else "test")
        for row, (image, label) in enumerate(zip(COLOURS, LABELS, strict=True))
    ]
    assert catalog.notes == ()


def test_batches_may_lie_one_level_below(tmp_path):
    write_ten(tmp_path / "cifar-10-batches-py")
    listing = list_folder(tmp_path)

    assert has_batches(listing)
    assert read_cifar(listing, Data()).ids[0] == "cifar-10-batches-py/data_batch_1/0"
    assert not has_batches(list_folder(write_ten(tmp_path / "deep" / "er" / "est").parents[1]))


def test_the_hundred_classes_are_the_fine_ones(tmp_path):
    data = COLOURS.reshape(12, 3072)
    for name, rows in (("train", slice(10)), ("test", slice(10, 12))):
        batch = {"data": data[rows], "fine_labels": LABELS[rows], "coarse_labels": [0] * 10}
        (tmp_path / name).write_bytes(python_2(batch))
    assert not has_batches(list_folder(tmp_path))

    (tmp_path / "meta").write_bytes(
        python_2({"fine_label_names": NAMES, "coarse_label_names": ["x"]})
    )
    listing = list_folder(tmp_path)
    catalog = read_cifar(listing, Data())
    assert has_batches(listing)
    assert is_batch(tmp_path / "train")
    assert catalog.classes == tuple(NAMES)
    assert [row[2] for row in shown(catalog)] == ["test"] * 2 + ["train"] * 10


def test_a_batch_without_names_for_its_classes_is_refused(tmp_path):
    write_ten(tmp_path)
    (tmp_path / "batches.meta").write_bytes(python_2({"num_vis": 3}))
    with pytest.raises(DataError, match=r"batches.meta: holds no list 'label_names'"):
        read_cifar(list_folder(tmp_path), Data())

    (tmp_path / "batches.meta").unlink()
    with pytest.raises(DataError, match=r"'batches.meta' with the classes' names is missing"):
        read_cifar(list_folder(tmp_path), Data())


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"labels": [1, 2]}, "'data' must be N rows of 3072 bytes"),
        ({"data": np.zeros((2, 3000), np.uint8), "labels": [1, 2]}, "'data' must be N rows"),
        ({"data": np.zeros((2, 3072), np.int16), "labels": [1, 2]}, "'data' must be N rows"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [1]}, "holds 2 images and 1 labels"),
        ({"data": np.zeros((2, 3072), np.uint8)}, "holds 2 images and no labels"),
        (
            {"data": np.zeros((2, 3072), np.uint8), "labels": [1, 10]},
            "label 10 is no number from 0 to 9",
        ),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [1, "a"]}, "label b?'a' is no number"),
        ([1, 2], "no dictionary"),
    ],
)
def test_batches_that_hold_something_else_are_refused_by_name(tmp_path, batch, message):
    write_ten(tmp_path)
    (tmp_path / "data_batch_2").write_bytes(pickle.dumps(batch, 4))

    with pytest.raises(DataError, match=f"data_batch_2: .*{message}"):
        read_cifar(list_folder(tmp_path), Data())


class Canary:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("protocol", range(6))
def test_a_malicious_batch_is_not_executed(tmp_path, protocol):
    write_ten(tmp_path)
    batch = {"data": COLOURS[:2].reshape(2, 3072), "labels": Canary(tmp_path / "canary")}
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps(batch, protocol))

    with pytest.raises(
        DataError,
        match=r"data_batch_1: is damaged, or holds more than .* that would need a pickle, which is",
    ):
        read_cifar(list_folder(tmp_path), Data())
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"cnumpy\nload\n(S'x'\ntR.",
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cnumpy._core.multiarray\n_reconstruct.__globals__\n.",
        b"\x80\x04\x8c\x06_codecs\x8c\x06decode\x93.",
        b"c_codecs\nencode\n(S'a'\nS'rot13'\nt\x81.",
        b"\x80\x02c_codecs\nencode\n}S'given'\nI1\nsb.",
        b"\x80\x02}r\xff\xff\xff\x7f.",
        b"\x80\x04\x8e" + b"\xff" * 7 + b"\x00.",
        b"\x82\x01.",
        b"Pid\n.",
        b"(" * 1000,
        b"not a pickle",
        b"",
    ],
)
def test_pickles_that_ask_for_more_are_refused(tmp_path, content):
    (tmp_path / "data_batch_1").write_bytes(content)
    with pytest.raises(DataError, match="data_batch_1: "):
        read_batch(tmp_path / "data_batch_1")


def test_cut_batches_are_refused_wherever_they_are_cut(tmp_path):
    content = (write_ten(tmp_path) / "data_batch_1").read_bytes()
    for length in range(0, len(content) - 1, 211):
        (tmp_path / "data_batch_1").write_bytes(content[:length])
        with pytest.raises(DataError, match="data_batch_1: "):
            read_cifar(list_folder(tmp_path), Data())


def test_a_huge_file_is_no_batch(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar, "MAX_BYTES", 100)
    with pytest.raises(DataError, match="which no batch is"):
        read_batch(write_ten(tmp_path) / "test_batch")


# idx


def idx_bytes(values: np.ndarray, kind: int = 8) -> bytes:
    head = bytes([0, 0, kind, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return head + values.astype(np.uint8).tobytes()


def write_idx(folder: Path, style: str = "{}-{}-idx{}-ubyte", packed: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in (("train", slice(10)), ("t10k", slice(10, 12))):
        for what, values in (("images", GREY[rows]), ("labels", np.array(LABELS)[rows])):
            content = idx_bytes(values)
            name = style.format(split, what, values.ndim)
            (folder / (name + ".gz" if packed else name)).write_bytes(
                gzip.compress(content) if packed else content
            )
    return folder


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "style", ["{}-{}-idx{}-ubyte", "{}-{}.idx{}-ubyte", "MNIST/raw/{}-{}-idx{}-ubyte"]
)
def test_idx_files_give_images_and_splits(tmp_path, style, packed):
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    write_idx(tmp_path, style, packed)
    listing = list_folder(tmp_path)
    catalog = read_mnist(listing, Data())

    assert has_idx(listing)
    assert catalog.classes == tuple("0123456789")
    for path, label, split in zip(catalog.paths, catalog.labels, catalog.split, strict=True):
        file, _, member = path.partition("\0")
        row = int(member) + (10 if "t10k" in file else 0)
        assert is_idx(file)
        assert np.array_equal(pixels(Idx(tmp_path / file).read(member))[..., 0], GREY[row])
        assert (label, split) == (LABELS[row], "test" if row >= 10 else "train")


def test_of_a_file_and_its_packed_copy_one_counts(tmp_path):
    write_idx(tmp_path)
    write_idx(tmp_path, packed=True)
    catalog = read_mnist(list_folder(tmp_path), Data())

    assert len(catalog) == 12
    assert not any(".gz" in path for path in catalog.paths)
    assert "4 files or links were passed over" in catalog.notes[0]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is damaged"),
        (idx_bytes(GREY[:10])[:-1], r"shape \(10, 32, 32\) needs 10240 bytes, found 10239"),
        (idx_bytes(GREY[:10]) + b"x", "needs 10240 bytes, found 10241"),
        (idx_bytes(GREY[:10], kind=13), "no idx file of unsigned bytes"),
        (idx_bytes(GREY[:10].reshape(10, 1024)), "with 3 dimensions"),
        (idx_bytes(GREY[:0]), r"is empty, its shape is \(0, 32, 32\)"),
        (bytes([0, 0, 8, 3]) + b"\xff" * 12 + b"x", "damaged|the limit is"),
    ],
)
def test_damaged_idx_files_are_refused_by_name(tmp_path, packed, content, message):
    write_idx(tmp_path, packed=packed)
    name = "train-images-idx3-ubyte" + (".gz" if packed else "")
    (tmp_path / name).write_bytes(gzip.compress(content) if packed else content)

    with pytest.raises(DataError, match=message) as caught:
        read_mnist(list_folder(tmp_path), Data())
    assert name in str(caught.value)


def test_a_packed_file_that_is_cut_changed_or_a_bomb_is_refused(tmp_path, monkeypatch):
    file = write_idx(tmp_path, packed=True) / "train-images-idx3-ubyte.gz"
    whole = file.read_bytes()
    changed = bytearray(whole)
    changed[-5] ^= 1  # of the checksum
    for content in (whole[:-20], bytes(changed), b"\x1f\x8b rubbish"):
        file.write_bytes(content)
        with pytest.raises(DataError, match=r"train-images-idx3-ubyte.gz: can't be read"):
            read_mnist(list_folder(tmp_path), Data())

    file.write_bytes(whole)
    monkeypatch.setattr(idx, "MAX_UNPACKED_BYTES", 100)
    with pytest.raises(DataError, match="speaks of 2,048 bytes, the limit is 100"):
        read_mnist(list_folder(tmp_path), Data())


@pytest.mark.parametrize(
    "styles",
    [
        ("MNIST/raw/{}-{}-idx{}-ubyte", "FashionMNIST/raw/{}-{}-idx{}-ubyte"),
        ("gzip/emnist-letters-{}-{}-idx{}-ubyte", "gzip/emnist-digits-{}-{}-idx{}-ubyte"),
    ],
    ids=["torchvision's folders", "EMNIST in one folder"],
)
def test_sets_whose_numbers_mean_other_classes_are_not_joined(tmp_path, styles):
    for style in styles:
        (tmp_path / style).parent.mkdir(parents=True, exist_ok=True)
        write_idx(tmp_path, style)

    with pytest.raises(DataError, match=r"holds several data sets.*name one of these") as caught:
        read_mnist(list_folder(tmp_path), Data())
    for style in styles:
        assert style.partition("-{}")[0].removesuffix("/{}") in str(caught.value)


def test_parts_of_a_set_are_refused_with_the_way_to_join_them(tmp_path):
    for part in ("part1", "part2"):
        write_idx(tmp_path, part + "-{}-{}-idx{}-ubyte")

    with pytest.raises(DataError, match=r"parts of one set, .* several sources \(data.more\)"):
        read_mnist(list_folder(tmp_path), Data())


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_folder_called_as_the_file_in_it_is_no_set_of_its_own(tmp_path, ending):
    """As Kaggle has MNIST."""
    for file in list(write_idx(tmp_path, packed=bool(ending)).iterdir()):
        file.rename(tmp_path / "moved")
        (tmp_path / file.name.removesuffix(".gz")).mkdir()
        (tmp_path / "moved").rename(tmp_path / file.name.removesuffix(".gz") / file.name)
    catalog = read_mnist(list_folder(tmp_path), Data())

    assert sorted(catalog.split) == ["test"] * 2 + ["train"] * 10
    assert [catalog.classes[label] for label in catalog.labels[catalog.split == "test"]] == [
        str(label) for label in LABELS[10:12]
    ]


@pytest.mark.parametrize("style", ["{}/{}-idx{}-ubyte", "emnist-mnist-{}-{}-idx{}-ubyte"])
def test_splits_of_one_set_are_joined_whatever_says_the_split(tmp_path, style):
    for split in ("train", "t10k"):
        (tmp_path / split).mkdir()
    write_idx(tmp_path, style)

    assert sorted(read_mnist(list_folder(tmp_path), Data()).split) == ["test"] * 2 + ["train"] * 10


def test_images_and_labels_must_both_be_there_in_equal_number(tmp_path):
    write_idx(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(np.array(LABELS[:5])))
    with pytest.raises(
        DataError, match="t10k-images-idx3-ubyte holds 2 images, t10k-labels-idx1-ubyte 5"
    ):
        read_mnist(list_folder(tmp_path), Data())

    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="'t10k-images-idx3-ubyte' has no labels beside it"):
        read_mnist(list_folder(tmp_path), Data())


# All forms alike


def test_arrays_batches_and_idx_files_give_the_same_bytes(tmp_path):
    np.save(tmp_path / "colour.npy", COLOURS)
    np.save(tmp_path / "grey.npy", GREY / 255)
    write_ten(tmp_path / "ten")
    write_idx(tmp_path / "idx")

    colour, grey = Arrays(tmp_path / "colour.npy"), Arrays(tmp_path / "grey.npy")
    for row in range(2):
        assert Batch(tmp_path / "ten" / "data_batch_1").read(str(row)) == colour.read(str(row))
        assert Idx(tmp_path / "idx" / "train-images-idx3-ubyte").read(str(row)) == grey.read(
            str(row)
        )


def test_arrays_and_idx_files_give_the_same_labels_and_splits(tmp_path):
    write_idx(tmp_path / "idx")
    (tmp_path / "npz").mkdir()
    labels = np.array(LABELS)
    np.savez(
        tmp_path / "npz" / "mnist.npz",
        x_train=GREY[:10], y_train=labels[:10], x_test=GREY[10:], y_test=labels[10:],
    )  # fmt: skip
    one = read_mnist(list_folder(tmp_path / "idx"), Data())
    other = read_arrays(list_folder(tmp_path / "npz"), Data())

    assert one.classes == other.classes
    assert sorted(zip(one.split, one.labels, strict=True)) == sorted(
        zip(other.split, other.labels, strict=True)
    )


def test_rows_that_are_not_there_are_key_errors(tmp_path):
    batch = Batch(write_ten(tmp_path / "ten") / "test_batch")
    images = Idx(write_idx(tmp_path / "idx") / "t10k-images-idx3-ubyte")

    for container in (batch, images):
        for member in ("2", "-1", "x"):
            with pytest.raises(KeyError):
                container.read(member)
    assert io.BytesIO(batch.read("1")).readline() == b"P6 32 32 255\n"
