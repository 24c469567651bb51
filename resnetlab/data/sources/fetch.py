"""Data sets fetched by name: from the Hugging Face hub, or with torchvision."""

import inspect
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

from resnetlab.errors import DataError, MachineError, one_line
from resnetlab.recipe import did_you_mean
from resnetlab.system.progress import Progress

# What torchvision's data sets call their splits; of several words the first one that a set knows counts.
SPLIT_WORDS = {"train": ("train", "trainval"), "val": ("val", "valid"), "test": ("test",)}


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """Give a temporary folder beside; on success it becomes `folder`, whole.

    Where another process was first, its folder stays. Raises MachineError where nothing can be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(mkdtemp(prefix=f".{folder.name[:80]}.", dir=folder.parent))
        try:
            yield temporary
            temporary.chmod(0o755)
            os.sync()  # once, not for each of many files
            put_at(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise MachineError(
            f"{folder}: can't be written ({error.strerror or error}); set RESNETLAB_CACHE to a folder that can"
        ) from error


def put_at(temporary: Path, folder: Path) -> None:
    """Rename a whole folder, unless another process has brought the same meanwhile."""
    try:
        temporary.replace(folder)
    except OSError:
        if not folder.is_dir():
            raise


def fetch_dataset(name: str, folder: Path) -> None:
    """Save a data set of the Hugging Face hub ('user/name') into a folder, unless it is there.

    Raises DataError where there is no such set, MachineError where it can't be fetched.
    """
    if folder.exists():
        return
    try:
        import datasets
    except ImportError as error:
        raise MachineError(
            f"fetching hf:{name} needs the package datasets: pip install 'resnetlab[hub]'"
        ) from error
    with appearing(folder) as temporary:
        try:
            datasets.load_dataset(name).save_to_disk(str(temporary))
        except FileNotFoundError as error:
            raise DataError(f"hf:{name}: there is no such data set ({one_line(error)})") from error
        except Exception as error:  # whatever the network or the hub does
            raise MachineError(f"hf:{name} could not be fetched ({one_line(error)})") from error


def fetch_torchvision(name: str, folder: Path) -> None:
    """Write one of torchvision's data sets into a folder as `train/<class>/00001.png`, unless it is there.

    Raises DataError where there is no such set or it isn't one of classes, MachineError where it
    can't be fetched.
    """
    import torchvision.datasets

    if folder.exists():
        return
    known = [item for item in torchvision.datasets.__all__ if item[0].isupper()]
    if name not in known:
        raise DataError(f"torchvision:{name}: there is no such data set{did_you_mean(name, known)}")
    maker = getattr(torchvision.datasets, name)
    with appearing(folder) as temporary, TemporaryDirectory(prefix=".", dir=folder.parent) as raw:
        asked = arguments_of(maker, raw)
        if not {"train", ""} & asked.keys():
            raise DataError(
                f"torchvision:{name}: has no training split that could be named; fetch it yourself"
            )
        sets = {split: make(maker, arguments, name, raw) for split, arguments in asked.items()}
        for split, images in sets.items():
            write_images(images, temporary / split, name)


def arguments_of(maker: Any, raw: str) -> dict[str, dict[str, Any]]:
    """Return which arguments give which split, '' where a data set has none. Nothing is fetched."""
    parameters = inspect.signature(maker).parameters
    if "train" in parameters:
        return {"train": {"train": True}, "test": {"train": False}}
    if "split" not in parameters:
        return {"": {}}
    found = {
        split: next((word for word in words if takes(maker, word, raw)), None)
        for split, words in SPLIT_WORDS.items()
    }
    return {split: {"split": word} for split, word in found.items() if word is not None}


def takes(maker: Any, word: str, raw: str) -> bool:
    """Return whether a data set takes a split's name. Most refuse others before they look for files; not all do."""
    try:
        maker(root=raw, split=word)
    except ValueError:
        return False
    except Exception:  # of files that aren't there: who fetches them will say
        return True
    return True


def make(maker: Any, arguments: dict[str, Any], name: str, raw: str) -> Any:
    """Load one split of a data set, downloading it."""
    parameters = inspect.signature(maker).parameters
    given = {"root": raw, "download": True}
    chosen = {key: value for key, value in given.items() if key in parameters}
    try:
        return maker(**chosen, **arguments)
    except ValueError as error:
        raise DataError(f"torchvision:{name}: {one_line(error)}") from error
    except TypeError as error:
        raise DataError(
            f"torchvision:{name}: can't be made without more arguments ({one_line(error)})"
        ) from error
    except Exception as error:  # whatever the network or a changed site does
        raise MachineError(
            f"torchvision:{name} could not be fetched ({one_line(error)})"
        ) from error


def write_images(images: Any, folder: Path, name: str) -> None:
    """Write a set's images as PNG files into class folders."""
    from PIL import Image, ImageOps

    names = folder_names(getattr(images, "classes", None))
    counts: dict[str, int] = {}
    with Progress(f"torchvision:{name} {folder.name}".rstrip(), len(images)) as progress:
        for row in range(len(images)):
            image, target = images[row]
            if not isinstance(image, Image.Image) or not hasattr(target, "__index__"):
                raise DataError(f"torchvision:{name}: is no set of images with one class each")
            label = names[int(target)] if names else str(int(target))
            counts[label] = counts.get(label, 0) + 1
            upright = ImageOps.exif_transpose(image)
            if upright.mode not in ("1", "L", "RGB", "RGBA", "P", "LA", "I;16"):
                upright = upright.convert("RGB")
            (folder / label).mkdir(parents=True, exist_ok=True)
            upright.save(folder / label / f"{counts[label]:05}.png")
            progress.advance(1)


def folder_names(classes: Any) -> list[str]:
    """Return names of classes fit for folders, all different; none where there are no names."""
    if not isinstance(classes, list | tuple):
        return []
    first = [str(item[0] if isinstance(item, tuple | list) else item) for item in classes]
    names = [name.replace("/", "_").replace("\0", "_").lstrip(".") or "_" for name in first]
    if len(set(names)) < len(names):
        return [f"{number} {name}" for number, name in enumerate(names)]
    return names
