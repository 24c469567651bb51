"""DICOM images, by pydicom: rescaled, through their window, black for nothing."""

import io
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pydicom import Dataset

BITS = 8


def dicom_values(content: bytes) -> tuple[np.ndarray, tuple[float, float] | None]:
    """Return the values of a DICOM image, (H, W) or RGB (H, W, 3), and its window if it names one.

    Stored values become those they stand for (RescaleSlope, RescaleIntercept). Of several windows the
    first counts. MONOCHROME1, in which low values are light, is turned round. Raises ValueError for
    what holds no image, or several.
    """
    from pydicom import dcmread
    from pydicom.pixels.processing import apply_modality_lut, convert_color_space

    data = dcmread(io.BytesIO(content))
    frames = int(data.get("NumberOfFrames", 1) or 1)
    if frames > 1:
        raise ValueError(f"it holds {frames} frames; save each as an image of its own")
    if "PixelData" not in data:
        raise ValueError("it holds no image")
    values = data.pixel_array
    interpretation = str(data.get("PhotometricInterpretation", ""))
    if values.ndim == 3:
        if interpretation.startswith("YBR"):
            values = convert_color_space(values, interpretation, "RGB")
        return values, (0.0, float(2 ** int(data.get("BitsStored", BITS)) - 1))
    values = np.asarray(apply_modality_lut(values, data), dtype=np.float32)
    window = window_of(data)
    if interpretation == "MONOCHROME1":
        # Within the range of its bits: beside images in which high values are light, black is black.
        ends = float(np.sum(apply_modality_lut(stored_ends(data), data)))
        values = ends - values
        window = None if window is None else (ends - window[1], ends - window[0])
    return values, window


def stored_ends(data: "Dataset") -> np.ndarray:
    """Return the lowest and the highest value that a DICOM file's bits can hold, (2,)."""
    bits = int(data.get("BitsStored", BITS))
    lowest = -(2 ** (bits - 1)) if int(data.get("PixelRepresentation", 0)) else 0
    return np.array([lowest, lowest + 2**bits - 1])


def window_of(data: object) -> tuple[float, float] | None:
    """Return what becomes black and white by the first window that a DICOM file names."""
    center, width = (first(getattr(data, name, None)) for name in ("WindowCenter", "WindowWidth"))
    if center is None or width is None or width <= 0:
        return None
    return center - width / 2, center + width / 2


def first(value: object) -> float | None:
    """Return a number, the first of several; None where there is none."""
    if value is None or value == "":
        return None
    try:
        return float(value)  # type: ignore[arg-type]
    except TypeError:
        return float(value[0]) if len(value) else None  # type: ignore[index, arg-type]
