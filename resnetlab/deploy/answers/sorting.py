"""Images sorted into a folder for each class they are predicted to be, as links."""

import re
from collections.abc import Mapping
from pathlib import Path

from resnetlab.data.sources.unlabelled import Read
from resnetlab.deploy.answers.rows import Row
from resnetlab.system.files import whole

# Folders beside those of the classes.
UNCERTAIN, UNUSABLE, NONE_OF_THESE = "_uncertain", "_unusable", "_out_of_distribution"


class Sorter:
    """Links each image into a folder of its class; one within an archive is copied.

    What is uncertain lies in folders of its own, `_uncertain/CLASS`, what is unlike the training images in
    `_out_of_distribution`, what is no image in `_unusable`.
    Nothing is moved; a name that is taken is counted up.
    """

    def __init__(self, folder: Path, contents: Mapping[Path, Read]) -> None:
        self.folder, self.contents = folder, contents

    def add(self, row: Row) -> None:
        """Sort one file in. Raises OSError where no link can be made."""
        path = Path(row["file"])
        folder = self.folder / UNUSABLE
        if row["out_of_distribution"]:
            folder = self.folder / NONE_OF_THESE
        elif row["class"] is not None:
            folder = self.folder / (UNCERTAIN if row["uncertain"] else "") / as_folder(row["class"])
        folder.mkdir(parents=True, exist_ok=True)
        target = free_name(folder, path)
        if path.exists():
            target.symlink_to(path.absolute())
        elif path in self.contents and not row["problem"]:
            with whole(target) as temporary:
                temporary.write_bytes(self.contents[path]())


def as_folder(name: str) -> str:
    """Return a class as the name of a folder: no division, nothing hidden or above."""
    return re.sub(r"[/\\\0]+", "_", name).lstrip(".") or "_"


def free_name(folder: Path, path: Path) -> Path:
    """Return the path in a folder under a file's name, counted up where it is taken: 'cat-2.jpg'."""
    target, count = folder / path.name, 1
    while target.is_symlink() or target.exists():
        count += 1
        target = folder / f"{path.stem}-{count}{path.suffix}"
    return target
