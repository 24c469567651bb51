"""What was found of a data set, as plain values for JSON."""

from typing import Any

from resnetlab.data.audit.findings import describe
from resnetlab.data.catalog import SPLITS
from resnetlab.data.dataset import Dataset, divide
from resnetlab.data.store.moments import describe_moments
from resnetlab.errors import DataError


def describe_dataset(dataset: Dataset, split: str) -> dict[str, Any]:
    """Return what was found of the data, with the statistics of a split."""
    catalog, store = dataset.catalog, dataset.store
    findings = describe(catalog, store, dataset.near, dataset.name)
    return findings | {"moments": describe_moments(catalog, store, split)}


def plan_splits(dataset: Dataset) -> dict[str, Any]:
    """Return how many images of each class each split would hold by the recipe, or why none can be made."""
    try:
        divided = divide(dataset.catalog, dataset.recipe)
    except DataError as error:
        return {"problem": str(error)}
    return {
        split: divided.counts(split).tolist() for split in SPLITS if divided.counts(split).any()
    }
