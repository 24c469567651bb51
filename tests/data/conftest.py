"""Small class folders and catalogs, made for one test at a time."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnetlab.data.catalog import Catalog, new_catalog, objects


@pytest.fixture
def write_images(tmp_path: Path) -> Callable[[Mapping[str, int]], Path]:
    """Write PNG files of 8×8 px noise; the number decides the pixels."""

    def write(images: Mapping[str, int]) -> Path:
        for name, number in images.items():
            path = tmp_path / "images" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(noise).save(path)
        return tmp_path / "images"

    return write


@pytest.fixture(scope="session")
def make_catalog() -> Callable[..., Catalog]:
    """A catalog without files: a row per (label, content, split), the content as good as an image."""

    def make(
        rows: Sequence[tuple[int, object, str]], names: Sequence[str] | None = None
    ) -> Catalog:
        names = names or [f"{row:05}.png" for row in range(len(rows))]
        labels, contents, splits = ([row[i] for row in rows] for i in range(3))
        classes = tuple("abcdefghij"[: max(labels, default=1) + 1])
        order = sorted(range(len(rows)), key=lambda row: names[row])
        digests = [hashlib.sha256(str(content).encode()).hexdigest() for content in contents]
        catalog = new_catalog(Path("/nowhere"), classes, list(names), labels, splits)
        eight = np.full(len(rows), 8)
        return catalog.with_columns(
            sha256=objects([digests[row] for row in order]), width=eight, height=eight
        )

    return make
