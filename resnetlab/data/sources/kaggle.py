"""Kaggle's form as downloaded: train.7z (or unpacked), trainLabels.csv, test.7z without labels."""

import dataclasses
import io
import re
import shlex
import shutil
from contextlib import redirect_stdout
from pathlib import Path

from resnetlab.data.catalog import Catalog, printable
from resnetlab.data.sources.archives.archive import archive_names, list_archive
from resnetlab.data.sources.archives.members import is_archive, kind_of
from resnetlab.data.sources.archives.unpacked import unpack_whole
from resnetlab.data.sources.layout.names import parse
from resnetlab.data.sources.listing import Listing, is_hidden, is_image, listing_within
from resnetlab.data.sources.tables.table import read_label_table
from resnetlab.data.sources.tables.text_table import read_rows
from resnetlab.errors import DataError, MachineError, ResnetlabError
from resnetlab.recipe import Data
from resnetlab.system.files import exclusive
from resnetlab.system.progress import log

TABLE_NAMES = ("trainlabels.csv", "train_labels.csv", "labels.csv", "train.csv")


def is_kaggle(listing: Listing) -> bool:
    """Return whether a listing has a label table at its top, and images in a flat 'train'."""
    return bool(find_tables(listing) and find_sets(listing, "train"))


def find_tables(listing: Listing) -> list[str]:
    """Return the files at the top that are named like a table of training labels."""
    return [name for name in listing.files if name.lower() in TABLE_NAMES]


def find_sets(listing: Listing, split: str) -> list[str]:
    """Return where the images of a split lie: its folder if it is unpacked, else its archives."""
    folders = [name for name in listing.subfolders() if is_named(name, split)]
    flat = [
        name
        for name in folders
        if not listing.subfolders(name) and any(is_image(file) for file in below(listing, name))
    ]
    if flat or listing.prefix:  # what lies in an archive inside an archive is not looked for
        return flat
    return [
        name
        for name in listing.files
        if is_archive(Path(name)) and is_named(name.lower().removesuffix(ending_of(name)), split)
    ]


def is_named(name: str, split: str) -> bool:
    """Return whether a name says a split and nothing else: 'train', 'Train_Images', 'test1'."""
    said = parse(name)
    return said.kind == split and not said.rest


def ending_of(name: str) -> str:
    """Return what follows the first dot of a name, with it, in small letters: '.tar.gz'."""
    return "".join(name.lower().partition(".")[1:])


def below(listing: Listing, folder: str) -> list[str]:
    """Return the names of the files below a folder, with it."""
    return [name for name in listing.files if name.startswith(f"{folder}/")]


def read_kaggle(listing: Listing, settings: Data) -> Catalog:
    """Return the catalog of the training images, each labelled by the row that has its name as id.

    Raises DataError where rows and images don't match, unless unmatched ones are to be dropped, or
    where rows contradict each other.
    """
    table = only(listing, find_tables(listing))
    images = list_set(listing, only(listing, find_sets(listing, "train")))
    where = listing.where / table
    try:
        rows = read_rows(listing.read(table), str(where))
    except OSError as error:
        raise DataError(f"{where}: can't be read ({error.strerror or error})") from error
    catalog = read_label_table(rows, where, images, settings)
    notes = [unlabelled_note(listing, name) for name in find_sets(listing, "test")]
    return catalog.with_columns(notes=(*catalog.notes, *filter(None, notes)))


def only(listing: Listing, names: list[str]) -> str:
    """Return the one name there is. Raises DataError for two: which one counts is not guessed."""
    if len(names) > 1:
        raise DataError(
            f"{listing.where}: both '{printable(names[0])}' and '{printable(names[1])}' are there; "
            "keep one of them"
        )
    return names[0]


def list_set(listing: Listing, name: str) -> Listing:
    """Return the listing of a folder or an archive at the top of a listing, with the same root."""
    if name in listing.files:
        inner = list_archive(listing.where / name)
        return dataclasses.replace(
            inner, root=listing.root, prefix=f"{listing.prefix}{inner.prefix}"
        )
    return listing_within(listing, name)


def unlabelled_note(listing: Listing, name: str) -> str:
    """Return a line about the test images, which have no label; an archive of them is only listed."""
    try:
        inside = (
            archive_names(listing.where / name) if name in listing.files else below(listing, name)
        )
    except ResnetlabError as error:  # training needs none of it
        return f"{printable(name)} was passed over: {error}"
    count = sum(is_image(path) and not any(map(is_hidden, path.split("/"))) for path in inside)
    if not count:
        return ""
    return (
        f"{count} images of {printable(name)} have no label; name their classes with: "
        f"resnetlab predict RUN {shlex.quote(printable(str(listing.place_of(name))))}"
    )


# Fetching


def fetch_kaggle(name: str, folder: Path) -> Path:
    """Return the folder with a competition's files, fetched by Kaggle's own client if it isn't there yet.

    It appears whole or not at all. Raises MachineError where the client, the user's credentials or
    the network are missing, DataError where Kaggle doesn't give these files.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise DataError(
            f"kaggle:{printable(name)}: a competition's name is the last part of its address, like "
            "kaggle:cifar-10"
        )
    target = folder / f"kaggle-{name}"
    download_folder = folder / f"kaggle-{name}.download"
    try:
        download_folder.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(folder / f"kaggle-{name}.lock", log):
            if not target.is_dir():
                log(f"fetching kaggle:{name} into {target}")
                download_folder.mkdir(exist_ok=True)
                download(name, download_folder)
                try:
                    unpack_whole(only_archive(name, download_folder), target)
                finally:  # also a damaged one: else it would be found again
                    shutil.rmtree(download_folder, ignore_errors=True)
    except OSError as error:
        raise MachineError(f"{folder}: can't be written ({error.strerror or error})") from error
    return target


def download(name: str, folder: Path) -> None:
    """Let Kaggle's client bring a competition's files; raises as `fetch_kaggle` does.

    What was brought stays where it ends early: the client goes on from there.
    """
    try:
        with redirect_stdout(io.StringIO()):  # the client explains at length
            from kaggle.api.kaggle_api_extended import KaggleApi  # type: ignore[import-not-found,unused-ignore]

            client = KaggleApi()
            client.authenticate()
    except ImportError as error:
        raise MachineError(
            f"kaggle:{name}: fetching needs Kaggle's client ({error}): pip install 'resnetlab[kaggle]'"
        ) from error
    except (Exception, SystemExit) as error:
        raise no_credentials(name) from error
    try:
        with redirect_stdout(io.StringIO()):
            client.competition_download_files(name, path=str(folder), quiet=True)
    except (Exception, SystemExit) as error:
        raise refusal(name, error) from error


def refusal(name: str, error: BaseException) -> ResnetlabError:
    """Return the error that says in one line why Kaggle's client brought nothing, and the way out."""
    status = getattr(error, "status", None)  # older clients; newer ones have requests' errors
    status = status or getattr(getattr(error, "response", None), "status_code", None)
    if status == 401:
        return no_credentials(name)
    if status == 403:
        return DataError(
            f"kaggle:{name}: Kaggle refuses (403); accept the competition's rules with your account at "
            f"https://www.kaggle.com/c/{name}/rules"
        )
    if status == 404:
        return DataError(
            f"kaggle:{name}: Kaggle knows no such competition (404); its name is the last part of its "
            "address, like kaggle:cifar-10"
        )
    why = " ".join(str(error).split()) or type(error).__name__
    return MachineError(
        f"kaggle:{name}: could not be fetched ({why}); try again, or download the files from "
        f"https://www.kaggle.com/c/{name}/data and give their folder"
    )


def no_credentials(name: str) -> MachineError:
    """Return the error for a user whom Kaggle doesn't know."""
    return MachineError(
        f"kaggle:{name}: Kaggle's client finds no valid credentials; put the token from "
        "https://www.kaggle.com/settings at ~/.kaggle/kaggle.json, or download the files from "
        f"https://www.kaggle.com/c/{name}/data and give their folder"
    )


def only_archive(name: str, folder: Path) -> Path:
    """Return the zip file that Kaggle's client brought. Raises MachineError where there is none."""
    archives = sorted(path for path in folder.iterdir() if kind_of(path) == "zip")
    if len(archives) != 1:
        raise MachineError(
            f"kaggle:{name}: Kaggle's client brought no zip file; download the files from "
            f"https://www.kaggle.com/c/{name}/data and give their folder"
        )
    return archives[0]
