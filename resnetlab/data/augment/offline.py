"""Augmented copies as files, for tools that don't augment by themselves."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePath

import numpy as np
from PIL import Image

from resnetlab.data.batches import Samples, View
from resnetlab.errors import MachineError
from resnetlab.system import interruption
from resnetlab.system.files import read_json, whole, write_csv, write_json
from resnetlab.system.progress import Progress
from resnetlab.system.threads import in_order, sign_of_life, threads

SETTINGS_FILE = "augment.json"  # how the copies were made: others aren't mixed with them
SOURCES_FILE = "augment.catalog"  # the images they were made of
TABLE_FILE = "labels.csv"
# A folder with nothing else may be begun anew.
UNSETTLED = {SETTINGS_FILE, "unfinished.json", ".lock"}


def write_copies(
    samples: Samples,
    classes: Sequence[str],
    view: View,
    copies: int,
    out: Path,
    workers: int,
) -> int:
    """Write each sample as the network sees it, and `copies` variations of it, as PNG; return how many.

    Copy number n is the variation of epoch n - 1. The names tell the source, a table beside them
    label and group, so that an image and its copies stay in one split. What is there already
    is not written again. The folder was made by `begin`. Raises MachineError where it can't be written.
    """
    names = source_names(samples.ids)
    views = {"": replace(view, augment=None)}
    views |= {f".copy{number}": replace(view, epoch=number - 1) for number in range(1, copies + 1)}
    table = [
        [f"{name}{mark}.png", classes[label], source]
        for name, label, source in zip(names, samples.labels, samples.ids, strict=True)
        for mark in views
    ]

    def write(row: int) -> None:
        for mark, shown in views.items():
            interruption.raise_if_requested()  # many copies of one image take long
            write_image(samples, row, shown, out / f"{names[row]}{mark}.png")
            sign_of_life()

    try:
        with (
            threads(workers or 1) as pool,
            Progress("augmenting", len(names)) as progress,
        ):
            for _ in in_order(pool, write, range(len(names)), 2 * workers):
                progress.advance(1)
        write_csv(out / TABLE_FILE, ["path", "label", "group"], table)
    except OSError as error:
        raise MachineError(
            f"{error.filename or out}: can't be written ({error.strerror})"
        ) from error
    return len(table)


def begin(out: Path, view: View, copies: int) -> None:
    """Make the folder, or check that what is in it was begun with the same settings.

    Raises MachineError where it holds something else or can't be written.
    """
    settings = json.loads(json.dumps({"copies": copies} | describe(view)))
    file = out / SETTINGS_FILE
    try:
        out.mkdir(parents=True, exist_ok=True)
        if file.is_file() and read_json(file) == settings:
            return
        if {path.name for path in out.iterdir()} - UNSETTLED:
            raise MachineError(
                f"{out}: holds other things, or copies made with other settings; choose a new folder"
            )
        write_json(file, settings)
    except OSError as error:
        raise MachineError(f"{out}: can't be written ({error.strerror})") from error


def describe(view: View) -> dict[str, object]:
    """Return the settings of a view as plain values."""
    assert view.augment is not None
    return {
        "image_size": view.image_size,
        "fit": view.fit,
        "seed": view.seed,
        "augment": view.augment.model_dump(mode="json"),
    }


def source_names(ids: np.ndarray) -> list[str]:
    """Return each id without its ending, and with it where two would become one."""
    short = [str(PurePath(name).with_suffix("")) for name in ids]
    often = Counter(short)
    return [
        name if often[name] == 1 else whole_id for name, whole_id in zip(short, ids, strict=True)
    ]


def write_image(samples: Samples, row: int, view: View, path: Path) -> None:
    """Write one view of one sample as PNG, unless it is there."""
    if path.is_file():
        return
    pixels = np.empty((view.image_size, view.image_size, 3), dtype=np.uint8)
    samples.render(row, view, pixels)
    with whole(path) as temporary:
        Image.fromarray(pixels).save(temporary, "PNG")
