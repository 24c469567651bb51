"""Numbers as a reader wants them: rounded, with a unit, never more exact than they are."""

from collections.abc import Mapping, Sequence
from typing import Any

from resnetlab.system import progress


def percent(value: float) -> str:
    """Return '97.8 %'; only all is called 100.0 %, and only nothing 0.0 %."""
    return f"{_hundredths(value)} %"


def percent_range(interval: Mapping[str, float]) -> str:
    """Return '94.4 to 99.1 %'."""
    return f"{_hundredths(interval['low'])} to {_hundredths(interval['high'])} %"


def _hundredths(value: float) -> str:
    shown = f"{100 * value:.1f}"
    if shown == "100.0" and value < 1:
        return "99.9"
    return "0.1" if shown == "0.0" and value > 0 else shown


def points(interval: Mapping[str, float]) -> str:
    """Return a difference in percentage points as '+3.2 (+0.4 to +6.1)'."""
    value, low, high = (f"{100 * interval[key]:+.1f}" for key in ("value", "low", "high"))
    return f"{value} ({low} to {high})".replace("-", "−")


def number(value: float) -> str:
    """Return '0.912', with a sign of its own where it is below 0."""
    return f"{value:.3f}".replace("-", "−")


def plural(number: int, noun: str) -> str:
    """Return '1 image' or '1,797 images'."""
    ending = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{ending}"


def large(number: float) -> str:
    """Return '184 k', '23.5 M' or '4.1 G'."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.{int(number < 100 * size)}f} {unit}"
    return f"{number:,.0f}"


def duration(seconds: float) -> str:
    """Return '4.2 s', '2 min 23 s' or '3 h 5 min'."""
    return f"{seconds:.1f} s" if seconds < 10 else progress.duration(seconds)


def p_value(p: Any) -> str:
    """Return '0.034', '< 0.001', or nothing where no test was made."""
    if not isinstance(p, float | int):
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def moment(iso: str) -> str:
    """Return '2026-03-02 09:14' of a time written as ISO 8601."""
    return iso[:16].replace("T", " ")


def absent_classes(score: Mapping[str, Any]) -> list[str]:
    """Return the classes that had no image in the split of these scores."""
    return [row["class"] for row in score.get("per_class", []) if not row["support"]]


def no_image_of(classes: Sequence[str]) -> str:
    """Return what a reader of balanced and macro figures must know where classes had no image, else ''."""
    if not classes:
        return ""
    names = [*classes[:5], f"{len(classes) - 5} more"] if len(classes) > 6 else list(classes)
    it = "it" if len(names) == 1 else "them"
    return (
        f"No image of {listed(names)}: the balanced accuracy says nothing of {it}, and the macro figures count such "
        "a class, as 0, only where it was predicted."
    )


def listed(items: Sequence[str]) -> str:
    """Return 'a, b and c'."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)
