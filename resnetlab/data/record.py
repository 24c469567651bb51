"""What is kept of each picture beside its pixels: size, sums, and what the audit looks at."""

import cv2
import numpy as np

from resnetlab.data.decode import LOOK, Picture, PictureProblem

# One record a picture. The index file is these records and nothing else, so that it can be
# appended to, cut back to whole records after a crash, and read at once.
RECORD = np.dtype(
    [
        ("sha256", "S64"),  # of the file
        ("identity", "S64"),  # of the content, see Picture
        ("offset", "<u8"),  # of the first pixel in the .bin file
        ("height", "<u4"),  # of the stored picture, px
        ("width", "<u4"),
        ("full_height", "<u4"),  # of the original, upright, px
        ("full_width", "<u4"),
        ("sums", "<u8", 3),  # of the stored R, G, B values
        ("squares", "<u8", 3),  # of their squares
        ("format", "S5"),
        ("several", "?"),  # frames or pages
        ("cut", "?"),  # at its end
        ("camera", "S32"),
        ("quality", "<u4"),  # of a JPEG
        ("bytes", "<u8"),  # of the file
        ("grey", "?"),  # no colour in it
        ("sharpness", "<f4"),  # variance of the Laplacian of the stored grey values
        ("border", "u1", 3),  # mean of the outermost stored pixels
        ("border_spread", "<f4"),  # their standard deviation
        ("small", "u1", (LOOK, LOOK)),  # grey, see Picture
        ("problem", "S96"),  # why there are no pixels, empty where there are
    ]
)


def fill_record(record: np.void, digest: str, size: int, picture: Picture | PictureProblem) -> None:
    """Write what is known of a file (`size` in bytes), or its problem, into a record."""
    record["sha256"] = record["identity"] = digest
    record["bytes"] = size
    if isinstance(picture, PictureProblem):
        record["problem"] = str(picture).encode(errors="replace")[:96]
        return
    record["identity"] = picture.identity
    record["full_width"], record["full_height"] = picture.width, picture.height
    record["format"], record["several"] = picture.format, picture.several
    record["cut"] = picture.cut
    record["camera"] = picture.camera.encode(errors="replace")[:32]
    record["quality"] = picture.quality
    record["small"] = picture.small
    fill_from_pixels(record, picture.pixels)


def fill_from_pixels(record: np.void, pixels: np.ndarray) -> None:
    """Write what follows from the stored pixels, uint8 (H, W, 3)."""
    record["height"], record["width"] = pixels.shape[:2]
    values = pixels.reshape(-1, 3)
    record["sums"] = values.sum(axis=0, dtype=np.uint64)
    # uint8 squared needs 16 bits; sums of squares are exact in 64.
    record["squares"] = np.square(values, dtype=np.uint16).sum(axis=0, dtype=np.uint64)
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    record["grey"] = (pixels == pixels[:, :, :1]).all()
    record["sharpness"] = cv2.Laplacian(grey, cv2.CV_32F).var()
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    record["border"] = border.mean(axis=0)
    record["border_spread"] = border.std(axis=0).max()
