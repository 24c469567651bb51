"""Bundles on the Hugging Face hub: handed over with their cards, and taken from there."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from resnetlab.deploy.bundle import CARD, FACTS
from resnetlab.errors import CheckpointError, MachineError, RecipeError, one_line

HUB = "hf:"  # before a repository, user/name
PATTERNS = [FACTS, CARD, "*.safetensors", "onnx/*", "openvino/*"]  # what a bundle may hold
PATIENCE_S = 5.0

Result = TypeVar("Result")


def repository_of(name: str) -> str:
    """Return a repository's name, user/name, without what may stand before it. Raises RecipeError."""
    repository = name.removeprefix(HUB).lstrip("/")
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise RecipeError(f"a repository of the hub is called user/name. Got '{name}'")
    return repository


def bundle_from_hub(name: str) -> Path:
    """Return the folder of a repository's bundle, from the hub's cache where it can't be reached.

    Raises CheckpointError where the repository holds no bundle, MachineError where it can't be had.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    repository = repository_of(name)

    def fetched() -> str:
        try:
            reach()
        except OSError as error:
            try:
                return str(snapshot_download(repository, local_files_only=True))
            except LocalEntryNotFoundError:
                raise error from None
        return str(snapshot_download(repository, allow_patterns=PATTERNS, etag_timeout=PATIENCE_S))

    folder = Path(asked(repository, fetched))
    if not (folder / FACTS).is_file():
        raise CheckpointError(f"hf:{repository}: holds no bundle of resnetlab (no {FACTS})")
    return folder


def push_bundle(bundle: Path, name: str, private: bool) -> str:
    """Upload a bundle, whose card becomes the repository's page; return the address.

    Raises MachineError where the hub refuses or can't be reached.
    """
    from huggingface_hub import HfApi

    repository = repository_of(name)

    def sent() -> str:
        reach()
        api = HfApi()
        url = api.create_repo(repository, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repository,
            folder_path=bundle,
            ignore_patterns=[".*"],
            commit_message="A bundle of resnetlab",
        )
        return str(url)

    return asked(repository, sent)


def push_space(exported: Path, name: str, title: str, private: bool) -> str:
    """Upload an exported model as a Gradio Space of the same name as its bundle; return the address.

    Raises MachineError where the hub refuses or can't be reached.
    """
    from huggingface_hub import HfApi

    from resnetlab.deploy.export.space import write_space

    repository = repository_of(name)

    def sent() -> str:
        api = HfApi()
        url = api.create_repo(
            repository, private=private, exist_ok=True, repo_type="space", space_sdk="gradio"
        )
        with tempfile.TemporaryDirectory(prefix="resnetlab-") as place:
            write_space(Path(place), title, repository)
            for folder, files in ((exported, ["export.json", "model.onnx"]), (Path(place), None)):
                api.upload_folder(
                    repo_id=repository,
                    repo_type="space",
                    folder_path=folder,
                    allow_patterns=files,
                    commit_message="A page to try a bundle of resnetlab",
                )
        return str(url)

    return asked(repository, sent)


def asked(repository: str, work: Callable[[], Result]) -> Result:
    """Do something at the hub; whatever goes wrong there, the way out is the same."""
    try:
        return work()
    except Exception as error:  # the hub's own errors, and those of three libraries below it
        raise MachineError(
            f"hf:{repository}: the Hugging Face hub could not do it ({one_line(error)}); see the name, the "
            "network, and for what is private or written HF_TOKEN or 'hf auth login'"
        ) from error


def reach() -> None:
    """Raise OSError where the hub can't be reached: its own client would try for half a minute."""
    from resnetlab.models.published import require_hub

    require_hub()
