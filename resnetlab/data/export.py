"""The splits of a catalog copied into folders, for tools that want them so."""

from pathlib import Path

from resnetlab.data.catalog import SPLITS, Catalog
from resnetlab.data.sources.listing import is_image
from resnetlab.data.sources.reader import Reader
from resnetlab.errors import MachineError
from resnetlab.system.requirements import require_empty, require_outside


def export_split(catalog: Catalog, out: Path) -> None:
    """Copy every split into out/<split>/<class>/; the originals stay.

    Raises MachineError where the folder is not empty or can't be written.
    """
    require_outside(out, catalog.root)
    require_empty(out)
    read = Reader(catalog.root)
    try:
        for split in SPLITS:
            for row in catalog.rows(split):
                folder = out / split / catalog.classes[catalog.labels[row]]
                folder.mkdir(parents=True, exist_ok=True)
                free_name(folder, catalog.paths[row]).write_bytes(read(catalog.paths[row]))
    except OSError as error:
        raise MachineError(f"{out}: can't be written ({error.strerror})") from error


def free_name(folder: Path, path: str) -> Path:
    """Return a file name that is not taken: images of one class may come from several folders."""
    name = Path(path.replace("\0", "/"))
    ending = name.suffix if is_image(name.name) else ".ppm"  # bare pixels of an array
    target, count = folder / f"{name.stem}{ending}", 1
    while target.exists():
        count += 1
        target = folder / f"{name.stem}-{count}{ending}"
    return target
