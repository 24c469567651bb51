"""WebDataset shards: tar files in which 'key.jpg' lies beside 'key.cls' or 'key.json'."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from resnetlab.data.catalog import Catalog, printable
from resnetlab.data.sources.archives.archive import list_archive
from resnetlab.data.sources.folder import note
from resnetlab.data.sources.listing import Listing, is_image, natural_key
from resnetlab.data.sources.tables.labelled import labelled_catalog, split_of
from resnetlab.errors import DataError
from resnetlab.recipe import Data

LABEL_ENDINGS = ("cls", "json")
LABEL_KEYS = ("label", "cls")  # in a .json
CLASS_FILES = ("classes.txt", "labels.txt")


@dataclass
class Sample:
    """What a shard holds under one key, by names in the shard: images, and files with the label."""

    images: list[str] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)  # from the ending to the name


def has_shards(listing: Listing) -> bool:
    """Return whether a folder holds shards: in its first tar, labels lie beside images."""
    names = tars(listing)
    if listing.prefix or not names:
        return False
    samples, _ = samples_of(list_archive(listing.root / names[0]))
    return any(sample.images and sample.labels for sample in samples)


def tars(listing: Listing) -> list[str]:
    """Return the names of the shards in natural order."""
    names = (name for name in listing.files if name.lower().endswith(".tar"))
    return sorted(names, key=natural_key)


def samples_of(shard: Listing) -> tuple[list[Sample], list[str]]:
    """Return the samples of a shard, and the images that belong to none.

    A key is a name up to the first dot after the last '/': 'key.mask.png' is no image of the sample but
    one about it. Only where the key has no other image, and a label lies beside under the dotted name
    ('IMG_1.0.png', 'IMG_1.0.cls'), that is a sample too.
    """
    stems: dict[str, Sample] = {}
    for name in shard.files:
        stem, dot, ending = name.rpartition(".")
        ending = ending.lower()
        if dot and is_image(name):
            stems.setdefault(stem, Sample()).images.append(name)
        elif dot and ending in LABEL_ENDINGS:
            stems.setdefault(stem, Sample()).labels[ending] = name
    samples: list[Sample] = []
    others: list[str] = []
    for stem, sample in stems.items():
        folder, slash, name = stem.rpartition("/")
        key = folder + slash + name.partition(".")[0]
        has_image = key in stems and bool(stems[key].images)
        if key == stem or (sample.images and sample.labels and not has_image):
            samples.append(sample)
        else:
            others += sample.images
    return samples, others


def read_shards(listing: Listing, settings: Data) -> Catalog:
    """Return the catalog of a folder's shards, joined in natural order of their names.

    Labels are names or numbers; 'classes.txt' or 'labels.txt' beside the shards gives the classes
    their names and order, a line each. Words in a shard's name give the split. Raises DataError
    where a shard is damaged, or an image or a label is alone, unless these are to be dropped.
    """
    classes = class_names(listing)
    paths: list[str] = []
    labels: list[str] = []
    splits: list[str] = []
    alone: list[str] = []
    about: list[str] = []
    for name in tars(listing):
        shard = list_archive(listing.root / name)
        # A catalog's path begins below this listing's root, the shard's below its own folder.
        prefix = name[: name.rfind("/") + 1] + shard.prefix
        samples, others = samples_of(shard)
        about += [prefix + image for image in others]
        for sample in samples:
            here = [prefix + image for image in sample.images]
            label = label_of(sample, shard) if sample.labels else ""
            if len(here) > 1:
                raise DataError(
                    f"{shard.where}: '{printable(sample.images[0])}' and "
                    f"'{printable(sample.images[1])}' are images under one key; keep one"
                )
            if not here or not label:
                alone += here or [prefix + item for item in sample.labels.values()]
                continue
            paths += here
            labels.append(label)
            splits.append(split_of(name))
    if alone and settings.unmatched == "error":
        raise DataError(
            f"{listing.where}: {len(alone)} images without a label or labels without an image: "
            f"{', '.join(map(printable, alone[:5]))}; complete them, or leave such out with --set "
            "data.unmatched=drop"
        )
    known = {*tars(listing), *CLASS_FILES}
    others = [name for name in listing.files if name not in known] + list(listing.passed_over)
    notes = note("files or links were passed over", others)
    notes += note("images without a label or labels without an image were left out", alone)
    notes += note(
        "images were passed over, for what follows the first dot of a name is no part of its key",
        about,
    )
    labels = named(labels, classes, listing.where)
    return labelled_catalog(listing, paths, labels, splits, settings, classes, notes)


def class_names(listing: Listing) -> list[str]:
    """Return the classes' names from the file beside the shards, none where there is no such file."""
    name = next((name for name in CLASS_FILES if name in listing.files), None)
    if name is None:
        return []
    try:
        lines = listing.read(name).decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{listing.where / name}: can't be read as UTF-8 ({error})") from error
    return [line.strip() for line in lines if line.strip()]


def named(labels: list[str], classes: list[str], where: Path) -> list[str]:
    """Return labels by the names of the classes: numbers count these from 0, unless all numbers are names.

    Other labels stay as they are. Raises DataError for a number that is none of a class.
    """
    numbers = {label for label in labels if label.isdecimal()}
    if numbers <= set(classes) or not classes:
        return labels
    if beyond := [label for label in labels if label in numbers and int(label) >= len(classes)]:
        raise DataError(
            f"{where}: label '{beyond[0]}' is no number from 0 to {len(classes) - 1}, of the classes that are "
            "named beside the shards"
        )
    return [classes[int(label)] if label in numbers else label for label in labels]


def label_of(sample: Sample, shard: Listing) -> str:
    """Return a sample's label as text, '' where it has none."""
    ending = next(ending for ending in LABEL_ENDINGS if ending in sample.labels)
    name = sample.labels[ending]
    try:
        text = shard.read(name).decode("utf-8-sig").strip()
        return from_json(text) if ending == "json" else text
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{shard.where}: '{printable(name)}' can't be read ({error})") from error


def from_json(text: str) -> str:
    """Return the label in a JSON mapping as text, '' where it has none."""
    facts = json.loads(text)
    found = [facts[key] for key in LABEL_KEYS if key in facts] if isinstance(facts, dict) else []
    if not found or found[0] is None:
        return ""
    if isinstance(found[0], str | int):
        return str(found[0]).strip()
    raise ValueError(f"the label must be a number or a name, found {found[0]!r:.40}")
