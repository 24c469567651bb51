"""Arrays out of .npy, .npz, .pt and .safetensors files; a pickle is never executed."""

import math
import pickle
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from resnetlab.errors import DataError, one_line

MAX_UNPACKED_BYTES = 4 * 2**30  # of a compressed array, which has to lie in memory as a whole
NO_PICKLE = "would need a pickle, which is never executed"


def open_arrays(file: Path) -> dict[str, np.ndarray]:
    """Return the arrays in a file by their names, '' where it holds a single one; mapped, not read.

    Raises DataError where the file is damaged, or would need a pickle.
    """
    try:
        return OPENERS[file.suffix.lower()](file)
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{file}: can't be read ({error.strerror or error})") from error
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{file}: is damaged, or holds more than tensors; that {NO_PICKLE}. Save a dictionary or "
            "a pair of tensors (images, labels)"
        ) from error
    except Exception as error:  # damaged bytes make these readers fail in countless ways
        raise DataError(
            f"{file}: is no {file.suffix} file that can be read ({one_line(error)})"
        ) from error


def open_npy(file: Path) -> dict[str, np.ndarray]:
    """Map the array of a .npy file."""
    return {"": map_npy(file, 0, file.stat().st_size)}


def open_npz(file: Path) -> dict[str, np.ndarray]:
    """Map the arrays of a .npz file, or unpack those that are compressed."""
    arrays = {}
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            if not info.filename.endswith(".npy"):
                continue
            stored = info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1
            read = map_stored if stored else unpack_npy
            arrays[info.filename.removesuffix(".npy")] = read(file, archive, info)
    return arrays


def map_stored(file: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """Map a member that lies in a zip file as it is."""
    with archive.open(info), file.open("rb") as stream:  # opening it checks the member's own header
        stream.seek(info.header_offset + 26)
        name, extra = (int.from_bytes(stream.read(2), "little") for _ in range(2))
    return map_npy(file, info.header_offset + 30 + name + extra, info.file_size)


def unpack_npy(file: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """Read a compressed member of a zip file into memory."""
    where = f"{file}/{info.filename}"
    if info.file_size > MAX_UNPACKED_BYTES:
        raise DataError(
            f"{where}: takes {info.file_size / 2**30:.1f} GiB of memory once unpacked, the limit is "
            f"{MAX_UNPACKED_BYTES / 2**30:.0f}; save it as .npy, or with np.savez, uncompressed"
        )
    with archive.open(info) as stream:
        shape, fortran, dtype, size = read_header(stream, where)
        values = np.frombuffer(stream.read(size), dtype)
        stream.read(1)  # at its end the checksum is compared
    return values.reshape(shape, order="F" if fortran else "C")


def map_npy(file: Path, start: int, length: int) -> np.ndarray:
    """Map an array that begins at a byte of a file; `length` is of the header and the values."""
    with file.open("rb") as stream:
        stream.seek(start)
        shape, fortran, dtype, size = read_header(stream, str(file))
        offset = stream.tell()
    if size != start + length - offset:
        raise DataError(
            f"{file}: holds {start + length - offset} bytes of values, shape {shape} needs {size}"
        )
    if not size:
        return np.empty(shape, dtype)
    return np.memmap(file, dtype, "r", offset, shape, "F" if fortran else "C")


def read_header(stream: Any, where: str) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Return an array's shape, whether columns come first, its type, and its size in bytes.

    Raises DataError for an array of Python objects.
    """
    version = np.lib.format.read_magic(stream)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, fortran, dtype = read(stream)
    if dtype.hasobject:
        raise DataError(f"{where}: holds Python objects, which {NO_PICKLE}; save it as numbers")
    if min(shape, default=0) < 0:
        raise DataError(f"{where}: is damaged, its shape is {shape}")
    return shape, fortran, dtype, math.prod(shape) * dtype.itemsize


def open_torch(file: Path) -> dict[str, np.ndarray]:
    """Map the tensors of a file that torch saved: one, or several in a dictionary, tuple or list."""
    import torch

    value = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    return {name: to_numpy(tensor, file) for name, tensor in tensors_in(value, "", set())}


def tensors_in(value: Any, name: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """Give the tensors in dictionaries, tuples and lists by their names, '/' between the levels.

    What was `seen` (by id) may not come again: a few bytes can hold a list a million times.
    """
    import torch

    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, dict | list | tuple):
        if id(value) in seen:
            raise ValueError(f"'{name}' is the same as another list or dictionary in it")
        seen.add(id(value))
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield from tensors_in(inner, f"{name}/{key}" if name else str(key), seen)


def open_safetensors(file: Path) -> dict[str, np.ndarray]:
    """Map the tensors of a .safetensors file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "pt") as tensors:
            return {name: to_numpy(tensors.get_tensor(name), file) for name in tensors.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise DataError(f"{file}: is damaged ({one_line(error)})") from error


def to_numpy(tensor: Any, file: Path) -> np.ndarray:
    """Return a tensor as an array on the same memory."""
    import torch

    # A few bytes may claim to be a huge tensor, each row of which is the same.
    if tensor.numel() * tensor.element_size() > file.stat().st_size:
        raise DataError(f"{file}: is too short for a tensor of shape {tuple(tensor.shape)}")
    if tensor.dtype == torch.bfloat16:  # which NumPy hasn't
        tensor = tensor.float()
    array: np.ndarray = tensor.detach().numpy()
    return array


OPENERS: dict[str, Callable[[Path], dict[str, np.ndarray]]] = {
    ".npy": open_npy,
    ".npz": open_npz,
    ".pt": open_torch,
    ".pth": open_torch,
    ".safetensors": open_safetensors,
}
