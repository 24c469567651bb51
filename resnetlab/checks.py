"""What must hold before the work begins, so that no hour is spent in vain."""

import os
import shutil
from pathlib import Path

from resnetlab.errors import MachineError


def require_writable(folder: Path) -> None:
    """Raise MachineError where a folder can't be written or made. Nothing is made yet."""
    place = nearest(folder)
    if not place.is_dir():
        raise MachineError(f"{folder}: can't be written ({place} is no folder)")
    if not os.access(place, os.W_OK | os.X_OK):
        raise MachineError(
            f"{folder}: can't be written (no right to {place}); choose another with --out"
        )


def require_space(folder: Path, needed: int, what: str) -> None:
    """Raise MachineError where the disk of a folder has fewer than `needed` bytes left for `what`."""
    free = shutil.disk_usage(nearest(folder)).free
    if free < needed:
        raise MachineError(
            f"{folder}: {what} need {size(needed)}, but {size(free)} are free; make room, or choose "
            "another place"
        )


def nearest(folder: Path) -> Path:
    """Return the folder, or the nearest above it that is there."""
    place = Path(os.path.abspath(folder))  # noqa: PTH100 (a link's parent is where it leads)
    return next(place for place in (place, *place.parents) if os.path.lexists(place))


def size(count: int) -> str:
    """Return a number of bytes as people say it."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
