"""What a bundle keeps of its training images' features, to tell what is unlike them."""

import hashlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from resnetlab.errors import CheckpointError, one_line
from resnetlab.evaluation.shift.reference import Pictures, Reference

REFERENCE = "reference.safetensors"


def as_bytes(reference: Reference) -> bytes:
    """Return the content of the file."""
    from safetensors.numpy import save

    arrays: dict[str, np.ndarray] = {
        "features": reference.features,
        "distances": reference.distances,
        "confidences": reference.confidences,
    }
    if (pictures := reference.pictures) is not None:
        arrays["labels"] = pictures.labels
        arrays["ends"] = np.cumsum([len(jpeg) for jpeg in pictures.jpegs])
        arrays["jpegs"] = np.frombuffer(b"".join(pictures.jpegs), np.uint8)
    return bytes(save(arrays))


def from_bytes(content: bytes) -> Reference:
    """Return what `as_bytes` wrote. Raises SafetensorError, KeyError or TypeError where it is something else."""
    from safetensors.numpy import load

    arrays = load(content)
    pictures = None
    if "jpegs" in arrays:
        ends, data = arrays.pop("ends").tolist(), arrays.pop("jpegs").tobytes()
        jpegs = [data[start:end] for start, end in pairwise([0, *ends])]
        pictures = Pictures(arrays.pop("labels"), jpegs)
    return Reference(**arrays, pictures=pictures)


def describe_reference(reference: Reference, content: bytes) -> dict[str, Any]:
    """Return what stands of it in the facts of the bundle."""
    return {
        "images": len(reference.features),
        "threshold": reference.threshold,
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def load_reference(folder: Path, facts: dict[str, Any] | None) -> Reference | None:
    """Return what a bundle, or a model exported from one, knows of its training images; None: nothing.

    `facts` are what `describe_reference` gave. Raises CheckpointError where the file is not the one that was written.
    """
    if facts is None:
        return None
    from safetensors import SafetensorError

    path = folder / REFERENCE
    try:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != facts["sha256"]:
            raise CheckpointError(f"{path}: is damaged (its checksum differs)")
        return from_bytes(content)
    except OSError as error:
        raise CheckpointError(f"{path}: can't be read ({error.strerror})") from error
    except (SafetensorError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: holds no reference ({one_line(error)})") from error
