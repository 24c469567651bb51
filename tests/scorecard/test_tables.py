"""Bad input, rows 33 to 37, 42 and 49: label tables, arrays and archives that are wrong or malicious."""

import io
import os
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.scorecard.conftest import QUICK, tree

NAMES = {"china": "temple", "flower": "dahlia"}


@pytest.fixture
def table(data: Path) -> list[list[str]]:
    """Rows (file, label) for all images of the data."""
    files = sorted(path.relative_to(data) for path in data.rglob("*.jpg"))
    return [[str(file), NAMES[file.parts[0]]] for file in files]


def write(data: Path, rows: list[list[str]], name: str = "labels.csv") -> Path:
    path = data / name
    path.write_text("\n".join(",".join(row) for row in [["file", "label"], *rows]) + "\n")
    return path


def test_row_33_rows_and_images_that_do_not_match_are_counted_or_dropped(data, table, tell):
    lost = [[f"gone-{number}.jpg", "temple"] for number in range(7)]
    path = write(data, table[2:] + lost)
    said = tell("inspect", path)
    assert said.code == 3
    assert "7 rows without an image ('gone-0.jpg' in line 24, " in said.error
    assert "'gone-4.jpg' in line 28, ...)" in said.error
    assert "2 images without a row (china/00.jpg, china/01.jpg)" in said.error

    said = tell("inspect", path, "--set", "data.unmatched=drop")
    assert said.code == 0
    assert "labels: 22 images of 2 classes" in said.out
    assert "7 rows have no image and were left out" in said.out


def test_row_34_a_label_outside_the_list_is_told_with_the_closest_name(data, table, tell):
    table[5][1] = "tempel"
    path = write(data, table)
    said = tell("inspect", path, "--set", "data.classes=[temple, dahlia]")

    assert said.code == 3
    assert (
        "line 7: label 'tempel' is none of the 2 in data.classes, did you mean 'temple'?"
        in said.error
    )


ENCODINGS = {
    "with a BOM": ("utf-8-sig", "\n", ","),
    "of Windows": ("utf-8", "\r\n", ","),
    "of Excel": ("utf-8-sig", "\r\n", ";"),
    "in UTF-16": ("utf-16", "\r\n", "\t"),
    "in UTF-16, big end": ("utf-16-be", "\n", ";"),
}


@pytest.mark.parametrize("form", ENCODINGS)
def test_row_35_tables_of_all_programs_are_read_alike(data, table, tell, form):
    expected = tell("inspect", write(data, table, "plain.csv")).out
    (data / "plain.csv").unlink()
    encoding, end, delimiter = ENCODINGS[form]
    rows = [["file", "label"], *([f'"{name}"', label] for name, label in table)]
    text = end.join(delimiter.join(row) for row in rows)
    (data / "plain.csv").write_bytes(text.encode(encoding))

    assert tell("inspect", data / "plain.csv").out == expected


def test_row_36_an_id_twice_is_merged_or_fatal(data, table, tell):
    said = tell("inspect", write(data, [*table, table[3]]))
    assert said.code == 0
    assert "labels: 24 images" in said.out
    assert "1 rows repeat an image and say the same, the first is china/03.jpg" in said.out

    said = tell("inspect", write(data, [*table, [table[3][0], "dahlia"]]))
    assert said.code == 3
    assert "lines 5 and 26: image 'china/03.jpg' has label 'temple' and 'dahlia'" in said.error


@pytest.mark.parametrize("how", ["../../secret.jpg", "absolute", "china/../../secret.jpg", "link"])
def test_row_37_a_table_that_leads_out_of_the_data_is_refused(data, table, tell, photo, how):
    secret = data.parent / "secret.jpg"
    photo.save(secret)
    if how == "link":
        (data / "china" / "link.jpg").symlink_to(secret)
    name = {"absolute": str(secret), "link": "china/link.jpg"}.get(how, how)
    said = tell("train", write(data, [*table, [name, "temple"]]), *QUICK)

    assert said.code == 3
    if how == "link":  # links out are no images of the folder
        assert "1 rows without an image ('china/link.jpg' in line 26)" in said.error
    else:
        assert "line 26" in said.error
        assert "leads out of" in said.error


# Malicious files


class Canary:
    """Whoever unpickles it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def arrays(canary: Canary) -> np.ndarray:
    objects = np.empty(3, dtype=object)
    objects[:] = canary
    return objects


def malicious(folder: Path, form: str, canary: Canary) -> Path:
    path = folder / {"cifar": "data_batch_1"}.get(form, f"data.{form}")
    if form == "npy":
        np.save(path, arrays(canary), allow_pickle=True)
    elif form == "npz":
        np.savez(path, images=arrays(canary), labels=np.arange(3))
    elif form == "labels.npz":
        np.savez(path, images=np.zeros((3, 8, 8, 3), np.uint8), labels=arrays(canary))
    else:  # torch's own reader and CIFAR's form are pickles
        path.write_bytes(pickle.dumps({"data": canary, "labels": [0, 1, 2]}, protocol=2))
    return path


@pytest.mark.parametrize("form", ["npy", "npz", "labels.npz", "pt", "cifar"])
def test_row_42_a_malicious_pickle_is_not_executed(tmp_path, data, tell, form):
    folder = tmp_path / "set"
    folder.mkdir()
    canary = tmp_path / "canary"
    names = {"label_names": ["0", "1", "2"]}
    if form == "cifar":
        (folder / "batches.meta").write_bytes(pickle.dumps(names, protocol=2))
    path = malicious(folder, form, Canary(canary))
    said = tell("inspect", folder if form == "cifar" else path)

    assert said.code == 3
    assert path.name in said.error
    assert not canary.exists()


def evil_zip(path: Path, names: list[str]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")


def evil_tar(path: Path, make) -> None:
    with tarfile.open(path, "w:gz") as archive:
        make(archive)


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


EVIL = {
    "up.zip": lambda path: evil_zip(path, ["cat/1.png", "../evil.png"]),
    "absolute.zip": lambda path: evil_zip(path, ["cat/1.png", "/tmp/resnetlab-evil.png"]),
    "beside.zip": lambda path: evil_zip(path, ["cat/1.png", "../dest-evil/1.png"]),
    "up.tar.gz": lambda path: evil_tar(path, lambda tar: tar.addfile(member("a/../../evil.png"))),
    "link.tar.gz": lambda path: evil_tar(
        path, lambda tar: tar.addfile(member("cat/1.png", tarfile.SYMTYPE, "/etc/passwd"))
    ),
    "hard.tar.gz": lambda path: evil_tar(
        path, lambda tar: tar.addfile(member("cat/1.png", tarfile.LNKTYPE, "../evil"))
    ),
    "device.tar.gz": lambda path: evil_tar(
        path, lambda tar: tar.addfile(member("cat/1.png", tarfile.CHRTYPE))
    ),
}


def zip_bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for number in range(3):
            archive.writestr(f"cat/{number}.bmp", bytes(200_000_000))


def tar_bomb(path: Path) -> None:
    def fill(tar: tarfile.TarFile) -> None:
        for number in range(3):
            info = member(f"cat/{number}.bmp")
            info.size = 200_000_000
            tar.addfile(info, io.BytesIO(bytes(info.size)))

    evil_tar(path, fill)


@pytest.mark.parametrize("name", [*EVIL, "bomb.zip", "bomb.tar.gz"])
def test_row_49_a_malicious_archive_is_refused_and_nothing_lies_outside(
    tmp_path, data, tell, monkeypatch, name
):
    cache = tmp_path / "deep" / "dest"
    monkeypatch.setenv("RESNETLAB_CACHE", str(cache))
    bombs = {"bomb.zip": zip_bomb, "bomb.tar.gz": tar_bomb}
    ({**EVIL, **bombs}[name])(tmp_path / name)
    before = tree(tmp_path)
    said = tell("inspect", tmp_path / name)

    assert said.code == 3
    assert name in said.error
    left = {path for path in tree(tmp_path) if path not in before and path.suffix != ".lock"}
    assert left == set()
    assert not Path("/tmp/resnetlab-evil.png").exists()
