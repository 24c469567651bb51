"""Images turned upright, by the number that EXIF and TIFF give their orientation."""

import numpy as np

# Whether they are flipped from left to right, and then how many quarters they turn to the left.
TURNS = {2: (1, 0), 3: (0, 2), 4: (1, 2), 5: (1, 1), 6: (0, 3), 7: (1, 3), 8: (0, 1)}


def turn(values: np.ndarray, orientation: int) -> np.ndarray:
    """Return values (H, W) or (H, W, C) of any type turned upright; an unknown orientation is upright."""
    if orientation not in TURNS:
        return values
    flip, quarters = TURNS[orientation]
    return np.ascontiguousarray(np.rot90(values[:, ::-1] if flip else values, quarters))


def swaps(orientation: int) -> bool:
    """Return whether width and height change places."""
    return orientation in TURNS and TURNS[orientation][1] % 2 == 1
