"""Images laid out on sheets, with their true and predicted classes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from resnetlab.report.drawing.style import INK, MUTED, WIDTH, WRONG, bare, drawing, panel, shorten

MOST_VISIBLE_PIXELS = 64  # a smaller image is enlarged with its pixels left sharp
_GAP = 0.12
_EDGE = 0.02  # keeps half the width of a frame inside


def sample_predictions(
    images: Sequence[np.ndarray],
    true: Sequence[str],
    predicted: Sequence[str],
    confidences: Sequence[float],
    path: Path,
) -> None:
    """Draw images with their true class and, below it, the predicted one; mistakes are marked.

    `images` are uint8 (H, W, 3) of any size; `confidences` lie in 0..1.
    """
    most = 8 if max(map(len, (*true, *predicted))) <= 10 else 6  # long names need the room
    columns = min(most, max(5, len(images)))
    cell = (WIDTH - 2 * _EDGE + _GAP) / columns - _GAP
    pitch = cell + 0.5
    with drawing(path, WIDTH, -(-len(images) // columns) * pitch, images=True) as figure:
        axes = _sheet(figure)
        entries = zip(images, true, predicted, confidences, strict=True)
        for index, (image, name, prediction, confidence) in enumerate(entries):
            left = _EDGE + index % columns * (cell + _GAP)
            top = _EDGE + index // columns * pitch
            frame = _place(axes, image, left, top, cell)
            if name != prediction:
                frame.set(edgecolor=WRONG, linewidth=2)
            _caption(axes, (left, top + cell), name, prediction, confidence, cell)


def _caption(
    axes: Axes,
    corner: tuple[float, float],
    name: str,
    prediction: str,
    confidence: float,
    cell: float,
) -> None:
    left, top = corner
    correct = name == prediction
    room = int(cell * 17)  # letters of this size that fit below an image
    text = f"{'✓' if correct else '✗'} {shorten(prediction, room - 8)} · {100 * confidence:.0f} %"
    title = shorten(name, room - 3)
    axes.text(left, top + 0.15, title, fontsize=8, fontweight="bold", va="center")
    axes.text(left, top + 0.3, text, fontsize=7.5, color=MUTED if correct else WRONG, va="center")


def contact_sheet(rows: Sequence[tuple[str, Sequence[np.ndarray]]], path: Path) -> None:
    """Draw rows of images, each row with its label; images are uint8 (H, W, 3) of any size."""
    most = max(len(images) for _, images in rows)
    names = min(1.6, 0.25 + 0.075 * max(len(label) for label, _ in rows))
    cell = min(1.1, (WIDTH - names) / most - 0.06 - _EDGE)
    # Where all images are wide, rows need not be as high as they.
    lowest = max(
        min(1.0, image.shape[0] / image.shape[1]) for _, images in rows for image in images
    )
    pitch = cell * lowest + 0.06
    with drawing(path, WIDTH, len(rows) * pitch, images=True) as figure:
        axes = _sheet(figure)
        for row, (label, images) in enumerate(rows):
            top = _EDGE + row * pitch
            axes.text(_EDGE, top + cell * lowest / 2, shorten(label, 22), va="center", color=INK)
            for column, image in enumerate(images):
                left = names + column * (cell + 0.06)
                _place(axes, image, left, top - cell * (1 - lowest), cell)


def pair_sheet(pairs: Sequence[tuple[np.ndarray, np.ndarray, str, str]], path: Path) -> None:
    """Draw images two by two, each pair with its names; images are uint8 (H, W, 3) of any size."""
    columns = min(4, max(2, len(pairs)))
    wide = (WIDTH - 2 * _EDGE + 2 * _GAP) / columns - 2 * _GAP
    cell = (wide - 0.03) / 2
    pitch = cell + 0.42
    with drawing(path, WIDTH, -(-len(pairs) // columns) * pitch, images=True) as figure:
        axes = _sheet(figure)
        for index, (first, second, name, other) in enumerate(pairs):
            left = _EDGE + index % columns * (wide + 2 * _GAP)
            top = _EDGE + index // columns * pitch
            _place(axes, first, left, top, cell)
            _place(axes, second, left + cell + 0.03, top, cell)
            for line, text in enumerate((name, other)):
                at = (left, top + cell + 0.1 + 0.13 * line)
                axes.text(
                    *at, _keep_end(text, int(wide * 17)), fontsize=6.5, color=MUTED, va="center"
                )


def _keep_end(text: str, room: int) -> str:
    """Return a path cut at its start: the file's own name tells more."""
    return text if len(text) <= room else "…" + text[-room + 1 :]


def _sheet(figure: Figure) -> Axes:
    """Return axes over the whole figure whose unit is the inch, counted from the upper left."""
    width, height = figure.get_size_inches()
    axes = panel(figure, 0, 0, width, height)
    bare(axes)
    axes.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
    return axes


def _place(axes: Axes, image: np.ndarray, left: float, top: float, cell: float) -> Rectangle:
    """Put an image into the lower left of a square cell, its shape kept; return its frame."""
    height, width = image.shape[:2]
    scale = cell / max(height, width)
    across, down = width * scale, height * scale
    top += cell - down
    small = max(height, width) <= MOST_VISIBLE_PIXELS
    axes.imshow(
        image,
        extent=(left, left + across, top + down, top),
        aspect="auto",
        interpolation="nearest" if small else "antialiased",
    )
    frame = Rectangle(
        (left, top), across, down, fill=False, edgecolor=MUTED, linewidth=0.3, clip_on=False
    )
    axes.add_patch(frame)
    return frame
