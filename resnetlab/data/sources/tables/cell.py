"""Cells of tables as text."""

from typing import Any


def to_text(value: Any) -> str:
    """Return a cell as CSV would have it: 3 and 3.0 are '3', what is missing is '', bytes are letters."""
    if value is None or value != value:  # NaN
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return str(value)
