"""Wrong answers kept as a label table to train from next, with their images beside it."""

import hashlib
from pathlib import Path
from threading import Lock

from resnetlab.data.formats import ENDINGS
from resnetlab.deploy.answers.writers import begun_rows
from resnetlab.deploy.server.limits import Refusal
from resnetlab.system.files import whole, write_csv

HEADER = ["path", "label"]


class Corrections:
    """A table of images and their right labels; an image that is corrected again has its last label.

    The images lie in a folder named like the table, under the beginning of their SHA-256. Raises
    CheckpointError where the file is another table.
    """

    def __init__(self, table: Path) -> None:
        self.table, self.folder, self.lock = table, table.with_suffix(""), Lock()
        rows = begun_rows(table, HEADER) if table.is_file() else []
        self.labels = {row["path"]: row["label"] for row in rows}

    def add(self, content: bytes, kind: str, label: str) -> int:
        """Keep an image of a format with its label; return how many there are. Raises Refusal without a label."""
        label = label.strip()
        if not label or len(label) > 200 or not label.isprintable():
            raise Refusal(400, "a correction needs a label of 1 to 200 letters")
        name = hashlib.sha256(content).hexdigest()[:20] + ENDINGS[kind][0]
        with self.lock:
            with whole(self.folder / name) as temporary:
                temporary.write_bytes(content)
            self.labels[f"{self.folder.name}/{name}"] = label
            write_csv(self.table, HEADER, list(self.labels.items()))
            return len(self.labels)
