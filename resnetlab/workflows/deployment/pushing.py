"""Hand a model over to the Hugging Face hub."""

from pathlib import Path

from resnetlab.runs.run import bundle_of
from resnetlab.system.progress import log


def push(model: Path, repository: str, public: bool = False, space: bool = False) -> list[str]:
    """Upload a run's bundle, or a bundle, to user/name with its card; return the addresses.

    A new repository is private unless it is to be `public`. With `space`, a Gradio Space of that name too, which
    computes by the ONNX model that was exported into the bundle; its address comes second. Raises DataError
    where there is no bundle, RecipeError for a name that is none, or a Space without that model, MachineError
    where the hub refuses or can't be reached.
    """
    from resnetlab.deploy.bundle import FACTS, check_facts, read_facts
    from resnetlab.deploy.export.space import exported_for_space
    from resnetlab.deploy.hub import push_bundle, push_space, repository_of

    bundle = bundle_of(model)
    repository = repository_of(repository)
    check_facts(read_facts(bundle / FACTS)[0])
    exported = exported_for_space(bundle, model) if space else None
    log(f"uploading {bundle} to {repository}")
    addresses = [push_bundle(bundle, repository, not public)]
    if exported is not None:
        title = repository.partition("/")[2]
        addresses.append(push_space(exported, repository, title, not public))
    return addresses
