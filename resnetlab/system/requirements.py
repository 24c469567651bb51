"""What must hold before the work begins, so that no hour is spent in vain."""

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

from resnetlab.errors import MachineError

ELSEWHERE = "choose another with --out"


def require_writable(folder: Path, way_out: str = ELSEWHERE) -> None:
    """Raise MachineError where a folder can't be written or made. Nothing is made yet."""
    place = nearest(folder)
    if not place.is_dir():
        raise MachineError(f"{folder}: can't be written ({place} is no folder)")
    if not os.access(place, os.W_OK | os.X_OK):
        raise MachineError(f"{folder}: can't be written (no right to {place}); {way_out}")


def require_empty(folder: Path) -> None:
    """Raise MachineError where a folder can't be written, or holds something already."""
    require_writable(folder, "choose another folder")
    if folder.is_dir() and any(folder.iterdir()):
        raise MachineError(f"{folder}: is not empty; choose a new folder")


def require_outside(folder: Path, data: Path) -> None:
    """Raise MachineError where a folder to be written lies inside the user's data."""
    if folder.resolve().is_relative_to(data.resolve()):
        raise MachineError(
            f"{folder}: lies inside the data, which stays as it is; choose another folder"
        )


def require_package(package: str, what: str, extra: str) -> None:
    """Raise MachineError where a package that `what` needs is not installed; `extra` brings it."""
    if find_spec(package) is None:
        raise MachineError(f"{what} needs the package {package}: pip install 'resnetlab[{extra}]'")


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
