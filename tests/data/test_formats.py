"""Formats that people have: read, read with an extra, or counted by class with the way out."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from resnetlab.cli.main import main
from resnetlab.data import formats
from resnetlab.data.dataset import read_data
from resnetlab.data.formats import IMAGE_ENDINGS, kind_of, why_not_by_name
from resnetlab.data.store.decode import ImageProblem, decode
from resnetlab.data.store.depth import extremes_of, range_of
from resnetlab.recipe import Recipe

PX = 48


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return np.asarray(Image.fromarray(load_sample_images().images[0]).resize((PX, PX)))


def encoded(photo: np.ndarray, kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(photo).save(stream, kind)
    return stream.getvalue()


def heic(photo: np.ndarray) -> bytes:
    pytest.importorskip("pillow_heif").register_heif_opener()
    return encoded(photo, "HEIF")


def dicom(values: np.ndarray, **tags: object) -> bytes:
    pydicom = pytest.importorskip("pydicom")
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data = pydicom.dataset.FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.Rows, data.Columns = values.shape[:2]
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
    data.PixelRepresentation = 0
    for name, value in tags.items():
        setattr(data, name, value)
    data.PixelData = values.astype("<u2").tobytes()
    stream = io.BytesIO()
    data.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["AVIF", "JPEG2000"])
def test_what_pillow_reads_is_read(photo, kind):
    image = decode(encoded(photo, kind), 64, 10**6)

    assert np.abs(image.pixels.astype(int) - photo).mean() < 12
    assert image.identity == "", "other decoders may give other pixels"


def test_heic_is_read_with_its_extra_whatever_its_name_says(photo, monkeypatch):
    content = heic(photo)

    assert kind_of(content) == "HEIC"
    assert np.abs(decode(content, 64, 10**6).pixels.astype(int) - photo).mean() < 12
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    with pytest.raises(ImageProblem, match=r"HEIC needs: pip install 'resnetlab\[heif\]'"):
        decode(content, 64, 10**6)


RAMP = np.linspace(0, 4095, PX * PX).reshape(PX, PX)


def test_dicom_goes_through_its_window():
    content = dicom(RAMP, WindowCenter=[2048, 100], WindowWidth=[2048, 50])

    image = decode(content, 64, 10**6)

    expected = np.clip((np.floor(RAMP) - 1024) * 255 / 2048, 0, 255)
    assert np.abs(image.pixels[:, :, 0] - expected).max() <= 1
    assert image.format == "DICOM"


def test_dicom_is_rescaled_and_monochrome1_is_turned_round():
    tags = {"RescaleSlope": 2, "RescaleIntercept": -1000, "WindowCenter": 3000, "WindowWidth": 8000}
    plain = decode(dicom(RAMP, **tags), 64, 10**6).pixels
    turned = decode(dicom(RAMP, PhotometricInterpretation="MONOCHROME1", **tags), 64, 10**6).pixels

    expected = np.clip(2 * np.floor(RAMP) * 255 / 8000, 0, 255)
    assert np.abs(plain[:, :, 0] - expected).max() <= 1
    assert np.abs(plain.astype(int) + turned - 255).max() <= 1


def test_films_whose_low_values_are_light_share_a_scale_with_the_others():
    film = dicom(4095 - RAMP, PhotometricInterpretation="MONOCHROME1")
    found = [extremes_of(content) for content in (dicom(RAMP), film)]

    scale = range_of(each for each in found if each)

    assert scale == (0, 4095)
    plain, turned = (
        decode(content, 64, 10**6, value_range=scale).pixels for content in (dicom(RAMP), film)
    )
    assert np.abs(plain.astype(int) - turned).max() <= 1


def test_dicom_without_a_window_has_the_scale_of_the_set():
    image = decode(dicom(RAMP), 64, 10**6, value_range=(0, 4095))

    assert (image.pixels.min(), image.pixels.max()) == (0, 255)


def test_dicom_of_several_frames_is_refused_in_words():
    content = dicom(np.concatenate([RAMP, RAMP]), Rows=PX, NumberOfFrames=2)

    with pytest.raises(ImageProblem, match="it holds 2 frames"):
        decode(content, 64, 10**6)


@pytest.fixture
def phone(tmp_path: Path, photo) -> Path:
    """Two classes, JPEG and, in one of them, files that can't be read here."""
    for name, count in (("cat", 20), ("dog", 15)):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(count):
            varied = np.roll(photo, number, axis=name == "cat")
            Image.fromarray(varied).save(tmp_path / "set" / name / f"{number}.jpg", quality=90)
    for number in range(5):
        (tmp_path / "set" / "dog" / f"raw{number}.CR2").write_bytes(b"II*\0raw")
    return tmp_path / "set"


def test_what_cannot_be_read_is_counted_by_format_and_class_and_stops(phone, tmp_path, capsys):
    line = "5 of 40 images (dog 5): camera raw can't be read here; convert it to PNG or JPEG"

    assert main(["train", str(phone), "--model", "mlp", "--out", str(tmp_path / "runs")]) == 3
    said = capsys.readouterr().err.replace("\n", " ")
    assert line in said

    more = ["--set", "data.max_problem_frac=0.5", "--out", str(tmp_path / "page")]
    assert main(["inspect", str(phone), *more]) == 0
    assert line in " ".join(capsys.readouterr().out.split())


def test_images_that_lacked_an_extra_are_read_once_it_is_there(photo, tmp_path, monkeypatch):
    content = heic(photo)
    for name in ("cat", "dog"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(3):
            varied = np.roll(photo, 3 * number + (name == "cat"), axis=0)
            Image.fromarray(varied).save(tmp_path / "set" / name / f"{number}.png")
    (tmp_path / "set" / "cat" / "phone.jpg").write_bytes(content)

    with monkeypatch.context() as without:
        without.setattr(formats, "find_spec", lambda name: None)

        recipe = Recipe().override({"data.max_problem_frac": 0.5, "data.image_size": 32})
        assert not read_data(tmp_path / "set", recipe).catalog.sound.all()
    assert read_data(tmp_path / "set", recipe).catalog.sound.all()


def test_every_ending_is_an_image_by_name_and_only_raw_ones_are_refused_by_it():
    assert {".heic", ".avif", ".jxl", ".dcm", ".nef", ".jpg"} <= IMAGE_ENDINGS
    assert "camera raw can't be read" in why_not_by_name("a/B.NEF")
    assert why_not_by_name("a/b.jpg") == why_not_by_name("a/b.heic") == ""
