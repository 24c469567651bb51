"""The parts of a split as folders, for tools that want it so."""

from pathlib import Path

from resnetlab.checks import require_empty, require_outside
from resnetlab.data.catalog import PARTS, Catalog
from resnetlab.data.sources.listing import is_picture
from resnetlab.data.sources.reader import Reader
from resnetlab.errors import MachineError


def export_split(catalog: Catalog, out: Path) -> None:
    """Copy every part into out/<part>/<class>/; the originals stay.

    Raises MachineError where the folder is not empty or can't be written.
    """
    require_outside(out, catalog.root)
    require_empty(out)
    read = Reader(catalog.root)
    try:
        for part in PARTS:
            for row in catalog.part(part):
                folder = out / part / catalog.classes[catalog.labels[row]]
                folder.mkdir(parents=True, exist_ok=True)
                free_name(folder, catalog.paths[row]).write_bytes(read(catalog.paths[row]))
    except OSError as error:
        raise MachineError(f"{out}: can't be written ({error.strerror})") from error


def free_name(folder: Path, path: str) -> Path:
    """Return a file name that is not taken: pictures of one class may come from several folders."""
    name = Path(path.replace("\0", "/"))
    ending = name.suffix if is_picture(name.name) else ".ppm"  # bare pixels of an array
    target, count = folder / f"{name.stem}{ending}", 1
    while target.exists():
        count += 1
        target = folder / f"{name.stem}-{count}{ending}"
    return target
