"""What is kept of each image beside its pixels: size, sums, and what the audit looks at."""

import cv2
import numpy as np

from resnetlab.data.store.decode import DecodedImage, ImageProblem
from resnetlab.data.store.resize import THUMBNAIL_PX

# One record an image. The index file is these records and nothing else, so that it can be
# appended to, cut back to whole records after a crash, and read at once.
RECORD = np.dtype(
    [
        ("sha256", "S64"),  # of the file
        ("identity", "S64"),  # of the content, see DecodedImage
        ("offset", "<u8"),  # of the first byte in the .bin file
        ("length", "<u8"),  # of what is stored, bytes
        ("height", "<u4"),  # of the stored image, px
        ("width", "<u4"),
        ("full_height", "<u4"),  # of the original, upright, px
        ("full_width", "<u4"),
        ("sums", "<u8", 3),  # of the R, G, B values, before a JPEG is made of them
        ("squares", "<u8", 3),  # of their squares
        ("format", "S5"),
        ("several", "?"),  # frames or pages
        ("cut", "?"),  # at its end
        ("camera", "S32"),
        ("quality", "<u4"),  # of a JPEG
        ("bytes", "<u8"),  # of the file
        ("grey", "?"),  # no colour in it
        ("sharpness", "<f4"),  # variance of the Laplacian of the grey values
        ("border", "u1", 3),  # mean of the outermost pixels
        ("border_spread", "<f4"),  # their standard deviation
        ("small", "u1", (THUMBNAIL_PX, THUMBNAIL_PX)),  # grey, see DecodedImage
        ("problem", "S96"),  # why there are no pixels, empty where there are
    ]
)


def fill_record(
    record: np.void, digest: str, size: int, image: DecodedImage | ImageProblem
) -> None:
    """Write what is known of a file (`size` in bytes), or its problem, into a record."""
    record["sha256"] = record["identity"] = digest
    record["bytes"] = size
    if isinstance(image, ImageProblem):
        record["problem"] = str(image).encode(errors="replace")[:96]
        return
    record["identity"] = image.identity or digest
    record["full_width"], record["full_height"] = image.width, image.height
    record["format"], record["several"] = image.format, image.several
    record["cut"] = image.cut
    record["camera"] = image.camera.encode(errors="replace")[:32]
    record["quality"] = image.quality
    record["small"] = image.small
    fill_from_pixels(record, image.pixels)


def fill_from_pixels(record: np.void, pixels: np.ndarray) -> None:
    """Write what follows from the pixels, uint8 (H, W, 3)."""
    record["height"], record["width"] = pixels.shape[:2]
    # Squares need 16 bits; sums of whole numbers below 2**53 are exact in OpenCV's float64.
    record["sums"] = cv2.sumElems(pixels)[:3]
    record["squares"] = cv2.sumElems(np.square(pixels, dtype=np.uint16))[:3]
    red, green, blue = cv2.split(pixels)
    colour = cv2.norm(red, green, cv2.NORM_INF) + cv2.norm(red, blue, cv2.NORM_INF)
    record["grey"] = colour == 0
    record["sharpness"] = sharpness(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    mean, deviation = cv2.meanStdDev(border[None])
    record["border"] = np.rint(mean).ravel()
    record["border_spread"] = deviation.max()


def sharpness(grey: np.ndarray) -> float:
    """Return the variance of the Laplacian of grey values (H, W): little where nothing is sharp."""
    laplacian = cv2.Laplacian(grey, cv2.CV_16S)
    mean = cv2.sumElems(laplacian)[0] / laplacian.size
    return float(cv2.norm(laplacian, cv2.NORM_L2SQR) / laplacian.size - mean * mean)
