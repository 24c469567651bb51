"""The bytes of a large file."""

import os
import weakref
from pathlib import Path

import numpy as np

from resnetlab.errors import MachineError
from resnetlab.system.files import cut_meanwhile


class FileBytes:
    """The bytes of a file, read where they are asked for.

    Mapped into memory they would count as this program's for as long as they are used, in the end
    the whole file; reading them costs a few hundredths of what is done with them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.handle = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self.handle)

    def __getitem__(self, span: slice) -> np.ndarray:
        content = np.empty(span.stop - span.start, dtype=np.uint8)
        try:
            count = os.preadv(self.handle, [content.data], span.start)
        except OSError as error:
            raise MachineError(
                f"{self.path}: can't be read ({error.strerror}); what was finished is kept"
            ) from error
        if count < len(content):
            raise cut_meanwhile(self.path)
        return content
