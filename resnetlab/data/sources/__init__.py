"""Forms in which people hold labelled pictures. Each ends in the same Catalog."""

from pathlib import Path

from resnetlab.data.catalog import Catalog
from resnetlab.data.sources.folder import class_folders
from resnetlab.data.sources.listing import list_folder
from resnetlab.recipe import Data


def read_source(data: Path, settings: Data) -> Catalog:
    """List the labelled pictures in whatever DATA is; none of them is opened."""
    return class_folders(list_folder(data, settings.follow_links), settings.allow_empty_classes)
