"""What an inspection finds and shows."""

from pathlib import Path
from typing import Any

import numpy as np

from resnetlab.data.catalog import PARTS
from resnetlab.data.findings import describe
from resnetlab.data.moments import describe_moments
from resnetlab.errors import DataError
from resnetlab.pictures import Pictures, divide

MOST_CLASSES = 100  # on the contact sheet
PER_CLASS = 10
MOST_PAIRS = 40


def describe_pictures(pictures: Pictures, part: str) -> dict[str, Any]:
    """Return what was found of the data, with the statistics of a part."""
    catalog, store = pictures.catalog, pictures.store
    findings = describe(catalog, store, pictures.near, pictures.name)
    return findings | {"moments": describe_moments(catalog, store, part)}


def plan_parts(pictures: Pictures) -> dict[str, Any]:
    """Return what each part would hold by the recipe's split, or why it can't be made."""
    try:
        divided = divide(pictures.catalog, pictures.recipe)
    except DataError as error:
        return {"problem": str(error)}
    return {part: divided.counts(part).tolist() for part in PARTS if divided.counts(part).any()}


def write_inspection(out: Path, findings: dict[str, Any], pictures: Pictures) -> None:
    """Write pictures and page of an inspection."""
    from resnetlab.report.distributions import histograms
    from resnetlab.report.figures import class_distribution
    from resnetlab.report.page import write_inspect_page
    from resnetlab.report.pictures import contact_sheet

    names = ("classes", "contact-sheet", "distributions", "extremes", "copies-apart", "copies")
    figures = {name: out / f"{name}.png" for name in names}
    class_distribution(findings["counts"], pictures.catalog.classes, figures["classes"])
    contact_sheet(class_rows(pictures), figures["contact-sheet"])
    histograms(properties(pictures), figures["distributions"])
    contact_sheet(extremes(pictures), figures["extremes"])
    if pictures.near is not None:
        draw_pairs(pictures, pictures.near, figures["copies-apart"], figures["copies"])
    write_inspect_page(findings, figures, out / "inspect.html")


def class_rows(pictures: Pictures) -> list[tuple[str, list[np.ndarray]]]:
    """Return each class's name and some of its pictures, chosen by content."""
    catalog, store = pictures.catalog, pictures.store
    records = store.rows_of(catalog)
    rows = catalog.part("all")
    rows = rows[np.argsort(catalog.sha256[rows], kind="stable")]
    return [
        (
            name,
            [
                store.picture(int(records[row]))
                for row in rows[catalog.labels[rows] == label][:PER_CLASS]
            ],
        )
        for label, name in enumerate(catalog.classes[:MOST_CLASSES])
    ]


def properties(pictures: Pictures) -> dict[str, np.ndarray]:
    """Return columns of what can be measured on each usable picture, by name."""
    catalog, store = pictures.catalog, pictures.store
    rows = catalog.part("all")
    records = store.index[store.rows_of(catalog)[rows]]
    area = records["width"].astype(float) * records["height"]
    return {
        "Shorter side, px": np.minimum(catalog.width[rows], catalog.height[rows]),
        "Width over height": catalog.width[rows] / catalog.height[rows],
        "Brightness, 0 to 255": records["sums"].mean(axis=1) / area,
        "Contrast, standard deviation": contrast(records, area),
        "Sharpness, log scale": np.log10(records["sharpness"] + 1),
        "File size, kB": records["bytes"] / 1000,
    }


def extremes(pictures: Pictures) -> list[tuple[str, list[np.ndarray]]]:
    """Return the darkest pictures, the brightest, the flattest, the least sharp, each with its name."""
    catalog, store = pictures.catalog, pictures.store
    records = store.rows_of(catalog)[catalog.part("all")]
    measured = properties(pictures)
    brightness = measured["Brightness, 0 to 255"]
    orders = {
        "darkest": brightness,
        "brightest": -brightness,
        "least contrast": measured["Contrast, standard deviation"],
        "least sharp": measured["Sharpness, log scale"],
    }
    return [
        (
            name,
            [
                store.picture(int(row))
                for row in records[np.argsort(values, kind="stable")[:PER_CLASS]]
            ],
        )
        for name, values in orders.items()
    ]


def contrast(records: np.ndarray, area: np.ndarray) -> np.ndarray:
    """Return the standard deviation of each picture's values, (M,), from its sums."""
    means, squares = (records[name].sum(axis=1) / (3 * area) for name in ("sums", "squares"))
    deviation: np.ndarray = np.sqrt(np.maximum(squares - means**2, 0))
    return deviation


def draw_pairs(pictures: Pictures, near: np.ndarray, apart: Path, together: Path) -> None:
    """Draw altered copies side by side: those in different parts or classes, then the others."""
    from resnetlab.report.pictures import pair_sheet

    catalog, store = pictures.catalog, pictures.store
    records = store.rows_of(catalog)
    first, second = near["first"], near["second"]
    parted = (catalog.split[first] != catalog.split[second]) | (
        catalog.labels[first] != catalog.labels[second]
    )
    for chosen, path in ((near[parted], apart), (near[~parted], together)):
        path.unlink(missing_ok=True)
        entries = [
            (
                store.picture(int(records[pair["first"]])),
                store.picture(int(records[pair["second"]])),
                str(catalog.ids[pair["first"]]),
                str(catalog.ids[pair["second"]]),
            )
            for pair in worth_showing(chosen)
        ]
        if entries:
            pair_sheet(entries, path)


def worth_showing(near: np.ndarray) -> np.ndarray:
    """Return some pairs over the whole range of likeness, no picture twice, least alike first."""
    seen: set[int] = set()
    chosen = []
    for place in np.argsort(near["agreement"], kind="stable"):
        pair = {int(near["first"][place]), int(near["second"][place])}
        if not pair & seen:
            chosen.append(place)
            seen |= pair
    spread = np.linspace(0, len(chosen) - 1, min(MOST_PAIRS, len(chosen)))
    shown: np.ndarray = near[np.array(chosen, dtype=np.int64)[spread.astype(int)]]
    return shown
