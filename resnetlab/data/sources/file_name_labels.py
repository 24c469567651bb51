"""Images whose labels stand in the names of their files, in one folder or in one for each split."""

from collections import Counter

from resnetlab.data.catalog import Catalog, printable
from resnetlab.data.sources.folder import (
    catalog_of,
    classes_needed,
    note,
    passed_over_notes,
    unlabelled_notes,
)
from resnetlab.data.sources.layout.class_levels import Levels
from resnetlab.data.sources.layout.file_names import (
    AUTO,
    checked_pattern,
    found_labels,
    label_in_name,
    usual_pattern,
)
from resnetlab.data.sources.layout.names import split_kinds
from resnetlab.data.sources.layout.places import (
    Place,
    find_places,
    peeled,
    tops,
    without_beside,
    without_wrapper,
)
from resnetlab.data.sources.layout.splits import (
    Division,
    add_part,
    refuse_inner_splits,
    splits_within_classes,
)
from resnetlab.data.sources.listing import Listing
from resnetlab.errors import DataError
from resnetlab.recipe import Data


def labels_from_names(listing: Listing, settings: Data) -> Catalog:
    """Return the catalog of a listing in which a file's name holds its label, by data.label_pattern.

    Folders with a split's name are splits; one for tests whose names hold no label is left aside.
    Raises DataError where a name that should hold a label has none, unless such are dropped.
    """
    places, notes = without_beside(find_places(listing), settings, listing.where)
    places, wrapper = without_wrapper(places, listing, empty_allowed=True)
    division = named_splits(places)
    refuse_inner_splits(division.places, settings, listing)
    notes += division.notes
    pattern = settled_pattern(division, listing, settings)
    kept: list[Place] = []
    bare: list[str] = []
    for place in division.places:
        labels = {image: label_in_name(pattern, image) for image in place.images}
        if place.kind not in ("", "train") and not any(labels.values()):
            folder = part_folder(place, wrapper)
            division.unlabelled.setdefault(folder, []).extend(place.images)
            continue
        bare += [image for image, label in labels.items() if not label]
        for label in dict.fromkeys(filter(None, labels.values())):
            images = tuple(image for image in place.images if labels[image] == label)
            kept.append(Place(place.folder, (label,), images, place.kind, place.part))
    if bare and settings.unmatched == "error":
        raise DataError(
            f"{listing.where}: {len(bare)} file names hold no label by data.label_pattern='{pattern}', the first is "
            f"{printable(bare[0])}; mend the pattern, or leave them out with --set data.unmatched=drop"
        )
    found = Counter[str]()
    for place in kept:
        found[place.chain[0]] += len(place.images)
    if len(found) < (needed := classes_needed(settings)):
        only = f"only '{printable(next(iter(found)))}'" if found else "no label"
        number = "two labels at least are" if needed == 2 else "one at least is"
        raise DataError(
            f"{listing.where}: data.label_pattern='{pattern}' finds {only}, {number} needed"
        )
    notes.append(f"labels were taken from the file names by '{pattern}': {found_labels(found)}")
    notes += note("file names hold no label and were left out", bare)
    notes += unlabelled_notes(listing, wrapper, division)
    notes += passed_over_notes(listing)
    classes = [place.chain[0] for place in kept]
    return catalog_of(listing, kept, Levels(classes, [""] * len(kept), []), notes)


def settled_pattern(division: Division, listing: Listing, settings: Data) -> str:
    """Return the pattern that finds labels: the recipe's, or the usual one that fits what is trained on.

    Raises DataError where none of the usual ones does.
    """
    pattern = settings.label_pattern
    if pattern == AUTO:
        images = [
            i for place in division.places if place.kind in ("", "train") for i in place.images
        ]
        pattern = usual_pattern(images)
    if pattern is None:
        raise DataError(
            f"{listing.where}: no usual form of names, such as 'label_12.jpg', gives all these images labels; give "
            "a pattern whose first group is the label: --set data.label_pattern='^([a-z]+)'"
        )
    return checked_pattern(pattern)


def named_splits(places: list[Place]) -> Division:
    """Return the images by the splits that the first folders name, or the folders within each of them."""
    kinds = split_kinds(tops(places))
    if not kinds:
        return splits_within_classes(places, ())
    division = Division([place for place in places if not kinds.keys() & place.chain[:1]])
    for name, kind in kinds.items():
        add_part(division, name, kind, peeled(places, name))
    return division


def part_folder(place: Place, wrapper: str) -> str:
    """Return the path, from within the wrapper, of the folder that says a place's split: 'person1/test'."""
    above = f"/{place.folder.removeprefix(wrapper).strip('/')}/".partition(f"/{place.part}/")[0]
    return f"{above}/{place.part}".strip("/")
