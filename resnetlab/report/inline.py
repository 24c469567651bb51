"""What makes a page one file: its style and its script, and figures in the reader's own theme."""

import base64
import hashlib
import re
from pathlib import Path
from typing import Any

from markupsafe import Markup

from resnetlab.report.drawing.style import GRID, INK, MUTED, PAPER

TEMPLATES = Path(__file__).parent / "templates"
VARIABLES = {INK: "--ink", MUTED: "--muted", GRID: "--line", PAPER: "--paper"}


def code() -> dict[str, Any]:
    """Return the script of a page, and the hash by which alone the page lets it run."""
    script = (TEMPLATES / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return {"script": Markup(script), "script_hash": Markup(f"sha256-{digest}")}


def themed(svg: str) -> str:
    """Return a figure for a page: its greys become the page's, so that it can be read in the dark too.

    Only Matplotlib's own SVG is ever put in; labels in it are escaped by it.
    """
    svg = svg[svg.index("<svg") :]
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    # Names of groups are the same in every figure, and nothing refers to them.
    return re.sub(r'<g id="[^"]*"', "<g", re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S))
