"""What an inspection shows: sheets of images, histograms, a page."""

from pathlib import Path
from typing import Any

import numpy as np

from resnetlab.data.dataset import Dataset

MOST_CLASSES = 100  # on the contact sheet
PER_CLASS = 10  # images of each class on it, and in each row of the extremes
MOST_PAIRS = 40  # near-duplicates drawn
MEASURED = ("width", "height", "sums", "squares", "sharpness", "bytes")  # columns of a store


def write_inspection(out: Path, findings: dict[str, Any], dataset: Dataset) -> None:
    """Write figures and page of an inspection."""
    from resnetlab.report.drawing.distributions import histograms
    from resnetlab.report.drawing.figures import class_distribution
    from resnetlab.report.drawing.galleries import contact_sheet
    from resnetlab.report.page import write_inspect_page

    names = ("classes", "contact-sheet", "distributions", "extremes", "copies-apart", "copies")
    figures = {name: out / f"{name}.png" for name in names}
    class_distribution(findings["counts"], dataset.catalog.classes, figures["classes"])
    contact_sheet(class_rows(dataset), figures["contact-sheet"])
    histograms(properties(dataset), figures["distributions"])
    contact_sheet(extremes(dataset), figures["extremes"])
    if dataset.near is not None:
        draw_pairs(dataset, dataset.near, figures["copies-apart"], figures["copies"])
    write_inspect_page(findings, figures, out / "inspect.html")


def class_rows(dataset: Dataset) -> list[tuple[str, list[np.ndarray]]]:
    """Return each class's name and some of its images, chosen by content."""
    catalog, store = dataset.catalog, dataset.store
    records = store.rows_of(catalog)
    rows = catalog.by_content(catalog.rows("all"))
    return [
        (
            name,
            [
                store.image(int(records[row]))
                for row in rows[catalog.labels[rows] == label][:PER_CLASS]
            ],
        )
        for label, name in enumerate(catalog.classes[:MOST_CLASSES])
    ]


def properties(dataset: Dataset) -> dict[str, np.ndarray]:
    """Return columns of what can be measured on each usable image, by name."""
    catalog, store = dataset.catalog, dataset.store
    rows = catalog.rows("all")
    records = store.rows_of(catalog)[rows]
    measured = {name: store.index[name][records] for name in MEASURED}
    area = measured["width"].astype(float) * measured["height"]
    return {
        "Shorter side, px": np.minimum(catalog.width[rows], catalog.height[rows]),
        "Width over height": catalog.width[rows] / catalog.height[rows],
        "Brightness, 0 to 255": measured["sums"].mean(axis=1) / area,
        "Contrast, standard deviation": contrast(measured, area),
        "Sharpness, log scale": np.log10(measured["sharpness"] + 1),
        "File size, kB": measured["bytes"] / 1000,
    }


def extremes(dataset: Dataset) -> list[tuple[str, list[np.ndarray]]]:
    """Return the darkest images, the brightest, the flattest, the least sharp, each with its name."""
    catalog, store = dataset.catalog, dataset.store
    records = store.rows_of(catalog)[catalog.rows("all")]
    measured = properties(dataset)
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
                store.image(int(row))
                for row in records[np.argsort(values, kind="stable")[:PER_CLASS]]
            ],
        )
        for name, values in orders.items()
    ]


def contrast(measured: dict[str, np.ndarray], area: np.ndarray) -> np.ndarray:
    """Return the standard deviation of each image's values, (M,), from its sums."""
    means, squares = (measured[name].sum(axis=1) / (3 * area) for name in ("sums", "squares"))
    deviation: np.ndarray = np.sqrt(np.maximum(squares - means**2, 0))
    return deviation


def draw_pairs(dataset: Dataset, near: np.ndarray, apart: Path, together: Path) -> None:
    """Draw near-duplicates side by side: those in different splits or classes, then the others."""
    from resnetlab.report.drawing.galleries import pair_sheet

    catalog, store = dataset.catalog, dataset.store
    records = store.rows_of(catalog)
    first, second = near["first"], near["second"]
    across = (catalog.split[first] != catalog.split[second]) | (
        catalog.labels[first] != catalog.labels[second]
    )
    for chosen, path in ((near[across], apart), (near[~across], together)):
        path.unlink(missing_ok=True)
        entries = [
            (
                store.image(int(records[pair["first"]])),
                store.image(int(records[pair["second"]])),
                str(catalog.ids[pair["first"]]),
                str(catalog.ids[pair["second"]]),
            )
            for pair in worth_showing(chosen)
        ]
        if entries:
            pair_sheet(entries, path)


def worth_showing(near: np.ndarray) -> np.ndarray:
    """Return some pairs over the whole range of similarity, no image twice, the least similar first."""
    seen: set[int] = set()
    chosen = []
    for index in np.argsort(near["agreement"], kind="stable"):
        pair = {int(near["first"][index]), int(near["second"][index])}
        if not pair & seen:
            chosen.append(index)
            seen |= pair
    spread = np.linspace(0, len(chosen) - 1, min(MOST_PAIRS, len(chosen)))
    shown: np.ndarray = near[np.array(chosen, dtype=np.int64)[spread.astype(int)]]
    return shown
