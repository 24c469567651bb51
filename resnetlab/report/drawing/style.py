"""How every figure looks: one palette, one type, one way into the file."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib import font_manager, style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnetlab.system import files

DPI = 150
WIDTH = 9.0  # inches; the page shows an inch as 100 px, so that this fills its column

INK, MUTED, GRID, PAPER = "#1d2733", "#677483", "#e4e8ec", "#ffffff"
WRONG = "#b4232a"
SPLIT_COLOURS = {"all": "#55606e", "train": "#0b5fa5", "val": "#cf7a09", "test": "#1a7d62"}
SPLIT_NAMES = {"all": "all images", "train": "training", "val": "validation", "test": "test"}
# Okabe and Ito's eight, with the yellow and the light tones darkened to be seen on white.
SERIES = ("#0b5fa5", "#cf7a09", "#1a7d62", "#a8407f", "#3f9bd1", "#b4232a", "#8a7a00", "#1d2733")

_LATIN = ("Helvetica Neue", "Arial", "Liberation Sans", "DejaVu Sans")
_OTHER_SCRIPTS = (
    *("Noto Sans CJK JP", "Noto Sans CJK SC", "PingFang SC", "Hiragino Sans", "Microsoft YaHei"),
    *("Yu Gothic", "Malgun Gothic", "Noto Sans", "Arial Unicode MS", "Nirmala UI"),
)
_RULES = {
    "font.size": 9,
    "text.color": INK,
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.6,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 8.5,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "figure.constrained_layout.wspace": 0.04,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "xtick.major.width": 0.6,
    "savefig.pad_inches": 0.03,
    "lines.linewidth": 1.7,
    "lines.solid_capstyle": "round",
    "lines.solid_joinstyle": "round",
}
Layout = Literal["none", "constrained", "cropped"]


@contextmanager
def drawing(
    path: Path, width: float, height: float, layout: Layout = "none", images: bool = False
) -> Iterator[Figure]:
    """Give an empty figure of so many inches; what was drawn becomes a PNG, and an SVG beside it.

    With `images` in it there is no SVG, which would be no smaller and no sharper. `cropped` cuts the
    margins off afterwards; `constrained` is Matplotlib's layout. The style holds inside only, whatever the
    user's own settings are.
    """
    with style.context({**_RULES, "font.family": _fonts()}, after_reset=True):
        figure = Figure(
            figsize=(width, height),
            dpi=DPI,
            layout="constrained" if layout == "constrained" else None,
        )
        yield figure
        with files.whole(path) as temporary, warnings.catch_warnings():
            # A class name in a script without a font here becomes boxes, not an end of the run.
            warnings.filterwarnings("ignore", message="Glyph .* missing")
            crop = "tight" if layout == "cropped" else None
            # Without the name of the program equal input gives equal bytes for longer.
            figure.savefig(temporary, format="png", bbox_inches=crop, metadata={"Software": None})
        if images:
            return
        # A salt of its own keeps the names inside apart where a page holds several figures.
        rc = {"svg.fonttype": "none", "svg.hashsalt": path.stem}
        with files.whole(path.with_suffix(".svg")) as temporary, warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing")
            with style.context(rc):
                nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
                figure.savefig(temporary, format="svg", bbox_inches=crop, metadata=nothing)


def _fonts() -> list[str]:
    """Return the wanted fonts that are here; asking for others would fill the log."""
    here = {font.name for font in font_manager.fontManager.ttflist}
    return [name for name in (*_LATIN, *_OTHER_SCRIPTS) if name in here]


def panel(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Add axes placed in inches from the figure's upper left corner."""
    across, down = figure.get_size_inches()
    place = (left / across, 1 - (top + height) / down, width / across, height / down)
    return figure.add_axes(place)


def bare(axes: Axes) -> None:
    """Take away frame, grid and ticks where the drawing itself says enough."""
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def shorten(name: str, limit: int) -> str:
    """Cut a long name in its middle, as its beginning or its end may tell it from the next."""
    name = " ".join(name.split())
    if len(name) <= limit:
        return name
    tail = (limit - 1) // 3
    return name[: limit - 1 - tail].rstrip() + "…" + name[len(name) - tail :].lstrip()


def spread(positions: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move labels as little as needed (least squares) until all are `gap` apart.

    The order stays. They lie within `low` and `high` as far as there is room.
    """
    from scipy.optimize import isotonic_regression

    wanted = np.asarray(positions, dtype=float)
    order = np.argsort(wanted, kind="stable")
    steps = np.arange(len(wanted)) * gap
    placed = isotonic_regression(wanted[order] - steps).x
    result = np.empty_like(wanted)
    result[order] = np.clip(placed, low, max(low, high - steps[-1])) + steps
    return [float(value) for value in result]


def row_pitch(rows: int) -> tuple[float, float]:
    """Return inches a row and points of its letters: generous for few rows, tight for many."""
    pitch = min(max(8.0 / rows, 0.125), 0.27)
    return pitch, min(9.0, pitch * 56)
